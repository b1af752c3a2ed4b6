"""What a choice shows of its text: up to a stop string, without the blanks before a call, each character with its tokens.

Positions count characters of everything the choice generated, as its parser was fed (`text.channels`): so a token belongs to
visible text, to thinking, to a marker or to a call by where its characters ended up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from completionist.text.blanks import TrailingBlanks
from completionist.text.channels import Content
from completionist.text.stops import StopStrings
from completionist.types.completion import TokenLogprob


class _Listed(NamedTuple):
    """A token has a part in the characters from `start` to `end`; one that completes none in the one at `start`."""

    start: int
    end: int
    logprob: TokenLogprob


class VisibleText:
    """Feed content, take what is certain to be shown; then `finish`, unless a stop string was met."""

    def __init__(self, stop_strings: Sequence[str], *, may_call: bool) -> None:
        self._stop_strings = stop_strings
        self._stops = StopStrings(stop_strings)
        self._blanks = TrailingBlanks() if may_call else None
        self._holds_nothing_back = not (stop_strings or may_call)
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._unlisted: deque[_Listed] = deque()
        self._unshown: deque[range] = deque()
        """Positions of the content that is neither shown nor dropped yet, in stretches; only where logprobs are listed."""

    @property
    def is_stopped(self) -> bool:
        """A stop string was met; it ends the choice."""
        return self._stops.is_met

    def list_token(self, start: int, end: int, logprob: TokenLogprob) -> None:
        """Before its text is fed. If any of it comes to be shown, the token is listed with it."""
        self._unlisted.append(_Listed(start, max(end, start + 1), logprob))

    def feed(self, content: Content) -> None:
        if self._holds_nothing_back and not self._unlisted:  # most answers, so worth a short way
            self._texts.append(content.text)
            return
        if self._unlisted:
            self._unshown.append(range(content.at, content.at + len(content.text)))
        self._pass(self._stops.feed(content.text))
        if self.is_stopped and self._blanks:
            self._show(self._blanks.finish())

    def before_call(self) -> None:
        """A call follows: no stop string reaches across it, and the blanks before it are its own."""
        self._pass(self._stops.finish())
        self._stops = StopStrings(self._stop_strings)
        if self._blanks:
            self._advance(self._blanks.drop())

    def finish(self) -> None:
        """No text will come."""
        self._pass(self._stops.finish())
        if self._blanks:
            self._show(self._blanks.finish())

    def take(self) -> tuple[str, tuple[TokenLogprob, ...]]:
        """What is new since the last time."""
        taken = "".join(self._texts), tuple(self._logprobs)
        self._texts.clear()
        self._logprobs.clear()
        return taken

    def _pass(self, text: str) -> None:
        self._show(self._blanks.feed(text) if self._blanks else text)

    def _show(self, text: str) -> None:
        if text:
            self._texts.append(text)
            for stretch in self._advance(len(text)):
                self._list(stretch)

    def _advance(self, n_characters: int) -> list[range]:
        """Where the next characters of content stood."""
        stretches: list[range] = []
        while n_characters and self._unshown:
            stretch = self._unshown.popleft()
            if len(stretch) > n_characters:
                self._unshown.appendleft(stretch[n_characters:])
                stretch = stretch[:n_characters]
            stretches.append(stretch)
            n_characters -= len(stretch)
        return stretches

    def _list(self, shown: range) -> None:
        """List the tokens of these characters, in order; those that ended before them are in nothing visible."""
        while self._unlisted and self._unlisted[0].start < shown.stop:
            token = self._unlisted.popleft()
            if token.end > shown.start:
                self._logprobs.append(token.logprob)
