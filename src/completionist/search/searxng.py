"""A SearXNG of the operator's, asked through its JSON API (docs.searxng.org/dev/search_api.html).

The words of the question leave this machine for that one address and nothing else does: redirects are not followed, no
proxy of the environment is used, and pages that are found are not fetched. It is a POST, so that questions are in no
server's log of addresses.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
import ssl
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import httpx2
import msgspec

from completionist import __version__
from completionist.chat.search import Query, Source, cut
from completionist.errors import SearchUnavailable
from completionist.log import emit
from completionist.settings import SearchSettings

_log = logging.getLogger(__name__)

_MAX_URL_CHARACTERS = 2048
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",  # what is unpacked could be a thousand times as long
    "user-agent": f"completionist/{__version__}",
}


class SearXNG:
    """A `SearchProvider`. Belongs to one event loop."""

    missing: str | None = None

    def __init__(self, settings: SearchSettings) -> None:
        """`url` is set."""
        self._address = f"{(settings.url or '').rstrip('/')}/search"
        self._settings = settings
        self._client: httpx2.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def search(self, query: Query) -> Sequence[Source]:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                reply = await self._asked(query)
            return await asyncio.to_thread(_sources, reply, query)
        except TimeoutError:
            reason = "no answer in time"
        except (_Unusable, httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
        emit(_log, logging.WARNING, "SearXNG gave no results", reason=reason)
        raise SearchUnavailable

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _asked(self, query: Query) -> bytes:
        """Raises `_Unusable` and the errors of the client."""
        client = await self._opened()
        async with client.stream("POST", self._address, data=_form(query, self._settings.language)) as response:
            if response.status_code != httpx2.codes.OK:
                raise _Unusable(f"it answered {response.status_code}{_remedy(response.status_code)}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _Unusable("it answered in an encoding that was not asked for")
            reply = bytearray()
            async for piece in response.aiter_raw():
                reply += piece
                if len(reply) > self._settings.max_reply_bytes:
                    raise _Unusable(f"its answer is longer than {self._settings.max_reply_bytes} bytes")
        return bytes(reply)

    async def _opened(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._client is None:
                certificates = await asyncio.to_thread(ssl.create_default_context)
                self._client = httpx2.AsyncClient(
                    headers=_HEADERS, timeout=self._settings.timeout_s, trust_env=False, verify=certificates
                )
        return self._client


class _Unusable(Exception):
    """What came is not what the API promises."""


class _Result(msgspec.Struct):
    url: str | None = None
    title: str | None = None
    content: str | None = None
    published_date: str | None = msgspec.field(default=None, name="publishedDate")


class _Reply(msgspec.Struct):
    results: list[_Result]
    unresponsive_engines: list[msgspec.Raw] = []


def _form(query: Query, language: str | None) -> dict[str, str]:
    """The API has no parameter for a place: its names join the words, and a country is the region of the language."""
    place = query.location
    words = [query.text, place.city, place.region]
    form = {"format": "json"}
    if language is None:
        words.append(place.country)
    else:
        has_region = "-" in language or not re.fullmatch("[A-Za-z]{2}", place.country or "")
        form["language"] = language if has_region else f"{language}-{(place.country or '').upper()}"
    return {"q": " ".join(filter(None, words)), **form}


def _remedy(status: int) -> str:
    return ": its settings must list json among search.formats" if status == httpx2.codes.FORBIDDEN else ""


def _sources(reply: bytes, query: Query) -> list[Source]:
    """Raises `_Unusable`."""
    try:
        read = msgspec.json.decode(reply, type=_Reply)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _Unusable("its answer is not the JSON of a search") from None
    found: dict[str, Source] = {}
    for source in _usable(read.results, query.max_characters):
        found.setdefault(source.url, source)
        if len(found) == query.max_sources:
            break
    if not found and read.unresponsive_engines:
        raise _Unusable("none of its engines answered")
    return list(found.values())


def _usable(results: Sequence[_Result], max_characters: int) -> Iterator[Source]:
    for result in results:
        url = result.url or ""
        if _is_link(url):
            day = f"{result.published_date[:10]}: " if result.published_date else ""
            text = day + _text(result.content or "", max_characters)
            yield Source(title=_text(result.title or "", 200), url=url, text=text)


def _is_link(url: str) -> bool:
    """An address that a client may be shown."""
    if len(url) > _MAX_URL_CHARACTERS or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _text(markup: str, maximum: int) -> str:
    """Without tags, on one line."""
    return cut(" ".join(html.unescape(_TAG.sub("", markup[: 4 * maximum])).split()), maximum)
