"""The only builder of a chunk: what a delta looks like in a stream (contract, section 6).

Opened   {"index":0,"delta":{"role":"assistant","content":"","refusal":null},…}
Text     {"index":0,"delta":{"content":"High"},…}
Closed   {"index":0,"delta":{},…,"finish_reason":"stop"}
Totals   "choices":[],"usage":{…}                            only with `include_usage`
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from completionist import ids
from completionist.chat.deltas import Closed, Delta, Opened, Text, Totals
from completionist.chat.fold import Head
from completionist.types.completion import Chunk, ChunkChoice, DeltaMessage, Logprobs, Usage

_OBFUSCATION_MODULUS_BYTES = 16

_ENCODER = msgspec.json.Encoder()
_ROLE = DeltaMessage(role="assistant", content="", refusal=None)
_NOTHING = DeltaMessage()


class Chunks:
    """Turns the deltas of one streamed answer into chunks, as JSON on one line each."""

    def __init__(self, head: Head, *, has_logprobs: bool, include_usage: bool, include_obfuscation: bool) -> None:
        self._head = head
        self._has_logprobs = has_logprobs
        self._include_usage = include_usage
        self._include_obfuscation = include_obfuscation

    def chunk(self, delta: Delta) -> bytes | None:
        """The chunk for `delta`; None where it adds nothing to the stream."""
        match delta:
            case Text():
                message = DeltaMessage(content=delta.text)
                logprobs = Logprobs(content=delta.logprobs, refusal=None) if self._has_logprobs else None
                return self._encode(ChunkChoice(index=delta.index, delta=message, logprobs=logprobs))
            case Opened():
                logprobs = Logprobs(content=(), refusal=None) if self._has_logprobs else None
                return self._encode(ChunkChoice(index=delta.index, delta=_ROLE, logprobs=logprobs))
            case Closed():
                reason = delta.finish_reason
                return self._encode(ChunkChoice(index=delta.index, delta=_NOTHING, finish_reason=reason))
            case Totals():
                return self._usage_chunk(delta.usage) if self._include_usage else None

    def _encode(self, choice: ChunkChoice) -> bytes:
        chunk = self._chunk((choice,), usage=None if self._include_usage else UNSET, obfuscation=UNSET)
        encoded = _ENCODER.encode(chunk)
        return _obfuscated(encoded) if self._include_obfuscation else encoded

    def _usage_chunk(self, usage: Usage) -> bytes:
        return _ENCODER.encode(self._chunk((), usage=usage, obfuscation="" if self._include_obfuscation else UNSET))

    def _chunk(
        self, choices: tuple[ChunkChoice, ...], *, usage: Usage | UnsetType | None, obfuscation: str | UnsetType
    ) -> Chunk:
        head = self._head
        return Chunk(
            id=head.id,
            created=head.created,
            model=head.model,
            service_tier=head.service_tier,
            system_fingerprint=head.system_fingerprint,
            choices=choices,
            usage=usage,
            obfuscation=obfuscation,
        )


def _obfuscated(encoded: bytes) -> bytes:
    """Pad to a multiple of 16 bytes, so that lengths on the wire do not tell the tokens (contract, section 6.9)."""
    opening = encoded[:-1] + b',"obfuscation":"'
    return b'%b%b"}' % (opening, ids.padding(-(len(opening) + 2) % _OBFUSCATION_MODULUS_BYTES))
