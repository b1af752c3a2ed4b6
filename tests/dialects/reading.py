"""An answer read back: what the events of a parser add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from completionist.dialects.parser import CallBegan, CallEnded, CallPiece, Event, Parser
from completionist.text.channels import Content, Thought


class ReadCall(msgspec.Struct):
    name: str
    is_custom: bool
    arguments: str = ""
    is_whole: bool = False


class Answer(msgspec.Struct):
    thought: str = ""
    text: str = ""
    calls: list[ReadCall] = []


def answer_of(events: Iterable[Event]) -> Answer:
    answer = Answer(calls=[])
    is_open = False
    for event in events:
        match event:
            case Thought(text=text):
                answer.thought += text
            case Content(text=text):
                assert not is_open
                answer.text += text
            case CallBegan(name=name, is_custom=is_custom):
                assert not is_open
                is_open = True
                answer.calls.append(ReadCall(name, is_custom))
            case CallPiece(text=text):
                assert is_open
                answer.calls[-1].arguments += text
            case CallEnded(is_whole=is_whole):
                is_open = False
                answer.calls[-1].is_whole = is_whole
    assert not is_open
    return answer


def read(parser: Parser, symbols: Sequence[str]) -> Answer:
    events = [event for symbol in symbols for event in parser.feed(symbol)]
    return answer_of([*events, *parser.finish()])
