"""When thinking has to end, and whether it has ended by itself."""

from __future__ import annotations

from completionist.engine.base import ControlToken, PlainText, ThinkingBudget

_MAX_SHARE = 0.75
"""Of the room for the answer (contract 13.2)."""


def within(budget: ThinkingBudget, room_tokens: int) -> ThinkingBudget:
    """`budget`, no larger than what leaves a quarter of `room_tokens` for the answer itself."""
    return ThinkingBudget(min(budget.max_tokens, int(_MAX_SHARE * room_tokens)), budget.closing)


class ThinkingWatch:
    """Follows one answer whose prompt has opened the thinking."""

    def __init__(self, budget: ThinkingBudget, closing: list[int]) -> None:
        """`closing` is the budget's marker as tokens."""
        controls = [segment.id for segment in budget.closing if isinstance(segment, ControlToken)]
        texts = [segment.text for segment in budget.closing if isinstance(segment, PlainText)]
        self._closing = closing
        self._token = controls[-1] if controls else None
        self._text = "".join(texts).strip().encode()
        self._n_left = budget.max_tokens
        self._n_closing_left = 0
        self._tail = b""
        self.is_over = False
        """The marker has been written, by whomever."""

    @property
    def must_close(self) -> bool:
        return self._n_left <= 0 and not self._n_closing_left and not self.is_over

    def close(self) -> list[int]:
        """The tokens that are to be written now."""
        self._n_closing_left = len(self._closing)
        self.is_over = not self._closing
        return self._closing

    def follow(self, token: int, piece: bytes) -> None:
        """`token` is the next one of the answer."""
        if self.is_over:
            return
        if self._n_closing_left:
            self._n_closing_left -= 1
            self.is_over = self._n_closing_left == 0
            return
        self._n_left -= 1
        self.is_over = self._is_marker(token, piece)

    def _is_marker(self, token: int, piece: bytes) -> bool:
        if self._token is not None:
            return token == self._token
        seen = self._tail + piece
        self._tail = seen[-len(self._text) :]
        return self._text in seen
