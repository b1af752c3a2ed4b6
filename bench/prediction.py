"""An answer of 400 tokens that was predicted wholly, by half, and not at all, against the same answer without.

What it may cost at best is the evaluation of the tokens that the answer has, in the calls that our server makes of them:
runs that grow while the prediction is right, and single tokens where it is wrong.
"""

from __future__ import annotations

from bench.bare_process import BareProcess, bare_process
from bench.client import Answer, Ask
from bench.harness import Sample, Session, main
from bench.prompts import program, words
from bench.results import at_least, at_most
from bench.servers import Server, completionist
from completionist.engine.llama.prediction import FIRST_RUN_TOKENS, LONGEST_RUN_TOKENS

TITLE = "A predicted answer of 400 tokens"
_CELLS = 1024
_ATTEMPTS = 12
_CHAT = program(10)


def measure(session: Session) -> None:
    n_tokens = session.pick(400, 60)
    with (
        completionist(session.options, streams=4, context_tokens=_CELLS) as server,
        bare_process(session.options) as bare,
    ):
        bare.open(1, _CELLS)
        right = _settled(server, n_tokens)
        tokens = bare.tokens(right.text)
        half = right.text[: len(right.text) // 2] + words(n_tokens // 2, seed=1)
        n_half = len(bare.tokens(right.text[: len(right.text) // 2]))
        whole_runs = _runs(len(tokens))
        half_runs = _runs(n_half) + [1] * (len(tokens) - n_half)

        def ours(prediction: str | None) -> Sample:
            return _sample(_ask(server, n_tokens, prediction))

        whole = session.pairs(lambda: ours(right.text), lambda: _bare(bare, tokens, whole_runs))
        halves = session.pairs(lambda: ours(half), lambda: _bare(bare, tokens, half_runs))
        none = session.pairs(lambda: ours(None), lambda: ours(words(n_tokens, seed=2)))
        faster = session.pairs(lambda: ours(None), lambda: ours(right.text), warm_up=False)
    session.ratio("wholly right: time against evaluating it", whole, "decode", at_most(1.3))
    session.ratio("half right: time against evaluating it", halves, "decode", at_most(1.2))
    session.ratio("wholly wrong: speed against none", none, "decode", at_least(0.9))
    session.ratio("wholly right: speed against none", faster, "decode")
    session.value("accepted, wholly right", f"of {len(tokens)}", [a["accepted"] for a, _ in whole])
    session.value("rejected, wholly right", "tokens", [a["rejected"] for a, _ in whole])
    session.value("accepted, half right", f"of {n_half}", [a["accepted"] for a, _ in halves])
    session.value("rejected, half right", "tokens", [a["rejected"] for a, _ in halves])


def _settled(server: Server, n_tokens: int) -> Answer:
    """An answer that comes out the same when it is predicted: rows of one call are rounded otherwise than single ones."""
    answer = _ask(server, n_tokens, None)
    for _ in range(_ATTEMPTS):
        again = _ask(server, n_tokens, answer.text)
        if again.text == answer.text and not again.rejected_prediction_tokens:
            return again
        answer = again
    raise RuntimeError("no answer comes out as it was predicted: predict another one")


def _ask(server: Server, n_tokens: int, prediction: str | None) -> Answer:
    fields = {} if prediction is None else {"prediction": {"type": "content", "content": prediction}}
    (answer,) = server.run([Ask(messages=_CHAT, max_tokens=n_tokens, fields=fields)]).answers
    return answer


def _sample(answer: Answer) -> Sample:
    return {
        "decode": answer.ended_s - answer.pieces[0].at_s,
        "accepted": answer.accepted_prediction_tokens,
        "rejected": answer.rejected_prediction_tokens,
    }


def _bare(bare: BareProcess, tokens: list[int], runs: list[int]) -> Sample:
    return {"decode": bare.evaluate_s(bare.prompt(_CHAT), tokens, runs)}


def _runs(n_tokens: int) -> list[int]:
    """The calls that a right prediction takes: each has the token that is certain and the run proposed behind it."""
    runs, length = [], FIRST_RUN_TOKENS
    while n_tokens > 0:
        runs.append(min(length + 1, n_tokens))
        n_tokens -= runs[-1]
        length = min(2 * length, LONGEST_RUN_TOKENS)
    return runs


if __name__ == "__main__":
    main("prediction", TITLE, measure)
