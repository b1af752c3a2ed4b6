"""Models whose template knows nothing of tools, or which do badly by it: everything is instructed, as text.

    system     # Functions … {"name": "get_tide", …} …
    assistant  <tool_call>
               {"name": "get_tide", "arguments": {"harbour": "Brest"}}
               </tool_call>
    user       Result of get_tide:
               12:40 high

No marker is a control token. The object in a fence, or bare, is a call too when it names a tool that is on offer.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect
from completionist.dialects.hermes import BARE, FENCED, TAGGED
from completionist.dialects.history import History
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout


def plain(card: ModelCard) -> Dialect:
    return Dialect(
        name="plain",
        layout=Layout(forms=(TAGGED, FENCED, BARE), thinking=thinking_of(card)),
        tools_in="system",
        history=History(is_text=True),
    )
