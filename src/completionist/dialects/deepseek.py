# ruff: noqa: RUF001, RUF002 - the vocabulary itself spells its markers with full-width bars
"""DeepSeek. The words in bars are control tokens, spelled with full-width bars and U+2581 for blanks.

V3.1 and later:

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_tide<｜tool▁sep｜>{"harbour": "Brest"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>

V3 and R1, the distilled models among them:

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_tide
    ```json
    {"harbour": "Brest"}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
"""

from __future__ import annotations

from completionist.dialects.base import Dialect, Vocabulary
from completionist.dialects.history import History
from completionist.dialects.thinking import thinking_of
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form

_SECTION, _SECTION_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _SEPARATOR, _CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"


def deepseek(card: ModelCard) -> Dialect | None:
    template = card.chat_template or ""
    if _SECTION not in template or _SEPARATOR not in template:
        return None
    marker = Vocabulary(card).marker
    section, call, separator, end = map(marker, (_SECTION, _CALL, _SEPARATOR, _CALL_END))
    is_fenced = "```json" in template
    form = Form(
        marker=section,
        section_opening=section,
        opening=f"{call}function{separator}" if is_fenced else call,
        middle="\n```json\n" if is_fenced else separator,
        closing=f"\n```{end}" if is_fenced else end,
        separator="\n" if is_fenced else "",
        section_closing=marker(_SECTION_END),
    )
    return Dialect(
        name="deepseek",
        layout=Layout(forms=(form,), thinking=thinking_of(card)),
        history=History(
            has_silent_calls="message['content'] is none" in template,
            has_text_arguments="'arguments']" in template and "'arguments'] | tojson" not in template,
        ),
    )
