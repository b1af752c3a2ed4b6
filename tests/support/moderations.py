"""An endpoint that moderates, on a loopback port: what it answers is in what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JUDGE = "omni-moderation-2024-09-26"
FLAGS = "wicked"
"""A text with this word is flagged."""


def result(text: str, *, is_bad: bool = False, has_picture: bool = False) -> dict[str, Any]:
    is_bad = is_bad or FLAGS in text
    score = 0.97 if is_bad else 0.01
    return {
        "flagged": is_bad,
        "categories": {"harassment": is_bad, "violence": False, "illicit": None},
        "category_scores": {"harassment": score, "violence": 0.001, "illicit": None},
        "category_applied_input_types": {
            "harassment": ["text"] if text else [],
            "violence": [*(["text"] if text else []), *(["image"] if has_picture else [])],
            "illicit": [],
        },
    }


def answer(text: str) -> dict[str, Any]:
    return {"id": "modr-1", "model": JUDGE, "results": [result(text)]}


def _bent(**fields: Any) -> dict[str, Any]:
    good = answer("")
    return {**good, "results": [{**good["results"][0], **fields}]}


BROKEN: dict[str, bytes] = {
    "no json": b"<html>",
    "no object": b"[]",
    "no results": json.dumps({**answer(""), "results": []}).encode(),
    "two results": json.dumps({**answer(""), "results": [result(""), result("")]}).encode(),
    "no verdict": json.dumps({"model": JUDGE, "results": [{"categories": {}, "category_scores": {}}]}).encode(),
    "words for scores": json.dumps(_bent(category_scores={"harassment": "high", "violence": "low"})).encode(),
    "scores beyond one": json.dumps(_bent(category_scores={"harassment": 3.5, "violence": 0})).encode(),
    "scores that are missing": json.dumps(_bent(category_scores={"violence": 0})).encode(),
    "a thousand categories": json.dumps(
        _bent(categories={str(i): False for i in range(1000)}, category_scores={str(i): 0 for i in range(1000)})
    ).encode(),
    "nesting without end": b'{"model":"m","results":' + b"[" * 100_000,
    "bytes that are no text": b'{"model":"\xff\xfe"}',
}


class Moderations(ThreadingHTTPServer):
    """`asked`: the bodies of requests and the keys that they carried. It reads parts as it reads a text."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[dict[str, Any], str | None]] = []
        self.flagged_picture: dict[str, Any] | None = None
        self.may_speak = threading.Event()
        """Until then it says nothing to a text of silence."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Moderations

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((body, self.headers["authorization"]))
        if isinstance(body["input"], list):
            self._send(json.dumps(self._seen(body["input"])).encode(), padding=0)
            return
        text = body["input"]
        if "[silence]" in text:
            self.server.may_speak.wait(60)
        if "[status 500]" in text:
            self.send_error(500)
            return
        if "[elsewhere]" in text:
            self.send_response(307)
            self.send_header("location", f"{self.server.url}/moderations?again")
            self.end_headers()
            return
        self._send(next((sent for name, sent in BROKEN.items() if f"[{name}]" in text), json.dumps(answer(text)).encode()),
                   padding=2**20 if "[no end]" in text else 0)  # fmt: skip

    def _seen(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        text = "".join(part.get("text", "") for part in parts)
        pictures = [part for part in parts if part["type"] == "image_url"]
        is_bad = self.server.flagged_picture in pictures
        return {"id": "modr-1", "model": JUDGE, "results": [result(text, is_bad=is_bad, has_picture=bool(pictures))]}

    def _send(self, content: bytes, *, padding: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content) + padding))
        self.end_headers()
        with suppress(OSError):  # it had enough
            self.wfile.write(content + b" " * padding)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        """It is not told."""


@contextmanager
def moderations() -> Iterator[Moderations]:
    with Moderations() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
