"""A model hub on loopback that can be told to misbehave. Files come from another host, as the real hub's do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast
from urllib.parse import unquote, urlsplit

from .simple_index import Handler, SimpleIndex, running

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(SimpleIndex):
    """Repositories by `org/repo`; what files are asked for, and how they fail, is as with `SimpleIndex`."""

    first_path = ""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, dict[str, str]] = {}
        """Of each repository its files: path → SHA-256 as it is listed."""
        self.commit = COMMIT
        self.licence: str | None = "apache-2.0"
        self.needs_token: dict[str, tuple[int, str | None]] = {}
        """Of a repository: status and error code for files where the right token does not come."""
        self.token = "hf_right"
        self.tokens: list[tuple[str, str | None]] = []
        """Of all requests: host and `Authorization`."""
        self.answers: list[tuple[int, bytes]] = []
        """To the next listings."""

    @property
    def endpoint(self) -> str:
        return self.url.rstrip("/")

    def publish(self, repository: str, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            self.files.setdefault("blobs", {})[digest] = content
            self.repositories.setdefault(repository, {})[path] = digest

    def listing_of(self, repository: str) -> bytes:
        siblings: list[dict[str, object]] = [{"rfilename": "README.md", "size": 10, "blobId": "0"}]
        for path, digest in self.repositories[repository].items():
            size = len(self.files["blobs"][digest])
            lfs = {"sha256": digest, "size": size, "pointerSize": 130}
            siblings.append({"rfilename": path, "size": size, "blobId": "0", "lfs": lfs})
        card = {"license": self.licence} if self.licence else {}
        return json.dumps({"id": repository, "sha": self.commit, "siblings": siblings, "cardData": card}).encode()


@contextmanager
def serving_hub() -> Iterator[HubServer]:
    hub = HubServer()
    with running(hub, _HubHandler):
        yield hub


class _HubHandler(Handler):
    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        hub = cast("HubServer", self.index)
        hub.tokens.append((self.headers["host"].partition(":")[0], self.headers["authorization"]))
        match [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]:
            case ["api", "models", org, name, "revision", _]:
                self._listing_of(hub, f"{org}/{name}")
            case [org, name, "resolve", _, *path]:
                self._resolve(hub, f"{org}/{name}", "/".join(path))
            case ["files", project, name]:
                self._from_elsewhere(hub, project, name)
            case _:
                self.answer(404)

    def _listing_of(self, hub: HubServer, repository: str) -> None:
        if hub.answers:
            self.answer(*hub.answers.pop(0))
        elif repository not in hub.repositories:
            self._fault(401 if self.headers["authorization"] is None else 404, "RepoNotFound")
        else:
            self.answer(200, hub.listing_of(repository), "application/json")

    def _resolve(self, hub: HubServer, repository: str, path: str) -> None:
        wanted = hub.needs_token.get(repository)
        if wanted and self.headers["authorization"] != f"Bearer {hub.token}":
            self._fault(*wanted)
            return
        digest = hub.repositories[repository][path]
        self.send_response(302)
        port = urlsplit(hub.url).port
        self.send_header("location", f"http://localhost:{port}/files/blobs/{digest}")
        self.send_header("content-length", "0")
        self.end_headers()

    def _from_elsewhere(self, hub: HubServer, project: str, name: str) -> None:
        beginning = re.match(r"bytes=0-(\d+)$", self.headers["range"] or "")
        if beginning is None:
            self.file(project, name)
            return
        content = hub.files[project][name][: int(beginning[1]) + 1]
        self.answer(206, content)

    def _fault(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("x-error-code", code)
        self.send_header("content-length", "0")
        self.end_headers()
