"""What is ours to mend or healed by time (contract, section 9.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from completionist.errors.base import APIError

_FLEX_RETRY_AFTER_S = 10
_ROOM_RETRY_AFTER_S = 5.0


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
    """The queue is full."""

    code = "server_is_overloaded"

    def __init__(self, *, retry_after_s: float = 1.0) -> None:
        super().__init__("The engine is currently overloaded, please try again later.", retry_after_s=retry_after_s)


class SearchUnavailable(Unavailable):
    """The search provider does not answer, or not as it should (section 8.8): without it there is nothing to cite."""

    code = "search_unavailable"

    def __init__(self) -> None:
        super().__init__("The search provider is currently unavailable, please try again later.")


class FlexUnavailable(APIError):
    """A flex request that finds no capacity (section 8.3): its client may come again, or ask for another tier."""

    status = 429
    type = "invalid_request_error"
    code = "resource_unavailable"

    def __init__(self) -> None:
        super().__init__("Flex capacity is not available at the moment, please try again later.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": str(_FLEX_RETRY_AFTER_S), "retry-after-ms": str(1000 * _FLEX_RETRY_AFTER_S)}


class EngineRestarting(Overloaded):
    """The engine died before it took this request, and another one is being started (section 9.4)."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, "x-should-retry": "true"}


class ModelLoadFailed(Unavailable):
    """The model is here and cannot be loaded. It is not tried again before `retry_after_s`."""

    code = "model_load_failed"

    def __init__(self, model: str, reason: str, *, retry_after_s: float = 1.0) -> None:
        self.reason = reason
        super().__init__(f"The model `{model}` cannot be loaded: {reason}", retry_after_s=retry_after_s)

    @property
    def headers(self) -> Mapping[str, str]:
        """Clients show the reason instead of trying again by themselves."""
        return {**super().headers, "x-should-retry": "false"}


class ModelHasNoRoom(Overloaded):
    """The model does not fit beside those that are answering."""

    def __init__(self, model: str, *, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(retry_after_s=_ROOM_RETRY_AFTER_S)
        self.message = (
            f"The model `{model}` needs {needed_bytes / 1e6:,.0f} MB of memory and {free_bytes / 1e6:,.0f} MB are free "
            "beside the models that are answering, please try again later."
        )


class ModerationUnavailable(Unavailable):
    """The prompt was to be judged before it is answered, and could not be (section 8.10)."""

    code = "moderation_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The input could not be moderated: {reason}")


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
