"""How likely the tokens at one place were, as the model alone saw it (contract 5.3, 13.7)."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Likelihood, Token
from completionist.engine.llama.model import Model

N_RANKED = 20
UNRANKED_LOGPROB = -9999.0


def likely(token: Token, row: NDArray[np.float32], n_alternatives: int, model: Model) -> Token:
    """The token with its own likelihood and those of the `n_alternatives` most likely ones, from unmodified logits."""
    ranked = most_likely(row)
    logarithm_of_sum = _logarithm_of_sum(row)

    def likelihood(token_id: int, logprob: float) -> Likelihood:
        is_control = model.is_control(token_id)
        text = model.token_text(token_id).encode() if is_control else model.piece(token_id)
        return Likelihood(text, is_control, logprob)

    own = float(row[token.id]) - logarithm_of_sum if token.id in ranked else UNRANKED_LOGPROB
    alternatives = [likelihood(one, float(row[one]) - logarithm_of_sum) for one in ranked[:n_alternatives]]
    return msgspec.structs.replace(token, likelihood=likelihood(token.id, own), alternatives=tuple(alternatives))


def most_likely(row: NDArray[np.float32]) -> list[int]:
    """The ids of the 20 most likely tokens, best first, lowest id first on a tie."""
    n_ranked = min(N_RANKED, len(row))
    least = np.partition(row, -n_ranked)[-n_ranked]
    candidates = np.flatnonzero(row >= least)
    order = np.argsort(-row[candidates], kind="stable")
    return [int(one) for one in candidates[order][:n_ranked]]


def _logarithm_of_sum(row: NDArray[np.float32]) -> float:
    highest = float(row.max())
    return highest + float(np.log(np.exp(row - highest).sum(dtype=np.float64)))
