"""`Idempotency-Key` on create, update and delete, on both databases (contract, section 10)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.store.databases import KindOfDatabase, Loss
from tests.store.tenants import COMPLETIONS, FAILING_TOKENS, HELD_TOKENS, KEY, OTHER_KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.server import eventually

AUTHORIZATION = f"Authorization: Bearer {KEY}"


def send(
    tenants: Tenants, key: str, body: bytes, *, path: str = COMPLETIONS, method: str = "POST", **_: object
) -> raw.Reply:
    headers = (AUTHORIZATION, f"Idempotency-Key: {key}", "Connection: close")
    with raw.connection(tenants.server.port) as connection:
        connection.sendall(raw.request(method, path, *headers, body=body or None))
        return raw.Reply(*raw.parsed(raw.read_to_end(connection)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("store", [False, True])
def test_the_same_request_again_has_the_same_answer(tenants: Tenants, stream: bool, store: bool) -> None:
    body = raw.chat(store=store, stream=stream, metadata={"of": f"{store}{stream}"})
    first, again = (send(tenants, f"same{store}{stream}", body) for _ in range(2))
    assert first.status == again.status == 200
    assert first.body == again.body
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert first.headers["content-type"] == again.headers["content-type"]
    assert len(tenants.listed()) == store


def test_another_body_with_the_same_key_is_refused(tenants: Tenants) -> None:
    assert send(tenants, "reused", raw.chat(store=True)).status == 200
    refused = send(tenants, "reused", raw.chat(store=True, seed=1))
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "idempotency_error", None)
    assert len(tenants.listed()) == 1


def test_the_key_is_one_of_its_project_and_its_path(tenants: Tenants) -> None:
    body = raw.chat(store=True)
    mine = raw.json_of(send(tenants, "scoped", body))
    other = raw.request("POST", COMPLETIONS, f"Authorization: Bearer {OTHER_KEY}", "Idempotency-Key: scoped", body=body)
    assert raw.json_of(raw.send(tenants.server.port, other))["id"] != mine["id"]
    update = send(tenants, "scoped", b'{"metadata":{"a":"b"}}', path=f"{COMPLETIONS}/{mine['id']}")
    assert raw.json_of(update)["metadata"] == {"a": "b"}


def test_what_failed_runs_again(tenants: Tenants) -> None:
    for stream in (False, True):
        body = raw.chat(store=True, max_completion_tokens=FAILING_TOKENS, stream=stream)
        for _ in range(2):
            reply = send(tenants, "fails", body)
            assert "idempotent-replayed" not in reply.headers
            assert reply.status == 500 or b'"error"' in reply.body
    assert send(tenants, "fails", raw.chat(n=0)).status == 400
    assert raw.json_of(send(tenants, "fails", raw.chat(store=True)))["id"] in tenants.listed()


def test_while_the_first_is_under_way_the_second_is_told_so(tenants: Tenants) -> None:
    body = raw.chat(store=True, max_completion_tokens=HELD_TOKENS)
    held = raw.request("POST", COMPLETIONS, AUTHORIZATION, "Idempotency-Key: held", body=body)
    with raw.connection(tenants.server.port) as connection:
        connection.sendall(held)
        eventually(lambda: tenants.server.engine.stats.running)
        refused = send(tenants, "held", body)
        assert (refused.status, refused.error["code"]) == (409, "idempotency_key_in_use")
        assert send(tenants, "held", raw.chat()).status == 400
    eventually(lambda: send(tenants, "held", raw.chat()).status == 200)  # the first has left: its key is free


def test_of_many_at_once_one_answers(tenants: Tenants) -> None:
    body = raw.chat(store=True)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: send(tenants, "many", body), range(24)))
    assert {reply.status for reply in replies} <= {200, 409}
    assert {json.loads(reply.body)["id"] for reply in replies if reply.status == 200} == set(tenants.listed())
    assert len(tenants.listed()) == 1


def test_updates_and_deletions_are_repeated_too(tenants: Tenants) -> None:
    (created,) = tenants.store()
    path = f"{COMPLETIONS}/{created.id}"
    first = send(tenants, "update", b'{"metadata":{"a":"1"}}', path=path)
    tenants.mine.chat.completions.update(created.id, metadata={"a": "2"})
    again = send(tenants, "update", b'{"metadata":{"a":"1"}}', path=path)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    assert tenants.mine.chat.completions.retrieve(created.id).metadata == {"a": "2"}
    gone = [send(tenants, "delete", b"", path=path, method="DELETE") for _ in range(2)]
    assert [reply.status for reply in gone] == [200, 200]
    assert gone[0].body == gone[1].body
    assert send(tenants, "another", b"", path=path, method="DELETE").status == 404
    assert send(tenants, "update", b"", path=path, method="DELETE").error["code"] == "idempotency_error"


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_a_key_has_1_to_255_characters(tenants: Tenants, key: str) -> None:
    assert send(tenants, key, raw.chat()).status == 400


def test_row_51_a_claim_that_nobody_holds_is_taken_by_one(tenants: Tenants, kind: KindOfDatabase) -> None:
    """However many come for it at once, after a crash say: one of them runs."""
    for number in range(8):
        body = raw.chat(store=True, metadata={"n": str(number)})
        first = send(tenants, f"left-{number}", body)
        tenants.mine.chat.completions.delete(raw.json_of(first)["id"])
        kind.query(tenants.url, "UPDATE idempotency_keys SET answer = NULL")
        before = tenants.server.metric("generation_tokens_total")
        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(send, [tenants] * 6, [f"left-{number}"] * 6, [body] * 6))
        answers = {json.loads(reply.body)["id"] for reply in replies if reply.status == 200}
        assert {reply.error["code"] for reply in replies if reply.status != 200} <= {"idempotency_key_in_use"}
        assert tenants.listed(metadata={"n": str(number)}) == list(answers)
        n_tokens = raw.json_of(first)["usage"]["completion_tokens"]
        assert tenants.server.metric("generation_tokens_total") == before + n_tokens


def test_row_51_a_claim_that_could_not_be_given_back_is_free(kind: KindOfDatabase, lost: Loss) -> None:
    """The database went while the request was under way, and is there again when it is repeated."""
    url, body = kind.new_url(), raw.chat(store=True, max_completion_tokens=HELD_TOKENS)
    with tenants_of(url) as tenants:
        with raw.connection(tenants.server.port) as connection:
            connection.sendall(raw.request("POST", COMPLETIONS, AUTHORIZATION, "Idempotency-Key: lost", body=body))
            eventually(lambda: tenants.server.engine.stats.running)
            with lost(url):
                connection.close()
                eventually(lambda: not tenants.server.metric("storage_available"))
        eventually(lambda: send(tenants, "another", raw.chat(store=True)).status == 200)
        assert kind.count(url, "idempotency_keys") == 2
        tenants.server.on_loop(tenants.server.store.renew())  # keeps what is under way, and nothing else
        assert send(tenants, "lost", raw.chat(store=True)).status == 200
        assert len(tenants.listed()) == 2


def test_a_claim_is_kept_while_its_request_is_under_way(tenants: Tenants, kind: KindOfDatabase) -> None:
    body = raw.chat(store=True, max_completion_tokens=HELD_TOKENS)
    with raw.connection(tenants.server.port) as connection:
        connection.sendall(raw.request("POST", COMPLETIONS, AUTHORIZATION, "Idempotency-Key: kept", body=body))
        eventually(lambda: tenants.server.engine.stats.running)
        kind.query(tenants.url, "UPDATE idempotency_keys SET expires = 1 WHERE key = 'kept'")
        tenants.server.on_loop(tenants.server.store.renew())
        assert send(tenants, "kept", body).status == 409
    eventually(lambda: not tenants.server.engine.stats.running)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_key_on_a_path_of_any_length(tenants: Tenants, method: str) -> None:
    body = b'{"metadata":{}}' if method == "POST" else b""
    for id_ in ("chatcmpl-" + "x" * 6000, "x" * 3000, "chatcmpl-" + "x" * 65, "chatcmpl-%00"):
        assert send(tenants, "long", body, path=f"{COMPLETIONS}/{id_}", method=method).status == 404
    assert tenants.server.metric("storage_available") == 1


def test_a_key_outlives_its_server_and_its_claim_does_not(kind: KindOfDatabase) -> None:
    url, body = kind.new_url(), raw.chat(store=True)
    with tenants_of(url) as tenants:
        first = send(tenants, "lasting", body)
    kind.query(url, "UPDATE idempotency_keys SET owner = replace(owner, '/', '/9') WHERE key = 'lasting'")
    with tenants_of(url) as tenants:
        assert send(tenants, "lasting", body).body == first.body
        kind.query(url, "UPDATE idempotency_keys SET answer = NULL, owner = 'elsewhere/1/1.0'")
        assert send(tenants, "lasting", body).status == 409  # nothing is known of that process
        kind.query(url, "UPDATE idempotency_keys SET expires = 1")
        assert raw.json_of(send(tenants, "lasting", body))["id"] != json.loads(first.body)["id"]
