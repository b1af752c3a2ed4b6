"""The engine worker: a process that holds one model and talks over the socket it was started with.

    python -m completionist.engine.llama.worker FD
    python -m completionist.gently completionist.engine.llama.worker FD    beside models that answer

It ends when the socket closes, when its parent dies, or when the native library takes it down; its supervisor
(`engine.client`) tells these apart and starts another.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import msgspec

from completionist.engine.frames import (
    Cancel,
    Command,
    LoadFailed,
    LoadModel,
    Ping,
    Ready,
    Report,
    Rest,
    Splitter,
    Step,
    Stop,
    Submit,
    frame,
)
from completionist.engine.llama.capi import LibraryRefused, print_last_words
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.model import ModelRefused
from completionist.engine.llama.quota import are_all
from completionist.engine.llama.runner import ContextRefused

_PR_SET_PDEATHSIG = 1
_RECEIVE_BYTES = 1 << 18
_SWITCH_INTERVAL_S = 0.0005
"""How long the thread that steps waits for the interpreter while another one prepares a request; Python's own 5 ms are as
long as a tenth of a step, and a step waits several times."""
_REST_SHARE = 0.12
"""Of a step's time. More makes a load shorter and each step longer; less leaves a load to the scheduler, whose time slices make
some steps half as long again."""


class SupervisorGone(Exception):
    """The other end of the socket is closed: nobody is left to work for."""


class Channel:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._alarm, self._bell = socket.socketpair()
        for end in (self._alarm, self._bell):
            end.setblocking(False)
        self._splitter = Splitter()
        self._load_decoder = msgspec.msgpack.Decoder(LoadModel)
        self._command_decoder = msgspec.msgpack.Decoder(Command)

    def receive_load(self) -> LoadModel:
        """The first command; nothing else is sent before the answer to it."""
        while True:
            for body in self._splitter.feed(self._receive(0)):
                return self._load_decoder.decode(body)

    def commands(self, *, block: bool) -> list[Command]:
        """What has arrived; with `block`, wait until something has, or `wake` is called."""
        if block:
            select.select([self._connection, self._alarm], [], [])
        with contextlib.suppress(BlockingIOError):
            self._alarm.recv(_RECEIVE_BYTES)
        commands: list[Command] = []
        while True:
            try:
                data = self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return commands
            commands += map(self._command_decoder.decode, self._splitter.feed(data))

    def wake(self) -> None:
        """End a wait for commands, from any thread."""
        with contextlib.suppress(BlockingIOError):  # full of calls that nobody has answered yet
            self._bell.send(b"!")

    def _receive(self, flags: int) -> bytes:
        try:
            data = self._connection.recv(_RECEIVE_BYTES, flags)
        except ConnectionError as error:
            raise SupervisorGone from error
        if not data:
            raise SupervisorGone
        return data

    def send(self, report: Report) -> None:
        try:
            self._connection.sendall(frame(report))
        except ConnectionError as error:
            raise SupervisorGone from error


class LastWords:
    """What the library says when it gives up, on its way to where somebody reads it. The process ends with it."""

    def __init__(self, channel: Channel, model_path: str) -> None:
        self._channel = channel
        self._model_path = model_path
        self.is_loading = True

    def say(self, reason: str) -> None:
        if self.is_loading:
            self._channel.send(LoadFailed(f"cannot load {self._model_path}: the library gave up: {reason}"))
        else:
            print_last_words(reason)


class Rests:
    """Time behind each step for what is loaded beside, where the steps take all processors: else that has the others."""

    def __init__(self, threads: int) -> None:
        self._share = _REST_SHARE if are_all(threads) else 0.0
        self.are_wanted = False

    def after(self, step_s: float) -> None:
        if self.are_wanted:
            time.sleep(self._share * step_s)


def serve(channel: Channel, engine: Engine, rests: Rests) -> None:
    """Drain commands, step, report, rest; for ever."""

    def report() -> None:
        channel.send(Step(engine.take_events(), engine.stats()))

    engine.rouse_by(channel.wake)
    while True:
        for command in channel.commands(block=engine.must_wait):
            obey(engine, rests, command)
        began_s = time.perf_counter()
        if not engine.must_wait:
            engine.step(report)
        else:
            engine.tidy()
        report()
        rests.after(time.perf_counter() - began_s)


def obey(engine: Engine, rests: Rests, command: Command) -> None:
    match command:
        case Submit():
            engine.submit(command.id, command.prompt)
        case Stop():
            engine.stop(command.id, command.index)
        case Cancel():
            engine.cancel(command.id)
        case Rest():
            rests.are_wanted = command.is_wanted
        case Ping():
            pass  # the report that follows every round is the answer


def prepared(connection: socket.socket) -> Callable[[], None]:
    """Load the model that the first command names. Returns what is to be done from then on, on the main thread; it does not
    return."""
    channel, life = Channel(connection), _nothing
    with contextlib.suppress(SupervisorGone):
        order = channel.receive_load()
        if engine := _loaded(channel, order):
            life = partial(serve, channel, engine, Rests(order.threads))
    return partial(_live, life)


def _live(life: Callable[[], None]) -> NoReturn:
    die_with_parent()
    with contextlib.suppress(SupervisorGone):
        life()
    leave()


def _nothing() -> None:
    """The life of a worker that has loaded no model."""


def _loaded(channel: Channel, order: LoadModel) -> Engine | None:
    """Carry out the order to load and report; None where it failed. Raises `SupervisorGone`."""
    last_words = LastWords(channel, order.model_path)
    try:
        engine, card = load(order, last_words.say)
    except (LibraryRefused, ModelRefused, ContextRefused, OSError) as error:
        channel.send(LoadFailed(str(error)))
        return None
    except Exception as error:  # noqa: BLE001 - what a file says of itself may break anything
        channel.send(LoadFailed(f"cannot load {order.model_path}: {type(error).__name__}: {error}"))
        return None
    last_words.is_loading = False
    gc.collect()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.freeze()  # what was loaded stays: later collections need not look at it
    channel.send(Ready(card))
    return engine


def die_with_parent() -> None:
    """A terminal's Ctrl-C and a service manager's TERM are for the parent, which drains; its death is ours too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def leave() -> NoReturn:
    """The library's destructors have crashed at exit before, and the memory goes back anyway."""
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    die_with_parent()
    prepared(socket.socket(fileno=int(sys.argv[1])))()
