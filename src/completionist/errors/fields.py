"""What is wrong with a field of a request (contract, section 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from completionist.errors.base import InvalidRequest, echo, quoted_list


class MissingModel(InvalidRequest):
    """`model` is absent, null or empty."""

    def __init__(self) -> None:
        super().__init__("you must provide a model parameter")


class MissingParameter(InvalidRequest):
    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.", param=param)


class UnknownParameter(InvalidRequest):
    code = "unknown_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Unknown parameter: '{echo(param)}'.", param=param)


class InvalidType(InvalidRequest):
    """`expected` and `got` are fillers of section 9.3, such as `a string` and `an integer`."""

    code = "invalid_type"

    def __init__(self, param: str, *, expected: str, got: str) -> None:
        super().__init__(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param)


class InvalidValue(InvalidRequest):
    """A value outside a closed list; with `message`, any other value that cannot be taken."""

    code = "invalid_value"

    def __init__(
        self, param: str, value: str = "", supported: Sequence[str] = (), *, message: str | None = None
    ) -> None:
        listed = f"Invalid value: '{echo(value)}'. Supported values are: {quoted_list(supported)}."
        super().__init__(message if message is not None else listed, param=param)


class PatternMismatch(InvalidRequest):
    code = "invalid_value"

    def __init__(self, param: str, pattern: str) -> None:
        super().__init__(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '{pattern}'.",
            param=param,
        )


class OutOfRange(InvalidRequest):
    """A number beyond its bounds: give `minimum` or `maximum`, whichever was passed. The code follows from both."""

    def __init__(
        self, param: str, value: float, *, minimum: float | None = None, maximum: float | None = None, decimal: bool
    ) -> None:
        kind = "decimal" if decimal else "integer"
        side, bound = (
            ("above maximum value", f"<= {maximum}") if minimum is None else ("below minimum value", f">= {minimum}")
        )
        super().__init__(
            f"Invalid '{param}': {kind} {side}. Expected a value {bound}, but got {echo(str(value))} instead.",
            param=param,
            code=f"{kind}_{'above_max' if minimum is None else 'below_min'}_value",
        )


class EmptyString(InvalidRequest):
    code = "empty_string"

    def __init__(self, param: str) -> None:
        super().__init__(
            f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string instead.",
            param=param,
        )


class StringTooLong(InvalidRequest):
    """Lengths are in characters."""

    code = "string_above_max_length"

    def __init__(self, param: str, *, maximum: int, length: int) -> None:
        super().__init__(
            f"Invalid '{param}': string too long. Expected a string with maximum length {maximum}, "
            f"but got a string with length {length} instead.",
            param=param,
        )


class EmptyArray(InvalidRequest):
    code = "empty_array"

    def __init__(self, param: str) -> None:
        super().__init__(
            f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param=param,
        )


class ArrayTooLong(InvalidRequest):
    code = "array_above_max_length"

    def __init__(self, param: str, *, maximum: int, length: int) -> None:
        super().__init__(
            f"Invalid '{param}': array too long. Expected an array with maximum length {maximum}, "
            f"but got an array with length {length} instead.",
            param=param,
        )


class TooManyProperties(InvalidRequest):
    code = "object_above_max_properties"

    def __init__(self, param: str, *, maximum: int, count: int) -> None:
        super().__init__(
            f"Invalid '{param}': too many properties. Expected an object with at most {maximum} properties, "
            f"but got an object with {count} properties instead.",
            param=param,
        )


class PropertyNameTooLong(InvalidRequest):
    """A metadata key beyond its length: shown by its first and last three characters."""

    code = "property_name_above_max_length"

    def __init__(self, param: str, key: str, *, maximum: int) -> None:
        super().__init__(
            f"Invalid property name in '{param}': '{key[:3]}...{key[-3:]}' is too long. "
            f"Expected a string with maximum length {maximum}, but got a string with length {len(key)} instead.",
            param=f"{param}.{key}",
        )


class InvalidCombination(InvalidRequest):
    """Two fields that exclude each other; `param` is the first."""

    code = "invalid_parameter_combination"

    def __init__(self, param: str, other: str) -> None:
        super().__init__(f"Setting '{param}' and '{other}' at the same time is not supported.", param=param)


class NotAllowedWithout(InvalidRequest):
    """A field that means something only beside another one (section 2.5)."""

    def __init__(self, param: str, enabler: str) -> None:
        super().__init__(f"The '{param}' parameter is only allowed when '{enabler}' is enabled.", param=param)


class UnsupportedParameter(InvalidRequest):
    """`reason`: one more sentence saying what is missing here (section 13.1)."""

    code = "unsupported_parameter"

    def __init__(self, param: str, reason: str = "") -> None:
        text = f"Unsupported parameter: '{param}' is not supported with this model."
        super().__init__(f"{text} {reason}" if reason else text, param=param)


class UnsupportedValue(InvalidRequest):
    """`value` as the message shows it: numbers bare, strings quoted."""

    code = "unsupported_value"

    def __init__(self, param: str, value: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"Unsupported value: '{param}' does not support {echo(value)} with this model. "
            f"Supported values are: {quoted_list(supported)}.",
            param=param,
        )


class ContextLengthExceeded(InvalidRequest):
    """The prompt leaves no room for one token (section 13.3). `function_tokens`: of these, what the tools take."""

    code = "context_length_exceeded"

    def __init__(self, *, prompt_tokens: int, context_tokens: int, function_tokens: int | None = None) -> None:
        shares, cure = "", "messages"
        if function_tokens is not None:
            n_messages = prompt_tokens - function_tokens
            shares, cure = (
                f" ({n_messages} in the messages, {function_tokens} in the functions)",
                "messages or functions",
            )
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. However, your messages resulted in "
            f"{prompt_tokens} tokens{shares}. Please reduce the length of the {cure}.",
            param="messages",
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class RequestedTokensExceeded(InvalidRequest):
    """Prompt and the limit of the answer do not fit together: only families that refuse for it say so (section 9.3)."""

    code = "context_length_exceeded"

    def __init__(self, *, prompt_tokens: int, completion_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. However, you requested "
            f"{prompt_tokens + completion_tokens} tokens ({prompt_tokens} in the messages, {completion_tokens} in the "
            "completion). Please reduce the length of the messages or completion.",
            param="messages",
        )


class InputTokensExceeded(InvalidRequest):
    """The same in the words of the GPT-5 family (section 9.3)."""

    code = "context_length_exceeded"

    def __init__(self, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"Input tokens exceed the configured limit of {context_tokens} tokens. Your messages resulted in "
            f"{prompt_tokens} tokens. Please reduce the length of the messages.",
            param="messages",
        )


class ChatTemplateRefusal(InvalidRequest):
    """The model's chat template does not take such a conversation, and `reason` is why, in its own words."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The chat template of this model does not accept these messages: {echo(reason)}", param="messages"
        )


class ModelNotFound(InvalidRequest):
    """`param` stays null on create and is `model` on the models endpoint (sections 1.5, 2.2)."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str, *, param: str | None = None, hint: str = "") -> None:
        """`hint`: what the operator of this server can do, a sentence."""
        tail = " or you do not have access to it." if param is None else ""
        more = f" {hint}" if hint else ""
        super().__init__(f"The model `{echo(model)}` does not exist{tail}{more}", param=param)
