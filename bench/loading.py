"""Several models in one server: what a stream notices while another model is loaded, and what switching between two costs.

The second model is the same file under another name, so that both answer equally fast; it has a worker of its own.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

from bench.client import Ask
from bench.harness import Sample, Session, main
from bench.prompts import chat, program, words
from bench.results import at_most
from bench.servers import Server, with_second
from bench.timing import gaps_s, percentile

TITLE = "A second model is loaded, and asked in turn"
_SECOND = "second"
_LOADS_AFTER_S = 3.0


def measure(session: Session) -> None:
    with with_second(session.options, _SECOND, streams=4, context_tokens=2048) as server:
        _loading(session, server)
        _switching(session, server)


def _loading(session: Session, server: Server) -> None:
    after_s = session.pick(_LOADS_AFTER_S, 2.0)

    def beside_a_load() -> Sample:
        _unload(server)
        stream = Ask(messages=program(10), max_tokens=1900, is_background=True)
        asked = Ask(messages=chat("Say hello."), max_tokens=2, after_s=after_s, fields={"model": _SECOND})
        answer, first = server.run([asked, stream]).answers
        return {
            "before": percentile(gaps_s([first], ended_s=answer.sent_s), 0.95),
            "during": percentile(gaps_s([first], answer.sent_s, answer.pieces[0].at_s), 0.95),
            "took": answer.ttft_s,
        }

    def alone() -> Sample:
        _unload(server)
        asked = Ask(messages=chat("Say hello."), max_tokens=2, fields={"model": _SECOND})
        return {"took": server.run([asked]).answers[0].ttft_s}

    pairs = session.pairs(beside_a_load, alone)
    samples = [sample for sample, _ in pairs]
    session.ratio_within(
        "a stream's p95 inter-token time while a model is loaded", samples, "during", "before", at_most(1.5)
    )
    session.value("time to its first token, beside the stream", "s", [sample["took"] for sample in samples])
    session.value("time to its first token, nothing beside it", "s", [sample["took"] for _, sample in pairs])


def _switching(session: Session, server: Server) -> None:
    n_requests = session.pick(40, 4)
    seeds = _seeds()

    def asked_in_turn(*models: str) -> Sample:
        began_s = time.perf_counter()
        for number in range(n_requests):
            fields = {"model": models[number % len(models)]}
            server.run([Ask(messages=chat(words(60, next(seeds))), max_tokens=8, fields=fields)])
        return {"s": time.perf_counter() - began_s}

    pairs = session.pairs(lambda: asked_in_turn(server.model, _SECOND), lambda: asked_in_turn(server.model))
    session.ratio("time for requests that switch models, against one model", pairs, "s", at_most(1.05))
    session.note(f"{n_requests} requests one after another, of 60 tokens in and 8 out")


def _seeds() -> Iterator[int]:
    return iter(range(10**6))


def _unload(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("DELETE", f"/admin/models/{_SECOND}")
    if (status := connection.getresponse().status) != 200:
        raise RuntimeError(f"the second model was not unloaded (status {status})")
    connection.close()


if __name__ == "__main__":
    main("loading", TITLE, measure)
