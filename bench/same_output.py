"""Greedy answers of 200 mixed requests, all at once with every optimisation at work, against the bare loop one at a time.

Logits depend on the shape of a batch, so «the same» means: identical, or at the first token that differs the bare loop
had its choice at most 1.5 logits before the other one. Such flips are counted.
"""

from __future__ import annotations

import math

from bench.bare_process import BareProcess, bare_process
from bench.client import Ask
from bench.harness import Session, main
from bench.prompts import Chat, Message, chat, varied, words
from bench.results import at_most
from bench.servers import completionist

TITLE = "Greedy answers, all at once against one at a time"
_CELLS = 1024
_OUT_TOKENS = 16
_MAX_GAP_LOGITS = 1.5


def measure(session: Session) -> None:
    session.measure(lambda: _compare(session))


def _compare(session: Session) -> dict[str, float]:
    chats = [_mixed(number) for number in range(session.pick(200, 6))]
    with completionist(session.options, streams=None, context_tokens=None) as server:
        load = server.run([Ask(messages=messages, max_tokens=_OUT_TOKENS) for messages in chats])
    with bare_process(session.options) as bare:
        bare.open(1, _CELLS)
        gaps = [
            _flip_gap(bare, messages, answer.text.encode())
            for messages, answer in zip(chats, load.answers, strict=True)
        ]
    flips = [gap for gap in gaps if gap is not None]
    wrong = sum(gap > _MAX_GAP_LOGITS for gap in flips)
    session.value("answers that differ beyond a flip", f"of {len(chats)}", [wrong], at_most(0))
    session.value("flips", f"of {len(chats)}", [len(flips) - wrong])
    session.value("largest gap at a flip", "logits", [max(flips, default=0.0)])
    session.note(f"{sum(answer.cached_tokens for answer in load.answers)} prompt tokens came out of the prefix cache")
    return {}


def _mixed(number: int) -> Chat:
    """Short ones, ones with a system prompt in common, long ones, and the second turns of conversations."""
    if number % 4 == 0:
        return varied(number)
    if number % 4 == 1:
        return chat(f"Question {number}: what comes next?", system=words(200, seed=1))
    if number % 4 == 2:
        return chat(words(300, seed=number))
    return (
        *varied(number // 8),
        Message("assistant", "The river was wide."),
        Message("user", f"Go on, part {number}."),
    )


def _flip_gap(bare: BareProcess, messages: Chat, answer: bytes) -> float | None:
    """None where the answers are equal; else how far apart, in logits, the two tokens were that differ first."""
    tokens = bare.generate([bare.prompt(messages)], _OUT_TOKENS, keeps_logits=True).tokens[0]
    pieces = bare.pieces(tokens)
    if b"".join(pieces).decode(errors="replace").encode() == answer:
        return None
    rest, place = answer, 0
    while place < len(pieces) and pieces[place] and rest.startswith(pieces[place]):
        rest, place = rest[len(pieces[place]) :], place + 1
    gap = bare.gap(place, tokens[place], rest) if place < len(tokens) else math.inf
    while gap > _MAX_GAP_LOGITS and place:  # a longer token may have been drawn earlier: « The» where the loop has « »
        place -= 1
        rest = pieces[place] + rest
        gap = min(gap, bare.gap(place, tokens[place], rest))
    return gap


if __name__ == "__main__":
    main("same_output", TITLE, measure)
