"""A real model is asked to judge: that it gives scores. How good they are, larger models show (docs/operations.md)."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from completionist.settings import DEFAULT_MODEL
from completionist.types.moderation import CATEGORIES
from tests.support.ask import ask

pytestmark = pytest.mark.model


END_OF_TURN = {"2": 100}
"""Ends the answer before it begins: judging takes a second, and nothing that is judged twice shows more."""


def test_a_model_scores_what_it_reads(client: openai.OpenAI) -> None:
    sent = {"moderation": {"model": "omni-moderation-latest"}}
    answer = ask(client, model=DEFAULT_MODEL, extra_body=sent, logit_bias=END_OF_TURN)
    assert answer.moderation
    found: Any = answer.moderation.to_dict()
    (result,) = found["input"]["results"]
    assert result["model"] == DEFAULT_MODEL
    assert set(result["category_scores"]) == set(CATEGORIES)
    assert all(0 < score < 1 for score in result["category_scores"].values())
    assert len(set(result["category_scores"].values())) > 1
    assert found["output"]["results"][0]["category_scores"] == {}
