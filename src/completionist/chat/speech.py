"""A stage over the delta stream: what an answer says in words is spoken, while it is still being written (contract 8.5).

    Text            → Spoken at once; and clause by clause, as soon as it is there, Sound
    Closed          → Closed, when the last of the choice's words has been spoken
    Judged, Totals  → Expiry for each choice that spoke, then these

Everything else passes. Words that a stop string cut away never come here, so they are never spoken. Each choice has a task
of its own that waits for speech; the deltas are read on meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from completionist import ids
from completionist.chat.deltas import CallOpened, Closed, Delta, Expiry, Judged, Opened, Sound, Spoken, Text, Totals
from completionist.chat.spool import Spool
from completionist.store.voices import Style, VoiceBook
from completionist.text.clauses import Clauses
from completionist.types.formats import VoiceID
from completionist.types.refusals import SpeechTooLong, UnknownVoice
from completionist.types.request import ChatRequest

SAMPLE_RATE_HZ = 24_000
_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
_PIECE_BYTES = _BYTES_PER_S
"""Of one delta at most; a multiple of three, so that pieces of base64 can be joined (contract 6.3)."""
_EXPIRES_AFTER_S = 3600

SoundFormat = Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


class Speaker(Protocol):
    """Speaks, and writes sound files. Both raise `Overloaded`, `ServerError`."""

    @property
    def missing(self) -> str | None:
        """What this installation lacks to speak, as a sentence; None: nothing."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Those that everyone may name."""
        ...

    @property
    def formats(self) -> Sequence[str]:
        """Those that it can write."""
        ...

    @property
    def max_answer_s(self) -> float:
        """How long all choices of an answer together may speak."""
        ...

    async def say(self, text: str, voice: str | Style, project: str) -> bytes:
        """`voice`: one of `voices`, or a project's own.

        Signed 16-bit little-endian samples at 24 kHz, one channel; none where there is nothing to pronounce."""
        ...

    async def encoded(self, samples: Spool, sound_format: SoundFormat, project: str) -> str:
        """A whole file, as base64."""
        ...

    async def close(self) -> None: ...


class Wanted(msgspec.Struct, frozen=True):
    """How an answer is to be spoken."""

    voice: str | Style
    sound_format: SoundFormat
    project: str
    expires_at: int


def is_spoken(request: ChatRequest) -> bool:
    """Whether the answer is to be spoken; `audio` by itself asks for nothing (contract 2.5)."""
    return "audio" in (request.modalities or ())


async def wanted_of(request: ChatRequest, voices: VoiceBook, project: str, created: int) -> Wanted | None:
    """None: the answer is not spoken. Raises `UnknownVoice`, `StorageUnavailable`."""
    audio = request.audio
    if not is_spoken(request) or audio is None:
        return None
    voice = audio.voice
    style = await _style(voices, project, voice.id) if isinstance(voice, VoiceID) else voice
    return Wanted(style, audio.format, project, created + _EXPIRES_AFTER_S)


async def _style(voices: VoiceBook, project: str, id_: str) -> Style:
    style = await voices.style(project, id_)
    if style is None:
        raise UnknownVoice(id_)
    return style


async def spoken(deltas: AsyncIterator[Delta], wanted: Wanted, speaker: Speaker) -> AsyncGenerator[Delta]:
    """`deltas` with their words spoken. Raises what they raise, and what the speaker raises."""
    stage = _Stage(wanted, speaker)
    work = asyncio.create_task(stage.run(deltas))
    try:
        while (delta := await stage.ready.get()) is not None:
            yield delta
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class _Stage:
    def __init__(self, wanted: Wanted, speaker: Speaker) -> None:
        self.ready: asyncio.Queue[Delta | None] = asyncio.Queue()
        """None: nothing more comes, for better or worse."""
        self._wanted = wanted
        self._speaker = speaker
        self._choices: dict[int, _Choice] = {}
        self._n_bytes = 0

    async def run(self, deltas: AsyncIterator[Delta]) -> None:
        try:
            last = await self._read(deltas)
            for choice in self._choices.values():
                if choice.id is not None:
                    self.ready.put_nowait(Expiry(choice.index, self._wanted.expires_at))
            for delta in last:
                self.ready.put_nowait(delta)
        finally:
            self.ready.put_nowait(None)

    async def _read(self, deltas: AsyncIterator[Delta]) -> list[Judged | Totals]:
        """To the end, and until all is spoken. Returns what comes behind the choices."""
        last: list[Judged | Totals] = []
        try:
            async with asyncio.TaskGroup() as speaking:
                async for delta in deltas:
                    match delta:
                        case Judged() | Totals():
                            last.append(delta)
                        case Opened():
                            choice = self._choices[delta.index] = _Choice(delta.index)
                            speaking.create_task(self._speak(choice))
                            self.ready.put_nowait(delta)
                        case _:
                            self._take(self._choices[delta.index], delta)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return last

    def _take(self, choice: _Choice, delta: Delta) -> None:
        match delta:
            case Text():
                self.ready.put_nowait(choice.says(delta.text))
            case Closed():
                if choice.id is None and not choice.has_called:
                    self.ready.put_nowait(choice.says(""))
                choice.close(delta)
            case CallOpened():
                choice.calls()
                self.ready.put_nowait(delta)
            case _:
                self.ready.put_nowait(delta)

    async def _speak(self, choice: _Choice) -> None:
        """One clause after the other, then the end."""
        waiting, samples = bytearray(), Spool()
        while not isinstance(clause := await choice.clauses.get(), Closed):
            said = await self._speaker.say(clause, self._wanted.voice, self._wanted.project)
            self._count(len(said))
            if self._wanted.sound_format == "pcm16":
                waiting += said
                self._send(choice, waiting, keep=len(waiting) % 3)
            else:
                await samples.add(said)
        if choice.id is not None and self._wanted.sound_format != "pcm16":
            data = await self._speaker.encoded(samples, self._wanted.sound_format, self._wanted.project)
            self.ready.put_nowait(Sound(choice.index, data))
        self._send(choice, waiting, keep=0)
        self.ready.put_nowait(clause)

    def _send(self, choice: _Choice, waiting: bytearray, *, keep: int) -> None:
        """All but the last `keep` bytes."""
        while len(waiting) > keep:
            piece = waiting[: min(_PIECE_BYTES, len(waiting) - keep)]
            del waiting[: len(piece)]
            self.ready.put_nowait(Sound(choice.index, base64.b64encode(piece).decode()))

    def _count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > self._speaker.max_answer_s * _BYTES_PER_S:
            raise SpeechTooLong(self._speaker.max_answer_s)


class _Choice:
    """What one choice has said, and what of it is still to be spoken."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.has_called = False
        self.clauses: asyncio.Queue[str | Closed] = asyncio.Queue()
        self._cutter = Clauses()

    def says(self, text: str) -> Spoken:
        self.id = self.id or ids.speech_id()
        self._give(self._cutter.feed(text))
        return Spoken(self.index, self.id, text)

    def calls(self) -> None:
        """What was said before is complete."""
        self.has_called = True
        self._give(self._cutter.finish())

    def close(self, closed: Closed) -> None:
        self._give(self._cutter.finish())
        self.clauses.put_nowait(closed)

    def _give(self, clauses: Sequence[str]) -> None:
        for clause in clauses:
            self.clauses.put_nowait(clause)
