"""`reasoning_effort` → what a model's template offers of it (contract 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from completionist.dialects.thinking import switches_of, way_of

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

_LEVELS: Mapping[Effort, str] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_BUDGETS_TOKENS: Mapping[Effort, int] = {"minimal": 256, "low": 1024, "medium": 4096, "high": 16_384}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a prompt is to be rendered and its answer to begin."""

    switches: Mapping[str, str | bool] = {}
    """Variables of the template."""
    wanted: Literal["open", "closed"] | None = None
    """How thinking must stand at the end of the prompt; None: as the template leaves it."""
    budget_tokens: int | None = None
    """After so many tokens of thinking it is closed; None: no bound."""


def plan_of(effort: Effort | None, template: str) -> Plan:
    """For a model that can think. Without an effort the template does as it does when nothing is said."""
    if effort is None:
        return Plan()
    if way_of(template) == "levels":
        return Plan(switches={"reasoning_effort": _LEVELS[effort]}, wanted="closed" if effort == "none" else None)
    is_on = effort != "none"
    return Plan(
        switches=dict.fromkeys(switches_of(template), is_on),
        wanted="open" if is_on else "closed",
        budget_tokens=_BUDGETS_TOKENS.get(effort),
    )
