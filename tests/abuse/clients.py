"""Many clients at once, and what they do to a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.abuse.invariants import CREATE, FLOOD_KEY, NEVER_END, Abuse
from tests.support import raw
from tests.support.server import eventually


def together(*acts: Callable[[], object]) -> None:
    """All of `acts` at once, each on a thread of its own."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def unread_streams(abuse: Abuse, n: int) -> Iterator[None]:
    """`n` streams of which nothing is read; at the end the server must have closed them all."""
    n_before = abuse.served.metric("connections_closed_unread_total")
    endless = abuse.body(stream=True, max_completion_tokens=1000)
    with ExitStack() as stack:
        for _ in range(n):
            sock = stack.enter_context(raw.connection(abuse.port, receive_buffer_bytes=4096))
            sock.sendall(abuse.request("POST", CREATE, body=endless))
        eventually(lambda: abuse.served.metric("num_requests_running") > 0)
        yield
        eventually(lambda: abuse.served.metric("connections_closed_unread_total") == n_before + n)


def come_and_go(abuse: Abuse, n: int) -> None:
    """`n` clients that ask and leave at once."""
    with ExitStack() as stack:
        for _ in range(n):
            sock = stack.enter_context(raw.connection(abuse.port))
            sock.sendall(abuse.request("POST", CREATE, body=abuse.body()))


def flood(abuse: Abuse, n: int) -> list[raw.Reply]:
    """The answers to `n` requests of the key that floods, all at once."""
    replies: list[raw.Reply] = []
    together(*[lambda: replies.append(abuse.create(key=FLOOD_KEY, logit_bias=NEVER_END, max_completion_tokens=20))] * n)
    return replies


def fill_grammars(abuse: Abuse, i: int) -> None:
    """Have grammars of every kind tried and compiled; no two `i` give the same."""
    schema = {"enum": [f"{i} {'x' * 200} {j}" for j in range(20)]}
    abuse.create(response_format=response_format({"type": "object", "properties": {"a": schema}}), n=4)
    properties = {f"{i} {j}": {"type": "integer"} for j in range(6_000)}
    bloated = {"type": "object", "properties": properties, "required": list(properties)}
    fields: dict[str, Any] = {"response_format": response_format(bloated)}
    together(*[lambda: abuse.create(**fields)] * 3)
    abuse.create(tools=[function(parameters=bloated)])
    abuse.create(
        tools=[custom("lark", f'start: "a" | "b{i}"')], tool_choice="required"
    )  # a process lives that tries them


def response_format(schema: object, *, strict: bool = False) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}


def custom(syntax: str, definition: str, name: str = "custom") -> dict[str, Any]:
    grammar = {"syntax": syntax, "definition": definition}
    return {"type": "custom", "custom": {"name": name, "format": {"type": "grammar", "grammar": grammar}}}


def function(name: str = "f", parameters: object = None, **fields: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {"type": "object"}, **fields}}
