"""What travels between the API process and the process that renders chat templates: one question, one answer."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from completionist.dialects.history import Turn
from completionist.engine.base import Segment, SpecialToken


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """The first question: the template of the model."""

    template: str
    bos_text: str
    eos_text: str
    specials: tuple[SpecialToken, ...]
    breakpoint_mark: str | None = None
    """A character that stands in turns where a breakpoint of the prompt cache is."""
    medium_mark: str | None = None
    """A character that stands in turns before and behind the number of a picture or sound."""


class Render(msgspec.Struct, frozen=True, kw_only=True, tag="render"):
    """Every further question. Texts are as the client sent them, turns as the model's dialect writes them."""

    turns: tuple[Turn, ...]
    tools: str = "[]"
    """Those that the template is to describe, as JSON."""
    has_text_arguments: bool = False
    """The template wants the arguments of calls as text."""
    switches: Mapping[str, str | bool] = {}
    """Further variables of the template."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The next question may come: said once after the start, and once where the template of `Setup` is usable."""


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    segments: tuple[Segment, ...]
    ending: str
    """The last characters of the prompt."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The template does not take these messages, and says why."""

    reason: str


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The template failed. The reason is for the operator."""

    reason: str


Question = Setup | Render
Answer = Ready | Rendered | Refused | Broken
