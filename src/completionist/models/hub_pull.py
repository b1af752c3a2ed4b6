"""Fetch what a reference names from the hub into its cache: the model, in one part or several, and the projector beside it.

    blobs/<sha256>.part          arriving (see `download`)
    blobs/<sha256>               verified
    snapshots/<commit>/<path>    a link to it, made when all of the model is there

One process at a time works on a file, whichever program of this kind it is; a second one waits and finds it done.
"""

from __future__ import annotations

import shutil

import msgspec

from completionist.cache import DiskFull, exclusive, writing
from completionist.errors import OperatorError
from completionist.models.fit import Shape, shape_of
from completionist.models.header import BEGINNING_BYTES, Broken, facts_of_beginning
from completionist.models.hub import Hub, Repository
from completionist.models.hub_cache import CachedRepository
from completionist.models.installed import ModelFile, resolve_reference
from completionist.models.places import HubPlace
from completionist.models.progress import OnProgress, Progress, PullStopped
from completionist.models.quantisations import RemoteFile, Variant, choose, projector, variants
from completionist.models.references import HubReference


class NotAModel(OperatorError):
    def __init__(self, repository: str, path: str, check: str) -> None:
        super().__init__(f"{path} of {repository} is no GGUF model: {check}")


class HubPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull will bring."""

    reference: HubReference
    """With what was chosen for it."""
    repository: Repository
    variant: Variant
    others: tuple[Variant, ...]
    """What else there is."""
    projector: RemoteFile | None
    shape: Shape | None
    """None where the file does not tell."""
    missing_bytes: int
    """What is not here yet."""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        return (*self.variant.files, *([self.projector] if self.projector else []))

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def plan(hub: Hub, place: HubPlace, reference: HubReference) -> HubPlan:
    """Ask the hub. Raises the errors of `Hub.repository` and of `choose`, and `NotAModel`."""
    repository = hub.repository(reference)
    known = variants(repository.files)
    chosen = choose(reference.repository, known, label=reference.quantisation, file=reference.file)
    beside = projector(repository.files)
    cached = CachedRepository(place.cache, reference.repository)
    files = (*chosen.files, *([beside] if beside else []))
    return HubPlan(
        reference=_settled(reference, chosen),
        repository=repository,
        variant=chosen,
        others=tuple(variant for variant in known if variant is not chosen),
        projector=beside,
        shape=_shape(hub, reference, repository, chosen),
        missing_bytes=sum(file.size_bytes for file in files if not cached.blob(file.sha256).is_file()),
    )


def fetch(hub: Hub, place: HubPlace, planned: HubPlan, on_progress: OnProgress) -> ModelFile:
    """The model, verified. Blocking. Raises the errors of `download` and `cache`, `BrokenModelFile`, and `PullStopped`."""
    cached = CachedRepository(place.cache, planned.reference.repository)
    try:
        with writing(cached.directory / "blobs"):
            _check_space(cached, planned)
            for number in range(len(planned.files)):
                _fetch_one(hub, planned, number, cached, on_progress)
            for file in planned.files:
                cached.publish(planned.reference.revision, planned.repository.commit, file)
    except KeyboardInterrupt:
        raise PullStopped(f"completionist pull {planned.reference.text}") from None
    return resolve_reference(planned.reference)


def _settled(reference: HubReference, chosen: Variant) -> HubReference:
    if reference.file or reference.quantisation:
        return reference
    if chosen.label:
        return msgspec.structs.replace(reference, quantisation=chosen.label)
    return msgspec.structs.replace(reference, file=chosen.first)


def _shape(hub: Hub, reference: HubReference, repository: Repository, chosen: Variant) -> Shape | None:
    first = chosen.files[0]
    data = hub.beginning(reference, repository.commit, first.path, BEGINNING_BYTES)
    try:
        return shape_of(facts_of_beginning(data, first.size_bytes))
    except Broken as broken:
        raise NotAModel(reference.repository, first.path, str(broken)) from None


def _check_space(cached: CachedRepository, planned: HubPlan) -> None:
    directory = cached.directory / "blobs"
    arrived = (directory / f"{file.sha256}.part" for file in planned.files)
    here = sum(part.stat().st_size for part in arrived if part.exists())
    needed = max(0, planned.missing_bytes - here)
    if shutil.disk_usage(directory).free < needed:
        raise DiskFull(directory, needed)


def _fetch_one(hub: Hub, planned: HubPlan, number: int, cached: CachedRepository, on_progress: OnProgress) -> None:
    file = planned.files[number]
    before = sum(earlier.size_bytes for earlier in planned.files[:number])

    def report(have: int) -> None:
        on_progress(
            Progress(
                stage="fetching",
                done_bytes=before + have,
                total_bytes=planned.size_bytes,
                part=number + 1,
                n_parts=len(planned.files),
            )
        )

    def waiting() -> None:
        on_progress(Progress(stage="waiting", total_bytes=planned.size_bytes, n_parts=len(planned.files)))

    lock = cached.lock(file.sha256)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(lock, waiting):
        blob = cached.blob(file.sha256)
        if not blob.is_file():
            hub.fetch(planned.reference.repository, planned.repository.commit, file, blob, report)
        report(file.size_bytes)
