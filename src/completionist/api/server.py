"""The listening server: uvicorn with our protocol, our signals and our end.

The first SIGTERM or SIGINT begins the drain: no new connections, readiness 503, no new work on open connections, while
answers under way go on. When they are done the exit code is 0. A second signal or the deadline cuts off what is left,
with an error to each client, and the exit code is 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from completionist.api.application import Application
from completionist.api.protocol import GuardedProtocol
from completionist.api.services import Services

_FAREWELL_S = 2.0
"""What the last error answers get to reach their clients."""


class Server(uvicorn.Server):
    """Serves one `Application`; `run_on` a bound socket."""

    def __init__(self, services: Services, on_listening: Callable[[int], None]) -> None:
        """`on_listening` gets the port, once connections are accepted."""
        self._services = services
        self._on_listening = on_listening
        self.exit_code = 0
        self._stopping = asyncio.Event()
        protocol = functools.partial(GuardedProtocol, settings=services.settings, metrics=services.metrics)
        super().__init__(
            uvicorn.Config(
                Application(services),
                http=protocol,  # type: ignore[arg-type]  # a class is declared; uvicorn only calls it
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
            )
        )

    async def run_on(self, listener: socket.socket) -> int:
        """Serve until told to stop; returns the exit code."""
        await self.serve(sockets=[listener])
        return self.exit_code

    def stop(self) -> None:
        """Begin the drain; once more: cut it short."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._stopping.set()
        self._services.drain.begin()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            self._on_listening(listener.getsockname()[1])

    async def main_loop(self) -> None:
        """Until told to stop: where there is nothing else to do, once a second for the `date` header and no more often."""
        second = 0
        while not await self.on_tick(10 * second):
            second += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 (uvicorn's signature)
        for listener in self.servers:
            listener.close()
        if not await self._is_idle_within(self._services.settings.drain_timeout_s):
            self.exit_code = 1
            self._services.drain.expire()
            await self._is_idle_within(_FAREWELL_S, can_be_cut_short=False)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._is_idle_within(_FAREWELL_S, can_be_cut_short=False, and_disconnected=True)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _is_idle_within(
        self, timeout_s: float, *, can_be_cut_short: bool = True, and_disconnected: bool = False
    ) -> bool:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self.server_state.tasks or (and_disconnected and self.server_state.connections):
            if asyncio.get_running_loop().time() >= deadline_s or (can_be_cut_short and self.force_exit):
                return False
            await asyncio.sleep(0.02)
        return True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def bind(host: str, port: int, *, send_timeout_s: float) -> socket.socket:
    """A socket that is bound and does not listen yet, so that a taken port shows before the model is there.

    Where the system can, it also ends connections whose client reads nothing for `send_timeout_s`, however little is
    waiting for it: accepted sockets inherit the option. Raises `OSError`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(send_timeout_s * 1000))
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
