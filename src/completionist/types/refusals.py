"""Refusals that concern how parts of one request fit together, and the special wordings of single parts.

The general family is in `errors`; these few are raised while a request is read or checked, and nowhere else. Some texts
put a dot before the bracket of an index (`messages.[2].role`): that is how they stand on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from completionist.errors import InvalidRequest, echo


class NullContent(InvalidRequest):
    """`content: null` where it is required (section 3.1)."""

    def __init__(self, at: str) -> None:
        super().__init__("Invalid value for 'content': expected a string, got null.", param=at.replace("[", ".[", 1))


class StrayToolMessage(InvalidRequest):
    """A tool message that answers no assistant message (section 3.3, rule 1)."""

    def __init__(self, index: int) -> None:
        super().__init__(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            param=f"messages.[{index}].role",
        )


class UnknownToolCall(InvalidRequest):
    """A tool message that names a call the assistant did not make (section 3.3, rule 2)."""

    def __init__(self, index: int, tool_call_id: str) -> None:
        super().__init__(
            f"Invalid parameter: 'tool_call_id' of '{echo(tool_call_id)}' not found in 'tool_calls' of previous message.",
            param=f"messages.[{index}].tool_call_id",
        )


class UnansweredToolCalls(InvalidRequest):
    """Calls left open (section 3.3, rule 3); `index` is the message in their place, None at the end of the list."""

    def __init__(self, index: int | None, tool_call_ids: Sequence[str]) -> None:
        super().__init__(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            f"The following tool_call_ids did not have response messages: {', '.join(tool_call_ids)}",
            param="messages" if index is None else f"messages.[{index}].role",
        )


class OnlyWithTools(InvalidRequest):
    """A field that steers tools, without tools (section 2.5)."""

    def __init__(self, param: str, tools: str) -> None:
        super().__init__(
            f"Invalid value for '{param}': '{param}' is only allowed when '{tools}' are specified.", param=param
        )


class ChoiceNotFound(InvalidRequest):
    """`tool_choice` or `function_call` names what is not offered (section 4.4)."""

    def __init__(self, param: str, name: str, tools: str) -> None:
        label = param.replace("_", " ").capitalize()
        super().__init__(f"{label} '{echo(name)}' not found in '{tools}' parameter.", param=param)


class NotWithPrediction(InvalidRequest):
    """A field that excludes `prediction` (section 8.1)."""

    def __init__(self, param: str) -> None:
        super().__init__(f"The '{param}' parameter is not supported when using 'prediction'.", param=param)


class NotWithAudio(InvalidRequest):
    """A field that excludes audio output (section 8.5)."""

    def __init__(self, param: str, *, code: str | None = None) -> None:
        super().__init__(f"The '{param}' parameter is not supported when using audio output.", param=param, code=code)


class StreamedAudioFormat(InvalidRequest):
    """Audio is streamed as raw samples only (section 2.5)."""

    code = "unsupported_value"

    def __init__(self, sent: str) -> None:
        super().__init__(
            f"Unsupported value: 'audio.format' does not support '{sent}' when stream=true. "
            "Supported values are: 'pcm16'.",
            param="audio.format",
        )


class JSONWordMissing(InvalidRequest):
    """JSON mode without the word (section 7.5)."""

    def __init__(self) -> None:
        super().__init__(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )


class InvalidLogitBiasKey(InvalidRequest):
    """A key that is no token id; `maximum` where it is a number beyond the vocabulary (section 2.6)."""

    def __init__(self, param: str, key: str, *, maximum: int | None = None) -> None:
        tail = (
            "You should only be submitting non-negative integers."
            if maximum is None
            else f"Maximum value is {maximum}."
        )
        super().__init__(f"Invalid key in '{param}': {echo(key)}. {tail}", param=param)


class InvalidPrompt(InvalidRequest):
    """The prompt was flagged, and was to be blocked then (section 8.10)."""

    code = "invalid_prompt"

    def __init__(self) -> None:
        super().__init__(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. "
            "Please try again with a different prompt."
        )


class InvalidDataURL(InvalidRequest):
    """Media that should be a data URL; `wanted` is what the message names, `fault` how it ends (section 3.2)."""

    code = "invalid_value"

    def __init__(self, param: str, wanted: str, fault: str) -> None:
        super().__init__(
            f"Invalid '{param}'. Expected a base64-encoded data URL with {wanted}, but got {fault}.", param=param
        )


class InvalidImageURL(InvalidRequest):
    """A URL that leads to no picture; the text does not tell why (section 3.2)."""

    code = "invalid_image_url"

    def __init__(self, param: str, url: str) -> None:
        super().__init__(f"Error while downloading {echo(url)}.", param=param)


class InvalidImage(InvalidRequest):
    """Bytes that are no picture of the four kinds, or beyond a limit: then `reason` says beyond which (section 3.2)."""

    _TEXTS: Mapping[str, str] = {
        "invalid_image_format": "You uploaded an unsupported image. Please make sure your image has of one the following "
        "formats: ['png', 'jpeg', 'gif', 'webp'].",
        "image_parse_error": "The image data you provided does not represent a valid image. "
        "Please check your input and try again.",
    }

    def __init__(self, param: str, code: str, reason: str = "") -> None:
        text = self._TEXTS[code]
        super().__init__(f"{text} {reason}" if reason else text, param=param, code=code)


class TooManyImages(InvalidRequest):
    """More than the operator lets one request bring along."""

    code = "invalid_value"

    def __init__(self, maximum: int) -> None:
        super().__init__(f"Too many images in one request. At most {maximum} are taken.", param="messages")


class InvalidAudioData(InvalidRequest):
    """Sound that does not decode (section 3.2), or goes beyond a limit: then `reason` says beyond which."""

    code = "invalid_value"

    def __init__(self, param: str, audio_format: str, reason: str = "") -> None:
        text = f"The data provided for 'input_audio' is not of valid {audio_format} format."
        super().__init__(
            f"The data provided for 'input_audio' cannot be used. {reason}" if reason else text, param=param
        )


class FileUnreadable(InvalidRequest):
    """A file that is broken, locked, of no kind that can be read, or beyond a limit of its kind (section 8.7)."""

    code = "invalid_value"

    def __init__(self, param: str, filename: str, reason: str) -> None:
        super().__init__(f"The file '{echo(filename)}' could not be read. {reason}", param=param)


class FileTooLong(InvalidRequest):
    """The files of a request are more than it may bring along (section 8.7). `limit`: number and unit."""

    code = "invalid_value"

    def __init__(self, param: str, limit: str) -> None:
        super().__init__(
            f"The files of this request are too long. Together they may have at most {limit}.", param=param
        )


class UnknownVoice(InvalidRequest):
    """A custom voice that does not exist (section 8.5)."""

    code = "invalid_value"

    def __init__(self, id_: str) -> None:
        super().__init__(
            f"Invalid value: '{echo(id_)}'. There is no custom voice with this id.", param="audio.voice.id"
        )


class UnknownSpeech(InvalidRequest):
    """An audio answer that this server did not give, or that has expired (section 3.4)."""

    code = "invalid_value"

    def __init__(self, index: int, id_: str) -> None:
        super().__init__(
            f"Invalid value: '{echo(id_)}'. No audio answer with this id is held here.",
            param=f"messages[{index}].audio.id",
        )


class SpeechTooLong(InvalidRequest):
    """An answer that nobody can listen to the end of; its words are more than the operator lets be spoken."""

    def __init__(self, maximum_s: float) -> None:
        super().__init__(
            f"The answer would speak for more than {maximum_s:g} seconds. Ask for less with 'max_completion_tokens' or 'n'.",
            param="modalities",
        )


class MutuallyExclusive(InvalidRequest):
    """Two keys of which one is too many; `param` is the object that holds them."""

    code = "mutually_exclusive_parameters"

    def __init__(self, param: str, first: str, second: str) -> None:
        super().__init__(
            f"Mutually exclusive parameters: '{first}' and '{second}'. "
            f"Ensure you are only providing one of: '{first}' or '{second}'.",
            param=param,
        )


class UnsupportedContent(InvalidRequest):
    """A part that the model cannot take in; `reason`: what is missing (sections 3.2, 13.1)."""

    def __init__(self, kind: str, message: int, part: int, reason: str = "") -> None:
        text = f"Invalid content type. {kind} is only supported by certain models."
        super().__init__(
            f"{text} {reason}" if reason else text,
            param=f"messages.[{message}].content.[{part}].type",
        )


class NothingToSearch(InvalidRequest):
    """A search was asked for, and the message that it would be for has no words (section 8.8)."""

    def __init__(self) -> None:
        super().__init__(
            "Invalid value: 'web_search_options' needs words to search for in the last user message.", param="messages"
        )


class OnlyDefaultValue(InvalidRequest):
    """A legal value that a model refuses while it reasons (section 9.3). Numbers stand bare, whole ones without a point."""

    code = "unsupported_value"

    def __init__(self, param: str, value: float, default: float) -> None:
        super().__init__(
            f"Unsupported value: '{param}' does not support {_bare(value)} with this model. "
            f"Only the default ({_bare(default)}) value is supported.",
            param=param,
        )


def _bare(value: float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value == int(value) else str(value)


class IncompatibleArgument(InvalidRequest):
    """A field that search models do not take (section 9.3)."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Model incompatible request argument supplied: {field}")


class AudioMissing(InvalidRequest):
    """An audio model without any sound (section 2.5)."""

    code = "invalid_value"

    def __init__(self) -> None:
        super().__init__(
            "This model requires that either input content or output modality contain audio.", param="model"
        )


class RetentionNotShort(InvalidRequest):
    """`in_memory` on models that keep prompts for a day (section 8.2)."""

    def __init__(self) -> None:
        super().__init__(
            "This model is compatible only with 24h extended prompt caching", param="prompt_cache_retention"
        )


class OutputTooLong(InvalidRequest):
    """More output than a hosted model can give (section 2.5)."""

    code = "invalid_value"

    def __init__(self, param: str, *, asked: int, maximum: int) -> None:
        super().__init__(
            f"max_tokens is too large: {asked}. This model supports at most {maximum} completion tokens, "
            f"whereas you provided {asked}.",
            param=param,
        )


class SchemaUnsupported(InvalidRequest):
    """Models older than structured outputs (section 7.1)."""

    def __init__(self) -> None:
        super().__init__(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            param="response_format",
        )


class TooManyTopLogprobs(InvalidRequest):
    """A model's own ceiling, below the documented one (section 9.3)."""

    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"Invalid value for 'top_logprobs': must be less than or equal to {maximum}.", param="top_logprobs"
        )


class FunctionsWithEffort(InvalidRequest):
    """Function tools on a model that would reason (section 9.3)."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"Function tools with reasoning_effort are not supported for {echo(model)} in /v1/chat/completions. "
            "Please use /v1/responses instead, or set reasoning_effort to 'none'.",
            param="reasoning_effort",
        )


class ServiceTierNotAllowed(InvalidRequest):
    """A tier that the project may not use (section 8.3)."""

    def __init__(self) -> None:
        super().__init__(
            "Invalid service_tier argument: The requested service tier is not allowed for this project.",
            param="service_tier",
        )


class InvalidSchema(InvalidRequest):
    """A JSON Schema that cannot be taken (section 7.4). `subject` is `function 'f'` or `response_format 'name'`."""

    def __init__(self, param: str, subject: str, fault: str, *, code: str | None = None) -> None:
        super().__init__(f"Invalid schema for {subject}: {fault}", param=param, code=code)
