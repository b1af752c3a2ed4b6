"""Eight choices of one request, against the least that they take: the prompt once, and the decode steps of eight streams."""

from __future__ import annotations

from collections.abc import Iterator

from bench.bare_process import BareProcess, bare_process
from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import Chat, chat, words
from bench.results import at_most
from bench.servers import Server, completionist

TITLE = "Eight choices of one request"
_N = 8
_CELLS = 1024
_ATTEMPTS = 5


def measure(session: Session) -> None:
    n_in, n_out = session.pick((200, 64), (30, 8))
    seeds = iter(range(1000))
    with (
        completionist(session.options, streams=_N, context_tokens=_CELLS) as server,
        bare_process(session.options) as bare,
    ):
        bare.open(_N, _CELLS)
        pairs = session.pairs(
            lambda: _ours(server, n_in, n_out, seeds),
            lambda: _least(bare, _program(n_in, next(seeds)), n_out),
        )
    session.ratio("time against one prefill and an 8-stream decode", pairs, "s", at_most(1.3))


def _program(n_tokens: int, seed: int) -> Chat:
    """Answers to it go on for hundreds of tokens, at temperature 1 too."""
    names = words(n_tokens, seed=seed)
    return chat(
        f"Write a complete chess game in Python with all classes. Use these names: {names}.",
        system="You write long programs.",
    )


def _ours(server: Server, n_in: int, n_out: int, seeds: Iterator[int]) -> Sample:
    """Of a new request whose choices all have `n_out` tokens."""
    for _ in range(_ATTEMPTS):
        messages = _program(n_in, next(seeds))
        load = server.run([Ask(messages=messages, max_tokens=n_out, temperature=1, n=_N)])
        if load.completion_tokens == _N * n_out:
            return {"s": load.wall_s}
    raise RuntimeError("one of eight choices always ends too early")


def _least(bare: BareProcess, messages: Chat, n_tokens: int) -> Sample:
    """The loop has no other way to fill eight streams than to evaluate the prompt for each."""
    generated = bare.generate([bare.prompt(messages)] * _N, n_tokens, temperature=1)
    return {"s": generated.prefill_s / _N + generated.decode_s}


if __name__ == "__main__":
    main("choices", TITLE, measure)
