"""Generated text → thinking, visible text and calls, for every dialect whose calls are `grammar.forms.Form`s.

Where a grammar was enforced all of it fits. Where none was, nothing is lost: what does not become a call is visible text. A
call that was cut off ends where it was cut; of one that had no name yet nothing is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable as Function
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from completionist.grammar.forms import INPUT_CLOSING, INPUT_OPENING, Callable, Form, GrammarInput, Offer
from completionist.text.arguments import Arguments, JSONString, JSONValue, RawText
from completionist.text.channels import (
    Content,
    Phase,
    Span,
    Thought,
    as_control,
    split_controls,
    without_controls,
)


class CallBegan(msgspec.Struct, frozen=True):
    """A tool that is on offer is being called."""

    name: str
    is_custom: bool


class CallPiece(msgspec.Struct, frozen=True):
    """More of the last call's arguments as the model writes them, or of a custom tool's input, decoded."""

    text: str


class CallEnded(msgspec.Struct, frozen=True):
    """The last call is over; `is_whole` unless it was cut off."""

    is_whole: bool


class CallLost(msgspec.Struct, frozen=True):
    """A call was cut off before it had a name."""


Event = Content | Thought | CallBegan | CallPiece | CallEnded | CallLost


class Parser(Protocol):
    """One choice. `feed` takes decoded text, and control tokens as `as_control` writes them, never cut in two."""

    @property
    def phase(self) -> Phase:
        """What comes next."""
        ...

    def feed(self, text: str) -> list[Event]: ...

    def finish(self) -> list[Event]: ...


class Splitter(Protocol):
    """Tells thinking from the rest, like `Channels`."""

    @property
    def phase(self) -> Phase: ...

    def feed(self, text: str) -> list[Span]: ...

    def finish(self) -> list[Span]: ...


class FormParser:
    """Thinking first, then text and calls."""

    def __init__(self, channels: Splitter, forms: Sequence[Form], offer: Offer | None) -> None:
        self._channels = channels
        self._calls = _Calls(forms, offer) if offer and forms else None

    @property
    def phase(self) -> Phase:
        return self._channels.phase

    def feed(self, text: str) -> list[Event]:
        return self._read(self._channels.feed(text))

    def finish(self) -> list[Event]:
        events = self._read(self._channels.finish())
        return events + self._calls.finish() if self._calls else events

    def _read(self, spans: Sequence[Span]) -> list[Event]:
        events: list[Event] = []
        for span in spans:
            if self._calls and isinstance(span, Content):
                events += self._calls.feed(span)
            else:
                events += without_controls(span)
        return events


_NAME = "[a-zA-Z0-9_-]{1,64}"
_SHORT_OF_NAME = "[a-zA-Z0-9_-]{0,64}"
_END_OF_NAME = "(?=[^a-zA-Z0-9_-])"
_SOME_BLANKS = r"\s{0,16}"
_PARTS = re.compile(r"\s+|\S")


class _Head:
    """What stands before the arguments of a call, recognised while it comes in."""

    def __init__(self, text: str, form: Form, *, is_custom: bool) -> None:
        self.form = form
        self.is_custom = is_custom
        before, after = _atoms(text), _atoms(form.middle + (INPUT_OPENING if is_custom else "")) or [_END_OF_NAME]
        self.whole = re.compile(f"{''.join(before)}({_NAME}){''.join(after)}")
        self.partial = re.compile(_beginning([*before, _SHORT_OF_NAME, *after]))


def _atoms(text: str) -> list[str]:
    """Regular expressions that match `text` one after the other: blanks flexibly, control tokens whole."""
    atoms: list[str] = []
    for piece, is_token in split_controls(text):
        if is_token:
            atoms.append(re.escape(as_control(piece)))
        else:
            atoms += [_SOME_BLANKS if part.isspace() else re.escape(part) for part in _PARTS.findall(piece)]
    return atoms


def _beginning(atoms: Sequence[str]) -> str:
    """What matches any number of `atoms` from the first."""
    pattern = ""
    for atom in reversed(atoms):
        pattern = f"(?:{atom}{pattern})?"
    return pattern


_PIECE_CHARACTERS = 4096


class _Calls:
    """Visible text and calls.

    text ── may be ──→ head ── whole ──→ arguments ── done ──→ tail ──→ next head, or text
      ↑── cannot be ──┘

    Each state reads on from the cursor. It returns False when it needs more text than there is.
    """

    def __init__(self, forms: Sequence[Form], offer: Offer) -> None:
        self._tools = {tool.name: tool for tool in reversed(offer.callables)}
        heads = _heads(tuple(forms), frozenset(tool.is_custom for tool in offer.callables))
        self._first, self._later, self._lead, self._first_or_beginning = heads
        self._must_call = offer.is_required
        self._markers = tuple(form.marker for form in forms if form.marker)
        self._buffer = ""
        self._cursor = 0
        self._at = 0
        """Position of the buffer's first character in the stream."""
        self._n_not_lead = 0
        """Characters at the cursor in which no head begins."""
        self._state: Function[[list[Event]], bool] = self._read_text
        self._arguments: Arguments = JSONValue()
        self._tail: tuple[_Tail, ...] = ()

    def feed(self, span: Content) -> list[Event]:
        if not self._buffer:
            self._at = span.at
        events: list[Event] = []
        for piece in _pieces(span.text):
            self._buffer += piece
            while self._cursor < len(self._buffer) and self._state(events):
                pass
            self._at += self._cursor
            self._buffer, self._cursor = self._buffer[self._cursor :], 0
        return events

    def finish(self) -> list[Event]:
        if self._state == self._read_arguments:
            return [*_piece(self._arguments.finish()), CallEnded(is_whole=self._arguments.is_done)]
        events: list[Event] = []
        if self._state == self._read_head and self._is_call():
            events.append(CallLost())
        elif self._state in (self._read_text, self._read_head):
            self._show(len(self._buffer), events)
        return events

    def _is_call(self) -> bool:
        """What is left could have become nothing else."""
        return self._must_call or self._buffer.startswith(self._markers, self._cursor)

    def _read_text(self, events: list[Event]) -> bool:
        lead = self._lead.search(
            self._buffer, self._cursor + self._n_not_lead
        )  # most text has none: a quick look first
        found = self._first_or_beginning.search(self._buffer, lead.start()) if lead else None
        start = found.start() if found else len(self._buffer)
        self._show(start, events)
        self._state = self._read_head
        return start < len(self._buffer)

    def _show(self, end: int, events: list[Event]) -> None:
        events += without_controls(Content(self._buffer[self._cursor : end], self._at + self._cursor))
        self._n_not_lead = 0
        self._cursor = end

    def _read_head(self, events: list[Event]) -> bool:
        return self._begin(self._first, events)

    def _read_later_head(self, events: list[Event]) -> bool:
        return self._begin(self._later + self._first, events)

    def _begin(self, heads: Sequence[_Head], events: list[Event]) -> bool:
        for head in heads:
            found = head.whole.match(self._buffer, self._cursor)
            tool = self._tools.get(found[1]) if found else None
            if found and tool and tool.is_custom == head.is_custom:
                self._cursor = found.end()
                self._enter(tool, head.form)
                events.append(CallBegan(tool.name, tool.is_custom))
                return True
        if any(head.partial.fullmatch(self._buffer, self._cursor) for head in heads):
            return False
        self._n_not_lead = 1
        self._state = self._read_text
        return True

    def _enter(self, tool: Callable, form: Form) -> None:
        closing = form.closing
        if isinstance(tool.takes, GrammarInput):
            self._arguments = RawText(
                INPUT_CLOSING + closing, more=form.separator + form.opening, last=form.section_closing
            )
            closing = ""
        elif tool.is_custom:
            self._arguments, closing = JSONString(), INPUT_CLOSING[1:] + closing
        else:
            self._arguments = JSONValue()
        self._tail = _tails((closing,), (form.separator, form.section_closing))
        self._state = self._read_arguments

    def _read_arguments(self, events: list[Event]) -> bool:
        events += _piece(self._arguments.feed(self._buffer[self._cursor :]))
        n_more = len(self._arguments.rest) - len(self._buffer)
        if n_more > 0:  # some of it had been fed before its meaning showed
            self._buffer, self._at = self._arguments.rest, self._at - n_more
        self._cursor = len(self._buffer) - len(self._arguments.rest)
        if self._arguments.is_done:
            events.append(CallEnded(is_whole=True))
            self._state = self._read_tail
        return self._arguments.is_done

    def _read_tail(self, _: list[Event]) -> bool:
        """Take off what closes the call, then what stands between calls or closes them all."""
        while self._tail:
            found = self._tail[0].whole.match(self._buffer, self._cursor)
            if found:
                self._cursor = found.end()
            elif self._tail[0].partial.fullmatch(self._buffer, self._cursor):
                return False
            self._tail = self._tail[1:]
        self._state = self._read_gap
        return True

    def _read_gap(self, _: list[Event]) -> bool:
        rest = self._buffer[self._cursor :].lstrip()
        self._cursor = len(self._buffer) - len(rest)
        if rest:
            self._state = self._read_later_head
        return bool(rest)


class _Heads(NamedTuple):
    """What the calls of some forms begin with: the first one, and those after it."""

    first: list[_Head]
    later: list[_Head]
    lead: re.Pattern[str]
    """One character that any first head begins with."""
    first_or_beginning: re.Pattern[str]


def warm_up(forms: Sequence[Form]) -> None:
    """Compile what calls in these forms begin with: some tens of milliseconds, once for a process."""
    for kinds in ({False}, {True}, {False, True}):
        _heads(tuple(forms), frozenset(kinds))


@lru_cache(maxsize=64)
def _heads(forms: tuple[Form, ...], kinds: frozenset[bool]) -> _Heads:
    """The same for every choice and every request to a model, and dear to make."""
    first = [_Head(form.head, form, is_custom=kind) for form in forms for kind in sorted(kinds)]
    later = [_Head(form.opening, form, is_custom=kind) for form in forms for kind in sorted(kinds)]
    lead = re.compile(f"[{re.escape(''.join({form.head[0] for form in forms}))}]")
    return _Heads(first, later, lead, _any_of(first))


def _any_of(heads: Sequence[_Head]) -> re.Pattern[str]:
    """Finds the first place where one of `heads` stands, or may stand once more text has come."""
    whole = (head.whole.pattern for head in heads)
    beginning = (f"{head.partial.pattern}\\Z" for head in heads)
    return re.compile("|".join(dict.fromkeys([*whole, *beginning])))


class _Tail:
    """One of several texts, with blanks before it."""

    def __init__(self, *texts: str) -> None:
        atoms = [_atoms(text) for text in texts]
        self.whole = re.compile(f"{_SOME_BLANKS}(?:{'|'.join(map(''.join, atoms))})")
        self.partial = re.compile(f"{_SOME_BLANKS}(?:{'|'.join(map(_beginning, atoms))})")


def _tails(*alternatives: tuple[str, ...]) -> tuple[_Tail, ...]:
    kept = [tuple(text for text in texts if text.strip()) for texts in alternatives]
    return tuple(_Tail(*texts) for texts in kept if texts)


def _piece(text: str) -> list[Event]:
    return [CallPiece(piece) for piece, is_token in split_controls(text) if not is_token]


def _pieces(text: str) -> Iterator[str]:
    """`text` in short stretches, no control token cut in two: one long feed costs no more than many short ones."""
    stretch: list[str] = []
    for piece, is_token in split_controls(text):
        if is_token:
            stretch.append(as_control(piece))
        else:
            for start in range(0, len(piece), _PIECE_CHARACTERS):
                yield "".join(stretch) + piece[start : start + _PIECE_CHARACTERS]
                stretch.clear()
    if stretch:
        yield "".join(stretch)
