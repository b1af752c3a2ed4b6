"""Likelihoods of the engine → logprobs of the wire (contract 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

from completionist.engine.base import Likelihood
from completionist.types.completion import TokenLogprob, TopLogprob


def token_logprob(chosen: Likelihood, alternatives: Sequence[Likelihood]) -> TokenLogprob:
    return TokenLogprob(
        token=_token(chosen),
        logprob=chosen.logprob,
        bytes=_bytes(chosen),
        top_logprobs=tuple(TopLogprob(_token(one), one.logprob, _bytes(one)) for one in alternatives),
    )


def _token(one: Likelihood) -> str:
    """Bytes that are no whole character are written as backslash, `x` and two hex digits."""
    return one.text.decode("utf-8", "backslashreplace")


def _bytes(one: Likelihood) -> tuple[int, ...] | None:
    return None if one.is_control else tuple(one.text)
