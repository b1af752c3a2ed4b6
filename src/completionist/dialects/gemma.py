"""Gemma 4. Bracketed words are control tokens.

    <|channel>thought
    The user wants the tide.
    <channel|>Let me look.<|tool_call>call:get_tide{"harbour": "Brest"}<tool_call|>

The family was trained on a notation of its own for the arguments, `{harbour:<|"|>Brest<|"|>}`. We hold it to JSON in their
place: only JSON can be held to a client's schema. Earlier generations know no tools; to them applies `dialects.plain`.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect, Vocabulary
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form

_OPENING, _CLOSING = "<|tool_call>", "<tool_call|>"


def gemma(card: ModelCard) -> Dialect | None:
    template = card.chat_template or ""
    if _OPENING not in template or _CLOSING not in template:
        return None
    vocabulary = Vocabulary(card)
    opening, closing = vocabulary.marker(_OPENING), vocabulary.marker(_CLOSING)
    form = Form(marker=opening, opening=f"{opening}call:", middle="", closing=closing)
    return Dialect(name="gemma", layout=Layout(forms=(form,), thinking=thinking_of(card)))
