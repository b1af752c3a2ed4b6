"""The composition root: the one file that knows which backend, engine and model file stand behind a setting."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec
import uvloop

from completionist import telemetry
from completionist.api.attend import Drain
from completionist.api.decoder import Decoder
from completionist.api.hosts import Hosts, is_loopback
from completionist.api.keyring import Keyring
from completionist.api.ledger import Ledger
from completionist.api.limiter import Limiter
from completionist.api.server import Server, bind
from completionist.api.services import Services
from completionist.chat.attached import Attachments
from completionist.chat.deltas import ChatBackend
from completionist.chat.moderate import Moderator
from completionist.chat.pictures import PictureSource
from completionist.chat.room import Rooms
from completionist.chat.search import SearchProvider
from completionist.chat.service import Backends, ChatService, Served, Stages
from completionist.engine.base import ModelCard
from completionist.engine.llama.quota import free_memory_bytes
from completionist.engine.scripted import CARD, Script
from completionist.errors import OperatorError
from completionist.heap import give_back_freed_memory
from completionist.loading import Loading
from completionist.log import emit, logging_to
from completionist.media.handover import Handover
from completionist.media.listener import WorkerListener
from completionist.media.looker import WorkerLooker
from completionist.media.pixels import WorkerDecoder
from completionist.media.reader import WorkerReader
from completionist.media.samples import WorkerSoundDecoder
from completionist.media.scratch import sweep
from completionist.media.speaker import SpeechFiles, VoiceFile, WorkerSpeaker
from completionist.media.workers import Media
from completionist.metrics import Metrics
from completionist.models.hearing import hearing_directory, hearing_models
from completionist.models.speech import speech_directory, speech_model
from completionist.moderation.judge import ModelJudge
from completionist.registry.registry import Found, Registry
from completionist.search.provider import IndexSearch
from completionist.settings import ImageSettings, ModerationSettings, ServerSettings, Settings
from completionist.stock import Stock, scripted, started
from completionist.store.access import AccessBook
from completionist.store.directory import FileDirectory
from completionist.store.files import Files
from completionist.store.sql.books import SqlBooks, has_usable_key
from completionist.store.sql.file_rows import SqlFileRows
from completionist.store.sql.place import data_directory, files_directory
from completionist.store.sql.store import SqlStore
from completionist.store.usage import UsageBook
from completionist.store.voices import VoiceBook
from completionist.tracing import Tracer
from completionist.types.request import Reading

_log = logging.getLogger(__name__)


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say once the server listens."""

    url: str
    """Where the API is: scheme, host and port, without `/v1`."""
    card: ModelCard | None
    """Of the model that is loaded; None where none is."""
    names: tuple[Served, ...]
    """What clients can ask for."""
    needs_key: bool
    n_keys: int
    """Keys that would let somebody in."""


class CannotListen(OperatorError):
    """The address is taken, or not ours to take."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use: stop what uses it or choose another one with --port"
        else:
            reason = (error.strerror or str(error)).lower()
        super().__init__(f"cannot listen on {host}:{port}: {reason}")


class PublicWithoutKey(OperatorError):
    """Whoever reaches the address could use the server."""

    exit_code: ClassVar[int] = 2

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {host} without an API key: make one with 'completionist keys create' or add [[keys]], "
            "bind to 127.0.0.1, or put a proxy that authenticates in front of a loopback bind"
        )


class NoModerationKey(OperatorError):
    """The key of the moderation endpoint is not where the settings say."""

    exit_code: ClassVar[int] = 2

    def __init__(self, name: str) -> None:
        super().__init__(f"moderation.key_env names the environment variable {name}, which is not set")


class Books(AccessBook, UsageBook, VoiceBook, Protocol):
    """Where keys, projects, usage and voices are kept."""


def serve(settings: Settings, model: Loading | Script | None, announce: Callable[[Serving], None]) -> int:
    """Serve the models of this machine, one of which is being loaded, or play a script in their place, until told to stop.

    `announce` is called once connections are accepted. Returns the exit code: 0 where every answer was complete.
    Raises `OperatorError` for what stands in the way of a start.
    """
    if not (is_loopback(settings.server.host) or settings.keys or has_usable_key(settings.store.url)):
        raise PublicWithoutKey(settings.server.host)
    tracer = telemetry.tracer(os.environ)
    give_back_freed_memory()
    if model is None or isinstance(model, Loading):
        scan, first = Stock(settings, model).scan, model.file.name if model else None
    else:
        scan, first = scripted(settings, model), CARD.name
    with (
        _listener(settings.server) as listener,
        logging_to(None, settings.log),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_serve(settings, scan, first, listener, announce, tracer=tracer))


@asynccontextmanager
async def open_backend(model: Loading) -> AsyncIterator[ChatBackend]:
    """What answers for a model, without a server around it; its engine ends with the context.

    Raises `OperatorError` for what stands in the way of a start.
    """
    running = await started(model.launch, model.said, model.worker)
    try:
        yield running.backend
    finally:
        await running.close()


def wire(
    settings: Settings,
    backends: Backends,
    metrics: Metrics,
    store: SqlStore,
    *,
    media: Media,
    books: Books,
    tracer: Tracer | None = None,
) -> Services:
    """Everything between the socket and a backend."""
    files = open_files(settings, store)
    attachments = Attachments(files, store, media, settings.documents)
    rooms = Rooms(settings.engine.queue_requests)
    moderator = open_moderator(settings.moderation, backends, rooms)
    ledger = Ledger(books)
    metrics.watch_store(store)

    def reading() -> Reading:
        return Reading(
            unknown={served.id: served.profile.unknown for served in backends.models() if served.profile.unknown},
            takes_null_fields=settings.server.takes_null_fields,
            takes_missing_content=settings.server.takes_missing_content,
        )

    return Services(
        chat=ChatService(
            backends,
            store,
            settings.store,
            Stages(attachments, media, books, moderator),
            rooms,
        ),
        decoder=Decoder(reading),
        drain=Drain(),
        files=files,
        file_settings=settings.files,
        hosts=Hosts(settings.server),
        keyring=Keyring(settings.keys, books),
        ledger=ledger,
        limiter=Limiter(settings.limits, ledger.months),
        media=media,
        metrics=metrics,
        moderator=moderator,
        settings=settings.server,
        store=store,
        tracer=tracer,
        usage=books,
    )


def open_media(settings: Settings) -> Media:
    """What reads files and pictures, speaks, listens and searches."""
    handover = Handover()
    return Media(
        documents=WorkerReader(settings.documents, handover),
        speaker=WorkerSpeaker(lambda: speech_files(settings), settings.speech),
        listener=WorkerListener(lambda: hearing_model(settings), settings.hearing),
        pictures=WorkerLooker(settings.images),
        fetcher=_fetcher(settings.images),
        search=search_provider(settings),
        sight=WorkerDecoder(settings.images, handover),
        sound=WorkerSoundDecoder(settings.hearing, handover),
        handover=handover,
    )


def _fetcher(settings: ImageSettings) -> PictureSource | None:
    """Imported where it is wanted: it takes long, and few want it."""
    if not settings.fetch_hosts:
        return None
    from completionist.media.fetch import PictureFetcher  # noqa: PLC0415 - as above

    return PictureFetcher(settings)


def search_provider(settings: Settings) -> SearchProvider | None:
    """None: the operator has chosen none."""
    match settings.search.provider:
        case "searxng":
            from completionist.search.searxng import SearXNG  # noqa: PLC0415 - its HTTP client takes long to import

            return SearXNG(settings.search)
        case "index":
            return IndexSearch(index_file(settings), timeout_s=settings.search.timeout_s)
        case "none":
            return None


def index_file(settings: Settings) -> Path:
    """Where the documents are that can be searched."""
    return (settings.search.index or data_directory() / "documents.db").expanduser()


def open_moderator(settings: ModerationSettings, backends: Backends, rooms: Rooms) -> Moderator | None:
    """What judges texts; None: nothing does. Raises `NoModerationKey`."""
    if settings.url is not None:
        from completionist.moderation.endpoint import Endpoint  # noqa: PLC0415 - an HTTP client that most servers do without

        key = os.environ.get(settings.key_env) if settings.key_env else None
        if settings.key_env and not key:
            raise NoModerationKey(settings.key_env)
        return Endpoint(settings.url, settings, key)
    return ModelJudge(backends, rooms, settings.model, settings) if settings.model else None


def hearing_model(settings: Settings) -> Path | None:
    """Its directory; None where it has not been fetched. An operator's own need not have the catalogue's files."""
    directory = hearing_directory(settings)
    files = ("model.bin",) if settings.hearing.directory else hearing_models()[settings.hearing.model].asset.names
    return directory if all((directory / name).is_file() for name in files) else None


def speech_files(settings: Settings) -> SpeechFiles | None:
    """None where they have not been fetched, or not all of them."""
    model, directory = speech_model(), speech_directory(settings)
    if not model.asset.is_in(directory):
        return None
    voices = {
        name: VoiceFile(path=directory / voice.file, is_british=voice.is_british, gain=voice.gain)
        for name, voice in model.voices.items()
    }
    return SpeechFiles(directory / model.model.name, voices)


def warn_of_strangers(settings: Settings, backends: Backends) -> None:
    """Settings of names that nothing here has are a slip, most likely."""
    known = {served.id for served in backends.models()}
    for name in settings.served:
        if name not in known:
            emit(_log, logging.WARNING, "settings for a model that is not served", name=name)


def open_files(settings: Settings, store: SqlStore) -> Files:
    """The files whose rows are in `store`. Not started: it answers, and sweeps nothing yet."""
    path = files_directory(settings.files.directory, settings.store.url)
    directory = FileDirectory(path, reserve_bytes=settings.files.reserve_bytes)
    return Files(SqlFileRows(store), directory, settings.files)


def _listener(server: ServerSettings) -> socket.socket:
    try:
        return bind(server.host, server.port, send_timeout_s=server.send_timeout_s)
    except OSError as error:
        raise CannotListen(server.host, server.port, error) from None


async def _serve(
    settings: Settings,
    scan: Callable[[], Found],
    first: str | None,
    listener: socket.socket,
    announce: Callable[[Serving], None],
    *,
    tracer: Tracer | None,
) -> int:
    async with AsyncExitStack() as parts:
        if tracer is not None:
            parts.push_async_callback(tracer.close)
        store = SqlStore(settings.store)
        parts.push_async_callback(store.close)
        opening = asyncio.create_task(store.start())  # on a thread, beside the loading of the model
        metrics = Metrics()
        registry = Registry(scan, free_memory_bytes, metrics)
        parts.push_async_callback(registry.close)
        await asyncio.to_thread(sweep)
        await registry.refresh()
        warn_of_strangers(settings, registry)
        card = await registry.start(first) if first else None
        await opening
        services = wire(
            settings, registry, metrics, store, media=open_media(settings), books=SqlBooks(store), tracer=tracer
        )
        parts.push_async_callback(asyncio.to_thread, services.decoder.close)
        parts.push_async_callback(services.files.close)
        parts.push_async_callback(services.media.close)
        if services.moderator is not None:
            parts.push_async_callback(services.moderator.close)
        services.files.start()
        await services.keyring.start()
        parts.push_async_callback(services.keyring.close)
        services.ledger.start()
        parts.push_async_callback(services.ledger.close)

        def on_listening(port: int) -> None:
            host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
            announce(
                Serving(
                    url=f"http://{host}:{port}",
                    card=card,
                    names=tuple(registry.models()),
                    needs_key=services.keyring.must_show_one,
                    n_keys=services.keyring.n_good,
                )
            )

        gc.collect()
        gc.freeze()  # what is here now stays: a full collection need not walk it while answers wait
        return await Server(services, on_listening).run_on(listener)
