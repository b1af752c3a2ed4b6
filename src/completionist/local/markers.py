"""What can be read off a chat template without running it: which form it has, and which of its markers anybody can write."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KINDS = (
    ("<|start|>", "Harmony channels"),
    ("<|im_start|>", "ChatML"),
    ("<|start_header_id|>", "Llama 3 headers"),
    ("<|header_start|>", "Llama 4 headers"),
    ("<start_of_turn>", "Gemma turns"),
    ("<|turn>", "Gemma 4 turns"),
    ("<|START_OF_TURN_TOKEN|>", "Command turns"),
    ("<|start_of_role|>", "Granite roles"),
    ("<\uff5cUser\uff5c>", "DeepSeek turns"),
    ("[INST]", "instruction brackets"),
    ("[gMASK]", "GLM roles"),
    ("<|user|>", "role tags"),
    ("<|im_user|>", "Kimi turns"),
    ("### ", "headings"),
    ("USER", "names in capital letters"),
)
_MARKER = re.compile(
    r"<\|[^|<>{}\s]{1,40}\|>|<\uff5c[^\uff5c<>]{1,40}\uff5c>|<\|[a-z_]{1,20}>|<[a-z_]{1,20}\|>|<(?:start|end)_of_[a-z]{1,20}>|\[/?[A-Z_]{2,30}\]"
)


def template_kind(source: str | None) -> str:
    """In what form it writes turns, by its markers."""
    if source is None:
        return "none in the file: asked in ChatML"
    return next((kind for marker, kind in _KINDS if marker in source), "of its own kind")


def forgeable_markers(source: str, specials: Iterable[str]) -> tuple[str, ...]:
    """Markers that the template writes and the vocabulary does not have: to the model they are text, whoever wrote it."""
    known = set(specials)
    return tuple(dict.fromkeys(marker for marker in _MARKER.findall(source) if marker not in known))
