"""Harmony's messages, told apart by their headers.

    header ── <|message|> ──→ body ── <|end|>, <|call|>, <|return|> or <|start|> ──→ header …

The answer begins inside a header, for the prompt ends with `<|start|>assistant`. A message without a channel is text.
"""

from __future__ import annotations

import re

from completionist.text.channels import Content, Phase, Span, Thought, as_control, split_controls

CHANNEL = as_control("<|channel|>")
MESSAGE = as_control("<|message|>")
START = as_control("<|start|>")
END = as_control("<|end|>")
CALL_OPENING = f"{CHANNEL}commentary to=functions."
CALL_MIDDLE = f" {as_control('<|constrain|>')}json{MESSAGE}"

_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>")
_RECIPIENT = re.compile(r"to=functions\.([a-zA-Z0-9_-]{1,64})")
_MAX_HEADER_CHARACTERS = 512


class MessageChannels:
    """`text.channels.Channels` for harmony. A call comes out as content that begins with its canonical header, whichever of
    the two places the model named the recipient in."""

    def __init__(self) -> None:
        self._header = ""
        self._kind: type[Content | Thought] | None = None  # None: in a header
        self._at = 0

    @property
    def phase(self) -> Phase:
        if self._kind is None:
            return "undecided"
        return "thinking" if self._kind is Thought else "answer"

    def feed(self, text: str) -> list[Span]:
        given: list[Span] = []
        for piece, is_token in split_controls(text):
            if is_token:
                self._control(piece, given)
            elif self._kind is None:
                self._add_to_header(piece, given)
            else:
                given.append(self._kind(piece, self._at))
            self._at += len(as_control(piece)) if is_token else len(piece)
        return given

    def finish(self) -> list[Span]:
        """A header without a message says nothing, but text that never had a header was meant to be read."""
        if self._kind is None and self._header and CHANNEL not in self._header:
            return [Content(self._header, self._at - len(self._header))]
        return []

    def _control(self, spelling: str, given: list[Span]) -> None:
        if spelling in _ENDS:
            self._kind, self._header = None, ""
        elif self._kind is not None:
            return
        elif spelling == "<|message|>":
            self._begin(given)
        else:
            self._header += as_control(spelling)

    def _add_to_header(self, text: str, given: list[Span]) -> None:
        self._header += text
        if len(self._header) > _MAX_HEADER_CHARACTERS:
            given.append(Content(self._header, self._at + len(text) - len(self._header)))
            self._kind, self._header = Content, ""

    def _begin(self, given: list[Span]) -> None:
        recipient = _RECIPIENT.search(self._header)
        _, _, channel = self._header.partition(CHANNEL)
        self._kind = Thought if channel.startswith("analysis") and not recipient else Content
        if recipient:
            given.append(Content(CALL_OPENING + recipient[1] + CALL_MIDDLE, self._at))
        self._header = ""
