"""The whole server with a script for a model, which plays in a worker process as a model runs in one.

    python -m bench.scripted PORT          the server
    python -m bench.scripted worker FD     its worker

So the CPU clock of the API process holds all that it does beside a real model, the frames of the steps among it, and
nothing of the script. A step takes 30 ms; an answer is as long as its request allows.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from completionist.app import serve
from completionist.engine.base import Accepted, End, Evaluated, Prompt, Token, TokenEvent
from completionist.engine.frames import LoadModel, Ready, Stats, Step, Submit
from completionist.engine.launch import Launch, spawn
from completionist.engine.llama.worker import Channel, SupervisorGone, die_with_parent
from completionist.engine.scripted import CARD
from completionist.loading import Loading
from completionist.models.installed import ModelFile
from completionist.settings import Settings

STEP_S = 0.03
_WORDS = (b" High", b" water", b" comes", b" soon", b",", b" they", b" say")

_ORDER = LoadModel(
    model_path="",
    name=CARD.name,
    library_path="",
    library_description="",
    cache_dir="",
    threads=1,
    streams=None,
    stream_tokens=None,
    context_tokens=None,
    long_streams=None,
    short_streams=None,
    kv_type="f16",
    flash_attention="auto",
    cache_bytes=None,
    max_waiting=0,
    is_alone=False,
)
LAUNCH = Launch(command=(sys.executable, "-m", "bench.scripted", "worker"), environment={}, load=_ORDER)


class Player:
    """Plays for every request that was submitted, until its limit; nobody stops or cancels here."""

    def __init__(self) -> None:
        self._left: dict[int, int] = {}

    @property
    def is_playing(self) -> bool:
        return bool(self._left)

    def submit(self, request_id: int, prompt: Prompt) -> list[tuple[int, TokenEvent]]:
        self._left[request_id] = prompt.max_tokens or 1
        return [(request_id, Accepted(prompt_tokens=1)), (request_id, Evaluated(cached_tokens=0, cache_write_tokens=0))]

    def step(self) -> list[tuple[int, TokenEvent]]:
        """A word for every request, or its end."""
        events: list[tuple[int, TokenEvent]] = []
        for request_id, n_left in list(self._left.items()):
            if n_left:
                self._left[request_id] = n_left - 1
                word = n_left % len(_WORDS)
                events.append((request_id, Token(0, word, _WORDS[word])))
            else:
                del self._left[request_id]
                events.append((request_id, End(0, "length")))
        return events


def work(channel: Channel) -> None:
    """As the worker of a model: read the commands, take a step, report it; for ever."""
    channel.receive_load()
    channel.send(Ready(CARD))
    player = Player()
    due_s = time.monotonic()
    while True:
        events: list[tuple[int, TokenEvent]] = []
        for command in channel.commands(block=not player.is_playing):
            if isinstance(command, Submit):
                events += player.submit(command.id, command.prompt)
        if player.is_playing:
            due_s = max(due_s + STEP_S, now_s := time.monotonic())
            time.sleep(due_s - now_s)
        channel.send(Step((*events, *player.step()), Stats()))


def main(port: int) -> int:
    file = ModelFile(path=Path(__file__), name=CARD.name, publisher="", sha256=None, added_at_s=0)
    settings = Settings.model_validate({"server": {"port": port}, "log": {"level": "warning"}})
    model = Loading(file=file, said=settings.served_as(CARD.name), launch=LAUNCH, worker=spawn(LAUNCH))
    return serve(settings, model, lambda _: None)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        die_with_parent()
        try:
            work(Channel(socket.socket(fileno=int(sys.argv[2]))))
        except SupervisorGone:
            sys.exit(0)
    sys.exit(main(int(sys.argv[1])))
