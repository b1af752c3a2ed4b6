"""What messages bring → text in its place: files, sound, pictures, earlier speech (contract 3.2, 3.4, 8.7, 13.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import msgspec

from completionist.chat.aside import aside
from completionist.chat.documents import Document, Unreadable, kind_of, shown
from completionist.chat.hearing import Unintelligible
from completionist.chat.moderate import blocks_input
from completionist.chat.pictures import BadPicture, Unfetched, shown_text
from completionist.chat.senses import Senses
from completionist.engine.base import Hearing, ModelCard
from completionist.errors import FileNotFound, UnknownFile
from completionist.settings import DocumentSettings
from completionist.store.base import CompletionStore
from completionist.store.files import Files, StoredFile
from completionist.types.formats import Moderation
from completionist.types.messages import AssistantMessage, Message, text_of
from completionist.types.parts import (
    FILE_WANTED,
    AudioPart,
    Base64,
    FilePart,
    FileReference,
    HeardPart,
    ImagePart,
    ImageURL,
    InputAudio,
    Part,
    PerceivedPart,
    PictureTextPart,
    Pixels,
    Samples,
    TextPart,
)
from completionist.types.refusals import (
    FileTooLong,
    FileUnreadable,
    InvalidAudioData,
    InvalidDataURL,
    InvalidImage,
    InvalidImageURL,
    TooManyImages,
    UnknownSpeech,
)
from completionist.types.request import ChatRequest


class Attachments:
    """Reads what messages of a project bring with them."""

    def __init__(self, files: Files, store: CompletionStore, senses: Senses, settings: DocumentSettings) -> None:
        self._files = files
        self._store = store
        self._senses = senses
        self._settings = settings

    @asynccontextmanager
    async def read(self, request: ChatRequest, project: str, card: ModelCard) -> AsyncIterator[ChatRequest]:
        """`request` with text in place of files and earlier speech. So it is with pictures and sound, unless its model sees or
        hears: then they are decoded, and gone when it is over.

        Raises `UnknownFile`, `FileUnreadable`, `FileTooLong`, `InvalidDataURL`, `InvalidAudioData`, `InvalidImage`,
        `InvalidImageURL`, `TooManyImages`, `UnknownSpeech`, all with `param` naming the place; `StorageUnavailable`,
        `Overloaded`.
        """
        if not await aside(request, lambda: any(map(_brings_something, request.messages))):
            yield request
            return
        reading = _Reading(self._files, self._senses, self._settings, project, card=card, moderation=request.moderation)
        try:
            messages = [
                await self._in_words(i, message, project)
                if isinstance(message, AssistantMessage)
                else await reading.message(i, message)
                for i, message in enumerate(request.messages)
            ]
            yield msgspec.structs.replace(request, messages=tuple(messages))
        finally:
            for medium in reading.decoded:
                await self._senses.forget(medium)

    async def _in_words(self, i: int, message: AssistantMessage, project: str) -> AssistantMessage:
        """With its transcript, behind what else it says."""
        if message.audio is None:
            return message
        transcript = await self._store.transcript(project, message.audio.id)
        if transcript is None:
            raise UnknownSpeech(i, message.audio.id)
        return msgspec.structs.replace(message, content=text_of(message.content) + transcript, audio=None)


def _brings_something(message: Message) -> bool:
    if isinstance(message, AssistantMessage):
        return message.audio is not None
    return any(isinstance(part, FilePart | AudioPart | ImagePart) for part in _parts(message))


def _parts(message: Message) -> Sequence[Part]:
    return message.content if isinstance(message.content, tuple) else ()


class _Reading:
    """The parts of one request, one after the other; limits of files are those of all of them together."""

    def __init__(
        self,
        files: Files,
        senses: Senses,
        settings: DocumentSettings,
        project: str,
        *,
        card: ModelCard,
        moderation: Moderation | None,
    ) -> None:
        self._files = files
        self._senses = senses
        self._project = project
        self._card = card
        self._is_judged = moderation is not None
        self._heard_s = 0.0
        self.decoded: list[Pixels | Samples] = []
        self._max_bytes = settings.max_request_bytes
        self._max_characters = settings.max_request_characters
        self._n_pages_left = settings.max_page_pictures if card.sight and not blocks_input(moderation) else 0
        self._n_bytes = self._n_characters = self._n_images = self._n_fetched_bytes = 0

    async def message(self, i: int, message: Message) -> Message:
        if not _brings_something(message):
            return message
        parts = _parts(message)
        content: list[Part] = []
        for j, part in enumerate(parts):
            at = f"messages[{i}].content[{j}]"
            before, after = "" if j == 0 else "\n\n", "" if j == len(parts) - 1 else "\n\n"
            if isinstance(part, FilePart):
                content += await self._of_file(at, part, before, after)
            else:
                content.append(await self._in_words(at, part, before, after))
        return msgspec.structs.replace(message, content=tuple(content))

    async def _of_file(self, at: str, part: FilePart, before: str, after: str) -> list[Part]:
        """Its text, and pictures of its pages between."""
        pieces = shown(*await self._read(f"{at}.file", part.file), before, after)
        content = [TextPart(text=piece) if isinstance(piece, str) else PerceivedPart(medium=piece) for piece in pieces]
        end = msgspec.structs.replace(content[-1], prompt_cache_breakpoint=part.prompt_cache_breakpoint)
        return [*content[:-1], end]

    async def _in_words(self, at: str, part: Part, before: str, after: str) -> Part:
        """An empty line stands between a file, or what was heard, and what is around it."""
        match part:
            case AudioPart():
                if self._card.hearing:
                    samples = await self._listened(f"{at}.input_audio.data", part.input_audio, self._card.hearing)
                    return self._perceived(samples, part)
                words = before + await self._heard(f"{at}.input_audio.data", part.input_audio) + after
                return HeardPart(text=words, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
            case ImagePart():
                if self._card.sight:
                    return await self._seen(f"{at}.image_url.url", part)
                words = before + await self._read_off(f"{at}.image_url.url", part.image_url) + after
                return PictureTextPart(text=words, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
            case _:
                return part

    def _perceived(
        self, medium: Pixels | Samples, part: ImagePart | AudioPart, data: Base64 | None = None
    ) -> PerceivedPart:
        self.decoded.append(medium)
        return PerceivedPart(medium=medium, data=data, prompt_cache_breakpoint=part.prompt_cache_breakpoint)

    async def _seen(self, at: str, part: ImagePart) -> PerceivedPart:
        data, detail = await self._data(at, part.image_url), part.image_url.detail or "auto"
        try:
            pixels = await self._senses.sight.pixels(data, detail=detail, project=self._project)
        except BadPicture as bad:
            raise InvalidImage(at, bad.fault, bad.reason) from None
        return self._perceived(pixels, part, data if self._is_judged else None)

    async def _listened(self, at: str, audio: InputAudio, hearing: Hearing) -> Samples:
        """Sounds of a request share one limit: each waits in a file until all are there."""
        data, left_s = Base64(audio.data), self._senses.sound.max_s - self._heard_s
        try:
            samples = await self._senses.sound.samples(
                data,
                audio.format,
                rate_hz=hearing.rate_hz,
                max_s=left_s if hearing.max_s is None else min(left_s, hearing.max_s),
                project=self._project,
            )
        except Unintelligible as fault:
            raise InvalidAudioData(at, audio.format, fault.reason) from None
        self._heard_s += samples.n_samples / hearing.rate_hz
        return samples

    async def _read_off(self, at: str, image: ImageURL) -> str:
        data, is_small = await self._data(at, image), image.detail == "low"
        try:
            return shown_text(await self._senses.pictures.text_in(data, is_small=is_small, project=self._project))
        except BadPicture as bad:
            raise InvalidImage(at, bad.fault, bad.reason) from None

    async def _data(self, at: str, image: ImageURL) -> Base64:
        """Of a picture that was sent, or is elsewhere."""
        self._n_images += 1
        if self._n_images > self._senses.pictures.max_images:
            raise TooManyImages(self._senses.pictures.max_images)
        if image.url[: len("data:")].lower() == "data:":
            return Base64.of_data_url(image.url)
        fetcher = self._senses.fetcher
        if fetcher is None:
            raise InvalidImageURL(at, image.url)
        try:
            data = await fetcher.fetch(image.url, fetcher.max_request_bytes - self._n_fetched_bytes)
        except Unfetched:
            raise InvalidImageURL(at, image.url) from None
        self._n_fetched_bytes += len(data) * 3 // 4
        return data

    async def _heard(self, at: str, audio: InputAudio) -> str:
        try:
            return await self._senses.listener.heard(Base64(audio.data), audio.format, self._project)
        except Unintelligible as fault:
            raise InvalidAudioData(at, audio.format, fault.reason) from None

    async def _read(self, at: str, file: FileReference) -> tuple[str, Sequence[str | Pixels]]:
        """Its name, and what is in it."""
        if file.file_id is not None:
            return await self._stored(f"{at}.file_id", file.file_id)
        filename = file.filename or ""
        return filename, await self._sent(f"{at}.file_data", filename, file.file_data or "")

    async def _sent(self, at: str, filename: str, url: str) -> Sequence[str | Pixels]:
        data = Base64.of_data_url(url)
        media_type = url[len("data:") : data.start - 1].partition(";")[0]
        kind = kind_of(filename, media_type)
        if kind is None:
            raise InvalidDataURL(at, FILE_WANTED, f"unsupported MIME type '{media_type[:64]}'")
        self._count_bytes(at, len(data) * 3 // 4)
        return await self._pieces(at, filename, Document(kind=kind, content=data))

    async def _stored(self, at: str, id_: str) -> tuple[str, Sequence[str | Pixels]]:
        try:
            file = await self._files.get(self._project, id_)
            kind = kind_of(file.filename)
            if kind is None:
                raise FileUnreadable(at, file.filename, "The end of its name is not that of a kind that can be read.")
            self._count_bytes(at, file.n_bytes)
            content = await self._content(file)
        except FileNotFound:
            raise UnknownFile(at, id_) from None
        return file.filename, await self._pieces(at, file.filename, Document(kind=kind, content=content))

    async def _content(self, file: StoredFile) -> Sequence[bytes]:
        async with self._files.content(file) as parts:
            return [part async for part in parts]

    async def _pieces(self, at: str, filename: str, document: Document) -> Sequence[str | Pixels]:
        try:
            pieces = await self._senses.documents.read(document, self._project, max_pictures=self._n_pages_left)
        except Unreadable as fault:
            raise FileUnreadable(at, filename, str(fault)) from None
        pictures = [piece for piece in pieces if isinstance(piece, Pixels)]
        self.decoded += pictures
        self._n_pages_left -= len(pictures)
        self._n_characters += sum(len(piece) for piece in pieces if isinstance(piece, str))
        if self._n_characters > self._max_characters:
            _too_long(at, f"{self._max_characters} characters of text")
        return pieces

    def _count_bytes(self, at: str, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > self._max_bytes:
            _too_long(at, f"{self._max_bytes} bytes")


def _too_long(at: str, limit: str) -> NoReturn:
    raise FileTooLong(at, limit)
