"""The model file's chat template: hostile until proven otherwise.

Templates are written for Jinja2 as Hugging Face sets it up; minijinja runs them with the same settings and names. Its
fuel bounds the loops and the strings that a template makes, and it reaches nothing of Python's. It does not bound what
a nest of lists grows to when it is written out, so this runs only in a process with a memory limit and a deadline
(`local.renderer`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import minijinja

from completionist import ids
from completionist.local.conversation import Role, SystemPlace, Turn

FALLBACK = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, the most widespread form, for files without a template. Such a model was hardly trained to chat, and where its
vocabulary lacks the markers they are plain text to it."""

_FUEL = 1_000_000
_FUEL_PER_CHARACTER = 8
_MAX_CHARACTERS = 2**20
_MAX_CHARACTERS_PER_CHARACTER = 8
_CHARACTERS_PER_TURN = 256
"""What a turn counts beyond its text: every turn costs a template some operations and brings some markers."""

_INNARDS = re.compile(r"__\w+__")
_TRAINING_MARKERS = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_NAME = "chat template"


class TemplateRefusal(Exception):
    """The template called `raise_exception`: it does not take these messages. The text is the template's."""


class TemplateFault(Exception):
    """The template is broken or hostile. The text is for the operator."""


class ChatTemplate:
    """One compiled template. `system_place` is found by trying."""

    def __init__(self, source: str, *, bos_text: str, eos_text: str) -> None:
        """Raises `TemplateFault` where the template cannot render the simplest of chats."""
        if found := _INNARDS.search(source):
            raise TemplateFault(f"it names {found.group()}")
        self._context = {"bos_token": bos_text, "eos_token": eos_text, "tools": None, "documents": None}
        self._environment = _environment()
        try:
            self._environment.add_template(_NAME, _TRAINING_MARKERS.sub(_as_condition, source))
        except minijinja.TemplateError as error:
            raise TemplateFault(_first_line(error)) from None
        self.system_place = self._find_system_place()

    def render(self, turns: Sequence[Turn]) -> str:
        """The prompt up to where the assistant's answer begins. Raises `TemplateRefusal` or `TemplateFault`."""
        weight = sum(len(turn.content) + _CHARACTERS_PER_TURN for turn in turns)
        self._environment.fuel = _FUEL + _FUEL_PER_CHARACTER * weight
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            rendered = self._environment.render_template(
                _NAME, messages=messages, add_generation_prompt=True, **self._context
            )
        except minijinja.TemplateError as error:
            raise TemplateFault(_first_line(error)) from None
        except (TypeError, ValueError, RecursionError, MemoryError) as error:  # from the functions that we lend it
            raise TemplateFault(_first_line(error)) from None
        if len(rendered) > _MAX_CHARACTERS + _MAX_CHARACTERS_PER_CHARACTER * weight:
            raise TemplateFault("its output is out of all proportion to the messages")
        return rendered

    def _find_system_place(self) -> SystemPlace:
        try:
            self._shows(_turns("user"))
        except TemplateRefusal as refusal:
            raise TemplateFault(f"it refuses a single user message: {refusal}") from None
        if self._shows(_turns("system", "system", "user", "assistant", "system", "user")):
            return "anywhere"
        return "first" if self._shows(_turns("system", "user", "assistant", "user")) else "none"

    def _shows(self, turns: Sequence[Turn]) -> bool:
        """Whether every text is in the prompt. A single user message must be rendered, or there is nothing to serve."""
        try:
            rendered = self.render(turns)
        except (TemplateRefusal, TemplateFault):
            if len(turns) == 1:
                raise
            return False
        return all(turn.content in rendered for turn in turns)


def _turns(*roles: Role) -> list[Turn]:
    """Short texts, each another one."""
    return [Turn(role, f"This is text {i} of the trial.") for i, role in enumerate(roles)]


def _environment() -> minijinja.Environment:
    """As Hugging Face sets Jinja2 up for chat templates."""
    environment = minijinja.Environment(trim_blocks=True, lstrip_blocks=True, debug=False)
    environment.add_filter("tojson", _to_json)
    environment.add_global("raise_exception", _raise_exception)
    environment.add_global("strftime_now", ids.local_time)
    return environment


def _raise_exception(message: object) -> None:
    raise TemplateRefusal(str(message))


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike the built-in one: `<`, `>`, `&` and letters of all languages stay themselves."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _as_condition(marker: re.Match[str]) -> str:
    """`{% generation %}` tells a trainer which text is the assistant's; here it is a block that is always written."""
    left, end, right = marker.groups()
    return f"{{%{left} {'endif' if end else 'if true'} {right}%}}"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
