"""Rates and shares out of arrival times."""

from __future__ import annotations

import pytest

from bench.client import Answer, Load, Piece
from bench.timing import busy_s, gaps_s, in_step_tokens_per_s, mean_batch, percentile


def answer(*at_s: float, sent_s: float = 0.0, tokens: int | None = None) -> Answer:
    pieces = tuple(Piece(at, "x") for at in at_s)
    return Answer(
        status=200,
        sent_s=sent_s,
        ended_s=at_s[-1],
        pieces=pieces,
        finish_reason="length",
        completion_tokens=len(pieces) if tokens is None else tokens,
    )


def load(*answers: Answer) -> Load:
    return Load(answers=answers, began_s=0, ended_s=max(a.ended_s for a in answers), client_cpu_s=0)


def test_percentile_is_the_smallest_value_that_enough_do_not_exceed() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.95) == 95
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.5) == 7


def test_only_the_time_side_by_side_counts() -> None:
    early, late = answer(1, 2, 3, 4, 5), answer(3, 4, 5, 6, 7)
    assert in_step_tokens_per_s(load(early, late)) == pytest.approx(2.0)


def test_a_piece_counts_as_many_tokens_as_the_average_one_of_its_stream() -> None:
    assert in_step_tokens_per_s(load(answer(0, 1, 2, 3, tokens=8))) == pytest.approx(2.0)


def test_streams_that_never_ran_side_by_side_have_no_rate() -> None:
    with pytest.raises(ValueError, match="side by side"):
        in_step_tokens_per_s(load(answer(1, 2), answer(3, 4)))


def test_gaps_belong_to_the_interval_in_which_they_end() -> None:
    stream = answer(1, 2, 4, 7)
    assert gaps_s([stream]) == [1, 2, 3]
    assert gaps_s([stream], began_s=2, ended_s=4) == [2]


def test_idle_time_between_requests_is_not_busy() -> None:
    assert busy_s(load(answer(2, sent_s=0), answer(3, sent_s=1), answer(11, sent_s=10))) == pytest.approx(4)


def test_mean_batch_weighs_streams_by_how_long_they_generate() -> None:
    assert mean_batch(load(answer(0, 4), answer(0, 2), answer(10, 12))) == pytest.approx(8 / 6)
