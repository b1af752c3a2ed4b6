"""Rows 22, 43, 44 and 51: what is stored, and keys that repeat a request, on a whole server with two projects.

The rows of a database that fails, 53 to 55, are in tests/store: they need databases of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.abuse.clients import together
from tests.abuse.invariants import CREATE, OTHER_KEY, Abuse
from tests.support import raw


def ids(reply: raw.Reply) -> list[str]:
    return [item["id"] for item in raw.json_of(reply)["data"]]


@pytest.fixture
def completion(abuse: Abuse) -> Iterator[str]:
    """A stored one with metadata; it is gone afterwards."""
    id_ = raw.json_of(abuse.create(store=True, metadata={"owner": "tides"}))["id"]
    yield id_
    abuse.send(abuse.request("DELETE", f"{CREATE}/{id_}"))


BAD_METADATA: tuple[tuple[dict[str, object], str], ...] = (
    ({str(i): "" for i in range(17)}, "metadata"),
    ({"k" * 65: "v"}, "metadata." + "k" * 65),
    ({"k": "v" * 513}, "metadata.k"),
    ({"k": 1}, "metadata.k"),
)


def test_row_22_metadata_of_an_update(abuse: Abuse, completion: str) -> None:
    for metadata, param in BAD_METADATA:
        body = json.dumps({"metadata": metadata}).encode()
        refused = abuse.send(abuse.request("POST", f"{CREATE}/{completion}", body=body))
        assert (refused.status, refused.error["param"]) == (400, param)
    assert raw.json_of(abuse.get(f"{CREATE}/{completion}"))["metadata"] == {"owner": "tides"}


def test_row_43_completions_of_another_project(abuse: Abuse, completion: str) -> None:
    path = f"{CREATE}/{completion}"
    update = b'{"metadata":{"owner":"others"}}'
    refused = [
        abuse.get(path, key=OTHER_KEY),
        abuse.send(abuse.request("POST", path, body=update, key=OTHER_KEY)),
        abuse.send(abuse.request("DELETE", path, key=OTHER_KEY)),
        abuse.get(f"{path}/messages", key=OTHER_KEY),
        abuse.get(f"{CREATE}?after={completion}", key=OTHER_KEY),
    ]
    assert [reply.status for reply in refused] == [404] * 5
    assert len({reply.body for reply in refused}) == 1  # one text, whatever was tried
    assert ids(abuse.get(f"{CREATE}?metadata[owner]=tides", key=OTHER_KEY)) == []
    assert completion not in ids(abuse.get(f"{CREATE}?limit=100", key=OTHER_KEY))
    assert raw.json_of(abuse.get(path))["metadata"] == {"owner": "tides"}


QUERIES: dict[str, tuple[int, str | None]] = {
    **{f"limit={limit}": (400, "limit") for limit in ("0", "101", "-1", "1e9", "x")},
    "order=foo": (400, "order"),
    "after=garbage": (404, None),
    "&".join(f"metadata[k{i}]=x" for i in range(50)): (400, "metadata"),
    "metadata[a'%20OR%201=1]=x": (200, None),
    "metadata[%00]=%00%ff": (200, None),
}


def test_row_44_queries(abuse: Abuse, completion: str) -> None:
    for query, (status, param) in QUERIES.items():
        reply = abuse.get(f"{CREATE}?{query}")
        assert reply.status == status, query
        if status == 200:
            assert ids(reply) == []
        else:
            assert reply.error["param"] == param


def test_row_51_the_same_key_again(abuse: Abuse) -> None:
    def asked(key: str, **fields: object) -> raw.Reply:
        return abuse.create(abuse.body(store=True, **fields), f"Idempotency-Key: {key}")

    before = len(ids(abuse.get(f"{CREATE}?limit=100")))
    assert asked("again", n=0).status == 400  # not kept: the key runs again
    first, again = asked("again"), asked("again")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (200, first.body, "true")
    assert asked("again", seed=1).error["code"] == "idempotency_error"
    replies: list[raw.Reply] = []
    together(*[lambda: replies.append(asked("at once", max_completion_tokens=50))] * 4)
    assert {reply.status for reply in replies} <= {200, 409}
    assert {reply.error["code"] for reply in replies if reply.status == 409} <= {"idempotency_key_in_use"}
    after = ids(abuse.get(f"{CREATE}?limit=100"))
    assert len(after) == before + 2
    for id_ in after:
        abuse.send(abuse.request("DELETE", f"{CREATE}/{id_}"))
