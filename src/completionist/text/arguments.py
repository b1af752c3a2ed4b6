"""Where the arguments of a call end, found while they come in.

Each machine takes text by `feed` and gives what belongs to the arguments; once `is_done`, what came after them is in
`rest`. `finish` ends arguments that were cut off. All are linear in what they are fed.
"""

from __future__ import annotations

import re
from typing import Protocol

from completionist.text.channels import CONTROL, Finder

_STRUCTURE = re.compile(r'["{}\[\]]')
_STRING_STOP = re.compile(r'["\\]')
_SCALAR_STOP = re.compile(r"[\s,}\]]")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_N_HEX = 4


class Arguments(Protocol):
    """`feed` → text of the arguments; `is_done` and `rest` once their end was seen."""

    is_done: bool
    rest: str

    def feed(self, text: str) -> str: ...

    def finish(self) -> str: ...


class JSONValue:
    """One JSON value, given as it was written, without blanks before it.

    Only its extent is judged: strings and brackets, not whether it is sound.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.rest = ""
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._kind = ""  # of the whole value: "", then container, string or scalar

    def feed(self, text: str) -> str:
        if not self._kind:
            text = text.lstrip()
        at = 0
        while at < len(text) and not self.is_done:
            at = self._in_string_step(text, at) if self._in_string else self._step(text, at)
        self.rest = text[at:]
        return text[:at]

    def finish(self) -> str:
        return ""

    def _step(self, text: str, at: int) -> int:
        if not self._kind:
            return self._begin(text, at)
        if self._kind == "scalar":
            found = _SCALAR_STOP.search(text, at)
            self.is_done = found is not None
            return found.start() if found else len(text)
        found = _STRUCTURE.search(text, at)
        if not found:
            return len(text)
        self._enter_or_leave(found[0])
        return found.end()

    def _begin(self, text: str, at: int) -> int:
        self._kind = "container" if text[at] in "{[" else "string" if text[at] == '"' else "scalar"
        if self._kind == "scalar":
            return at
        self._enter_or_leave(text[at])
        return at + 1

    def _enter_or_leave(self, mark: str) -> None:
        if mark == '"':
            self._in_string = True
            return
        self._depth += 1 if mark in "{[" else -1
        self.is_done = self._depth <= 0

    def _in_string_step(self, text: str, at: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        found = _STRING_STOP.search(text, at)
        if not found:
            return len(text)
        if found[0] == "\\":
            self._is_escaped = True
        else:
            self._in_string = False
            self.is_done = self._depth == 0
        return found.end()


class JSONString:
    """What a JSON string says, decoded; begins inside its quotation marks and ends with the closing one."""

    def __init__(self) -> None:
        self.is_done = False
        self.rest = ""
        self._held = ""  # an escape that is not complete
        self._high = 0  # first half of a surrogate pair

    def feed(self, text: str) -> str:
        text = self._held + text
        self._held = ""
        given: list[str] = []
        at = 0
        while at < len(text) and not self.is_done:
            found = _STRING_STOP.search(text, at)
            end = found.start() if found else len(text)
            if end > at:
                given += [self._lone_half(), text[at:end]]
            if not found:
                at = end
            elif found[0] == '"':
                self.is_done, at = True, found.end()
            else:
                at = self._escape(text, end, given)
        self.rest = text[at:] if self.is_done else ""
        if self.is_done:
            given.append(self._lone_half())
        return "".join(given)

    def finish(self) -> str:
        """An escape that was cut off says nothing."""
        self._held = ""
        return self._lone_half()

    def _escape(self, text: str, at: int, given: list[str]) -> int:
        kind = text[at + 1 : at + 2]
        size = 2 + _N_HEX if kind == "u" else 2
        if len(text) < at + size:
            self._held = text[at:]
            return len(text)
        if kind == "u":
            self._unicode(text[at + 2 : at + size], given)
        else:
            given += [self._lone_half(), _ESCAPES.get(kind, kind)]
        return at + size

    def _unicode(self, digits: str, given: list[str]) -> None:
        try:
            code = int(digits, 16)
        except ValueError:
            given += [self._lone_half(), f"\\u{digits}"]
            return
        if self._high and 0xDC00 <= code < 0xE000:
            given.append(chr(0x10000 + ((self._high - 0xD800) << 10) + (code - 0xDC00)))
            self._high = 0
            return
        given.append(self._lone_half())
        if 0xD800 <= code < 0xDC00:
            self._high = code
        else:
            given.append("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code))

    def _lone_half(self) -> str:
        """Half a pair without its other half is no character."""
        lone, self._high = ("\ufffd" if self._high else ""), 0
        return lone


class RawText:
    """Text as it is, which may hold what closes it: `closing` ends it where nothing follows but `last`, or a control token, or
    `more`. One with a control token of its own needs nothing to follow.

    `more` and a control token end it by themselves, too: they are no part of such text. A beginning of what would close it at
    the end of the stream is none either. What is in `rest` may have been fed before.
    """

    def __init__(self, closing: str, *, more: str = "", last: str = "") -> None:
        self.is_done = False
        self.rest = ""
        self._closing = closing
        followed = [closing + more, more, closing + last + CONTROL, closing + CONTROL, CONTROL]
        ends = [closing, CONTROL] if CONTROL in closing else followed
        self._finder = Finder(tuple(end for end in dict.fromkeys(ends) if end and (end != closing or CONTROL in end)))

    def feed(self, text: str) -> str:
        given, end = self._finder.feed(text)
        if end is not None:
            self.is_done, self.rest = True, end.removeprefix(self._closing) + self._finder.rest
        return given

    def finish(self) -> str:
        self.is_done = self._finder.finish().startswith(self._closing)
        return ""
