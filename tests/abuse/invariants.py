"""What must hold after every row of the catalogue: its invariants I1 to I7, checked by one context.

    with invariants_of(served) as abuse:
        abuse.create(n=0)

Answers that come through `abuse` are remembered, and judged when the row is over.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.abuse.served import Served
from tests.support import raw
from tests.support.forms import CONTENT_TYPE, PURPOSE, form, part
from tests.support.server import eventually

CREATE = "/v1/chat/completions"
FILES = "/v1/files"
KEY = "sk-proj-0123456789abcdef-last"
OTHER_KEY = "sk-proj-fedcba9876543210-last"
FLOOD_KEY = "sk-proj-00112233445566778899-flood"
FLOOD_CONCURRENT = 6
"""Requests of it that may be under way."""
SECRET = "The zebras of Zierikzee"
"""In every prompt of `Abuse.create`; in no log."""
NEVER_END = {"0": -100, "2": -100}
"""A bias against the two tokens that end an answer of the test model."""
CHEAP_S = 0.05
"""Of CPU time: what «refused fast» allows, however slow the model is."""

_SETTLE_S = 15.0
_LEAKS = re.compile(
    r"""Traceback|File\s"|\bline\s[0-9]+|\.py\b|site-packages      # traces
    |0x[0-9a-f]{6,}                                                # addresses
    |/(?:usr|home|root|tmp|work|var|opt|proc|private)/             # paths
    |\b(?:SELECT|INSERT|UPDATE)\s                                  # SQL
    |(?i:llama\.?cpp|ggml|llguidance|minijinja|msgspec|pydantic|starlette|uvicorn|uvloop|httptools|asyncio|sqlalchemy)
    |127\.0\.0\.1|\[::1\]                                          # resolved addresses
    |(?:Error|Exception)\(""",
    re.VERBOSE,
)


class Abuse:
    """A client of one row."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.port = served.port
        self.replies: list[raw.Reply] = []
        self.is_fault_ours = False
        """Set by rows that break something of ours: then 500 is an answer, and the log may hold errors."""

    def create(self, body: bytes | None = None, *headers: str, key: str | None = KEY, **fields: object) -> raw.Reply:
        """One answer to a create call."""
        body = self.body(**fields) if body is None else body
        return self.send(self.request("POST", CREATE, *headers, body=body, key=key))

    def get(self, path: str, *headers: str, key: str | None = KEY) -> raw.Reply:
        return self.send(self.request("GET", path, *headers, key=key))

    def upload(self, content: bytes, name: str = "tides.txt", *, key: str = KEY) -> raw.Reply:
        """One answer to the upload of a file."""
        body = form(PURPOSE, part("file", content, filename=name))
        return self.send(self.request("POST", FILES, f"Content-Type: {CONTENT_TYPE}", body=body, key=key))

    def refused(
        self, status: int, code: str | None, param: str | None, body: bytes | None = None, **fields: object
    ) -> raw.Reply:
        """A create call that must be refused just so."""
        reply = self.create(self.body(**fields) if body is None else body)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (status, code, param), reply
        assert reply.error["type"] == "invalid_request_error"
        return reply

    def stream(self, **fields: object) -> list[str]:
        """The events of a streamed answer, `[DONE]` among them."""
        with raw.connection(self.port) as sock:
            sock.sendall(self.request("POST", CREATE, "Connection: close", body=self.body(stream=True, **fields)))
            return self.events(raw.read_to_end(sock))

    def events(self, received: bytes) -> list[str]:
        """The events of a whole streamed answer as it came."""
        status, headers, body = raw.parsed(received)
        self.replies.append(raw.Reply(status, headers, body))
        assert status == 200, received
        return [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]

    def send(self, *parts: bytes) -> raw.Reply:
        """The answer to bytes on a connection of their own."""
        return self.keep(raw.send(self.port, *parts))

    def push(self, *parts: bytes, every_s: float = 0.0) -> raw.Reply | None:
        """The answer to bytes that the server need not take in; None where it only closed."""
        reply = raw.push(self.port, *parts, every_s=every_s)
        return self.keep(reply) if reply else None

    def keep(self, reply: raw.Reply) -> raw.Reply:
        """Remember an answer that was read elsewhere."""
        self.replies.append(reply)
        return reply

    def request(self, method: str, path: str, *headers: str, body: bytes | None = None, key: str | None = KEY) -> bytes:
        authorization = () if key is None else (f"Authorization: Bearer {key}",)
        return raw.request(method, path, *authorization, *headers, body=body)

    def body(self, **fields: object) -> bytes:
        """A create body that asks for little: with a system message, which spares the template's own longer one."""
        messages = [{"role": "system", "content": "x"}, {"role": "user", "content": SECRET}]
        short = {} if {"max_tokens", "max_completion_tokens"} & fields.keys() else {"max_completion_tokens": 4}
        return json.dumps({"model": self.served.model, "messages": messages, **short, **fields}).encode()

    def cpu_s(self, act: Callable[[], object], n: int = 5) -> float:
        """CPU time of the server for one `act`, as the mean of `n`."""
        before_s = self.served.cpu_s()
        for _ in range(n):
            act()
        return (self.served.cpu_s() - before_s) / n


@contextmanager
def invariants_of(served: Served, *, spare_bytes: int = 0) -> Iterator[Abuse]:
    """Hold a row to the invariants. `spare_bytes`: what heaps and bounded caches may hold more after all rows together."""
    log_start = len(served.log_text())
    files, pids = served.files(), _pids(served)
    n_generated = served.metric("generation_tokens_total")
    abuse = Abuse(served)
    yield abuse
    for reply in abuse.replies:
        _check_answer(reply, abuse.is_fault_ours)
    _check_nothing_runs(served)
    if all(reply.status >= 400 for reply in abuse.replies):
        assert served.metric("generation_tokens_total") == n_generated, "a refused request was counted as usage"
    _check_canary(served)
    assert abuse.is_fault_ours or _pids(served) == pids
    assert served.api.pid == pids[0]
    assert served.files() == files
    _check_settled(served, spare_bytes)
    _check_log(served, abuse, log_start)


def _check_answer(reply: raw.Reply, is_fault_ours: bool) -> None:
    headers, retry = reply.headers, reply.headers.get("x-should-retry")
    assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"]), reply
    assert reply.status != 500 or is_fault_ours, reply
    if reply.status in {429, 503}:
        assert retry == "false" or 1 <= int(headers["retry-after"]) <= 120, reply
    elif 400 <= reply.status < 500 and reply.status not in {408, 409}:
        assert retry != "true", reply
    if reply.status >= 400:
        assert headers["content-type"] == "application/json"
        assert reply.error["message"]
    errors = [reply.body] if reply.status >= 400 else re.findall(rb'^data: (\{"error".*)$', reply.body, re.MULTILINE)
    for shown in (*map(bytes.decode, errors), *headers.values()):
        assert not _LEAKS.search(shown), shown
    assert KEY.encode() not in reply.body
    assert OTHER_KEY.encode() not in reply.body


def _check_nothing_runs(served: Served) -> None:
    eventually(lambda: served.metric("num_requests_running") == served.metric("num_requests_waiting") == 0)


def _check_canary(served: Served) -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]
    canary = Abuse(served).create(messages=messages, max_completion_tokens=1, key=OTHER_KEY)
    assert canary.status == 200, canary
    assert json.loads(canary.body)["usage"]["completion_tokens"] == 1


def _check_log(served: Served, abuse: Abuse, start: int) -> None:
    request_ids = [reply.headers["x-request-id"] for reply in abuse.replies]
    assert len(set(request_ids)) == len(request_ids)

    def logged() -> list[Any]:
        return [line["request_id"] for line in served.log_lines(start, event="request")]

    eventually(lambda: set(request_ids) <= set(logged()))
    assert all(logged().count(request_id) == 1 for request_id in request_ids)
    text = served.log_text()[start:]
    assert all(secret not in text for secret in (KEY, OTHER_KEY, SECRET))
    assert all(line.isprintable() for line in text.splitlines())
    assert abuse.is_fault_ours or not served.log_lines(start, level="error")


def _check_settled(served: Served, spare_bytes: int) -> None:
    """Memory, with what is swapped out, must be back within 5 % of a warm server's, and descriptors the same number.

    Warm is the same for all rows of a server, so that rows that each keep a little are found out too.
    """
    deadline_s = time.monotonic() + _SETTLE_S
    while complaints := list(_grown(served, spare_bytes)):
        assert time.monotonic() < deadline_s, complaints
        time.sleep(0.05)


def _grown(served: Served, spare_bytes: int) -> Iterator[str]:
    for who, held in served.footprints().items():
        warm = served.when_warm[who]
        if held.resident_bytes > 1.05 * warm.resident_bytes + spare_bytes or held.n_descriptors != warm.n_descriptors:
            yield f"{who}: {warm} became {held}"


def _pids(served: Served) -> tuple[int, int | None]:
    engine = served.engine
    return served.api.pid, engine.pid if engine else None
