"""How a decode step grows with streams and with context, the bare library's curve beside ours.

The streams are the choices of one request, so that its prompt is computed once and all of them start together.
"""

from __future__ import annotations

from bench.bare_process import BareProcess, bare_process
from bench.client import Answer, Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat, words
from bench.results import counted
from bench.servers import Server, completionist

TITLE = "Growth of a decode step"
_TEMPLATE_TOKENS = 46
_STEPS = 12
_TIMED_STEPS = 8
"""The last of them: the choices do not begin in the same step, for each has to have a copy of the prompt's state."""

Grid = tuple[int, int, tuple[tuple[int, int], ...]]
"""Streams and cells of the contexts, and the (streams, context) that are measured in them: the longest first, because what is
shorter begins alike and is there then."""

_WIDE: Grid = (64, 512, ((1, 128), (4, 128), (16, 128), (32, 128), (64, 128)))
_LONG: Grid = (16, 8192, ((1, 8000), (1, 4096), (16, 4096), (16, 1024), (1, 1024)))
_SHORT: Grid = (4, 512, ((1, 128), (4, 128)))


def measure(session: Session) -> None:
    with bare_process(session.options) as bare:
        for grid in session.pick((_WIDE, _LONG), (_SHORT,)):
            _curve(session, bare, grid)


class _Served:
    """Our server, which is asked for one text: it evaluates the text once, and the places on the curve are beginnings of it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._text = 0

    def prompt_s(self, n_tokens: int) -> float:
        """To evaluate a text that it has not seen, also when this is done again."""
        self._text += 1
        return self._answer(n_tokens, max_tokens=1).ttft_s

    def step_ms(self, n_streams: int, n_context: int) -> float:
        answer = self._answer(n_context, max_tokens=_STEPS + 1, n=n_streams)
        elapsed_s = answer.pieces[-1].at_s - answer.pieces[-1 - _TIMED_STEPS * n_streams].at_s
        return elapsed_s / _TIMED_STEPS * 1000

    def _answer(self, n_context: int, *, max_tokens: int, n: int = 1) -> Answer:
        text = words(n_context - _TEMPLATE_TOKENS, seed=self._text)
        task = f"Tell a long story about {text}."  # words alone may get no answer at all
        return self._server.run([Ask(messages=chat(task), max_tokens=max_tokens, n=n)]).answers[0]


def _curve(session: Session, bare: BareProcess, grid: Grid) -> None:
    n_streams, n_cells, places = grid
    longest = places[0][1]
    bare.open(n_streams, n_cells)
    with completionist(session.options, streams=n_streams, stream_tokens=n_cells, context_tokens=n_cells) as server:
        served = _Served(server)
        ours = session.measure(lambda: {"s": served.prompt_s(longest)})
        prompt = (ours, session.measure(lambda: {"s": bare.fill_s(longest)}))
        session.ratio(f"a prompt of {longest:,} tokens: s against bare", [prompt], "s")
        for streams, n_context in places:
            pairs = [_pair(session, served, bare, streams, n_context) for _ in range(session.options.pairs)]
            session.ratio(f"{counted(streams, 'stream')}, {n_context:,} tokens: ms a step against bare", pairs, "ms")


def _pair(
    session: Session, served: _Served, bare: BareProcess, n_streams: int, n_context: int
) -> tuple[Sample, Sample]:
    return (
        session.measure(lambda: {"ms": served.step_ms(n_streams, n_context)}),
        session.measure(lambda: {"ms": bare.step_ms(n_streams, n_context, _STEPS)}),
    )


if __name__ == "__main__":
    main("growth", TITLE, measure)
