"""A few of the requests of `make fuzz`, on the model that many tests ask."""

from __future__ import annotations

import pytest

from completionist.settings import DEFAULT_MODEL
from tests.fuzz.bleed import bleed

pytestmark = [pytest.mark.model, pytest.mark.timeout(180)]


def test_no_answer_has_another_ones_nonce(real_url: str) -> None:
    done = bleed(real_url, DEFAULT_MODEL, n_requests=10, at_once=8)
    assert list(done.broken) == []
    assert list(done.foreign) == []
    assert done.n_own > done.n_requests // 2, done
