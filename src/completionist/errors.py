"""Every refusal and failure that a client can see (contract, section 9).

    APIError
    ├── InvalidRequest                 400 and every other `invalid_request_error`
    │   ├── MalformedBody              400  the body is no JSON object
    │   ├── UnsupportedContentType     400
    │   ├── InvalidHeader              400
    │   ├── MalformedHTTP              400
    │   ├── MissingModel               400
    │   ├── MissingParameter           400  missing_required_parameter
    │   ├── UnknownParameter           400  unknown_parameter
    │   ├── InvalidType                400  invalid_type
    │   ├── InvalidValue               400  invalid_value (a list of supported values)
    │   ├── PatternMismatch            400  invalid_value
    │   ├── OutOfRange                 400  integer_/decimal_ below_min / above_max _value
    │   ├── EmptyString, StringTooLong, EmptyArray, ArrayTooLong, TooManyProperties, PropertyNameTooLong
    │   ├── InvalidCombination         400  invalid_parameter_combination
    │   ├── NotAllowedWithout          400  «only allowed when … is enabled»
    │   ├── UnsupportedParameter       400  unsupported_parameter
    │   ├── UnsupportedValue           400  unsupported_value
    │   ├── ContextLengthExceeded      400  context_length_exceeded
    │   ├── ChatTemplateRefusal        400
    │   ├── Unauthenticated            401
    │   │   └── MissingKey, IncorrectKey, MismatchedHeader
    │   ├── InsufficientPermissions    403
    │   ├── ForeignOrigin              403
    │   ├── ModelNotFound              404  model_not_found
    │   ├── UnknownURL                 404
    │   ├── MethodNotAllowed           405  method_not_supported
    │   ├── ReceiptTimeout             408
    │   ├── BodyTooLarge               413
    │   ├── URLTooLong                 414
    │   └── HeadersTooLarge            431
    ├── Unavailable                    503  healed by time
    │   ├── Overloaded                 503  server_is_overloaded
    │   ├── NotReady                   503
    │   └── ShuttingDown               503
    └── ServerError                    500
        ├── EngineLost                 500  retryable
        └── ChatTemplateFailed         500

The class fixes status, type and code; the instance adds the message and `param`. Wording is the wire's, typos included.

Apart from them stands `OperatorError`: what only the person at the machine can mend, and what a client never sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

HELP_PLACE = "the documentation of this server"
KEYS_PLACE = "the operator of this server"

_MAX_ECHO_CHARACTERS = 64


def echo(text: str) -> str:
    """A client's string as messages repeat it: cut after 64 characters (section 9.3)."""
    return text if len(text) <= _MAX_ECHO_CHARACTERS else text[:_MAX_ECHO_CHARACTERS] + "..."


def quoted_list(values: Sequence[str], last: str = "and") -> str:
    """`'a'`; `'a' and 'b'`; `'a', 'b', and 'c'` (section 9.3)."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) <= 1:
        return "".join(quoted)
    if len(quoted) == 2:
        return f"{quoted[0]} {last} {quoted[1]}"
    return ", ".join(quoted[:-1]) + f", {last} {quoted[-1]}"


class APIError(Exception):
    """An answer other than 200. `headers` go out with it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.error_code = code if code is not None else self.code

    def __reduce__(self) -> tuple[Callable[..., APIError], tuple[object, ...]]:
        """Errors travel between processes, whatever their constructors ask for."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def headers(self) -> Mapping[str, str]:
        """Extra response headers."""
        return {}


def _restored(cls: type[APIError], args: tuple[object, ...], state: dict[str, object]) -> APIError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidRequest(APIError):
    """A fault of the request: the same request will fail again."""

    status = 400
    type = "invalid_request_error"


class MalformedBody(InvalidRequest):
    """The body is empty, broken JSON, or JSON but no object."""

    def __init__(self) -> None:
        super().__init__(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have "
            f"trouble figuring out how to fix this, please contact us through our help center at {HELP_PLACE}.)"
        )


class UnsupportedContentType(InvalidRequest):
    """A body that is not declared as JSON; `content_type` None where no header came."""

    code = "unsupported_content_type"

    def __init__(self, content_type: str | None) -> None:
        tail = "Please try again with a supported content type."
        accepts = "This API method only accepts 'application/json' requests"
        if content_type is None:
            super().__init__(f"Missing Content-Type header. {accepts}. {tail}")
        else:
            sent = echo(content_type)
            super().__init__(
                f"Unsupported content type: '{sent}'. {accepts}, but you specified the header 'Content-Type: {sent}'. {tail}"
            )


class InvalidHeader(InvalidRequest):
    """A request header that breaks its documented form."""


class MalformedHTTP(InvalidRequest):
    """What came is not HTTP; the connection is closed."""

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP.")


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
    """The prompt leaves no room for one token (section 13.3)."""

    code = "context_length_exceeded"

    def __init__(self, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. However, your messages resulted in "
            f"{prompt_tokens} tokens. Please reduce the length of the messages.",
            param="messages",
        )


class ChatTemplateRefusal(InvalidRequest):
    """The model's chat template does not take such a conversation, and `reason` is why, in its own words."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The chat template of this model does not accept these messages: {echo(reason)}", param="messages"
        )


class Unauthenticated(InvalidRequest):
    """No identity, or one that does not hold."""

    status = 401

    @property
    def headers(self) -> Mapping[str, str]:
        return {"www-authenticate": "Bearer"}


class MissingKey(Unauthenticated):
    def __init__(self) -> None:
        super().__init__(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
            "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
            f"API from your browser and are prompted for a username and password. You can obtain an API key from {KEYS_PLACE}."
        )


class IncorrectKey(Unauthenticated):
    """The key is shown by its first three and last four characters, short ones not at all (section 9.2)."""

    code = "invalid_api_key"

    def __init__(self, key: str) -> None:
        masked = "*" * len(key) if len(key) <= 16 else f"{key[:3]}{'*' * min(len(key) - 7, 32)}{key[-4:]}"
        super().__init__(f"Incorrect API key provided: {masked}. You can find your API key at {KEYS_PLACE}.")


class MismatchedHeader(Unauthenticated):
    """`OpenAI-Organization` or `OpenAI-Project` names another one than the key's; `kind` is the last word of either."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"OpenAI-{kind.capitalize()} header should match {kind} for API key", code=f"mismatched_{kind}"
        )


class InsufficientPermissions(InvalidRequest):
    status = 403

    def __init__(self) -> None:
        super().__init__("You have insufficient permissions for this operation.")


class ForeignOrigin(InvalidRequest):
    """A `Host` or `Origin` that is not ours: a page of another site, or DNS rebinding."""

    status = 403

    def __init__(self) -> None:
        super().__init__("Host or origin not allowed.")


class ModelNotFound(InvalidRequest):
    """`param` stays null on create and is `model` on the models endpoint (sections 1.5, 2.2)."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str, *, param: str | None = None) -> None:
        tail = " or you do not have access to it." if param is None else ""
        super().__init__(f"The model `{echo(model)}` does not exist{tail}", param=param)


class UnknownURL(InvalidRequest):
    status = 404

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Invalid URL ({method} {echo(path)})")


class MethodNotAllowed(InvalidRequest):
    """`allowed`: the methods that exist on this path."""

    status = 405
    code = "method_not_supported"

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"Not allowed to {method} on {echo(path)}.")
        self._allowed = ", ".join(sorted(allowed))

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": self._allowed}


class ReceiptTimeout(InvalidRequest):
    """The request did not arrive in time; the connection is closed."""

    status = 408

    def __init__(self) -> None:
        super().__init__("The request was not received in time.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class BodyTooLarge(InvalidRequest):
    status = 413

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(f"The request body is larger than the limit of {maximum_bytes} bytes.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class URLTooLong(InvalidRequest):
    status = 414

    def __init__(self) -> None:
        super().__init__("The URL of the request is too long.")


class HeadersTooLarge(InvalidRequest):
    status = 431

    def __init__(self) -> None:
        super().__init__("The headers of the request are too large.")


class Unavailable(APIError):
    """Heals with time: carries `retry-after`, 1 … 120 seconds."""

    status = 503
    type = "service_unavailable_error"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": str(min(120, max(1, math.ceil(self.retry_after_s))))}


class Overloaded(Unavailable):
    """The queue is full, or the engine is being restarted."""

    code = "server_is_overloaded"

    def __init__(self, *, retry_after_s: float = 1.0) -> None:
        super().__init__("The engine is currently overloaded, please try again later.", retry_after_s=retry_after_s)


class NotReady(Unavailable):
    """The answer of the health endpoints while requests would be refused."""

    def __init__(self) -> None:
        super().__init__("The server is not ready.")


class ShuttingDown(Unavailable):
    """The server takes no more requests, or this one outlived the time that a shutdown leaves."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down, please try again later.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, "connection": "close"}


class ServerError(APIError):
    """Ours to mend. The cause is in the log, never in the answer."""

    def __init__(
        self, message: str = "The server had an error while processing your request. Sorry about that!"
    ) -> None:
        super().__init__(message)


class EngineLost(ServerError):
    """The engine died under this request, before anything was committed: retrying is safe and worth while."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "true"}


class ChatTemplateFailed(ServerError):
    """The model file's chat template is broken or hostile."""

    def __init__(self) -> None:
        super().__init__("The chat template of this model could not be applied to the messages.")


class OperatorError(Exception):
    """Commands end with its one line, which says what is wrong and how to mend it, and with `exit_code`."""

    exit_code: ClassVar[int] = 1
