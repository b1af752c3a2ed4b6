"""What a start does first: the model is being loaded, in a process of its own, while the rest of the server is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from completionist.engine.launch import Launch, Spawned, spawn
from completionist.engine.llama.launch import launch
from completionist.models.installed import ModelFile
from completionist.models.projectors import with_projector
from completionist.settings import ServedSettings, Settings


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """A model on its way."""

    file: ModelFile
    said: ServedSettings
    """What the operator says of it."""
    launch: Launch
    """For the workers that follow the first."""
    worker: Spawned


@contextmanager
def loading(file: ModelFile, settings: Settings) -> Iterator[Loading]:
    """Start to load `file`, with its projector; a worker that nobody has ended at the end of the context is ended there.

    Raises `LibraryMissing`; what is wrong with the file is for the worker to say.
    """
    said = settings.served_as(file.name, dialect=file.dialect)
    file = with_projector(file, settings.projector or said.projector)
    how = launch(
        file.path,
        file.name,
        settings.engine,
        projector_path=file.projector_path,
        cache_dir=settings.models.cache_dir,
    )
    worker = spawn(how)
    try:
        yield Loading(file=file, said=said, launch=how, worker=worker)
    finally:
        worker.end()
