"""The yardstick: llama_decode in a loop, logits copied, argmax (or a draw), through the server's own declarations.

    python -m bench.bare            tokens per second at 1, 4, 16 and 32 sequences, greedy and sampled

No server can be faster with the same library, model and batch: every speed figure is a share of this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Sampling
from completionist.engine.llama.capi import ffi
from completionist.engine.llama.model import Model
from completionist.engine.llama.runner import outputs
from completionist.engine.llama.sampler import Sampler

Rows = NDArray[np.float32]
Draw = Callable[[Rows], list[int]]

ROWS = 512
"""The most rows of one call, as in the server."""
_MOST_FLASH_TOKENS = 2048
"""As the server chooses by itself."""


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of the loop gave, and how long it took."""

    tokens: tuple[tuple[int, ...], ...]
    """Per sequence."""
    prefill_s: float
    decode_s: float
    """Of all steps after the first token."""

    @property
    def tokens_per_s(self) -> float:
        """Of the decode steps: the first token of each sequence came out of its prompt."""
        return sum(len(tokens) - 1 for tokens in self.tokens) / self.decode_s


class BareContext:
    """`n_sequences` streams of `n_cells` cells in one context, and a batch that is filled again for every call."""

    def __init__(self, model: Model, *, n_sequences: int, n_cells: int, threads: int) -> None:
        self.c = model.c
        self.n_sequences = n_sequences
        self.vocabulary_size = model.vocabulary_size
        params = self.c.llama_context_default_params()
        params.n_ctx, params.n_seq_max = n_sequences * n_cells, n_sequences
        params.n_batch = params.n_ubatch = ROWS
        params.n_outputs_max = outputs(n_sequences)
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = n_cells <= _MOST_FLASH_TOKENS
        self.handle = self.c.llama_init_from_model(model.handle, params)
        if self.handle == ffi.NULL:
            raise MemoryError(f"no context of {n_sequences} x {n_cells} cells: {model.native.last_words()}")
        self.memory = self.c.llama_get_memory(self.handle)
        self._ids = [ffi.new("llama_seq_id[1]", [sequence]) for sequence in range(n_sequences)]
        self._token = ffi.new("llama_token[]", ROWS)
        self._pos = ffi.new("llama_pos[]", ROWS)
        self._n_ids = ffi.new("int32_t[]", [1] * ROWS)
        self._seq = ffi.new("llama_seq_id *[]", ROWS)
        self._wants = ffi.new("int8_t[]", ROWS)

    def close(self) -> None:
        self.c.llama_free(self.handle)

    def prefill(self, sequence: int, tokens: list[int]) -> Rows:
        """Forget what the sequence held and evaluate `tokens`. Returns the logits behind the last one."""
        self.c.llama_memory_seq_rm(self.memory, sequence, -1, -1)
        for start in range(0, len(tokens), ROWS):
            chunk = tokens[start : start + ROWS]
            for row, token in enumerate(chunk):
                self._lay(row, token, start + row, sequence, wants=start + row == len(tokens) - 1)
            self._decode(len(chunk))
        last: Rows = self._logits(1)[0]
        return last

    def step(self, tokens: list[int], position: int | list[int]) -> Rows:
        """One decode step of the first `len(tokens)` sequences. Returns a copy of a row of logits for each."""
        positions = [position] * len(tokens) if isinstance(position, int) else position
        for sequence, (token, pos) in enumerate(zip(tokens, positions, strict=True)):
            self._lay(sequence, token, pos, sequence, wants=True)
        self._decode(len(tokens))
        return self._logits(len(tokens))

    def run(self, tokens: list[int], position: int) -> Rows:
        """Continue sequence 0 by all of `tokens` in one call. Returns a copy of a row of logits for each."""
        for row, token in enumerate(tokens):
            self._lay(row, token, position + row, 0, wants=True)
        self._decode(len(tokens))
        return self._logits(len(tokens))

    def spread(self, n_sequences: int) -> None:
        """Give the first `n_sequences` the state of sequence 0."""
        size = int(self.c.llama_state_seq_get_size(self.handle, 0))
        state = bytearray(size)
        self.c.llama_state_seq_get_data(self.handle, ffi.from_buffer(state), size, 0)
        for sequence in range(1, n_sequences):
            if self.c.llama_state_seq_set_data(self.handle, ffi.from_buffer(state), size, sequence) == 0:
                raise MemoryError(f"the state of sequence 0 does not fit sequence {sequence}")

    def trim(self, n_tokens: int) -> None:
        """Forget what sequence 0 holds behind `n_tokens`."""
        self.c.llama_memory_seq_rm(self.memory, 0, n_tokens, -1)

    def _lay(self, row: int, token: int, position: int, sequence: int, *, wants: bool) -> None:
        self._token[row], self._pos[row], self._seq[row], self._wants[row] = token, position, self._ids[sequence], wants

    def _decode(self, n_rows: int) -> None:
        batch: Any = ffi.new("llama_batch *")
        batch.n_tokens, batch.token, batch.pos = n_rows, self._token, self._pos
        batch.n_seq_id, batch.seq_id, batch.logits = self._n_ids, self._seq, self._wants
        status = self.c.llama_decode(self.handle, batch[0])
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")

    def _logits(self, n_rows: int) -> Rows:
        buffer = ffi.buffer(self.c.llama_get_logits(self.handle), n_rows * self.vocabulary_size * 4)
        return np.frombuffer(memoryview(buffer), np.float32).reshape(n_rows, -1).copy()


def generate(
    context: BareContext,
    prompts: list[list[int]],
    n_tokens: int,
    *,
    temperature: float = 0,
    logits: list[Rows] | None = None,
) -> Generated:
    """Prompts one after another, then all sequences in lock step for `n_tokens` tokens each; ends of turns are ignored. Of
    each step the rows are put into `logits`."""
    draw = _drawer(context.vocabulary_size, len(prompts), temperature)
    if logits is not None:
        draw = _noting(draw, logits)
    began_s = time.perf_counter()
    rows = np.stack([context.prefill(sequence, prompt) for sequence, prompt in enumerate(prompts)])
    drawn = draw(rows)
    tokens = [[token] for token in drawn]
    prefilled_s = time.perf_counter()
    for done in range(n_tokens - 1):
        drawn = draw(context.step(drawn, [len(prompt) + done for prompt in prompts]))
        for sequence, token in zip(tokens, drawn, strict=True):
            sequence.append(token)
    ended_s = time.perf_counter()
    return Generated(tokens=tuple(map(tuple, tokens)), prefill_s=prefilled_s - began_s, decode_s=ended_s - prefilled_s)


def _drawer(vocabulary_size: int, n_sequences: int, temperature: float) -> Draw:
    if temperature == 0:
        return lambda rows: [int(token) for token in rows.argmax(axis=1)]
    sampler, sampling = Sampler(vocabulary_size), Sampling(temperature=temperature, top_p=0.95, seed=0)
    randoms = [np.random.default_rng(sequence) for sequence in range(n_sequences)]
    return lambda rows: [sampler.draw(row, sampling, random) for row, random in zip(rows, randoms, strict=True)]


def _noting(draw: Draw, logits: list[Rows]) -> Draw:
    def noting(rows: Rows) -> list[int]:
        logits.append(rows)
        return draw(rows)

    return noting


def fill_s(context: BareContext, n_tokens: int) -> float:
    """Put `n_tokens` into the first sequence. Returns how long that took."""
    began_s = time.perf_counter()
    context.prefill(0, [1 + position % 1000 for position in range(n_tokens)])
    return time.perf_counter() - began_s


def step_ms(context: BareContext, n_sequences: int, n_context: int, n_steps: int) -> float:
    """Milliseconds of a decode step of `n_sequences`, behind the first `n_context` tokens of the first one each, which has at
    least as many."""
    context.trim(n_context)
    context.spread(n_sequences)
    began_s = time.perf_counter()
    for done in range(n_steps):
        context.step([1] * n_sequences, n_context + done).argmax(axis=1)
    return (time.perf_counter() - began_s) / n_steps * 1000


def evaluate_s(context: BareContext, prompt: list[int], tokens: list[int], runs: list[int]) -> float:
    """How long `tokens` take behind `prompt`, in calls of these many rows, the most likely token of each row included."""
    context.prefill(0, prompt)
    began_s, done = time.perf_counter(), 0
    for n_rows in runs:
        context.run(tokens[done : done + n_rows], len(prompt) + done).argmax(axis=1)
        done += n_rows
    return time.perf_counter() - began_s


def tokenise(model: Model, text: str) -> list[int]:
    """A rendered prompt to ids, control tokens parsed: the text is ours."""
    raw = text.encode()
    buffer = ffi.new("llama_token[]", len(raw) + 8)
    add_special, parse_special = model.bos_id is not None, True
    n_tokens = model.c.llama_tokenize(model.vocab, raw, len(raw), buffer, len(raw) + 8, add_special, parse_special)
    return list(ffi.unpack(buffer, n_tokens))


if __name__ == "__main__":
    from bench import bare_speed
    from bench.harness import main

    main("bare", bare_speed.TITLE, bare_speed.measure)
