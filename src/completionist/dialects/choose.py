"""The dialect of a model, from its template and vocabulary. Names of models say nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from completionist.dialects.base import Dialect
from completionist.dialects.deepseek import deepseek
from completionist.dialects.gemma import gemma
from completionist.dialects.harmony import harmony
from completionist.dialects.hermes import hermes
from completionist.dialects.llama3 import llama3
from completionist.dialects.mistral import mistral
from completionist.dialects.plain import plain
from completionist.engine.base import ModelCard
from completionist.errors import OperatorError

_PROBES: Mapping[str, Callable[[ModelCard], Dialect | None]] = {
    "harmony": harmony,
    "deepseek": deepseek,
    "mistral": mistral,
    "gemma": gemma,
    "llama3": llama3,
    "hermes": hermes,
    "plain": plain,
}
NAMES = tuple(_PROBES)


class DialectUnfit(OperatorError):
    """The configured dialect needs what the model file has not got."""

    def __init__(self, name: str, model: str) -> None:
        super().__init__(f"model {model} cannot speak the dialect {name}: its template or vocabulary lacks the markers")


def choose(card: ModelCard, name: str | None = None) -> Dialect:
    """The first whose markers the model has; `name` is the operator's choice instead. Raises `DialectUnfit`."""
    if name is not None:
        chosen = _PROBES[name](card)
        if chosen is None:
            raise DialectUnfit(name, card.name)
        return chosen
    return next(dialect for probe in _PROBES.values() if (dialect := probe(card)))
