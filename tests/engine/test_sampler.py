"""Draws from logits, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from completionist.engine.base import Sampling
from completionist.engine.llama.adjustment import Adjustment
from completionist.engine.llama.likelihood import most_likely
from completionist.engine.llama.sampler import Sampler, nucleus_threshold

N = 1000


def logits(seed: int, n: int = N, scale: float = 3.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


def softmax(row: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    weights = np.exp((row.astype(np.float64) - row.max()) / temperature)
    return np.asarray(weights / weights.sum())


def nucleus(p: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    order = np.argsort(-p, kind="stable")
    n_kept = int(np.searchsorted(p[order].cumsum(), top_p)) + 1
    kept = np.zeros_like(p)
    kept[order[:n_kept]] = p[order[:n_kept]]
    return np.asarray(kept / kept.sum())


def draws(row: NDArray[np.float32], sampling: Sampling, n: int) -> NDArray[np.float64]:
    sampler, random = Sampler(len(row)), np.random.default_rng(1)
    counts = np.bincount([sampler.draw(row, sampling, random) for _ in range(n)], minlength=len(row))
    return np.asarray(counts / n)


def test_greedy_takes_the_lowest_id_on_a_tie() -> None:
    row = np.zeros(N, np.float32)
    row[[700, 300, 500]] = 2.0
    random = np.random.default_rng(0)
    assert Sampler(N).draw(row, Sampling(temperature=0, seed=1), random) == 300
    assert Sampler(N).draw(row, Sampling(top_p=0, seed=1), random) == 300


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.9), (0.7, 0.5)])
def test_draws_follow_the_distribution(temperature: float, top_p: float) -> None:
    row = logits(3, n=40)
    expected = nucleus(softmax(row, temperature), top_p)
    seen = draws(row, Sampling(temperature=temperature, top_p=top_p, seed=1), 20_000)
    assert np.abs(seen - expected).max() < 0.02
    assert not seen[expected == 0].any()


@given(seed=st.integers(0, 2**32), n=st.integers(1, 3000), scale=st.floats(0.0, 8.0), top_p=st.floats(0.001, 0.999))
def test_the_threshold_keeps_the_smallest_set_that_holds_top_p(seed: int, n: int, scale: float, top_p: float) -> None:
    row = logits(seed, n, scale)
    weights = np.exp(row - row.max())
    threshold = nucleus_threshold(weights, top_p)
    total = float(weights.sum(dtype=np.float64))
    kept = weights[weights >= threshold].sum(dtype=np.float64)
    without = weights[weights > threshold].sum(dtype=np.float64)
    assert kept >= top_p * total * (1 - 1e-5)
    assert without <= top_p * total * (1 + 1e-5)


def test_equal_weights_are_all_kept() -> None:
    assert nucleus_threshold(np.ones(5000, np.float32), 0.5) == 1.0


def test_tiny_temperatures_do_not_overflow() -> None:
    row = logits(5)
    sampling = Sampling(temperature=1e-300, seed=1)
    assert Sampler(N).draw(row, sampling, np.random.default_rng(0)) == row.argmax()


@given(u=st.floats(0, 1, exclude_max=True), n=st.integers(1, 700))
def test_a_draw_never_lands_on_weight_zero(u: float, n: int) -> None:
    row = np.full(n, -np.inf, np.float32)
    row[n // 2] = 0.0

    class Fixed(np.random.Generator):
        def random(self, *_args: object, **_options: object) -> float:  # type: ignore[override]  # one of its many forms
            return u

    random = Fixed(np.random.PCG64(0))
    assert Sampler(n).draw(row, Sampling(seed=1), random) == n // 2
    assert Sampler(n).draw(row, Sampling(top_p=0.5, seed=1), random) == n // 2


def test_bias_and_penalties_follow_the_formula_and_leave_the_row_as_it_was() -> None:
    row = logits(5, n=8)
    before = row.copy()
    adjustment = Adjustment(
        Sampling(seed=1, presence_penalty=0.5, frequency_penalty=-0.25, logit_bias=((1, 100), (2, -100)))
    )
    for token in (2, 3, 3, 3):
        adjustment.count(token)
    with adjustment.applied_to(row):
        added = row - before
    expected = np.zeros(8)
    expected[1] = 100
    expected[2] = -100 - 0.5 + 0.25
    expected[3] = -0.5 + 3 * 0.25
    assert added == pytest.approx(expected, abs=1e-4)
    assert (row == before).all()


def test_without_bias_and_penalties_nothing_is_counted_or_changed() -> None:
    row = logits(5, n=8)
    before = row.copy()
    adjustment = Adjustment(Sampling(seed=1))
    adjustment.count(3)
    with adjustment.applied_to(row):
        assert (row == before).all()


@given(seed=st.integers(0, 2**32), n=st.integers(1, 300), scale=st.sampled_from([0.0, 1.0, 8.0]))
def test_the_most_likely_are_the_first_of_a_stable_sort(seed: int, n: int, scale: float) -> None:
    row = logits(seed, n, scale).round(1)  # rounding makes ties
    assert most_likely(row) == [int(one) for one in np.argsort(-row, kind="stable")[:20]]
