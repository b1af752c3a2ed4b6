"""Take a model off this machine."""

from __future__ import annotations

import shutil

import msgspec

from completionist.errors import OperatorError
from completionist.models.catalog import catalog
from completionist.models.hub_cache import CachedRepository
from completionist.models.installed import find_reference, model_path
from completionist.models.places import hub_cache
from completionist.models.quantisations import choose, projector, variants
from completionist.models.references import HubReference, hub_reference
from completionist.settings import ModelSettings


class NotOurs(OperatorError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is neither in the catalogue nor from the hub: a file of yours is yours to delete")


class NotHere(OperatorError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not on this machine")


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    freed_bytes: int


def remove(name: str, settings: ModelSettings) -> Removed:
    """Whatever is here of a model of the catalogue, half a pull too; of the hub's the model that is named, and its projector
    where it was the last. A server that has it loaded goes on with it. Raises `NotOurs`, `NotHere`, and what resolving raises.
    """
    if entry := catalog().get(name):
        directory = model_path(entry, settings).parent
        if not directory.is_dir():
            raise NotHere(name)
        freed = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        shutil.rmtree(directory)
        return Removed(name=name, freed_bytes=freed)
    if reference := hub_reference(name):
        return _remove_reference(reference)
    raise NotOurs(name)


def _remove_reference(reference: HubReference) -> Removed:
    cached = CachedRepository(hub_cache(), reference.repository)
    model = find_reference(reference)
    files = cached.files(reference.revision)
    known = variants(files)
    variant = choose(reference.repository, known, label=reference.quantisation, file=reference.file)
    paths = [file.path for file in variant.files]
    beside = projector(files)
    if beside and len(known) == 1:
        paths.append(beside.path)
    commit = cached.commit_of(reference.revision) or reference.revision
    return Removed(name=model.name, freed_bytes=cached.remove(commit, tuple(paths)))
