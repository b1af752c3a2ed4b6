"""A server in a thread of this process: a real port, a scripted engine, and a guard on its event loop."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import math
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from completionist.api.server import Server, bind
from completionist.api.services import Services
from completionist.app import open_media, warn_of_strangers, wire
from completionist.chat.deltas import ChatBackend
from completionist.chat.hearing import Listener
from completionist.chat.pictures import PictureReader, PictureSource
from completionist.chat.speech import Speaker
from completionist.engine.base import ModelCard, TokenEngine
from completionist.engine.launch import Beside
from completionist.engine.scripted import CARD, Script, ScriptedEngine, friendly
from completionist.local.backend import LocalBackend
from completionist.log import emit, logging_to
from completionist.media.workers import Media
from completionist.metrics import Metrics
from completionist.registry.model import Model, Running
from completionist.registry.registry import Found, Registry
from completionist.settings import LogSettings, ServerSettings, Settings
from completionist.stock import Aliases, profile_of
from completionist.store.access import Access
from completionist.store.sql.books import SqlBooks
from completionist.store.sql.store import SqlStore
from completionist.store.usage import Counts, UsageOf, UsageQuery, UsageTotals
from completionist.store.voices import Style
from completionist.tracing import Tracer
from tests.support.guard import LoopGuard

T = TypeVar("T")

MODEL = CARD.name
SETTINGS = Settings(server=ServerSettings(port=0, drain_timeout_s=0))
CREATED = 1_790_000_000
_MARK = "the log is written up to"
_numbers = itertools.count()
_logger = logging.getLogger("completionist.tests")


class _NothingKept:
    """The books of servers without a database."""

    async def version(self) -> int:
        return 0

    async def load(self) -> Access:
        return Access()

    async def add(self, rows: Sequence[tuple[UsageOf, Counts]]) -> None:
        """It is forgotten."""

    async def report(self, query: UsageQuery) -> list[UsageTotals]:
        del query
        return []

    async def style(self, project: str, id_: str) -> Style | None:
        del project, id_
        return None


class RunningServer:
    """What tests see of a server: its address, its parts, and what it logged."""

    def __init__(self) -> None:
        self.port = 0
        self.engine: ScriptedEngine
        self.registry: Registry
        self.store: SqlStore
        self.media: Media
        self.services: Services
        self._server: Server
        self._loop: asyncio.AbstractEventLoop
        self._log = io.StringIO()
        self._is_over = False

    @property
    def url(self) -> str:
        """Without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """As the official client wants it."""
        return f"{self.url}/v1"

    def log_lines(self, **wanted: object) -> list[dict[str, Any]]:
        """Log events so far that carry all of `wanted`: what was logged before this is there."""
        if not self._is_over:
            mark = f"{_MARK} {next(_numbers)}"
            emit(_logger, logging.INFO, mark)
            eventually(lambda: f'"{mark}"' in self._log.getvalue())
        events = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [event for event in events if wanted.items() <= event.items() and not event["event"].startswith(_MARK)]

    def access_line(self, request_id: str) -> dict[str, Any]:
        """The one access-log line of a request; waits for it, since it comes when the answer is over."""
        eventually(lambda: self.log_lines(event="request", request_id=request_id))
        (line,) = self.log_lines(event="request", request_id=request_id)
        return line

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the metrics, 0 while there is none; `name` without the common prefix."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        start = f"completionist_{name}" + (f"{{{shown}}} " if shown else " ")
        return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))

    def on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def look_again(self) -> None:
        """See what is to be served now, at the next request."""
        self.registry._looked_at_s = -math.inf

    def stop(self) -> None:
        """Ask once, as a signal does."""
        self._loop.call_soon_threadsafe(self._server.stop)

    async def serve(
        self, *, settings: Settings, script: Script, backend: Callable[[TokenEngine], ChatBackend], step_s: float,
        card: ModelCard, others: Callable[[], Sequence[Model]], free_bytes: Callable[[int], int],
        on_listening: Callable[[int], None],
        speaker: Speaker | None, listener: Listener | None, pictures: PictureReader | None,
        fetcher: PictureSource | None, tracer: Tracer | None,
    ) -> None:  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self.engine = ScriptedEngine(script, card=card, queue_requests=settings.engine.queue_requests, step_s=step_s)
        answering = backend(self.engine)
        if isinstance(answering, LocalBackend):
            await answering.start()
        self.store = SqlStore(settings.store)
        if settings.store.url is not None:  # the others keep nothing
            await self.store.start()
        self.media = open_media(settings)
        self.media.speaker = speaker or self.media.speaker
        self.media.listener = listener or self.media.listener
        self.media.pictures = pictures or self.media.pictures
        self.media.fetcher = fetcher or self.media.fetcher
        metrics = Metrics()
        self.registry = Registry(self._scan(settings, answering, others), free_bytes, metrics)
        await self.registry.refresh()
        await self.registry.start(MODEL)
        warn_of_strangers(settings, self.registry)
        books = SqlBooks(self.store) if settings.store.url is not None else _NothingKept()
        self.services = wire(settings, self.registry, metrics, self.store, media=self.media, books=books, tracer=tracer)
        self.services.ledger.start()
        await self.services.keyring.start()
        if settings.store.url is not None:
            self.services.files.start()
        socket_ = bind("127.0.0.1", 0, send_timeout_s=settings.server.send_timeout_s)
        self.port = socket_.getsockname()[1]
        self._server = Server(self.services, on_listening)
        await self._server.run_on(socket_)
        await asyncio.to_thread(self.services.decoder.close)
        await self.registry.close()
        await answering.close()
        await self.engine.close()
        await self.services.files.close()
        await self.services.media.close()
        if self.services.moderator is not None:
            await self.services.moderator.close()
        await self.services.keyring.close()
        await self.services.ledger.close()
        await self.store.close()
        if tracer is not None:
            await tracer.close()

    def _scan(
        self, settings: Settings, backend: ChatBackend, others: Callable[[], Sequence[Model]]
    ) -> Callable[[], Found]:
        async def start(_: Beside) -> Running:
            return Running(backend=backend, engine=self.engine, close=close)

        async def close() -> None:
            """A test may look at its engine still, and have it «loaded» again: it ends with the server."""

        scripted = Model(
            name=MODEL,
            version=None,
            created=CREATED,
            owned_by="tests",
            profile=profile_of(settings.served_as(MODEL)),
            keep_alive_s=math.inf,
            start=start,
        )
        aliases = Aliases(settings)
        return lambda: Found(models=(scripted, *others()), aliases=aliases.read())


@contextmanager
def running_server(
    script: Script = friendly,
    *,
    settings: Settings = SETTINGS,
    backend: Callable[[TokenEngine], ChatBackend] = LocalBackend,
    step_s: float = 0.0,
    card: ModelCard = CARD,
    others: Callable[[], Sequence[Model]] = tuple,
    free_bytes: Callable[[int], int] = lambda _: sys.maxsize,
    speaker: Speaker | None = None,
    listener: Listener | None = None,
    pictures: PictureReader | None = None,
    fetcher: PictureSource | None = None,
    tracer: Tracer | None = None,
) -> Iterator[RunningServer]:
    """Serve `script` meanwhile, with `others` to be loaded. At the end the loop guard must have nothing to complain of."""
    guard, server, is_up = LoopGuard(), RunningServer(), threading.Event()

    def on_listening(_: int) -> None:
        guard.begin()
        is_up.set()

    def run() -> None:
        with asyncio.Runner() as runner:
            runner.run(
                server.serve(
                    settings=settings,
                    script=script,
                    backend=backend,
                    step_s=step_s,
                    card=card,
                    others=others,
                    free_bytes=free_bytes,
                    speaker=speaker,
                    listener=listener,
                    pictures=pictures,
                    fetcher=fetcher,
                    tracer=tracer,
                    on_listening=on_listening,
                )
            )
            guard.end()

    thread = threading.Thread(target=run, name="server", daemon=True)
    with logging_to(server._log, LogSettings(format="json")):
        thread.start()
        assert is_up.wait(timeout=60), "the server did not come up"
        try:
            yield server
        finally:
            server.stop()
            with suppress(RuntimeError):  # the loop is closed already where the first was enough
                server.stop()
            thread.join(timeout=60)
            server._is_over = True
    assert not thread.is_alive(), "the server did not stop"
    guard.check()


def eventually(condition: Callable[[], T], timeout_s: float = 60.0) -> T:
    """The first true value of `condition`; fails when there is none in time.

    The longer it takes, the seldomer it is asked for: what is waited for may need the same processor.
    """
    deadline_s, pause_s = time.monotonic() + timeout_s, 0.002
    while not (value := condition()):
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.05)
    return value
