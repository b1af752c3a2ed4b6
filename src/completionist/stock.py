"""What a server can load: the model files of this machine, or a script in place of one, and their aliases."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from completionist import ids
from completionist.chat.profiles import PROFILES, Profile
from completionist.engine.base import TokenEngine
from completionist.engine.client import EngineClient
from completionist.engine.launch import Beside, Launch, Spawned
from completionist.engine.llama.launch import launch
from completionist.engine.scripted import CARD, Script, ScriptedEngine
from completionist.loading import Loading
from completionist.local.backend import LocalBackend
from completionist.log import emit
from completionist.models.catalog import catalog
from completionist.models.fit import need_of, shape_of
from completionist.models.gguf import check_gguf, read_beginning
from completionist.models.installed import LOCAL_PUBLISHER, ModelFile, installed
from completionist.models.projectors import with_projector
from completionist.registry.aliases import FILE_NAME, Alias, AliasesUnreadable, AliasFile, configured
from completionist.registry.model import Model, Running, RunningEngine
from completionist.registry.names import limited
from completionist.registry.registry import Found
from completionist.settings import ServedSettings, Settings
from completionist.store.sql.place import data_directory

_log = logging.getLogger(__name__)

_SCRIPTED_STEP_S = 0.03
"""A reading pace."""
_PULL = "completionist pull"


class Engine(TokenEngine, RunningEngine, Protocol):
    """A token engine whose load can be read."""


class Stock:
    """The model files of this machine, and what the operator says of them."""

    def __init__(self, settings: Settings, first: Loading | None) -> None:
        """`first` is being loaded already."""
        self._settings = settings
        self._first = first
        self._workers = [first.worker] if first else []
        self._aliases = Aliases(settings)
        self._needs_bytes: dict[Hashable, int] = {}
        """By version: a file is read once for it."""

    def scan(self) -> Found:
        """What is here now. Blocking."""
        files = {file.name: file for file in self._files()}
        aliases, absent = self._aliases.read(), self._absent(files)
        return Found(
            models=tuple(self._model(file) for file in files.values()),
            aliases=aliases,
            absent={**absent, **dict(_without_model(aliases, files, absent))},
            advice=f"No model is installed on this server. Its operator can fetch one: {_PULL} {self._settings.model}",
        )

    def _files(self) -> Iterator[ModelFile]:
        if self._first is not None and self._first.file.path.is_file():
            yield self._first.file
        yield from installed(self._settings.models)
        for name, path in self._settings.named_files().items():
            if path.is_file():
                yield ModelFile(
                    path=path,
                    name=name,
                    publisher=LOCAL_PUBLISHER,
                    sha256=None,
                    added_at_s=int(path.stat().st_mtime),
                )

    def _absent(self, here: Mapping[str, ModelFile]) -> Mapping[str, str]:
        fetched = {
            name: f"It is not installed on this server. Its operator can fetch it: {_PULL} {name}" for name in catalog()
        }
        gone = dict.fromkeys(self._settings.named_files(), "Its file is not there any more.")
        if self._first is not None:
            gone[self._first.file.name] = "Its file is not there any more."
        return {name: hint for name, hint in (gone | fetched).items() if name not in here}

    def _model(self, file: ModelFile) -> Model:
        said = self._settings.served_as(file.name, dialect=file.dialect)
        if self._first is None or file is not self._first.file:
            file = with_projector(file, said.projector)
        size_bytes = file.size_bytes + size_of(file.projector_path)
        version = (file.path, file.path.stat().st_mtime_ns, size_bytes, file.projector_path)
        if version not in self._needs_bytes:
            shape = shape_of(read_beginning(file.path))
            self._needs_bytes[version] = need_of(size_bytes, shape).total_bytes if shape else size_bytes
        return Model(
            name=file.name,
            version=version,
            created=file.added_at_s,
            owned_by=file.publisher,
            profile=profile_of(said),
            keep_alive_s=self._keep_alive_s(file.name, said),
            directory=str(file.path.parent),
            need_bytes=self._needs_bytes[version],
            start=partial(self._start, file, said),
        )

    def _keep_alive_s(self, name: str, said: ServedSettings) -> float:
        usual = math.inf if self._first and name == self._first.file.name else self._settings.models.keep_alive_s
        chosen = usual if said.keep_alive_s is None else said.keep_alive_s
        return math.inf if chosen == "forever" else chosen

    async def _start(self, file: ModelFile, said: ServedSettings, beside: Beside) -> Running:
        if self._first is not None and file.name == self._first.file.name:
            return await started(self._first.launch, said, self._workers.pop() if self._workers else None)
        await asyncio.to_thread(check_gguf, file.path)  # its words are plainer than the library's
        how = await asyncio.to_thread(
            launch,
            file.path,
            file.name,
            self._settings.engine,
            projector_path=file.projector_path,
            cache_dir=self._settings.models.cache_dir,
            beside=beside,
        )
        return await started(how, said)


def _without_model(
    aliases: Iterable[Alias], here: Container[str], absent: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for alias in aliases:
        if alias.model not in here:
            hint = absent.get(alias.model, "That is not installed on this server.")
            yield alias.name, f"It stands for {alias.model}. {hint}"


class Aliases:
    """Those of the settings, then those that commands have set. `read` blocks."""

    def __init__(self, settings: Settings) -> None:
        self._configured = configured(settings)
        self._file = AliasFile(data_directory() / FILE_NAME)
        self._set: Mapping[str, Alias] = {}
        self._complaint = ""

    def read(self) -> tuple[Alias, ...]:
        """As long as the file cannot be read, what it said before holds."""
        try:
            self._set = self._file.read()
            self._complaint = ""
        except AliasesUnreadable as error:
            if str(error) != self._complaint:
                emit(_log, logging.ERROR, str(error))
            self._complaint = str(error)
        return tuple({**self._set, **self._configured}.values())


def scripted(settings: Settings, script: Script) -> Callable[[], Found]:
    """What `Stock.scan` is to model files, of a script that plays the model."""
    said, aliases, created = settings.served_as(CARD.name), Aliases(settings), ids.now_s()

    async def start(_: Beside) -> Running:
        engine = ScriptedEngine(script, queue_requests=settings.engine.queue_requests, step_s=_SCRIPTED_STEP_S)
        return await running(engine, said)

    model = Model(
        name=CARD.name,
        version=None,
        created=created,
        owned_by=LOCAL_PUBLISHER,
        profile=profile_of(said),
        keep_alive_s=math.inf,
        start=start,
    )
    return lambda: Found(models=(model,), aliases=aliases.read())


async def started(how: Launch, said: ServedSettings, spawned: Spawned | None = None) -> Running:
    """A model in a worker of its own. Raises `OperatorError` for what stands in the way."""
    engine = EngineClient(how, spawned=spawned)
    await engine.start()
    return await running(engine, said)


async def running(engine: Engine, said: ServedSettings) -> Running:
    """Chat with an engine that has started; it ends with it. Raises `OperatorError`; the engine is closed then."""
    try:
        backend = await asyncio.to_thread(LocalBackend, engine, said)
        try:
            await backend.start()
        except BaseException:
            await backend.close()
            raise
    except BaseException:
        await engine.close()
        raise

    async def close() -> None:
        await backend.close()
        await engine.close()

    return Running(backend=backend, engine=engine, close=close)


def size_of(projector: Path | None) -> int:
    """In bytes; of one that is not there, which loading will say, 0."""
    return projector.stat().st_size if projector is not None and projector.is_file() else 0


def profile_of(said: ServedSettings) -> Profile:
    """What a model takes, as its operator says."""
    return limited(PROFILES[said.profile], said.max_choices)
