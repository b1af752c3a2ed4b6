"""Runs calls on one context of the library, and copies the state of its streams in and out."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from completionist.engine.llama.calls import Call, Span
from completionist.engine.llama.capi import CData, ffi
from completionist.engine.llama.insets import Inset, Rows
from completionist.engine.llama.model import Model
from completionist.engine.llama.state import State

KVType = Literal["f16", "q8_0", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]
MAX_CALL_TOKENS = 512
MAX_PROPOSED_TOKENS = 64
"""Over all sequences of a call. Each needs a row of logits, for which memory is set aside."""
_OUTPUTS_STEP = 16
"""The library lays out the buffers of a call one behind another, and the list of its outputs has 4 bytes for each. In multiples
of 16 the scores of attention begin with a cache line; else two threads write to the same lines all the time, and behind 2,000
cells a long chunk takes 15 % longer without flash attention."""
_MAX_STREAMS = 256  # the library's limit
_MOST_FLASH_TOKENS = 2048
"""With flash attention a step of 16 decodes takes 0.76 of the time behind 24 cells, 0.96 behind 500, 1.03 behind 1,000 and 1.06
behind 1,900, a prompt of 1,000 tokens 0.79, but 16 rows behind 3,500 cells 1.5 to 2 times as long (docs/decisions.md)."""
_FLASH_ROWS = 64
_CELL_TYPES: dict[KVType, int] = {"f16": 1, "q8_0": 8, "q4_0": 2}  # numbers of ggml_type


class ContextRefused(Exception):
    """The context does not fit into memory, or the model cannot have one of this shape."""


class DecodeFailed(Exception):
    """A call did not run; nothing of it is to be relied on."""


class Footprint(msgspec.Struct, frozen=True):
    """Memory of a stream: a part of its own, which recurrent models have, and one for each cell."""

    stream_bytes: int
    cell_bytes: int

    def of(self, n_streams: int, tokens: int) -> int:
        return n_streams * (self.stream_bytes + tokens * self.cell_bytes)


class Context:
    """`n_streams` streams that hold up to `stream_tokens` tokens each, and the buffers of a batch, allocated once."""

    def __init__(
        self,
        model: Model,
        *,
        n_streams: int,
        stream_tokens: int,
        threads: int,
        kv_type: KVType = "f16",
        flash_attention: FlashAttention = "auto",
    ) -> None:
        self.c = model.c
        self.n_streams = n_streams
        self.is_movable = model.memory_kind == "trim_anywhere"
        is_flash = kv_type != "f16" or _has_flash_attention(flash_attention, stream_tokens)
        self.fast_rows = _FLASH_ROWS if is_flash else 1
        """Of one sequence in a call: behind some hundred cells, fewer take longer each."""
        params = self.c.llama_context_default_params()
        params.n_ctx = n_streams * stream_tokens
        params.n_seq_max = n_streams
        params.n_batch = params.n_ubatch = MAX_CALL_TOKENS
        params.n_outputs_max = outputs(n_streams)
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = _CELL_TYPES[kv_type]
        params.flash_attn_type = is_flash
        params.swa_full = False
        self.handle = self.c.llama_init_from_model(model.handle, params)
        if self.handle == ffi.NULL:
            raise ContextRefused(
                f"no memory for {n_streams} streams of {stream_tokens} tokens: lower engine.streams or "
                f"engine.context_tokens ({model.native.last_words()})"
            )
        self.memory = self.c.llama_get_memory(self.handle)
        self.stream_cells = int(self.c.llama_n_ctx_seq(self.handle))  # rounded up to a multiple of 256
        self.stream_tokens = min(stream_tokens, self.stream_cells)
        self.vocabulary_size = model.vocabulary_size
        self._batch = _Batch(MAX_CALL_TOKENS)
        self._settings = ", ".join(
            (
                f"streams of {stream_tokens}",
                f"{MAX_CALL_TOKENS} rows",
                f"{threads} threads",
                f"{kv_type} cells",
                "flash attention" if is_flash else "plain attention",
            )
        )

    def close(self) -> None:
        self.c.llama_free(self.handle)

    def arithmetic(self) -> str:
        """The settings that change results, for the fingerprint."""
        return self._settings

    def warm_up(self) -> Footprint:
        """Touch all weights once, so that the first request does not wait for the disk. Returns what a stream takes."""
        sizes = [int(self.c.llama_state_seq_get_size(self.handle, 0))]
        for position in range(2):
            self._batch.lay(0, [0], position, 0)
            self._batch.struct.n_tokens = 1
            status = self.c.llama_decode(self.handle, self._batch.struct)
            if status != 0:
                raise ContextRefused(f"the model cannot evaluate a token (llama_decode returned {status})")
            sizes.append(int(self.c.llama_state_seq_get_size(self.handle, 0)))
        self.forget(0)
        cell_bytes = sizes[2] - sizes[1]
        return Footprint(stream_bytes=sizes[1] - sizes[0] - cell_bytes, cell_bytes=cell_bytes)

    def logits_behind(self, tokens: list[int], n_known: int) -> NDArray[np.float32]:
        """Those of the next token behind `tokens`, of which the first stream holds the first `n_known` and maybe more. Raises
        `DecodeFailed`."""
        self.c.llama_memory_seq_rm(self.memory, 0, n_known, -1)
        self._batch.struct.n_tokens = self._batch.lay(0, tokens[n_known:], n_known, 0)
        self._batch.want_last()
        if (status := self.c.llama_decode(self.handle, self._batch.struct)) != 0:
            raise DecodeFailed(f"llama_decode returned {status} for {len(tokens) - n_known} rows")
        logits: NDArray[np.float32] = self._logits(1)[0].copy()
        return logits

    def run(self, call: Call) -> NDArray[np.float32]:
        """Evaluate the spans of `call`, which are sorted by stream. Returns a view of the rows of logits that the spans ask
        for (`Span.n_rows`), in order; it is valid until the next call. Raises `DecodeFailed`.
        """
        inset = call[0].sequence.inset
        n_outputs = self._batch.fill(call)
        status = self._decode_inset(inset, call[0]) if inset else self.c.llama_decode(self.handle, self._batch.struct)
        if status != 0:
            raise DecodeFailed(f"llama_decode returned {status} for {self._batch.struct.n_tokens} rows")
        for span in call:
            span.sequence.n_cells += span.n_tokens
        return self._logits(n_outputs)

    def _decode_inset(self, inset: Inset, span: Span) -> int:
        """The batch is laid out for the span, which is part of `inset`."""
        batch = self._batch.with_rows(inset.part(span.sequence.n_cells, span.n_tokens))
        self.c.llama_set_causal_attn(self.handle, not inset.is_whole)
        try:
            return int(self.c.llama_decode(self.handle, batch))
        finally:
            self.c.llama_set_causal_attn(self.handle, True)

    def _logits(self, n_rows: int) -> NDArray[np.float32]:
        if n_rows == 0:
            return np.empty((0, self.vocabulary_size), np.float32)
        pointer = self.c.llama_get_logits(self.handle)
        n_bytes = n_rows * self.vocabulary_size * 4
        return np.frombuffer(cast("memoryview", ffi.buffer(pointer, n_bytes)), np.float32).reshape(n_rows, -1)

    def forget(self, stream: int) -> None:
        """Empty a stream."""
        self.c.llama_memory_seq_rm(self.memory, stream, -1, -1)

    def trim(self, stream: int, n_tokens: int, window_tokens: int) -> bool:
        """Keep the first `n_tokens` of a stream. False, with the stream emptied, where they cannot be had: this memory
        gives nothing back, or a sliding window has lost what the next position would see.
        """
        exact = bool(self.c.llama_memory_seq_rm(self.memory, stream, n_tokens, -1))
        lowest = int(self.c.llama_memory_seq_pos_min(self.memory, stream))
        sees_enough = lowest == 0 or (window_tokens > 0 and 0 < lowest <= n_tokens - window_tokens + 1)
        if exact and sees_enough and self.n_cells(stream) == n_tokens:
            return True
        self.forget(stream)
        return False

    def n_cells(self, stream: int) -> int:
        """Positions that a stream has memory of; 0 for an empty one."""
        return int(self.c.llama_memory_seq_pos_max(self.memory, stream)) + 1

    def save(self, stream: int) -> State:
        """A copy of what the stream holds."""
        size = int(self.c.llama_state_seq_get_size(self.handle, stream))
        written = np.empty(size + State.room(_MAX_STREAMS), np.uint8)
        if self.c.llama_state_seq_get_data(self.handle, _pointer("uint8_t *", written), size, stream) != size:
            raise DecodeFailed(f"the state of stream {stream} cannot be copied")
        return State(written, size, stream=stream, n_streams=self.n_streams, is_movable=self.is_movable)

    def restore(self, stream: int, state: State) -> bool:
        """Replace what the stream holds; false, with the stream emptied, where the state does not fit."""
        if self._set(stream, state) or (state.turn_values() and self._set(stream, state)):
            return True
        self.forget(stream)
        return False

    def _set(self, stream: int, state: State) -> bool:
        source = state.for_context(self.n_streams)
        return bool(self.c.llama_state_seq_set_data(self.handle, _pointer("uint8_t *", source), len(source), stream))


def outputs(n_streams: int) -> int:
    """How many rows of logits a call of a context of `n_streams` may ask for: at least one of each stream and
    `MAX_PROPOSED_TOKENS`."""
    return -(-(n_streams + MAX_PROPOSED_TOKENS) // _OUTPUTS_STEP) * _OUTPUTS_STEP


def _has_flash_attention(wanted: FlashAttention, stream_tokens: int) -> bool:
    return wanted == "on" or (wanted == "auto" and stream_tokens <= _MOST_FLASH_TOKENS)


class _Batch:
    """The library's batch struct over numpy arrays that are filled again for every call."""

    def __init__(self, capacity: int) -> None:
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._stream_ids = np.zeros(capacity, np.int32)
        self._wants_logits = np.zeros(capacity, np.int8)
        self._n_stream_ids = np.ones(capacity, np.int32)
        first = self._stream_ids.ctypes.data
        self._stream_pointers = np.arange(first, first + 4 * capacity, 4, dtype=np.uint64)
        self._owner = ffi.new("llama_batch *")
        self.struct: CData = self._owner[0]
        self.struct.token = _pointer("llama_token *", self._tokens)
        self.struct.pos = _pointer("llama_pos *", self._positions)
        self.struct.n_seq_id = _pointer("int32_t *", self._n_stream_ids)
        self.struct.seq_id = _pointer("llama_seq_id **", self._stream_pointers)
        self.struct.logits = _pointer("int8_t *", self._wants_logits)
        self._rows = np.empty((0, 0), np.float32)
        self._inset: CData = ffi.new("llama_batch *")

    def fill(self, call: Call) -> int:
        """Lay the spans out one after another; returns how many positions give logits."""
        end = n_outputs = 0
        self._wants_logits[:] = 0
        for span in call:
            sequence, first = span.sequence, span.sequence.n_cells
            tokens = sequence.tokens[first : first + span.n_tokens] + sequence.guess[: span.n_guessed]
            end = self.lay(end, tokens, first, sequence.stream)
            self._wants_logits[end - span.n_rows : end] = 1
            n_outputs += span.n_rows
        self.struct.n_tokens = end
        return n_outputs

    def want_last(self) -> None:
        """The last row that was laid is the only one to give logits."""
        self._wants_logits[:] = 0
        self._wants_logits[self.struct.n_tokens - 1] = 1

    def with_rows(self, rows: Rows) -> CData:
        """What was laid out, with rows in place of tokens."""
        self._rows = np.ascontiguousarray(rows)  # the struct does not keep it
        self._inset[0] = self.struct
        self._inset.token = ffi.NULL
        self._inset.embd = _pointer("float *", self._rows)
        return self._inset[0]

    def lay(self, start: int, tokens: list[int], first: int, stream: int) -> int:
        """Write rows for `tokens` at positions `first` and on; returns the row behind them."""
        end = start + len(tokens)
        self._tokens[start:end] = tokens
        self._positions[start:end] = np.arange(first, first + len(tokens))
        self._stream_ids[start:end] = stream
        return end


def _pointer(kind: str, array: NDArray[Any]) -> CData:
    return ffi.cast(kind, array.ctypes.data)
