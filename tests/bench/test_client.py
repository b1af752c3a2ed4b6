"""The lean client reads what a server on a real port sends, and leaves when it is told to."""

from __future__ import annotations

import math

import pytest

from bench.client import Ask, BrokenAnswer, run
from bench.prompts import chat
from completionist.engine.scripted import Pause
from tests.conftest import Serve

HELLO = chat("Hello")


def test_pieces_times_and_usage_of_an_answer(serve: Serve) -> None:
    server = serve(lambda prompt: [[b"High", b" water", b" soon."]] * prompt.n)
    load = run(server.port, [Ask(messages=HELLO, max_tokens=16)] * 3, model="scripted")
    for answer in load.answers:
        assert [piece.text for piece in answer.pieces] == ["High", " water", " soon."]
        assert answer.finish_reason == "stop"
        assert answer.completion_tokens == 4  # the end of the turn is one
        assert answer.prompt_tokens > 0
        assert answer.sent_s < answer.pieces[0].at_s <= answer.pieces[-1].at_s <= answer.ended_s <= load.ended_s


def test_every_choice_of_a_request_is_read(serve: Serve) -> None:
    server = serve(lambda prompt: [[b"one", b" two"]] * prompt.n)
    (answer,) = run(server.port, [Ask(messages=HELLO, max_tokens=16, n=3)], model="scripted").answers
    assert answer.text.count("one") == answer.text.count(" two") == 3


def test_leaving_after_some_pieces(serve: Serve) -> None:
    server = serve(lambda prompt: [[b"a"] * 50 + [Pause(math.inf)]] * prompt.n)
    (answer,) = run(server.port, [Ask(messages=HELLO, max_tokens=100, leaves_after=5)], model="scripted").answers
    assert answer.has_left
    assert len(answer.pieces) >= 5


def test_background_requests_are_left_when_the_others_are_answered(serve: Serve) -> None:
    server = serve(lambda prompt: [[b"a", b"b"] + [Pause(math.inf)] * (prompt.max_tokens == 99)] * prompt.n)
    background = Ask(messages=HELLO, max_tokens=99, is_background=True)
    load = run(server.port, [background, Ask(messages=HELLO, max_tokens=9)], model="scripted")
    assert [answer.has_left for answer in load.answers] == [True, False]


def test_a_refusal_ends_the_measurement(serve: Serve) -> None:
    with pytest.raises(BrokenAnswer, match="404"):
        run(serve().port, [Ask(messages=HELLO, max_tokens=9)], model="another")
