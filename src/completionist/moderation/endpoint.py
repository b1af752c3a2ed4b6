"""A moderator elsewhere: any server that answers `POST …/moderations` as OpenAI's does.

    {"model": "omni-moderation-latest", "input": "…"}
    → {"id": …, "model": "omni-moderation-2024-09-26", "results": [{"flagged": …, "categories": {…}, "category_scores": {…}}]}

With a picture `input` is a list of parts, as of a message: OpenAI's takes one, so further pictures are asked about one by one.
Its address and its key are the operator's; nothing that a client says changes where the text goes. What it answers is read
as far as a limit, and believed only in that form.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Literal, NamedTuple, TypeVar

import httpx2
import msgspec

from completionist import __version__
from completionist.chat.moderate import Unjudged
from completionist.log import emit
from completionist.moderation.texts import check_length, nothing_said
from completionist.settings import ModerationSettings
from completionist.types.caller import Caller, ServiceTier
from completionist.types.moderation import ModerationResult
from completionist.types.parts import Base64

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_SLICE_CHARACTERS = 2**18
_SIGNATURES = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""How files of the four formats of the API begin, in base64."""
_KINDS: Sequence[Literal["text", "image"]] = ("text", "image")

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


class _Question(NamedTuple):
    """A body in three pieces: the picture stands in its middle, since it is megabytes that nothing needs to look at."""

    head: bytes
    picture: Base64 | None = None
    tail: bytes = b""

    @property
    def n_bytes(self) -> int:
        return len(self.head) + (len(self.picture) if self.picture else 0) + len(self.tail)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.head
        if self.picture:
            for start in range(self.picture.start, len(self.picture.text), _SLICE_CHARACTERS):
                yield self.picture.text[start : start + _SLICE_CHARACTERS].encode("ascii")
        yield self.tail


class Endpoint:
    """Belongs to one event loop."""

    missing: str | None = None

    def __init__(self, url: str, settings: ModerationSettings, key: str | None) -> None:
        self._url = f"{url.rstrip('/')}/moderations"
        self._settings = settings
        self.names = settings.known_names
        self.fails_open = settings.on_failure == "pass"
        self.sees = settings.images
        self._client = httpx2.AsyncClient(
            headers={
                "user-agent": f"completionist/{__version__}",
                "content-type": "application/json",
                "accept-encoding": "identity",  # or a small answer might unpack to a large one
                **({"authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=settings.timeout_s,
        )

    def place(self, caller: Caller, tier: ServiceTier) -> AbstractContextManager[None]:
        """Nothing here is held: requests are bounded by the places of the models that answer."""
        del caller, tier
        return nullcontext()

    async def judge(self, text: str, pictures: Sequence[Base64], name: str, caller: Caller) -> ModerationResult:
        """Raises `Unjudged`."""
        del caller
        model = self._settings.model or name
        nothing = nothing_said(text, model)
        if nothing and not pictures:
            return nothing
        check_length(text, self._settings.max_characters)
        first, *others = pictures or (None,)
        result = await self._judged(await asyncio.to_thread(_question, model, "" if nothing else text, first))
        for picture in others:
            result = _worse(result, await self._judged(_question(model, "", picture)))
        return result

    async def _judged(self, question: _Question) -> ModerationResult:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                content = await self._ask(question)
        except (TimeoutError, httpx2.TimeoutException):
            raise _failed("did not answer in time") from None
        except httpx2.HTTPError as error:
            raise _failed("could not be reached", str(error) or type(error).__name__) from None
        return await asyncio.to_thread(_result, content)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, question: _Question) -> bytes:
        length = {"content-length": str(question.n_bytes)}
        async with self._client.stream("POST", self._url, content=question.pieces(), headers=length) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise _failed(f"answered with status {answer.status_code}")
            content = bytearray()
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > self._settings.max_response_bytes:
                    raise _failed("answered at greater length than it may")
        return bytes(content)


def _question(model: str, text: str, picture: Base64 | None) -> _Question:
    """Lone surrogates, too, have a form in ASCII."""
    if picture is None:
        return _Question(json.dumps({"model": model, "input": text}).encode())
    kind = next(kind for start, kind in _SIGNATURES.items() if picture.text.startswith(start, picture.start))
    parts = [*([{"type": "text", "text": text}] if text else []), {"type": "image_url", "image_url": {"url": ""}}]
    head, tail = json.dumps({"model": model, "input": parts}).rsplit('"', 1)
    return _Question(f"{head}data:{kind};base64,".encode(), picture, f'"{tail}'.encode())


def _worse(one: ModerationResult, other: ModerationResult) -> ModerationResult:
    """The verdict on both: the higher score counts, and what either knows."""
    scores = dict(one.category_scores)
    applied = dict(one.category_applied_input_types)
    for category, score in other.category_scores.items():
        scores[category] = max(score, scores.get(category, 0.0))
        kinds = {*applied.get(category, ()), *other.category_applied_input_types[category]}
        applied[category] = tuple(kind for kind in _KINDS if kind in kinds)
    return ModerationResult(
        model=one.model,
        flagged=one.flagged or other.flagged,
        categories={
            category: one.categories.get(category, False) or other.categories.get(category, False)
            for category in scores
        },
        category_scores=scores,
        category_applied_input_types=applied,
    )


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
