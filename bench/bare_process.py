"""The bare loop in a process of its own, under the environment that the server gives its worker.

    python -m bench.bare_process LIBRARY MODEL THREADS      commands on standard input, answers on standard output, JSON lines

OpenMP reads its settings when the library is loaded, so the loop cannot share a process with the harness.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from bench.bare import BareContext, Generated, Rows, evaluate_s, fill_s, generate, step_ms, tokenise
from bench.harness import Options
from bench.prompts import Chat, chatml
from completionist.engine.llama.capi import Native
from completionist.engine.llama.launch import openmp_environment
from completionist.engine.llama.model import Model

Answer = TypeVar("Answer")

_NO_TOKEN_LOGITS = 1e6
"""How far behind what no token begins is: JSON knows no infinity."""


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Make a context, in place of the one before."""

    n_sequences: int
    n_cells: int


class Generate(msgspec.Struct, frozen=True, tag="generate", kw_only=True):
    prompts: list[list[int]]
    n_tokens: int
    temperature: float = 0
    keeps_logits: bool = False
    """For `Gap`; they take more memory than anything else does."""


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    """Time the evaluation of so many tokens."""

    n_tokens: int


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Time a decode step behind the beginning of what `Fill` put there."""

    n_sequences: int
    n_context: int
    n_steps: int


class Evaluate(msgspec.Struct, frozen=True, tag="evaluate", kw_only=True):
    """Time the evaluation of `tokens` behind `prompt`, in runs of these lengths, with the logits of every row looked at."""

    prompt: list[int]
    tokens: list[int]
    runs: list[int]


class Tokenise(msgspec.Struct, frozen=True, tag="tokenise"):
    text: str


class Pieces(msgspec.Struct, frozen=True, tag="pieces"):
    """The bytes of tokens; those after the end of a turn are left out."""

    tokens: list[int]


class Gap(msgspec.Struct, frozen=True, tag="gap", kw_only=True):
    """How far the best token that begins `other` (or, where it is empty, that ends the turn) was behind the token that the
    last `Generate`, of one prompt, drew at a place."""

    place: int
    drawn: int
    other: bytes


Command = Open | Generate | Fill | Step | Evaluate | Tokenise | Pieces | Gap


class Loop:
    """Obeys commands."""

    def __init__(self, model: Model, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._context: BareContext | None = None
        self._logits: list[Rows] = []
        """Of each step of the last `Generate` that kept them."""

    def obey(self, command: Command) -> object:
        answer: object = None
        match command:
            case Open():
                self._open(command)
            case Generate():
                answer = self._generate(command)
            case Fill():
                answer = fill_s(self._opened, command.n_tokens)
            case Step():
                answer = step_ms(self._opened, command.n_sequences, command.n_context, command.n_steps)
            case Evaluate():
                answer = evaluate_s(self._opened, command.prompt, command.tokens, command.runs)
            case Tokenise():
                answer = tokenise(self._model, command.text)
            case Pieces():
                answer = self._pieces(command.tokens)
            case Gap():
                answer = self._gap(command)
        return answer

    @property
    def _opened(self) -> BareContext:
        assert self._context, "open comes first"
        return self._context

    def _open(self, command: Open) -> None:
        if self._context:
            self._context.close()
        self._context = BareContext(
            self._model, n_sequences=command.n_sequences, n_cells=command.n_cells, threads=self._threads
        )

    def _generate(self, command: Generate) -> Generated:
        self._logits = []
        return generate(
            self._opened,
            command.prompts,
            command.n_tokens,
            temperature=command.temperature,
            logits=self._logits if command.keeps_logits else None,
        )

    def _pieces(self, tokens: list[int]) -> list[bytes]:
        pieces = []
        for token in tokens:
            if self._model.ends_turn(token):
                break
            pieces.append(self._model.piece(token))
        return pieces

    def _gap(self, command: Gap) -> float:
        row, n_tokens = self._logits[command.place][0], self._model.vocabulary_size
        rivals = [token for token in range(n_tokens) if token != command.drawn and self._begins(token, command.other)]
        return float(row[command.drawn] - row[rivals].max()) if rivals else _NO_TOKEN_LOGITS

    def _begins(self, token: int, other: bytes) -> bool:
        if not other:
            return self._model.ends_turn(token)
        piece = self._model.piece(token)
        return bool(piece) and other.startswith(piece)


class BareProcess:
    """The harness's end: each method sends a command and waits."""

    def __init__(self, options: Options) -> None:
        command = [
            sys.executable,
            "-m",
            "bench.bare_process",
            options.library.path,
            options.model.path,
            options.threads,
        ]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | openmp_environment(options.threads),
        )

    def open(self, n_sequences: int, n_cells: int) -> None:
        self._ask(Open(n_sequences, n_cells), None)

    def generate(
        self, prompts: list[list[int]], n_tokens: int, *, temperature: float = 0, keeps_logits: bool = False
    ) -> Generated:
        asked = Generate(prompts=prompts, n_tokens=n_tokens, temperature=temperature, keeps_logits=keeps_logits)
        return self._ask(asked, Generated)

    def fill_s(self, n_tokens: int) -> float:
        return self._ask(Fill(n_tokens), float)

    def step_ms(self, n_sequences: int, n_context: int, n_steps: int) -> float:
        return self._ask(Step(n_sequences, n_context, n_steps), float)

    def evaluate_s(self, prompt: list[int], tokens: list[int], runs: list[int]) -> float:
        return self._ask(Evaluate(prompt=prompt, tokens=tokens, runs=runs), float)

    def tokens(self, text: str) -> list[int]:
        return self._ask(Tokenise(text), list[int])

    def prompt(self, messages: Chat) -> list[int]:
        """Token ids of a chat."""
        return self._ask(Tokenise(chatml(messages)), list[int])

    def endless(self) -> dict[str, Any]:
        """Fields of a request whose answer may not end its turn."""
        ends = [self.tokens(end) for end in ("<|im_end|>", "<|endoftext|>")]
        return {"logit_bias": {str(end): -100 for (end,) in ends}}

    def pieces(self, tokens: tuple[int, ...]) -> list[bytes]:
        return self._ask(Pieces(list(tokens)), list[bytes])

    def gap(self, place: int, drawn: int, other: bytes) -> float:
        return self._ask(Gap(place=place, drawn=drawn, other=other), float)

    def resident_bytes(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _ask(self, command: Command, kind: type[Answer] | None) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the bare loop died at {type(command).__name__}")
        return msgspec.json.decode(answer, type=kind)


@contextmanager
def bare_process(options: Options) -> Iterator[BareProcess]:
    process = BareProcess(options)
    try:
        yield process
    finally:
        process.close()


def main(library: str, model: str, threads: str) -> None:
    loop = Loop(Model(Native(Path(library)), Path(model)), int(threads))
    for line in sys.stdin.buffer:
        answer = loop.obey(msgspec.json.decode(line, type=Command))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the library's destructors have crashed at exit before
