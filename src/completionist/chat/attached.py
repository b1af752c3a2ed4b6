"""What messages bring → text in its place: files, sound, pictures, earlier speech (contract 3.2, 3.4, 8.7, 13.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import msgspec

from completionist.chat.aside import aside
from completionist.chat.documents import Document, Unreadable, kind_of, shown
from completionist.chat.hearing import Unintelligible
from completionist.chat.pictures import BadPicture, Unfetched, shown_text
from completionist.chat.senses import Senses
from completionist.errors import FileNotFound, UnknownFile
from completionist.settings import DocumentSettings
from completionist.store.base import CompletionStore
from completionist.store.files import Files, StoredFile
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
    PictureTextPart,
    SeenPart,
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
    async def read(self, request: ChatRequest, project: str, *, sees: bool = False) -> AsyncIterator[ChatRequest]:
        """`request` with text in place of files, sound and earlier speech, and of pictures unless its model `sees`: those are
        decoded, and gone when it is over.

        Raises `UnknownFile`, `FileUnreadable`, `FileTooLong`, `InvalidDataURL`, `InvalidAudioData`, `InvalidImage`,
        `InvalidImageURL`, `TooManyImages`, `UnknownSpeech`, all with `param` naming the place; `StorageUnavailable`,
        `Overloaded`.
        """
        if not await aside(request, lambda: any(map(_brings_something, request.messages))):
            yield request
            return
        reading = _Reading(
            self._files, self._senses, self._settings, project, sees=sees, is_judged=request.moderation is not None
        )
        try:
            messages = [
                await self._in_words(i, message, project)
                if isinstance(message, AssistantMessage)
                else await reading.message(i, message)
                for i, message in enumerate(request.messages)
            ]
            yield msgspec.structs.replace(request, messages=tuple(messages))
        finally:
            for part in reading.seen:
                await self._senses.sight.forget(part.pixels)

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
        self, files: Files, senses: Senses, settings: DocumentSettings, project: str, *, sees: bool, is_judged: bool
    ) -> None:
        self._files = files
        self._senses = senses
        self._project = project
        self._sees = sees
        self._is_judged = is_judged
        self.seen: list[SeenPart] = []
        self._max_bytes = settings.max_request_bytes
        self._max_characters = settings.max_request_characters
        self._n_bytes = self._n_characters = self._n_images = self._n_fetched_bytes = 0

    async def message(self, i: int, message: Message) -> Message:
        if not _brings_something(message):
            return message
        parts = _parts(message)
        content = [
            await self._in_words(f"messages[{i}].content[{j}]", part, is_first=j == 0, is_last=j == len(parts) - 1)
            for j, part in enumerate(parts)
        ]
        return msgspec.structs.replace(message, content=tuple(content))

    async def _in_words(self, at: str, part: Part, *, is_first: bool, is_last: bool) -> Part:
        """An empty line stands between a file, or what was heard, and what is around it."""
        before, after = "" if is_first else "\n\n", "" if is_last else "\n\n"
        match part:
            case FilePart():
                words = before + await self._read(f"{at}.file", part.file) + after
                return TextPart(text=words, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
            case AudioPart():
                words = before + await self._heard(f"{at}.input_audio.data", part.input_audio) + after
                return HeardPart(text=words, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
            case ImagePart():
                if self._sees:
                    return await self._seen(f"{at}.image_url.url", part)
                words = before + await self._read_off(f"{at}.image_url.url", part.image_url) + after
                return PictureTextPart(text=words, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
            case _:
                return part

    async def _seen(self, at: str, part: ImagePart) -> SeenPart:
        data, detail = await self._data(at, part.image_url), part.image_url.detail or "auto"
        try:
            pixels = await self._senses.sight.pixels(data, detail=detail, project=self._project)
        except BadPicture as bad:
            raise InvalidImage(at, bad.fault, bad.reason) from None
        judged = data if self._is_judged else None
        seen = SeenPart(pixels=pixels, data=judged, prompt_cache_breakpoint=part.prompt_cache_breakpoint)
        self.seen.append(seen)
        return seen

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

    async def _read(self, at: str, file: FileReference) -> str:
        if file.file_id is not None:
            filename, text = await self._stored(f"{at}.file_id", file.file_id)
        else:
            filename = file.filename or ""
            text = await self._sent(f"{at}.file_data", filename, file.file_data or "")
        return shown(filename, text)

    async def _sent(self, at: str, filename: str, url: str) -> str:
        data = Base64.of_data_url(url)
        media_type = url[len("data:") : data.start - 1].partition(";")[0]
        kind = kind_of(filename, media_type)
        if kind is None:
            raise InvalidDataURL(at, FILE_WANTED, f"unsupported MIME type '{media_type[:64]}'")
        self._count_bytes(at, len(data) * 3 // 4)
        return await self._text(at, filename, Document(kind=kind, content=data))

    async def _stored(self, at: str, id_: str) -> tuple[str, str]:
        try:
            file = await self._files.get(self._project, id_)
            kind = kind_of(file.filename)
            if kind is None:
                raise FileUnreadable(at, file.filename, "The end of its name is not that of a kind that can be read.")
            self._count_bytes(at, file.n_bytes)
            content = await self._content(file)
        except FileNotFound:
            raise UnknownFile(at, id_) from None
        return file.filename, await self._text(at, file.filename, Document(kind=kind, content=content))

    async def _content(self, file: StoredFile) -> Sequence[bytes]:
        async with self._files.content(file) as parts:
            return [part async for part in parts]

    async def _text(self, at: str, filename: str, document: Document) -> str:
        try:
            text = await self._senses.documents.text_of(document, self._project)
        except Unreadable as fault:
            raise FileUnreadable(at, filename, str(fault)) from None
        self._n_characters += len(text)
        if self._n_characters > self._max_characters:
            _too_long(at, f"{self._max_characters} characters of text")
        return text

    def _count_bytes(self, at: str, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > self._max_bytes:
            _too_long(at, f"{self._max_bytes} bytes")


def _too_long(at: str, limit: str) -> NoReturn:
    raise FileTooLong(at, limit)
