"""What concerns stored completions and idempotency keys (contract, sections 1.3, 9.2, 10)."""

from __future__ import annotations

from completionist.errors.base import InvalidRequest, echo
from completionist.errors.service import Unavailable


class CompletionNotFound(InvalidRequest):
    """Unknown, deleted, expired or another project's: nobody can tell which (section 1.3)."""

    status = 404

    def __init__(self, id_: str) -> None:
        super().__init__(f"Chat completion with id '{echo(id_)}' not found.")


class StorageUnavailable(Unavailable):
    """The database cannot be reached, or takes nothing. Whatever was asked of it did not happen."""

    code = "storage_unavailable"

    def __init__(self, *, retry_after_s: float = 1.0) -> None:
        super().__init__("Storage is not available at the moment, please try again later.", retry_after_s=retry_after_s)


class IdempotencyKeyReused(InvalidRequest):
    """The key came before with another body (section 10)."""

    code = "idempotency_error"

    def __init__(self) -> None:
        super().__init__(
            "Keys for idempotent requests can only be used with the same body they were first used with. Try using a key "
            "other than the one sent in 'Idempotency-Key' if you meant to execute a different request."
        )


class IdempotencyKeyInUse(InvalidRequest):
    """The first request with this key is still being answered: one of the few refusals that are worth a retry (section 10)."""

    status = 409
    code = "idempotency_key_in_use"

    def __init__(self) -> None:
        super().__init__(
            "Another request with the same 'Idempotency-Key' is still in progress, please try again later."
        )
