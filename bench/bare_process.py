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
from typing import TypeVar

import msgspec
import psutil

from bench.bare import BareContext, Generated, evaluate_s, fill, generate, step_ms, tokenise
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


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    n_sequences: int
    n_context: int


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Time a decode step behind what `Fill` put there."""

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
    """Play a greedy answer again up to a place, and say how far the best token that begins `other` (or, where it is
    empty, that ends the turn) is behind the token that was drawn there."""

    prompt: list[int]
    tokens: list[int]
    other: bytes


Command = Open | Generate | Fill | Step | Evaluate | Tokenise | Pieces | Gap


class Loop:
    """Obeys commands."""

    def __init__(self, model: Model, threads: int) -> None:
        self._model = model
        self._threads = threads
        self._context: BareContext | None = None

    def obey(self, command: Command) -> object:
        answer: object = None
        match command:
            case Open():
                self._open(command)
            case Generate():
                answer = generate(self._opened, command.prompts, command.n_tokens, temperature=command.temperature)
            case Fill():
                fill(self._opened, command.n_sequences, command.n_context)
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

    def _pieces(self, tokens: list[int]) -> list[bytes]:
        pieces = []
        for token in tokens:
            if self._model.ends_turn(token):
                break
            pieces.append(self._model.piece(token))
        return pieces

    def _gap(self, command: Gap) -> float:
        row = self._opened.prefill(0, command.prompt)
        for done, token in enumerate(command.tokens[:-1]):
            row = self._opened.step([token], len(command.prompt) + done)[0]
        drawn, n_tokens = command.tokens[-1], self._model.vocabulary_size
        rivals = [token for token in range(n_tokens) if token != drawn and self._begins(token, command.other)]
        return float(row[drawn] - row[rivals].max()) if rivals else _NO_TOKEN_LOGITS

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

    def generate(self, prompts: list[list[int]], n_tokens: int, *, temperature: float = 0) -> Generated:
        return self._ask(Generate(prompts=prompts, n_tokens=n_tokens, temperature=temperature), Generated)

    def fill(self, n_sequences: int, n_context: int) -> None:
        self._ask(Fill(n_sequences, n_context), None)

    def step_ms(self, n_sequences: int, n_context: int, n_steps: int) -> float:
        return self._ask(Step(n_sequences, n_context, n_steps), float)

    def evaluate_s(self, prompt: list[int], tokens: list[int], runs: list[int]) -> float:
        return self._ask(Evaluate(prompt=prompt, tokens=tokens, runs=runs), float)

    def tokens(self, text: str) -> list[int]:
        return self._ask(Tokenise(text), list[int])

    def prompt(self, messages: Chat) -> list[int]:
        """Token ids of a chat."""
        return self._ask(Tokenise(chatml(messages)), list[int])

    def pieces(self, tokens: tuple[int, ...]) -> list[bytes]:
        return self._ask(Pieces(list(tokens)), list[bytes])

    def gap(self, prompt: list[int], tokens: tuple[int, ...], other: bytes) -> float:
        return self._ask(Gap(prompt=prompt, tokens=list(tokens), other=other), float)

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
