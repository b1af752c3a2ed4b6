"""A server with two projects, and clients of both."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai.types.chat import ChatCompletion

from completionist.engine.base import Prompt, WorkerLost
from completionist.engine.scripted import Move, Pause
from completionist.settings import FileSettings, KeySettings, LimitSettings, ServerSettings, Settings, StoreSettings
from tests.support.ask import ask, official
from tests.support.server import RunningServer, running_server

KEY = "sk-proj-0123456789abcdef-mine"
OTHER_KEY = "sk-proj-fedcba9876543210-other"
COMPLETIONS = "/v1/chat/completions"

FAILING_TOKENS = 999
HELD_TOKENS = 998
"""Values of `max_completion_tokens` that make the scripted engine fail after a word, or say no more."""


def terse(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Two words; see the limits above."""
    more: dict[int | None, Move] = {
        FAILING_TOKENS: WorkerLost(started=True, retry_after_s=0.1),
        HELD_TOKENS: Pause(math.inf),
    }
    return [[b"High", more.get(prompt.max_tokens, b" water")]] * prompt.n


class Tenants:
    """Clients of one server: `mine` and `others` are of two projects."""

    def __init__(self, server: RunningServer, url: str, files_directory: Path) -> None:
        self.server = server
        self.url = url
        self.files_directory = files_directory
        self.mine = official(server.base_url, api_key=KEY, max_retries=0, timeout=30)
        self.others = official(server.base_url, api_key=OTHER_KEY, max_retries=0, timeout=30)

    def store(self, count: int = 1, /, **fields: Any) -> list[ChatCompletion]:
        """`count` stored answers."""
        return [ask(self.mine, store=True, **fields) for _ in range(count)]

    def listed(self, **query: Any) -> list[str]:
        """The ids of every page."""
        return [completion.id for completion in self.mine.chat.completions.list(**query)]

    def clear(self) -> None:
        for client in (self.mine, self.others):
            for completion in client.chat.completions.list(limit=100):
                client.chat.completions.delete(completion.id)


@contextmanager
def tenants_of(
    url: str, *, files: FileSettings | None = None, limits: LimitSettings | None = None, **store: Any
) -> Iterator[Tenants]:
    """A server on the database at `url`, with a directory of files of its own."""
    keys = tuple(
        KeySettings(sha256=hashlib.sha256(key.encode()).hexdigest(), project=project)
        for key, project in ((KEY, "mine"), (OTHER_KEY, "others"))
    )
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            server=ServerSettings(port=0, drain_timeout_s=0),
            store=StoreSettings(url=url, **store),
            files=(files or FileSettings()).model_copy(update={"directory": Path(directory)}),
            keys=keys,
            limits=limits or LimitSettings(),
        )
        with running_server(terse, settings=settings) as server:
            tenants = Tenants(server, url, Path(directory))
            with tenants.mine, tenants.others:
                yield tenants
