"""The least that a server of this kind can do, as the yardstick of its CPU time: no HTTP, no checks, no text, no tasks.

    python -m bench.bare_server PORT

The same event loop reads the same frames from the same worker (`bench.scripted`), and for every token writes the same
chunk, made beforehand, to its connection. What this takes is the machine's: waking up, reading, writing.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import cast

import msgspec
import uvloop

from bench.scripted import LAUNCH
from completionist.engine.base import End, Prompt, Sampling, Token
from completionist.engine.frames import Step, Submit
from completionist.engine.launch import spawn
from completionist.engine.process import WorkerProcess

_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
_CHUNK = b'data: {"choices":[{"delta":{"content":" High"}}],"padding":"%b"}\n\n' % (b"-" * 240)
_END = b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'


class BareServer:
    """Writes for every token; connections are numbered like their requests."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.connections: dict[int, asyncio.Transport] = {}
        self.worker: WorkerProcess

    def spread(self, step: Step) -> None:
        for request_id, event in step.events:
            if isinstance(event, Token):
                self.connections[request_id].write(_CHUNK)
            elif isinstance(event, End):
                self.connections.pop(request_id).write(_END)


class _Connection(asyncio.Protocol):
    def __init__(self, server: BareServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A request is small and comes at once."""
        self._transport.write(_HEAD)
        if data.startswith(b"GET"):
            self._transport.close()
            return
        max_tokens = msgspec.json.decode(data.partition(b"\r\n\r\n")[2])["max_completion_tokens"]
        request_id = next(self._server.ids)
        self._server.connections[request_id] = self._transport
        prompt = Prompt(project="bench", segments=(), max_tokens=max_tokens, sampling=Sampling(seed=0))
        self._server.worker.send(Submit(request_id, prompt))


async def main(port: int) -> None:
    server = BareServer()
    server.worker = await WorkerProcess.watched(spawn(LAUNCH), server.spread)
    await server.worker.loaded()
    listening = await asyncio.get_running_loop().create_server(lambda: _Connection(server), "127.0.0.1", port)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
