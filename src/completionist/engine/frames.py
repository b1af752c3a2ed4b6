"""What travels between the API process and an engine worker: length-prefixed msgpack, commands in, reports out.

    frame = u32 little-endian length of the body · body

The worker is told what to load, answers `Ready` or `LoadFailed`, and from then on sends one `Step` per decode step for
all requests together, plus one for every `Ping` that arrives while it has nothing to do.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from completionist.engine.base import ModelCard, Prompt, TokenEvent

_HEADER = struct.Struct("<I")


class LoadModel(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """First command: everything a worker needs to know, kept by the supervisor for every restart."""

    model_path: str
    projector_path: str | None = None
    """What makes pictures or sound into what the model reads; None: it takes text alone."""
    name: str
    library_path: str
    library_description: str
    cache_dir: str
    """Where measurements and file digests are kept."""
    threads: int
    streams: int | None
    """Streams of the wide context."""
    stream_tokens: int | None
    """Cells of each."""
    context_tokens: int | None
    """The most one sequence can hold."""
    long_streams: int | None
    """Of `context_tokens`."""
    short_streams: int | None
    """For bursts."""
    kv_type: Literal["f16", "q8_0", "q4_0"]
    flash_attention: Literal["auto", "on", "off"]
    cache_bytes: int | None
    """Host memory for the prefix cache; 0 turns it off."""
    max_waiting: int
    """Requests that may wait for a stream."""
    is_alone: bool
    """Nothing else goes on in this server, so that the machine can be measured."""


class Submit(msgspec.Struct, frozen=True, tag="submit", array_like=True):
    id: int
    prompt: Prompt


class Stop(msgspec.Struct, frozen=True, tag="stop", array_like=True):
    id: int
    index: int


class Cancel(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    id: int


class Ping(msgspec.Struct, frozen=True, tag="ping", array_like=True):
    """Asks an idle worker for a `Step`; a busy one sends them anyway."""


class Rest(msgspec.Struct, frozen=True, tag="rest", array_like=True):
    """Leave time between the steps to a model that is loaded beside this one, or no longer."""

    is_wanted: bool


Command = Submit | Stop | Cancel | Ping | Rest


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    card: ModelCard


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """`reason` is for the operator: one line that says what to do."""

    reason: str


class Stats(msgspec.Struct, frozen=True, array_like=True):
    """The engine after a step. Sequences are choices; totals count from the start of this worker."""

    running: int = 0
    waiting: int = 0
    streams_free: int = 0
    steps_total: int = 0
    prompt_tokens_total: int = 0
    """Prompt tokens evaluated: those found in a cache or shared by choices are not among them."""
    generated_tokens_total: int = 0
    cached_tokens_total: int = 0
    """Prompt tokens that were found in the prefix cache."""
    cache_bytes: int = 0
    """Host memory of the prefix cache."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """What a decode step brought, or a call of it, in order: pairs of request id and event."""

    events: tuple[tuple[int, TokenEvent], ...]
    stats: Stats


Report = Ready | LoadFailed | Step

_encoder = msgspec.msgpack.Encoder()


def frame(message: LoadModel | Command | Report) -> bytes:
    """The message with its length in front."""
    body = _encoder.encode(message)
    return _HEADER.pack(len(body)) + body


class Splitter:
    """Cuts a byte stream into frame bodies: feed what arrived, take what is whole."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The body of every frame that is complete now."""
        self._pending += data
        bodies = []
        start = 0
        while len(self._pending) - start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._pending, start)
            end = start + _HEADER.size + length
            if end > len(self._pending):
                break
            bodies.append(bytes(self._pending[start + _HEADER.size : end]))
            start = end
        del self._pending[:start]
        return bodies
