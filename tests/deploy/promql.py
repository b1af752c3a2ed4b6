"""As much of PromQL as is needed to say which metrics and labels an expression names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "sum", "min", "max"})
"""`sum by (x) (…)` has its labels between the operator and the parenthesis."""
_FUNCTIONS = frozenset({"sum", "min", "max", "rate", "increase", "histogram_quantile", "min_over_time"})
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_NAME = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\(|\{[^}]*\})?")


class Named(NamedTuple):
    """What an expression names."""

    metrics: Mapping[str, Mapping[str, str]]
    """With the labels that they are selected by, and the values of these."""
    groups: frozenset[str]
    """Labels that results are grouped by."""


def named(expression: str) -> Named:
    """Raises `ValueError` for a function that is not known here."""
    groups = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
    rest = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", expression))
    metrics: dict[str, Mapping[str, str]] = {}
    for name, follows in _NAME.findall(rest):
        if follows == "(":
            if name not in _FUNCTIONS:
                raise ValueError(f"{name} is no function that is known here")
        elif name not in _KEYWORDS:
            metrics[name] = dict(_MATCHER.findall(follows))
    return Named(metrics, frozenset(groups))
