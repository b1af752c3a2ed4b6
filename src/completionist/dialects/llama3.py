"""Llama 3.1 and later.

    {"name": "get_tide", "parameters": {"harbour": "Brest"}}<|eot_id|>

or, after a control token of its own,

    <|python_tag|>{"name": "get_tide", "parameters": {"harbour": "Brest"}}<|eom_id|>

One call to a turn; the template refuses more in its history.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect, Vocabulary
from completionist.dialects.history import History
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form

_TAG = "<|python_tag|>"
_BARE = Form(opening='{"name": "', middle='", "parameters": ', closing="}", max_calls=1)


def llama3(card: ModelCard) -> Dialect | None:
    template = card.chat_template or ""
    if "<|start_header_id|>" not in template or '"parameters": ' not in template:
        return None
    vocabulary = Vocabulary(card)
    tag = vocabulary.marker(_TAG)
    tagged = Form(marker=tag, opening=tag + '{"name": "', middle='", "parameters": ', closing="}", max_calls=1)
    return Dialect(
        name="llama3",
        layout=Layout(forms=(_BARE, tagged) if vocabulary.has(_TAG) else (_BARE,), thinking=thinking_of(card)),
        history=History(max_calls_per_turn=1),
    )
