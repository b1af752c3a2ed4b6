"""The model file's chat template: hostile until proven otherwise.

Templates are written for Jinja2 as Hugging Face sets it up; minijinja runs them with the same settings and names. Its
fuel bounds the loops and the strings that a template makes, and it reaches nothing of Python's. It does not bound what
a nest of lists grows to when it is written out, so this runs only in a process with a memory limit and a deadline
(`local.renderer`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import minijinja

from completionist import ids
from completionist.local.conversation import SystemPlace
from completionist.local.numbers import exact, misprinted_literal, number_of

Message = Mapping[str, Any]
"""What a template sees of one turn."""

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
_MAX_INDENT = 64
_CHARACTERS_PER_OBJECT = 256
"""What an object counts beyond its text: each costs a template some operations and brings some markers."""

_INNARDS = re.compile(r"__\w+__")
_TRAINING_MARKERS = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_NAME = "chat template"
_NONE: Mapping[str, str | bool] = {}


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
        self._context = {"bos_token": bos_text, "eos_token": eos_text, "documents": None}
        self._environment = _environment()
        try:
            self._environment.add_template(_NAME, _TRAINING_MARKERS.sub(_as_condition, source))
        except minijinja.TemplateError as error:
            raise TemplateFault(_first_line(error)) from None
        if literal := misprinted_literal(source):
            raise TemplateFault(f"it has the number {literal}, which would not be written as Jinja2 writes it")
        self.system_place = self._find_system_place()
        self.shows_names = self._shows_names()

    def render(
        self, messages: Sequence[Message], *, tools: Sequence[object] = (), switches: Mapping[str, str | bool] = _NONE
    ) -> str:
        """The prompt up to where the assistant's answer begins. Raises `TemplateRefusal` or `TemplateFault`."""
        weight = weight_of(messages) + weight_of(tools)
        self._environment.fuel = _FUEL + _FUEL_PER_CHARACTER * weight
        variables = {**self._context, **switches, "tools": exact(tools) or None}
        try:
            rendered = self._environment.render_template(
                _NAME, messages=exact(messages), add_generation_prompt=True, **variables
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
            self._shows(_messages("user"))
        except TemplateRefusal as refusal:
            raise TemplateFault(f"it refuses a single user message: {refusal}") from None
        if self._shows(_messages("system", "system", "user", "assistant", "system", "user")):
            return "anywhere"
        return "first" if self._shows(_messages("system", "user", "assistant", "user")) else "none"

    def _shows_names(self) -> bool:
        """Whether the name of a participant is in the prompt."""
        return self._shows(
            [{"role": "user", "content": "This is text.", "name": "trial_of_names"}, *_messages("assistant", "user")]
        )

    def _shows(self, messages: Sequence[Message]) -> bool:
        """Whether every text is in the prompt. A single user message must be rendered, or there is nothing to serve."""
        try:
            rendered = self.render(messages)
        except (TemplateRefusal, TemplateFault):
            if len(messages) == 1:
                raise
            return False
        return all(text in rendered for message in messages for key, text in message.items() if key != "role")


def weight_of(value: object) -> int:
    """Characters in all of a JSON value's strings, and what its parts count beyond them."""
    match value:
        case str():
            return len(value)
        case Mapping():
            return _CHARACTERS_PER_OBJECT + sum(len(key) + weight_of(item) for key, item in value.items())
        case list() | tuple():
            return sum(map(weight_of, value))
        case _:
            return 0


def _messages(*roles: str) -> list[Message]:
    """Short texts, each another one."""
    return [{"role": role, "content": f"This is text {i} of the trial."} for i, role in enumerate(roles)]


def _environment() -> minijinja.Environment:
    """As Hugging Face sets Jinja2 up for chat templates."""
    environment = minijinja.Environment(trim_blocks=True, lstrip_blocks=True, debug=False)
    environment.add_filter("tojson", _to_json)
    environment.add_filter("indent", _indent)
    environment.add_test("iterable", _is_iterable)
    environment.add_test("number", _is_number)
    environment.add_test("float", _is_float)
    environment.add_test("integer", _is_integer)
    environment.add_global("raise_exception", _raise_exception)
    environment.add_global("strftime_now", ids.local_time)
    return environment


def _is_iterable(value: object) -> bool:
    """Unlike the built-in one: none is not. Templates ask this of tools that are not there."""
    return isinstance(value, Iterable)


def _is_number(value: object) -> bool:
    return isinstance(number_of(value), int | float)


def _is_float(value: object) -> bool:
    return isinstance(number_of(value), float)


def _is_integer(value: object) -> bool:
    number = number_of(value)
    return isinstance(number, int) and not isinstance(number, bool)


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
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_plain,
    )


def _plain(value: object) -> object:
    number = number_of(value)
    if number is value:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return number


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """Unlike the built-in one: a line end at the end stays."""
    margin = width if isinstance(width, str) else " " * min(width, _MAX_INDENT)
    lines = f"{text}\n".splitlines()
    rest = [margin + line if line or blank else line for line in lines[1:]]
    return "\n".join([(margin if first else "") + lines[0], *rest])


def _as_condition(marker: re.Match[str]) -> str:
    """`{% generation %}` tells a trainer which text is the assistant's; here it is a block that is always written."""
    left, end, right = marker.groups()
    return f"{{%{left} {'endif' if end else 'if true'} {right}%}}"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
