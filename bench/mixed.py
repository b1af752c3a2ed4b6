"""A mixed load: clients that each always have one call under way, of everything that a server does, and a book of what was
acknowledged to them.

    write: 200 for the whole answer, or `[DONE]` with no error before it        lost: not there afterwards, or not so
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx2
import msgspec

from bench.prompts import chat, words

_HARBOUR = {
    "type": "object",
    "properties": {"harbour": {"type": "string", "enum": ["Brest", "Rye"]}},
    "required": ["harbour"],
    "additionalProperties": False,
}
_TIDE = {"type": "function", "function": {"name": "get_tide", "strict": True, "parameters": _HARBOUR}}
_ANSWER = {"type": "json_schema", "json_schema": {"name": "tide", "strict": True, "schema": _HARBOUR}}
_LONG_TOKENS = 400
_SHORT_TOKENS = 30
_LEAVES_AFTER_EVENTS = 3
_CREATE = "/v1/chat/completions"
_JSON = {"content-type": "application/json"}
_NO_HEADERS: Mapping[str, str] = {}

Body = dict[str, Any]


class Finished(msgspec.Struct, frozen=True):
    """An answer that came to its end."""

    at_s: float
    """On the clock of `time.monotonic`."""
    tokens: int


class Book:
    """What came back, and what was promised."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.finished: list[Finished] = []
        self.broken: list[str] = []
        """Streams that ended in an error or without an end, and answers of a shape that none has."""
        self.stored: dict[str, tuple[str | None, dict[str, str]]] = {}
        """Id → content and metadata."""
        self.deleted: set[str] = set()
        self.files: dict[str, bytes] = {}


class Client:
    """One of those that ask."""

    def __init__(self, http: httpx2.AsyncClient, model: str, book: Book, number: int) -> None:
        self._http = http
        self._model = model
        self._book = book
        self._number = number
        self._n_asked = itertools.count()
        self._mine: list[str] = []

    async def run(self, until_s: float) -> None:
        """Ask until then, each kind in turn; what is under way at the end comes to its end."""
        for kind in itertools.islice(itertools.cycle(_KINDS), self._number, None):
            if time.monotonic() >= until_s:
                return
            try:
                await kind(self)
            except httpx2.HTTPError as error:
                self._book.broken.append(repr(error))

    async def plain(self) -> None:
        await self._whole(n=2, max_completion_tokens=12)

    async def streamed(self) -> None:
        await self._streamed(self._body(max_completion_tokens=24, temperature=1))

    async def long(self) -> None:
        await self._streamed(self._body(_LONG_TOKENS, max_completion_tokens=8))

    async def likely(self) -> None:
        await self._whole(logprobs=True, top_logprobs=5, max_completion_tokens=8)

    async def shaped(self) -> None:
        await self._whole(response_format=_ANSWER, max_completion_tokens=24)

    async def called(self) -> None:
        await self._streamed(self._body(tools=[_TIDE], tool_choice="required", max_completion_tokens=40))

    async def kept(self) -> None:
        metadata = {"client": str(self._number), "n": str(next(self._n_asked))}
        stored = await self._whole(store=True, metadata=metadata, max_completion_tokens=8)
        if stored is not None:
            self._remember(stored["id"], stored["choices"][0]["message"]["content"], metadata)

    async def kept_streamed(self) -> None:
        """Two with one idempotency key: the second is the same answer."""
        metadata = {"client": str(self._number), "n": str(next(self._n_asked))}
        key = {"idempotency-key": f"{self._number}-{time.monotonic_ns()}"}
        body = self._body(store=True, metadata=metadata, max_completion_tokens=8)
        first = await self._streamed(body, key)
        if first is not None:
            again = await self._streamed(body, key)
            if again is not None and again != first:
                self._book.broken.append(f"the answer of an idempotency key changed: {first} {again}")
            self._remember(*first, metadata)

    async def changed(self) -> None:
        if self._mine:
            id_, metadata = self._mine[-1], {"changed": str(next(self._n_asked))}
            reply = await self._send("POST", f"{_CREATE}/{id_}", json={"metadata": metadata})
            if reply.status_code == 200:
                self._book.stored[id_] = (self._book.stored[id_][0], metadata)

    async def removed(self) -> None:
        if len(self._mine) > 1:
            id_ = self._mine.pop(0)
            reply = await self._send("DELETE", f"{_CREATE}/{id_}")
            if reply.status_code == 200:
                del self._book.stored[id_]
                self._book.deleted.add(id_)

    async def listed(self) -> None:
        await self._send("GET", _CREATE, params={"limit": "20", "metadata[client]": str(self._number)})
        await self._send("GET", "/v1/models")

    async def uploaded(self) -> None:
        content = f"The tide of {self._number} is {next(self._n_asked)}. ".encode() * 200
        reply = await self._send("POST", "/v1/files", data={"purpose": "user_data"}, files={"file": ("t.txt", content)})
        if reply.status_code == 200:
            self._book.files[reply.json()["id"]] = content

    async def refused(self) -> None:
        await self._send("POST", _CREATE, content=_encoded(self._body(temperature=3)), headers=_JSON)
        await self._send("POST", _CREATE, content=b"{", headers=_JSON)

    async def left(self) -> None:
        """It goes away in the middle."""
        asked = _encoded(self._body(stream=True, max_completion_tokens=200))
        async with self._http.stream("POST", _CREATE, content=asked, headers=_JSON) as reply:
            self._book.statuses[reply.status_code] += 1
            n_events = 0
            async for line in reply.aiter_lines():
                n_events += line.startswith("data: ")
                if n_events == _LEAVES_AFTER_EVENTS:
                    return

    async def _whole(self, **fields: Any) -> dict[str, Any] | None:  # noqa: ANN401 (fields of a request)
        reply = await self._send("POST", _CREATE, content=_encoded(self._body(**fields)), headers=_JSON)
        if reply.status_code != 200:
            return None
        answer: dict[str, Any] = reply.json()
        self._finish(answer["usage"])
        return answer

    async def _streamed(self, body: Body, headers: Mapping[str, str] = _NO_HEADERS) -> tuple[str, str | None] | None:
        """Id and content of an answer that came to its end."""
        asked = _encoded(body | {"stream": True, "stream_options": {"include_usage": True}})
        id_, pieces, is_over = "", list[str](), False
        async with self._http.stream("POST", _CREATE, content=asked, headers={**_JSON, **headers}) as reply:
            self._book.statuses[reply.status_code] += 1
            if reply.status_code != 200:
                await reply.aread()
                await _pause(reply)
                return None
            async for line in reply.aiter_lines():
                if line == "data: [DONE]":
                    is_over = True
                elif line.startswith("data: "):
                    chunk = msgspec.json.decode(line[6:])
                    if "error" in chunk:
                        self._book.broken.append(line)
                        return None
                    id_ = chunk["id"]
                    pieces += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
                    if chunk.get("usage"):
                        self._finish(chunk["usage"])
        if not is_over:
            self._book.broken.append(f"{id_} has no end")
            return None
        return id_, "".join(pieces)

    async def _send(self, method: str, path: str, **how: Any) -> httpx2.Response:  # noqa: ANN401 (options of the client)
        reply = await self._http.request(method, path, **how)
        self._book.statuses[reply.status_code] += 1
        if reply.status_code in {429, 503}:
            await _pause(reply)
        return reply

    def _body(self, n_words: int = _SHORT_TOKENS, **fields: Any) -> Body:  # noqa: ANN401 (fields of a request)
        """No two prompts are the same."""
        seed = 10**6 * self._number + next(self._n_asked)
        return {"model": self._model, "messages": chat(words(n_words, seed)), "temperature": 0, **fields}

    def _finish(self, usage: dict[str, Any]) -> None:
        self._book.finished.append(Finished(time.monotonic(), usage["completion_tokens"]))

    def _remember(self, id_: str, content: str | None, metadata: dict[str, str]) -> None:
        self._mine.append(id_)
        self._book.stored[id_] = (content, metadata)


_KINDS: Sequence[Callable[[Client], Awaitable[None]]] = (
    Client.plain, Client.streamed, Client.kept, Client.long, Client.likely, Client.shaped, Client.kept_streamed,
    Client.called, Client.changed, Client.left, Client.refused, Client.uploaded, Client.listed, Client.removed,
)  # fmt: skip


def _encoded(body: Body) -> bytes:
    return msgspec.json.encode(body)


async def _pause(reply: httpx2.Response) -> None:
    """As long as the server says."""
    await asyncio.sleep(float(reply.headers.get("retry-after", "1")))


async def load(base_url: str, model: str, book: Book, *, n_clients: int, duration_s: float) -> None:
    """Let so many clients ask for so long."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=n_clients)
    async with httpx2.AsyncClient(base_url=base_url, timeout=120, limits=limits, trust_env=False) as http:
        until_s = time.monotonic() + duration_s
        await asyncio.gather(*(Client(http, model, book, number).run(until_s) for number in range(n_clients)))


async def lost(base_url: str, book: Book) -> list[str]:
    """What was acknowledged and is not there, or not so."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=60, trust_env=False) as http:
        found = [await _fault_of_stored(http, id_, *said) for id_, said in book.stored.items()]
        found += [await _fault_of_deleted(http, id_) for id_ in book.deleted]
        found += [await _fault_of_file(http, id_, content) for id_, content in book.files.items()]
    return [fault for fault in found if fault]


async def _fault_of_stored(
    http: httpx2.AsyncClient, id_: str, content: str | None, metadata: dict[str, str]
) -> str | None:
    reply = await http.get(f"{_CREATE}/{id_}")
    if reply.status_code != 200:
        return f"{id_}: {reply.status_code}"
    kept = reply.json()
    is_same = (kept["choices"][0]["message"]["content"], kept["metadata"]) == (content, metadata)
    return None if is_same else f"{id_} is not as it was acknowledged"


async def _fault_of_deleted(http: httpx2.AsyncClient, id_: str) -> str | None:
    return None if (await http.get(f"{_CREATE}/{id_}")).status_code == 404 else f"{id_} is there again"


async def _fault_of_file(http: httpx2.AsyncClient, id_: str, content: bytes) -> str | None:
    reply = await http.get(f"/v1/files/{id_}/content")
    return None if reply.status_code == 200 and reply.content == content else f"{id_} is not as it was uploaded"
