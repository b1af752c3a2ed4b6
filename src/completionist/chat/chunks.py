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
    """Turns the deltas of one streamed answer into chunks, as JSON on one line each.

    What all chunks of a stream have in common is encoded once:

        {"id":…,"choices":[   the choice   ],"usage":null   ,"obfuscation":"…"}
        `_opening`                         `_closing`
    """

    def __init__(self, head: Head, *, has_logprobs: bool, include_usage: bool, include_obfuscation: bool) -> None:
        self._head = head
        self._has_logprobs = has_logprobs
        self._include_usage = include_usage
        self._include_obfuscation = include_obfuscation
        self._opening = _ENCODER.encode(self._chunk(UNSET, UNSET)).removesuffix(b"]}")
        self._closing = (b'],"usage":null' if include_usage else b"]") + (
            b',"obfuscation":"' if include_obfuscation else b"}"
        )
        self._filler = ids.filler(2 * _OBFUSCATION_MODULUS_BYTES)
        self._n_chunks = 0

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
        encoded = b"%b%b%b" % (self._opening, _ENCODER.encode(choice), self._closing)
        return self._obfuscated(encoded) if self._include_obfuscation else encoded

    def _obfuscated(self, encoded: bytes) -> bytes:
        """Pad to a multiple of 16 bytes, so that lengths on the wire do not tell the tokens (contract, section 6.9)."""
        start = self._n_chunks % _OBFUSCATION_MODULUS_BYTES
        self._n_chunks += 1
        n_missing = -(len(encoded) + 2) % _OBFUSCATION_MODULUS_BYTES
        return b'%b%b"}' % (encoded, self._filler[start : start + n_missing])

    def _usage_chunk(self, usage: Usage) -> bytes:
        return _ENCODER.encode(self._chunk(usage, "" if self._include_obfuscation else UNSET))

    def _chunk(self, usage: Usage | UnsetType, obfuscation: str | UnsetType) -> Chunk:
        head = self._head
        return Chunk(
            id=head.id,
            created=head.created,
            model=head.model,
            service_tier=head.service_tier,
            system_fingerprint=head.system_fingerprint,
            choices=(),
            usage=usage,
            obfuscation=obfuscation,
        )
