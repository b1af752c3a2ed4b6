"""Mistral's instruct models. Bracketed words are control tokens.

Older templates (Nemo, Small 2409):

    [TOOL_CALLS][{"name": "get_tide", "arguments": {"harbour": "Brest"}}, {"name": …}]</s>

Newer ones, with a token between name and arguments:

    [TOOL_CALLS]get_tide[ARGS]{"harbour": "Brest"}[TOOL_CALLS]get_tide[ARGS]{…}</s>

Call ids in the history must have nine letters and digits; ids that newer models may write themselves are not asked for.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect, Vocabulary
from completionist.dialects.history import History
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form

_CALLS, _ARGUMENTS = "[TOOL_CALLS]", "[ARGS]"


def mistral(card: ModelCard) -> Dialect | None:
    template = card.chat_template or ""
    if _CALLS not in template or "[INST]" not in template:
        return None
    vocabulary = Vocabulary(card)
    calls = vocabulary.marker(_CALLS)
    form = _newer(calls, vocabulary.marker(_ARGUMENTS)) if _ARGUMENTS in template else _older(calls)
    return Dialect(
        name="mistral",
        layout=Layout(forms=(form,), thinking=thinking_of(card)),
        history=History(has_short_ids=True, is_alternating=True),
    )


def _older(calls: str) -> Form:
    return Form(
        marker=calls,
        section_opening=f"{calls}[",
        opening='{"name": "',
        middle='", "arguments": ',
        closing="}",
        separator=", ",
        section_closing="]",
    )


def _newer(calls: str, arguments: str) -> Form:
    return Form(marker=calls, opening=calls, middle=arguments)
