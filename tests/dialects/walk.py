"""A model in miniature: walks a grammar at random over a small vocabulary, and gives the text of what it chose."""

from __future__ import annotations

import codecs
from random import Random

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from completionist.engine.base import GrammarSpec
from completionist.grammar.bounds import parser_limits
from completionist.text.channels import as_control
from tests.dialects.families import CONTROLS, EOS, N_BYTES, WORDS, control_id

_LIKELY = frozenset(b'"}{: ,a')


class _Vocabulary:
    """What llguidance asks of a tokenizer written in Python."""

    def __init__(self, family: str) -> None:
        self.controls = (EOS, *CONTROLS[family])
        self.text = [bytes([byte]) for byte in range(N_BYTES)] + [word.encode() for word in WORDS]
        self.tokens = self.text + [spelling.encode() for spelling in self.controls]
        self.special_token_ids = [control_id(i) for i in range(len(self.controls))]
        self.eos_token_id = control_id(0)
        self.bos_token_id = None

    def __call__(self, text: bytes | str) -> list[int]:
        rest = text if isinstance(text, bytes) else text.encode()
        ids: list[int] = []
        while rest:
            ids.append(max(range(len(self.text)), key=lambda i: rest.startswith(self.text[i]) * len(self.text[i])))
            rest = rest[len(self.text[ids[-1]]) :]
        return ids


class Walker:
    def __init__(self, family: str) -> None:
        self._vocabulary = _Vocabulary(family)
        self._tokenizer = LLTokenizer(TokenizerWrapper(self._vocabulary))

    def walk(self, grammar: GrammarSpec, random: Random, *, max_tokens: int) -> tuple[list[str], bool]:
        """The text of each token, and whether the end was reached."""
        matcher = LLMatcher(self._tokenizer, grammar.source, log_level=0, limits=parser_limits(grammar))
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        symbols: list[str] = []
        for _ in range(max_tokens):
            token = self._choose(self._allowed(matcher), random)
            if token == self._vocabulary.eos_token_id:
                return symbols, True
            assert matcher.consume_token(token), matcher.get_error()
            if token in self._vocabulary.special_token_ids:
                symbols.append(as_control(self._vocabulary.tokens[token].decode()))
            else:
                symbols.append(decoder.decode(self._vocabulary.tokens[token]))
        return symbols, False

    def accepts(self, grammar: GrammarSpec, text: list[str]) -> bool:
        """Whether `text`, control tokens as separate strings, is a whole answer."""
        matcher = LLMatcher(self._tokenizer, grammar.source, log_level=0, limits=parser_limits(grammar))
        for piece in text:
            ids = [self._control(piece)] if piece == as_control(piece[1:-1]) else self._vocabulary(piece)
            if matcher.try_consume_tokens(ids) < len(ids):
                return False
        return matcher.is_accepting()

    def _control(self, piece: str) -> int:
        return control_id(self._vocabulary.controls.index(piece[1:-1]))

    def _allowed(self, matcher: LLMatcher) -> list[int]:
        words = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        assert not matcher.is_error(), matcher.get_error()
        return [int(i) for i in np.flatnonzero(np.unpackbits(words, bitorder="little")[: len(self._vocabulary.tokens)])]

    def _choose(self, allowed: list[int], random: Random) -> int:
        """Ends of strings, objects and answers are likelier than one in three hundred."""
        likely = [token for token in allowed if token in _LIKELY or token >= N_BYTES]
        return random.choice(likely if likely and random.random() < 0.7 else allowed)
