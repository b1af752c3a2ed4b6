"""A moderator elsewhere: any server that answers `POST …/moderations` as OpenAI's does.

    {"model": "omni-moderation-latest", "input": "…"}
    → {"id": …, "model": "omni-moderation-2024-09-26", "results": [{"flagged": …, "categories": {…}, "category_scores": {…}}]}

Its address and its key are the operator's; nothing that a client says changes where the text goes. What it answers is read
as far as a limit, and believed only in that form.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import httpx2
import msgspec

from completionist import __version__
from completionist.chat.moderate import Unjudged
from completionist.log import emit
from completionist.moderation.texts import check_length, nothing_said
from completionist.settings import ModerationSettings
from completionist.types.caller import Caller
from completionist.types.moderation import ModerationResult

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_Category = Annotated[str, msgspec.Meta(max_length=64)]
_Score = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Result(msgspec.Struct, frozen=True):
    """A category that was not judged is null, or left out."""

    flagged: bool
    categories: Annotated[dict[_Category, bool | None], msgspec.Meta(max_length=64)]
    category_scores: Annotated[dict[_Category, _Score | None], msgspec.Meta(max_length=64)]
    category_applied_input_types: dict[_Category, tuple[Literal["text", "image"], ...]] | None = None
    """Older models leave it out: they judge texts only."""


class _Answer(msgspec.Struct, frozen=True):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    results: Annotated[tuple[_Result, ...], msgspec.Meta(min_length=1, max_length=1)]


class Endpoint:
    """Belongs to one event loop."""

    missing: str | None = None

    def __init__(self, url: str, settings: ModerationSettings, key: str | None) -> None:
        self._url = f"{url.rstrip('/')}/moderations"
        self._settings = settings
        self.names = settings.known_names
        self.fails_open = settings.on_failure == "pass"
        self._client = httpx2.AsyncClient(
            headers={
                "user-agent": f"completionist/{__version__}",
                "content-type": "application/json",
                "accept-encoding": "identity",  # or a small answer might unpack to a large one
                **({"authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=settings.timeout_s,
        )

    async def judge(self, text: str, name: str, caller: Caller) -> ModerationResult:
        """Raises `Unjudged`."""
        del caller
        model = self._settings.model or name
        if nothing := nothing_said(text, model):
            return nothing
        check_length(text, self._settings.max_characters)
        body = await asyncio.to_thread(_question, model, text)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                content = await self._ask(body)
        except (TimeoutError, httpx2.TimeoutException):
            raise _failed("did not answer in time") from None
        except httpx2.HTTPError as error:
            raise _failed("could not be reached", str(error) or type(error).__name__) from None
        return await asyncio.to_thread(_result, content)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, body: bytes) -> bytes:
        async with self._client.stream("POST", self._url, content=body) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise _failed(f"answered with status {answer.status_code}")
            content = bytearray()
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > self._settings.max_response_bytes:
                    raise _failed("answered at greater length than it may")
        return bytes(content)


def _question(model: str, text: str) -> bytes:
    return json.dumps({"model": model, "input": text}).encode()  # lone surrogates, too, have a form in ASCII


def _result(content: bytes) -> ModerationResult:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise _failed("answered with something else than one moderation result") from None
    (result,) = answer.results
    categories = _known(result.categories)
    scores = _known(result.category_scores)
    if categories.keys() != scores.keys():
        raise _failed("answered with categories that have no scores")
    applied = result.category_applied_input_types or {}
    return ModerationResult(
        model=answer.model,
        flagged=result.flagged,
        categories=categories,
        category_scores=scores,
        category_applied_input_types={category: applied.get(category, ("text",)) for category in categories},
    )


def _known(values: Mapping[str, _T | None]) -> dict[str, _T]:
    return {name: value for name, value in values.items() if value is not None}


def _failed(how: str, reason: str | None = None) -> Unjudged:
    """`reason` is for the log alone."""
    emit(_log, logging.WARNING, "the moderation endpoint failed", how=how, reason=reason)
    return Unjudged(f"The moderation endpoint {how}.")
