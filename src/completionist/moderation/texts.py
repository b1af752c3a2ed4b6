"""What every moderator does with a text before it judges it."""

from __future__ import annotations

from completionist.chat.moderate import Unjudged
from completionist.types.moderation import ModerationResult


def nothing_said(text: str, model: str) -> ModerationResult | None:
    """The verdict on a text that says nothing, without categories: nobody judged it. None: it says something."""
    if text.strip():
        return None
    return ModerationResult(
        model=model, flagged=False, categories={}, category_scores={}, category_applied_input_types={}
    )


def check_length(text: str, max_characters: int) -> None:
    """Raises `Unjudged`."""
    if len(text) > max_characters:
        raise Unjudged(f"Texts of more than {max_characters} characters are not judged here.")
