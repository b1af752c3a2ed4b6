"""Requests that come and go: Poisson arrivals at 80 % of capacity, 20 to 1,500 tokens in, 10 to 300 out, temperature 1.
Answers may not end their turn, so that either side draws as many tokens.

Two references. The peer, on the same arrivals. And the bare library, as the time that it would need for the same work
with nothing between: every prompt evaluated alone, every token decoded in lock step at the mean batch of our run.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.bare_process import BareProcess, bare_process
from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import chat, words
from bench.results import at_least, at_most
from bench.servers import Server, completionist, peer
from bench.timing import busy_s, gaps_s, mean_batch, percentile

TITLE = "Churn at 80 % of capacity"
_STREAMS = 16
_CELLS = 2048
_LOAD = 0.8
_IN_TOKENS = (20, 1500)
_OUT_TOKENS = (10, 300)
_MEAN_IN, _MEAN_OUT = sum(_IN_TOKENS) / 2, sum(_OUT_TOKENS) / 2


def measure(session: Session) -> None:
    with bare_process(session.options) as bare:
        bare.open(_STREAMS, _CELLS)
        library = _Library(bare)
        work = session.measure(lambda: {"s": library.work_s(_MEAN_IN, _MEAN_OUT, _STREAMS)})
        arrivals_per_s = _LOAD / work["s"]
        sizes = {"streams": _STREAMS, "context_tokens": _CELLS}
        with (
            completionist(session.options, **sizes) as ours,
            peer(session.options, slots=_STREAMS, context_tokens=_CELLS) as theirs,
        ):
            _compare(session, library, ours, theirs, _Arrivals(arrivals_per_s, bare.endless()))


def _compare(session: Session, library: _Library, ours: Server, theirs: Server, arrivals: _Arrivals) -> None:
    n_requests = session.pick(12, 3)
    rounds = {"ours": 0, "theirs": 0}

    def run(who: str, server: Server) -> Sample:
        rounds[who] += 1  # new prompts every time, the same for both
        load = server.run(arrivals.draw(rounds[who], n_requests))
        return {
            "rate": load.completion_tokens / busy_s(load),
            "p95 gap": percentile(gaps_s(load.answers), 0.95),
            "efficiency": _ideal_s(library, load) / busy_s(load),
        }

    pairs = session.pairs(lambda: run("ours", ours), lambda: run("theirs", theirs), warm_up=False)
    session.ratio("tokens/s against the peer", pairs, "rate", at_least(1.15))
    session.ratio("p95 inter-token time against the peer", pairs, "p95 gap", at_most(1.0))
    session.value("speed as a share of the bare library's", "", [a["efficiency"] for a, _ in pairs], at_least(0.85))
    session.value("the peer's share", "", [b["efficiency"] for _, b in pairs])
    session.note(f"{n_requests} requests a run, {arrivals.per_s:.2f} a second")


class _Arrivals(msgspec.Struct, frozen=True):
    per_s: float
    fields: Mapping[str, Any]
    """Of every request."""

    def draw(self, seed: int, n_requests: int) -> list[Ask]:
        """The same for the same seed."""
        draw, at_s, asks = random.Random(seed), 0.0, []  # noqa: S311 - a reproducible load
        for _ in range(n_requests):
            n_in = draw.randint(*_IN_TOKENS)
            messages = chat(words(n_in, seed=draw.getrandbits(32)))
            n_out = draw.randint(*_OUT_TOKENS)
            asks.append(Ask(messages=messages, max_tokens=n_out, temperature=1, after_s=at_s, fields=self.fields))
            at_s += draw.expovariate(self.per_s)
        return asks


def _ideal_s(library: _Library, load: Load) -> float:
    batch = max(1, round(mean_batch(load)))
    return sum(library.work_s(answer.prompt_tokens, answer.completion_tokens, batch) for answer in load.answers)


class _Library:
    """What the bare library needs for prompts and for tokens, measured once for each size."""

    def __init__(self, bare: BareProcess) -> None:
        self._bare = bare
        prompt = bare.prompt(chat(words(round(_MEAN_IN), seed=0)))
        self._prefill_s = bare.generate([prompt], 1).prefill_s / len(prompt)
        self._n_context = round(_MEAN_IN + _MEAN_OUT / 2)
        bare.fill_s(self._n_context)
        self._step_s: dict[int, float] = {}

    def work_s(self, n_in: float, n_out: float, batch: int) -> float:
        """Seconds for a prompt, and for its share of the decode steps of a batch."""
        return n_in * self._prefill_s + n_out * self._batch_step_s(batch) / batch

    def _batch_step_s(self, batch: int) -> float:
        if batch not in self._step_s:
            self._step_s[batch] = self._bare.step_ms(batch, self._n_context, 16) / 1000
        return self._step_s[batch]


if __name__ == "__main__":
    main("churn", TITLE, measure)
