"""Writing llguidance's Lark.

Only a control token that a rule names can be generated; regular expressions and strings match text alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from completionist.text.channels import split_controls

OPTIONS_KEY = "x-guidance"
"""In a schema it steers llguidance itself: never a client's."""

NO_FORCING = '%llguidance {"no_forcing": true}'
"""For a grammar with rules of a client's. Where a terminal of theirs swallows what should end it, what must come next has no
end, and the compiler would follow it for ever: `/x"+/` before `"`."""

ANY_TEXT = "/(?s:.*)/"
_MAX_BLANKS = 16
_BLANKS = re.compile(r"\s+")


class UnknownControlToken(Exception):
    """A form needs a control token that this vocabulary has not got."""


def literal(text: str, control_ids: Mapping[str, int]) -> str:
    """The sequence of strings and control tokens that is exactly `text`. Raises `UnknownControlToken`."""
    return " ".join(
        _control(piece, control_ids) if is_token else quoted(piece) for piece, is_token in split_controls(text)
    )


def _control(spelling: str, control_ids: Mapping[str, int]) -> str:
    if spelling not in control_ids:
        raise UnknownControlToken(spelling)
    return f"<[{control_ids[spelling]}]>"


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def pattern(text: str) -> str:
    """A regular expression, without its slashes, for `text` with any blanks or none where it has some."""
    pieces = _BLANKS.split(text)
    return f"[ \\n\\r\\t]{{0,{_MAX_BLANKS}}}".join(_escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    """`re.escape` would write escapes that the Rust syntax refuses."""
    return re.sub(r"([\\.+*?()|\[\]{}^$/#&~-])", r"\\\1", text)


def regex(definition: str) -> str:
    """A client's regular expression as a terminal."""
    return "/" + re.sub(r"(\\.)|/", lambda found: found[1] or r"\/", definition, flags=re.DOTALL) + "/"


def json_value(schema: Mapping[str, object], *, is_loose: bool = False) -> str:
    """JSON of this schema, with the blanks of Python's and the templates' writers: fixed ones are free to generate, and a
    model cannot lose itself in them. `is_loose`: keywords that cannot be enforced hold nothing up."""
    options = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": is_loose}
    return "%json " + msgspec.json.encode({**schema, OPTIONS_KEY: options}).decode()
