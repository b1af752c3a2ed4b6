"""What was found in the texts of a request and of its answer (contract 8.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


class ModerationResult(msgspec.Struct, frozen=True, kw_only=True):
    """Of one text. A category that its judge does not know is in none of the maps."""

    type: Literal["moderation_result"] = "moderation_result"
    model: str
    """What judged, whatever the request called it."""
    flagged: bool
    categories: Mapping[str, bool]
    category_scores: Mapping[str, float]
    """0 … 1."""
    category_applied_input_types: Mapping[str, tuple[Literal["text", "image"], ...]]


class ModerationResults(msgspec.Struct, frozen=True, kw_only=True):
    """One for the whole input; of the output one for each choice, in order."""

    type: Literal["moderation_results"] = "moderation_results"
    model: str
    results: tuple[ModerationResult, ...]


class ModerationError(msgspec.Struct, frozen=True, kw_only=True):
    """Why there are none."""

    type: Literal["error"] = "error"
    code: Literal["moderation_unavailable"] = "moderation_unavailable"
    message: str


class CompletionModeration(msgspec.Struct, frozen=True, kw_only=True):
    """Of input and output of one completion."""

    input: ModerationResults | ModerationError
    output: ModerationResults | ModerationError
