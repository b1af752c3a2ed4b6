"""Which markers a model encloses its thinking in, from its template.

<think> … </think>              Qwen, DeepSeek and most others; text, user-defined or control tokens
[THINK] … [/THINK]              Mistral; control tokens
<|channel>thought\\n … <channel|>  Gemma 4; control tokens
"""

from __future__ import annotations

import re
from typing import Literal

from completionist.engine.base import ModelCard
from completionist.text.channels import Thinking, as_control

_MARKERS = (("<think>", "", "</think>"), ("[THINK]", "", "[/THINK]"), ("<|channel>", "thought\n", "<channel|>"))


Way = Literal["levels", "switch", "always"]
"""How a template lets thinking be steered: by a level, by turning it on or off, or not at all (contract 13.2)."""

_SWITCH = re.compile(r"\b(enable_thinking)\b|\b(?:if|and|or|not)\s+(thinking)\b")


def way_of(template: str) -> Way:
    """Of a template whose model can think."""
    if "reasoning_effort" in template:
        return "levels"
    return "switch" if _SWITCH.search(template) else "always"


def switches_of(template: str) -> set[str]:
    """The variables that turn thinking on or off."""
    return {name for found in _SWITCH.finditer(template) for name in found.groups() if name}


def thinking_of(card: ModelCard) -> Thinking | None:
    """None for a model that does not think, as far as its template tells."""
    template = card.chat_template or ""
    controls = {token.text for token in card.specials if token.kind == "control"}
    for opening, header, closing in _MARKERS:
        if closing in template:
            return Thinking(
                opening=(as_control(opening) if opening in controls else opening) + header,
                closing=as_control(closing) if closing in controls else closing,
            )
    return None
