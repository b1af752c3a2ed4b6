"""Hermes and Qwen.

    Let me look.
    <tool_call>
    {"name": "get_tide", "arguments": {"harbour": "Brest"}}
    </tool_call>
    <tool_call>
    {"name": "get_tide", "arguments": {"harbour": "Cork"}}
    </tool_call><|im_end|>

`<tool_call>` is a user-defined token in Qwen's vocabularies and several tokens in others; to us it is text either way.
Coder models of the family often write the object in a fence, or bare, instead. The template knows tools, calls and results.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form

TAGGED = Form(
    marker="<tool_call>",
    opening='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    closing="}\n</tool_call>",
    separator="\n",
)
FENCED = Form(opening='```json\n{ "name": "', middle='", "arguments": ', closing="}\n```", separator="\n")
BARE = Form(opening='{ "name": "', middle='", "arguments": ', closing="}", separator="\n")


def hermes(card: ModelCard) -> Dialect | None:
    template = card.chat_template or ""
    if "<tool_call>" not in template or "tools" not in template or '"arguments": ' not in template:
        return None
    return Dialect(name="hermes", layout=Layout(forms=(TAGGED, FENCED, BARE), thinking=thinking_of(card)))
