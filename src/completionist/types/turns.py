"""How messages follow one another: tool messages answer the calls before them (contract, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable

from completionist.types.messages import AssistantMessage, Message, ToolMessage
from completionist.types.refusals import StrayToolMessage, UnansweredToolCalls, UnknownToolCall


def check_turns(messages: Iterable[Message]) -> None:
    """Walk the list once. Order and repetition of answers are free; every call needs one. Raises the refusals above."""
    calls = _Calls()
    for i, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            calls.answer(i, message.tool_call_id)
        else:
            calls.close(i)
            calls = _Calls(message)
    calls.close(None)


class _Calls:
    """The calls of one message; a message that makes none takes no answers."""

    def __init__(self, message: Message | None = None) -> None:
        made = message.tool_calls if isinstance(message, AssistantMessage) else None
        self._is_answered = {call.id: False for call in made or ()}

    def answer(self, index: int, tool_call_id: str) -> None:
        if not self._is_answered:
            raise StrayToolMessage(index)
        if tool_call_id not in self._is_answered:
            raise UnknownToolCall(index, tool_call_id)
        self._is_answered[tool_call_id] = True

    def close(self, index: int | None) -> None:
        left_open = [tool_call_id for tool_call_id, is_answered in self._is_answered.items() if not is_answered]
        if left_open:
            raise UnansweredToolCalls(index, left_open)
