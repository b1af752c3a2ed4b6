"""A loaded model file: its vocabulary, what is to be known about it, and text to tokens and back."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from completionist.engine.base import ControlToken, MemoryKind, PlainText, Segment, SpecialToken
from completionist.engine.llama.capi import CData, Native, ffi, text_at

_CONTROL = 1 << 3
_USER_DEFINED = 1 << 4
_STRIPS_LEFT = 1 << 7
_STRIPS_RIGHT = 1 << 8

_TAKEN_FOR_TEXT = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
"""Control tokens of gpt-oss, which the library makes user-defined wherever it meets them, so that its own programs show them:
it would also read them out of clients' text."""
_SPELLED = re.compile(b"|".join(re.escape(spelling.encode()) for spelling in _TAKEN_FOR_TEXT))


class ModelRefused(Exception):
    """The file is no model, is damaged, or is of a kind that does not generate text."""


class Model:
    """Weights and vocabulary. One per worker; contexts are made from it."""

    def __init__(self, native: Native, path: Path) -> None:
        self.native = native
        self.c = native.c
        self.handle = self._load(path)
        self.vocab = self.c.llama_model_get_vocab(self.handle)
        self.vocabulary_size = int(self.c.llama_vocab_n_tokens(self.vocab))
        self._pieces: dict[int, bytes] = {}
        self._retyped = frozenset(self._find(_TAKEN_FOR_TEXT))
        self.bos_id = self._wanted_bos()

    def _load(self, path: Path) -> CData:
        if not path.is_file():
            raise ModelRefused(f"no model file at {path}")
        handle = self.c.llama_model_load_from_file(str(path).encode(), self.c.llama_model_default_params())
        if handle == ffi.NULL:
            raise ModelRefused(f"cannot load {path}: {self.native.last_words()}")
        if self.c.llama_model_has_encoder(handle) or not self.c.llama_model_has_decoder(handle):
            raise ModelRefused(f"{path} is an encoder, not a model that generates text")
        if self.c.llama_model_is_diffusion(handle):
            raise ModelRefused(f"{path} is a diffusion model, which cannot generate token by token")
        return handle

    def _find(self, spellings: Sequence[str]) -> Iterator[int]:
        """Those of `spellings` that are single tokens."""
        for spelling in spellings:
            tokens = self._tokens(spelling.encode())
            if len(tokens) == 1 and self.token_text(tokens[0]) == spelling:
                yield tokens[0]

    def _wanted_bos(self) -> int | None:
        bos = int(self.c.llama_vocab_bos(self.vocab))
        return bos if bos >= 0 and self.c.llama_vocab_get_add_bos(self.vocab) else None

    def close(self) -> None:
        """Free the weights; every context must be closed before."""
        self.c.llama_model_free(self.handle)

    @property
    def description(self) -> str:
        buffer = ffi.new("char[256]")
        self.c.llama_model_desc(self.handle, buffer, 256)
        return text_at(buffer)

    @property
    def trained_context_tokens(self) -> int:
        return int(self.c.llama_model_n_ctx_train(self.handle))

    @property
    def parameters(self) -> int:
        return int(self.c.llama_model_n_params(self.handle))

    @property
    def weights_bytes(self) -> int:
        return int(self.c.llama_model_size(self.handle))

    @property
    def window_tokens(self) -> int:
        """Sliding attention window; 0 where there is none."""
        return int(self.c.llama_model_n_swa(self.handle))

    @property
    def chat_template(self) -> str | None:
        template = self.c.llama_model_chat_template(self.handle, ffi.NULL)
        return None if template == ffi.NULL else text_at(template)

    @property
    def memory_kind(self) -> MemoryKind:
        """How much of a sequence can be taken back without computing it again."""
        if self.c.llama_model_is_recurrent(self.handle) or self.c.llama_model_is_hybrid(self.handle):
            return "checkpoints_only"
        return "trim_within_window" if self.window_tokens else "trim_anywhere"

    @property
    def bos_text(self) -> str:
        return self.token_text(int(self.c.llama_vocab_bos(self.vocab)))

    @property
    def eos_text(self) -> str:
        return self.token_text(int(self.c.llama_vocab_eos(self.vocab)))

    def token_text(self, token: int) -> str:
        """The vocabulary's own spelling of a token; empty for -1, the library's «there is none»."""
        return "" if token < 0 else text_at(self.c.llama_vocab_get_text(self.vocab, token))

    def specials(self) -> tuple[SpecialToken, ...]:
        """Every control and user-defined token, by id."""
        return tuple(filter(None, map(self._special, range(self.vocabulary_size))))

    def _special(self, token: int) -> SpecialToken | None:
        attributes = self.c.llama_vocab_get_attr(self.vocab, token)
        if not attributes & (_CONTROL | _USER_DEFINED):
            return None
        return SpecialToken(
            token,
            self.token_text(token),
            "control" if self.is_control(token) else "user_defined",
            strips_left=bool(attributes & _STRIPS_LEFT),
            strips_right=bool(attributes & _STRIPS_RIGHT),
        )

    def ends_turn(self, token: int) -> bool:
        return bool(self.c.llama_vocab_is_eog(self.vocab, token))

    def piece(self, token: int) -> bytes:
        """The bytes of a token; empty for a control token."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token)
        return known

    def is_control(self, token: int) -> bool:
        return token in self._retyped or bool(self.c.llama_vocab_get_attr(self.vocab, token) & _CONTROL)

    def _render(self, token: int) -> bytes:
        if token in self._retyped:
            return b""
        size = 64
        while True:
            buffer = ffi.new("char[]", size)
            length = self.c.llama_token_to_piece(self.vocab, token, buffer, size, 0, False)
            if length >= 0:
                return bytes(ffi.buffer(buffer, length))
            size = -length

    def tokenise(self, segments: Sequence[Segment], *, is_start: bool = True) -> tuple[list[int], list[int]]:
        """Token ids of a prompt, or of its continuation, and how many of them lie wholly before each breakpoint, ascending.

        Text is tokenised with special tokens off; the BOS is put in front where it is wanted. Slots of media take nothing.
        """
        tokens: list[int] = []
        breakpoints: list[int] = []
        if is_start and self.bos_id is not None and tuple(segments[:1]) != (ControlToken(self.bos_id),):
            tokens.append(self.bos_id)
        for segment in segments:
            if isinstance(segment, ControlToken):
                tokens.append(segment.id)
            elif isinstance(segment, PlainText):
                added = self._tokenise_text(segment.text.encode())
                breakpoints += [len(tokens) + n for n in self._tokens_before(segment, added)]
                tokens += added
        return tokens, breakpoints

    def tokens_of(self, text: str) -> list[int]:
        """Token ids of a piece of text that stands within an answer."""
        return self._tokenise_text(text.encode())

    def _tokens_before(self, run: PlainText, tokens: list[int]) -> Iterator[int]:
        if run.breakpoints:
            ends = list(itertools.accumulate(len(self.piece(token)) for token in tokens))
            n_bytes = 0
            for start, end in itertools.pairwise((0, *run.breakpoints)):
                n_bytes += len(run.text[start:end].encode())
                yield bisect_right(ends, n_bytes)

    def _tokenise_text(self, text: bytes) -> list[int]:
        if not self._retyped or not _SPELLED.search(text):
            return self._tokens(text)
        cuts = [0, *(found.start() + 1 for found in _SPELLED.finditer(text)), len(text)]
        return [token for start, end in itertools.pairwise(cuts) for token in self._tokens(text[start:end])]

    def _tokens(self, text: bytes) -> list[int]:
        capacity = len(text) + 8
        while True:
            buffer = ffi.new("llama_token[]", capacity)
            n_tokens = self.c.llama_tokenize(self.vocab, text, len(text), buffer, capacity, False, False)
            if n_tokens >= 0:
                return cast("list[int]", ffi.unpack(buffer, n_tokens)) if n_tokens else []
            capacity = -n_tokens
