"""Holding generation to a grammar: which tokens may come next, and which must.

A thin, typed layer over llguidance. Grammars come from clients, so everything here is bounded: a grammar is compiled on a
thread with a deep stack and the lowest priority, its masks have a budget each, and what goes beyond ends as
`GrammarFailed`, not as a crash or a stall.

Compiling costs 1 to 60 ms for real schemas, at the limits of the contract up to a second; a mask 10 to 60 µs, the first one
of a grammar up to 5 ms. Both release the interpreter lock.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from completionist.engine.base import GrammarSpec
from completionist.engine.llama.capi import ffi
from completionist.engine.llama.model import Model
from completionist.engine.llama.quota import run_anywhere
from completionist.grammar.bounds import parser_limits

_NOT_TEXT = 1 << 0 | 1 << 1  # unknown, unused
_SPECIAL = b"\xff"  # what llguidance wants in front of a token that is not text; no UTF-8 text has this byte
_DOES_NOT_FIT = "doesn't satisfy the grammar"
_MAX_KEPT = 64
_MAX_KEPT_CHARACTERS = 2**19
"""Of the texts of all that are kept. Compiled, a character of the worst takes 180 bytes: 90 MB."""
_MAX_AT_ONCE = 4
"""Grammars that are compiled side by side: one that takes long holds up few others."""
_STACK_BYTES = 256 << 20  # address space, touched only as far as a grammar recurses
_NICENESS = 19


class GrammarFailed(Exception):
    """The grammar cannot be compiled, accepts nothing, or got too complex under way. The text is for the log."""


class TooMuchWork(GrammarFailed):
    """The grammar leads to more work than it may make. It lies with who wrote it."""


class DeadEnd(GrammarFailed):
    """The grammar leads to where nothing fits. It lies with who wrote it."""


class Matcher:
    """One answer's place in its grammar. Not shared between threads."""

    def __init__(self, native: LLMatcher, vocabulary_size: int) -> None:
        self._native = native
        self._size = vocabulary_size
        self._words: NDArray[np.uint32] = np.zeros(-(-vocabulary_size // 32), np.uint32)

    def copy(self) -> Matcher:
        """The same place, to go on from independently."""
        return Matcher(self._native.deep_copy(), self._size)

    @property
    def is_accepting(self) -> bool:
        """The answer may end here."""
        return self._native.is_accepting()

    @property
    def is_over(self) -> bool:
        """The answer must end here."""
        return self._native.is_stopped()

    def allowed(self) -> NDArray[np.uint32]:
        """Bits of the tokens that may come next, lowest first, in a buffer that the next call overwrites. Where the answer
        may end, the tokens that end a turn are among them. Raises `DeadEnd`, `TooMuchWork`."""
        self._native.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        error = self._native.get_error() if self._native.is_error() else ""
        if error and not error.startswith("NoExtension"):
            raise TooMuchWork(error)
        if error or not self._words.any():
            raise DeadEnd("it comes to a place where nothing fits")
        return self._words

    def accept(self, token: int) -> None:
        """Go on by a token that `allowed` had. Raises `TooMuchWork`, and `GrammarFailed` for any other token."""
        if not self._native.consume_token(token):
            error = self._native.get_error()
            raise GrammarFailed(error) if _DOES_NOT_FIT in error else TooMuchWork(error)

    def n_fitting(self, tokens: list[int]) -> int:
        """How many of `tokens`, from the first, could be accepted one after the other. Nothing moves."""
        n_fitting: int = self._native.validate_tokens(tokens)
        return n_fitting

    def forced(self) -> list[int]:
        """The tokens that must come next, as far as there is no choice: often none. They are not accepted by this. Raises
        `TooMuchWork`."""
        tokens: list[int] = self._native.compute_ff_tokens()
        if self._native.is_error():
            raise TooMuchWork(self._native.get_error())
        return tokens

    def rollback(self, n_tokens: int) -> None:
        """Take back the last `n_tokens` accepted ones. Raises `GrammarFailed` where there are not so many."""
        if not self._native.rollback(n_tokens):
            self._check()
            raise GrammarFailed(f"cannot take back {n_tokens} tokens")

    def _check(self) -> None:
        if self._native.is_error():
            raise GrammarFailed(self._native.get_error())


def has(allowed: NDArray[np.uint32], token: int) -> bool:
    """Whether the bit of `token` is set."""
    return bool(allowed[token >> 5] >> (token & 31) & 1)


def forbid(row: NDArray[np.float32], allowed: NDArray[np.uint32]) -> None:
    """Set the logits of all tokens whose bits are not set to minus infinity."""
    forbidden = np.unpackbits((~allowed).view(np.uint8), count=len(row), bitorder="little")
    np.copyto(row, -np.inf, where=forbidden.view(np.bool_))


class Grammars:
    """Compiles grammars for one vocabulary, and keeps the latest."""

    def __init__(self, model: Model) -> None:
        """Takes 0.3 to 1 s: the whole vocabulary is read."""
        self._size = model.vocabulary_size
        self._tokenizer = _tokenizer(model)
        self._kept: OrderedDict[GrammarSpec, Matcher] = OrderedDict()
        self._n_characters = 0
        """Of those kept."""
        self._awaited: dict[GrammarSpec, list[Future[Matcher]]] = {}
        self._compiling: set[GrammarSpec] = set()
        self._lock = threading.Lock()

    def compile(self, spec: GrammarSpec) -> Future[Matcher]:
        """A matcher at the beginning of the grammar, or `GrammarFailed`, in the future. Any thread may ask; those who ask
        for the same grammar wait for the same thread."""
        future: Future[Matcher] = Future()
        with self._lock:
            kept = self._kept.get(spec)
            if kept is not None:
                self._kept.move_to_end(spec)
            else:
                self._awaited.setdefault(spec, []).append(future)
                self._start_more()
        if kept is not None:
            future.set_result(kept.copy())
        return future

    def _start_more(self) -> None:
        """Under the lock. The stack of a thread is set for the whole process, so it is set and put back here."""
        waiting = [spec for spec in self._awaited if spec not in self._compiling]
        before = threading.stack_size(_STACK_BYTES)
        try:
            for spec in waiting[: _MAX_AT_ONCE - len(self._compiling)]:
                self._compiling.add(spec)
                threading.Thread(target=self._run, args=(spec,), name="grammar", daemon=True).start()
        finally:
            threading.stack_size(before)

    def _run(self, spec: GrammarSpec) -> None:
        run_anywhere()
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        outcome: Matcher | BaseException
        try:
            outcome = self._compile(spec)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for this grammar
            outcome = error
        with self._lock:
            if isinstance(outcome, Matcher):
                self._keep(spec, outcome)
            futures = self._awaited.pop(spec)
            self._compiling.remove(spec)
            self._start_more()
        for future in futures:
            if isinstance(outcome, Matcher):
                future.set_result(outcome.copy())
            else:
                future.set_exception(outcome)

    def _compile(self, spec: GrammarSpec) -> Matcher:
        matcher = Matcher(LLMatcher(self._tokenizer, spec.source, log_level=0, limits=parser_limits(spec)), self._size)
        matcher.allowed()  # what fits nothing is told now, and the first mask is the dearest
        return matcher

    def _keep(self, spec: GrammarSpec, matcher: Matcher) -> None:
        self._kept[spec] = matcher
        self._n_characters += len(spec.source)
        while len(self._kept) > _MAX_KEPT or self._n_characters > _MAX_KEPT_CHARACTERS:
            dropped, _ = self._kept.popitem(last=False)
            self._n_characters -= len(dropped.source)


def _tokenizer(model: Model) -> LLTokenizer:
    tokens = [_bytes(model, token) for token in range(model.vocabulary_size)]
    build: Any = LLTokenizer  # the constructor for llama.cpp is missing in the package's type stubs
    tokenizer: LLTokenizer = build.from_llamacpp(
        tokens=tokens,
        vocab_ptr=int(ffi.cast("uintptr_t", model.vocab)),
        tokenize_fptr=int(ffi.cast("uintptr_t", ffi.addressof(model.c, "llama_tokenize"))),
        eos_token=[token for token in range(model.vocabulary_size) if model.ends_turn(token)],
    )
    return tokenizer


def _bytes(model: Model, token: int) -> bytes:
    """User-defined tokens are text: a grammar's strings and expressions match them, and so does what reads the answer."""
    if model.is_control(token) or model.c.llama_vocab_get_attr(model.vocab, token) & _NOT_TEXT:
        return _SPECIAL + model.token_text(token).encode()
    return model.piece(token)
