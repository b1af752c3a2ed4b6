"""Who may ask, and from where (contract, sections 9.2, 10)."""

from __future__ import annotations

from collections.abc import Mapping

from completionist.errors.base import InvalidRequest

KEYS_PLACE = "the operator of this server"


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


class MissingScope(InvalidRequest):
    """The key is good, but not for this (section 9.2)."""

    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the correct "
            "role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a restricted "
            "API key, that it has the necessary scopes."
        )


class EndUserBlocked(InvalidRequest):
    """The operator blocked whom the request names (section 8.9)."""

    status = 403

    def __init__(self) -> None:
        super().__init__(
            "This request was refused: the operator of this server has blocked its 'safety_identifier' or 'user'."
        )


class ForeignOrigin(InvalidRequest):
    """A `Host` or `Origin` that is not ours: a page of another site, or DNS rebinding."""

    status = 403

    def __init__(self) -> None:
        super().__init__("Host or origin not allowed.")
