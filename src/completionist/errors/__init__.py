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
    │   ├── RequestedTokensExceeded    400  context_length_exceeded
    │   ├── InputTokensExceeded        400  context_length_exceeded
    │   ├── ChatTemplateRefusal        400
    │   ├── Unauthenticated            401
    │   │   └── MissingKey, IncorrectKey, MismatchedHeader
    │   ├── InsufficientPermissions    403
    │   ├── MissingScope               403
    │   ├── EndUserBlocked             403
    │   ├── ForeignOrigin              403
    │   ├── ModelNotFound              404  model_not_found
    │   ├── CompletionNotFound         404
    │   ├── MalformedForm              400
    │   ├── UnknownCursor, UnknownFile 400
    │   ├── ProjectStorageFull         400
    │   ├── DownloadRefused            400
    │   ├── FileNotFound               404
    │   ├── FileTooLarge               413
    │   ├── IdempotencyKeyReused       400  idempotency_error
    │   ├── IdempotencyKeyInUse        409  idempotency_key_in_use
    │   ├── UnknownURL                 404
    │   ├── MethodNotAllowed           405  method_not_supported
    │   ├── ReceiptTimeout             408
    │   ├── BodyTooLarge               413
    │   ├── URLTooLong                 414
    │   └── HeadersTooLarge            431
    ├── RateLimited                    429  rate_limit_exceeded
    │   ├── TokensLimited
    │   └── ConcurrencyLimited
    ├── RequestTooLarge                429  rate_limit_exceeded
    ├── InsufficientQuota              429  insufficient_quota
    ├── FlexUnavailable                429  resource_unavailable
    ├── Unavailable                    503  healed by time
    │   ├── Overloaded                 503  server_is_overloaded
    │   │   ├── EngineRestarting
    │   │   └── ModelHasNoRoom
    │   ├── ModelLoadFailed            503  model_load_failed
    │   ├── StorageUnavailable         503  storage_unavailable
    │   ├── ModerationUnavailable      503  moderation_unavailable
    │   ├── SearchUnavailable          503  search_unavailable
    │   ├── NotReady                   503
    │   └── ShuttingDown               503
    ├── FileStorageFull                507  storage_full
    └── ServerError                    500
        ├── EngineLost                 500  retryable
        ├── ContentLost                500
        └── ChatTemplateFailed         500

The class fixes status, type and code; the instance adds the message and `param`. Wording is the wire's, typos included.

Apart from them stands `OperatorError`: what only the person at the machine can mend, and what a client never sees.
"""

from __future__ import annotations

from completionist.errors.access import (
    KEYS_PLACE,
    EndUserBlocked,
    ForeignOrigin,
    IncorrectKey,
    InsufficientPermissions,
    MismatchedHeader,
    MissingKey,
    MissingScope,
    Unauthenticated,
)
from completionist.errors.base import (
    APIError,
    InvalidRequest,
    OperatorError,
    echo,
    quoted_list,
)
from completionist.errors.fields import (
    ArrayTooLong,
    ChatTemplateRefusal,
    ContextLengthExceeded,
    EmptyArray,
    EmptyString,
    InputTokensExceeded,
    InvalidCombination,
    InvalidType,
    InvalidValue,
    MissingModel,
    MissingParameter,
    ModelNotFound,
    NotAllowedWithout,
    OutOfRange,
    PatternMismatch,
    PropertyNameTooLong,
    RequestedTokensExceeded,
    StringTooLong,
    TooManyProperties,
    UnknownParameter,
    UnsupportedParameter,
    UnsupportedValue,
)
from completionist.errors.files import (
    ContentLost,
    DownloadRefused,
    FileNotFound,
    FileStorageFull,
    FileTooLarge,
    MalformedForm,
    ProjectStorageFull,
    UnknownCursor,
    UnknownFile,
)
from completionist.errors.rates import (
    ConcurrencyLimited,
    InsufficientQuota,
    RateLimited,
    RequestTooLarge,
    TokensLimited,
)
from completionist.errors.service import (
    ChatTemplateFailed,
    EngineLost,
    EngineRestarting,
    FlexUnavailable,
    ModelHasNoRoom,
    ModelLoadFailed,
    ModerationUnavailable,
    NotReady,
    Overloaded,
    SearchUnavailable,
    ServerError,
    ShuttingDown,
    Unavailable,
)
from completionist.errors.storage import (
    CompletionNotFound,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    StorageUnavailable,
)
from completionist.errors.transport import (
    HELP_PLACE,
    BodyTooLarge,
    HeadersTooLarge,
    InvalidHeader,
    MalformedBody,
    MalformedHTTP,
    MethodNotAllowed,
    ReceiptTimeout,
    UnknownURL,
    UnsupportedContentType,
    URLTooLong,
)

__all__ = [
    "HELP_PLACE",
    "KEYS_PLACE",
    "APIError",
    "ArrayTooLong",
    "BodyTooLarge",
    "ChatTemplateFailed",
    "ChatTemplateRefusal",
    "CompletionNotFound",
    "ConcurrencyLimited",
    "ContentLost",
    "ContextLengthExceeded",
    "DownloadRefused",
    "EmptyArray",
    "EmptyString",
    "EndUserBlocked",
    "EngineLost",
    "EngineRestarting",
    "FileNotFound",
    "FileStorageFull",
    "FileTooLarge",
    "FlexUnavailable",
    "ForeignOrigin",
    "HeadersTooLarge",
    "IdempotencyKeyInUse",
    "IdempotencyKeyReused",
    "IncorrectKey",
    "InputTokensExceeded",
    "InsufficientPermissions",
    "InsufficientQuota",
    "InvalidCombination",
    "InvalidHeader",
    "InvalidRequest",
    "InvalidType",
    "InvalidValue",
    "MalformedBody",
    "MalformedForm",
    "MalformedHTTP",
    "MethodNotAllowed",
    "MismatchedHeader",
    "MissingKey",
    "MissingModel",
    "MissingParameter",
    "MissingScope",
    "ModelHasNoRoom",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModerationUnavailable",
    "NotAllowedWithout",
    "NotReady",
    "OperatorError",
    "OutOfRange",
    "Overloaded",
    "PatternMismatch",
    "ProjectStorageFull",
    "PropertyNameTooLong",
    "RateLimited",
    "ReceiptTimeout",
    "RequestTooLarge",
    "RequestedTokensExceeded",
    "SearchUnavailable",
    "ServerError",
    "ShuttingDown",
    "StorageUnavailable",
    "StringTooLong",
    "TokensLimited",
    "TooManyProperties",
    "URLTooLong",
    "Unauthenticated",
    "Unavailable",
    "UnknownCursor",
    "UnknownFile",
    "UnknownParameter",
    "UnknownURL",
    "UnsupportedContentType",
    "UnsupportedParameter",
    "UnsupportedValue",
    "echo",
    "quoted_list",
]
