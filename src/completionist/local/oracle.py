"""A chat template as its authors saw it rendered: by Jinja2, in its sandbox, set up as Hugging Face does.

Jinja2 is not among what a server needs: it comes with the extra `templates`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from completionist import ids
from completionist.errors import OperatorError
from completionist.local.trials import Trial

_TRAINING_MARKERS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


class OracleMissing(OperatorError):
    def __init__(self) -> None:
        super().__init__("comparing templates needs Jinja2: pip install 'completionist[templates]'")


class NotRendered(Exception):
    """By Jinja2: the template refuses, or fails. The text says how."""


class Oracle:
    """One template."""

    def __init__(self, source: str, *, bos_text: str, eos_text: str) -> None:
        """Raises `NotRendered` where it does not compile, `OracleMissing`."""
        try:
            import jinja2  # noqa: PLC0415 - an extra
            from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - an extra
        except ImportError:
            raise OracleMissing from None
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = ids.local_time
        self._special_texts = {"bos_token": bos_text, "eos_token": eos_text}
        try:
            self._template = environment.from_string(_TRAINING_MARKERS.sub(_as_condition, source))
        except (jinja2.TemplateError, RecursionError) as error:
            raise NotRendered(_first_line(error)) from None

    def render(self, trial: Trial) -> str:
        """Raises `NotRendered`."""
        variables: Mapping[str, Any] = {
            **self._special_texts,
            "documents": None,
            **trial.switches,
            "tools": list(trial.tools) or None,
        }
        try:
            return self._template.render(messages=list(trial.messages), add_generation_prompt=True, **variables)
        except Exception as error:  # noqa: BLE001 - a template may call anything that its values have, and fail in any way
            raise NotRendered(_first_line(error)) from None


def _as_condition(marker: re.Match[str]) -> str:
    """A block that is always written, as it is to `ChatTemplate`."""
    text = marker.group()
    return text.replace("endgeneration", "endif") if "endgeneration" in text else text.replace("generation", "if true")


def _refuse(message: object) -> None:
    raise NotRendered(str(message))


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Hugging Face's. It stands in `ChatTemplate` too, and is not shared: a comparison with oneself finds nothing."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _first_line(error: BaseException) -> str:
    return (f"{type(error).__name__}: {error}".splitlines() or [type(error).__name__])[0]
