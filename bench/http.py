"""What the server adds to the library: streams through HTTP against the bare loop with the same batch.

Compared is the time in which all streams generate side by side; the text of 20 greedy answers must be the bare loop's.
"""

from __future__ import annotations

import math

import msgspec

from bench.bare_process import BareProcess, bare_process
from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import Chat, chat, program, varied, words
from bench.results import Target, at_least, at_most, counted
from bench.servers import Server, completionist
from bench.timing import in_step_tokens_per_s

TITLE = "Through HTTP against the bare loop"
_CELLS = 1024
_MAX_ATTEMPTS = 4
_STEADY_TOKENS = 48
"""Steps that are compared; so many more are asked for, because streams start one after another."""


def measure(session: Session) -> None:
    with bare_process(session.options) as bare:
        for n_streams in session.pick((1, 16, 32), (1, 2)):
            with completionist(session.options, streams=n_streams, context_tokens=_CELLS) as server:
                _speed(session, bare, server, n_streams)
                if n_streams == 1:
                    _first_token(session, bare, server)
                    _same_text(session, bare, server)


def _speed(session: Session, bare: BareProcess, server: Server, n_streams: int) -> None:
    bare.open(n_streams, _CELLS)
    prompts = [bare.prompt(program(10 + stream)) for stream in range(n_streams)]
    n_lead = _lead_tokens(n_streams, len(prompts[0]))
    n_steady = session.pick(_STEADY_TOKENS, 8)
    client_cores: list[float] = []

    greedy_asks = [Ask(messages=program(10 + stream), max_tokens=n_lead + n_steady) for stream in range(n_streams)]
    sampled_asks = [_sampled(ask, bare) for ask in greedy_asks]

    def rate(asks: list[Ask]) -> float:
        load = _whole_length(server, asks)
        client_cores.append(load.client_cpu_s / load.wall_s)
        return in_step_tokens_per_s(load)

    def served() -> Sample:
        return {"greedy": rate(greedy_asks), "sampled": rate(sampled_asks)}

    def looped() -> Sample:
        greedy = bare.generate(prompts, n_steady + n_lead // 2).tokens_per_s
        return {"greedy": greedy, "sampled": greedy}

    name = counted(n_streams, "stream")
    greedy, sampled = _targets(n_streams)
    pairs = session.pairs(served, looped, warm_up=n_streams == 1)
    session.ratio(f"{name}, greedy", pairs, "greedy", greedy)
    session.ratio(f"{name}, temperature 1, top_p 0.95, against the greedy loop", pairs, "sampled", sampled)
    session.note(f"{name}: the client used at most {max(client_cores):.3f} cores")


def _sampled(ask: Ask, bare: BareProcess) -> Ask:
    """The same request, drawn. It may not end its turn: of 32 answers by the coder two are refusals of a dozen tokens."""
    return msgspec.structs.replace(ask, temperature=1, top_p=0.95, fields=bare.endless())


def _whole_length(server: Server, asks: list[Ask]) -> Load:
    """Ask until no answer ends before its time, which one may by another token than the turn's end."""
    for _ in range(_MAX_ATTEMPTS):
        load = server.run(asks)
        if all(answer.finish_reason == "length" for answer in load.answers):
            return load
    raise ValueError("answers end too early to be compared")


def _lead_tokens(n_streams: int, n_prompt_tokens: int) -> int:
    """Tokens that the first stream is ahead when the last one starts: at the least one for every chunk of the others."""
    return math.ceil((n_streams - 1) * max(1, n_prompt_tokens / 32))


def _targets(n_streams: int) -> tuple[Target, Target | None]:
    return (at_least(0.97), None) if n_streams == 1 else (at_least(0.95), at_least(0.90))


def _first_token(session: Session, bare: BareProcess, server: Server) -> None:
    """Ours is everything that is not the library's evaluation of the prompt; new prompts, so that no cache helps."""
    numbers = iter(range(1000, 2000))

    def served() -> Sample:
        return {"s": server.run([Ask(messages=_unseen(next(numbers)), max_tokens=2)]).answers[0].ttft_s}

    def looped() -> Sample:
        return {"s": bare.generate([bare.prompt(_unseen(next(numbers)))], 1).prefill_s}

    session.ratio(
        "time to first token against evaluating the prompt", session.pairs(served, looped), "s", at_most(1.05)
    )


def _unseen(number: int) -> Chat:
    return chat(words(20, seed=number), system=words(30, seed=-number))


def _same_text(session: Session, bare: BareProcess, server: Server) -> None:
    """One at a time, so that the shape of every call is the bare loop's."""
    n_tokens = session.pick(48, 8)
    numbers = range(session.pick(20, 3))
    n_same = 0
    for number in numbers:
        done = bare.generate([bare.prompt(varied(number))], n_tokens)
        expected = b"".join(bare.pieces(done.tokens[0]))
        answer = server.run([Ask(messages=varied(number), max_tokens=n_tokens)]).answers[0]
        n_same += answer.text.encode() == expected.decode(errors="replace").encode()
    session.value("greedy answers equal to the bare loop's", f"of {len(numbers)}", [n_same], at_least(len(numbers)))


if __name__ == "__main__":
    main("http", TITLE, measure)
