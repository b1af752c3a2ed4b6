"""Rules between fields of a request (contract, sections 2.5, 4.4, 7.5, 8.1, 8.5).

A rule runs at the field that its refusal names, when that field has been read, given or not. It sees `values`, the fields
read so far, and `body`, the decoded body, for what comes later in the order and so may still turn out to be wrong itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from completionist.errors import InvalidCombination, MissingParameter, NotAllowedWithout
from completionist.types.refusals import (
    ChoiceNotFound,
    JSONWordMissing,
    NotWithAudio,
    NotWithPrediction,
    OnlyWithTools,
    StreamedAudioFormat,
)
from completionist.types.turns import check_turns

Values = Mapping[str, Any]
Rule = Callable[[Values, Values], None]


def tool_messages_answer_calls(values: Values, _body: Values) -> None:
    check_turns(values["messages"])


def json_mode_needs_the_word(values: Values, body: Values) -> None:
    """In any role and any text part; tool definitions do not count."""
    response_format = body.get("response_format")
    if not isinstance(response_format, dict) or response_format.get("type") != "json_object":
        return
    if not any("json" in message.text.lower() for message in values["messages"]):
        raise JSONWordMissing


def not_together(param: str, other: str) -> Rule:
    def rule(values: Values, body: Values) -> None:
        if values.get(param) is not None and body.get(other) is not None:
            raise InvalidCombination(param, other)

    return rule


def only_when_enabled(param: str, enabler: str) -> Rule:
    def rule(values: Values, _body: Values) -> None:
        if values.get(param) is not None and values.get(enabler) is not True:
            raise NotAllowedWithout(param, enabler)

    return rule


def only_with(param: str, tools: str) -> Rule:
    def rule(values: Values, _body: Values) -> None:
        if values.get(param) is not None and values.get(tools) is None:
            raise OnlyWithTools(param, tools)

    return rule


def choice_is_offered(param: str, tools: str) -> Rule:
    """What a choice names must be among the definitions, as the same kind of tool; a word names nothing."""

    def rule(values: Values, _body: Values) -> None:
        choice = values.get(param)
        if choice is None or isinstance(choice, str):
            return
        offered = {tool.reference for tool in values[tools]}
        for reference in choice.references:
            if reference not in offered:
                raise ChoiceNotFound(param, reference[1], tools)

    return rule


def not_with_prediction(param: str, asks: Callable[[Any], bool] = lambda value: value is not None) -> Rule:
    """`asks`: whether the field's value is one that excludes a prediction."""

    def rule(values: Values, body: Values) -> None:
        value = values.get(param)
        if value is not None and asks(value) and body.get("prediction") is not None:
            raise NotWithPrediction(param)

    return rule


def wants_audio(values: Values) -> bool:
    return "audio" in (values.get("modalities") or ())


def audio_output_needs_audio(values: Values, _body: Values) -> None:
    if wants_audio(values) and values.get("audio") is None:
        raise MissingParameter("audio")


def streamed_audio_is_pcm16(values: Values, body: Values) -> None:
    audio = values.get("audio")
    if wants_audio(values) and audio is not None and body.get("stream") is True and audio.format != "pcm16":
        raise StreamedAudioFormat(audio.format)


def no_logprobs_with_audio(values: Values, _body: Values) -> None:
    if wants_audio(values) and values.get("logprobs") is True:
        raise NotWithAudio("logprobs")


def no_schema_with_audio(values: Values, _body: Values) -> None:
    """Structured output is text to be parsed; JSON mode and schemas alike (sections 7.6, 8.5)."""
    response_format = values.get("response_format")
    if wants_audio(values) and response_format is not None and response_format.type != "text":
        raise NotWithAudio("response_format", code="invalid_value")
