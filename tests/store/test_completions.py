"""The six operations through the official client, on both databases (contract, sections 1.1 to 1.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import openai
import psycopg
import pytest

from completionist.store.sql import completions as completions_module
from completionist.store.sql import store as store_module
from tests.store.databases import KindOfDatabase
from tests.store.tenants import COMPLETIONS, FAILING_TOKENS, HELD_TOKENS, KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.ask import ask, ask_streamed
from tests.support.postgres import Postgres
from tests.support.server import MODEL, eventually

AUTHORIZATION = f"Authorization: Bearer {KEY}"
NEVER = "chatcmpl-" + "0" * 29


def get(tenants: Tenants, path: str) -> raw.Reply:
    return raw.send(tenants.server.port, raw.request("GET", path, AUTHORIZATION))


def test_a_stored_answer_has_everything_of_the_answer_and_what_was_asked(tenants: Tenants) -> None:
    metadata = {"team": "blue", "ünï": "zero\0width"}
    asked: dict[str, Any] = {
        "n": 2,
        "seed": 7,
        "temperature": 0.5,
        "user": "u",
        "logprobs": True,
        "presence_penalty": 1,
    }
    response = tenants.mine.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello"}], store=True, metadata=metadata, **asked
    )
    answer = response.http_response.json()
    stored = get(tenants, f"{COMPLETIONS}/{answer['id']}")
    body = raw.json_of(stored)
    for choice in answer["choices"]:
        choice["message"] |= {"tool_calls": None, "function_call": None}
    assert body == answer | {
        "request_id": response.headers["x-request-id"],
        "metadata": metadata,
        "tool_choice": None,
        "tools": None,
        "response_format": None,
        "seed": 7,
        "top_p": 1.0,
        "temperature": 0.5,
        "presence_penalty": 1.0,
        "frequency_penalty": 0.0,
        "input_user": "u",
    }


def test_a_streamed_answer_is_stored_when_its_end_is_seen(tenants: Tenants) -> None:
    stream = tenants.mine.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello"}], store=True, stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].finish_reason:
            break  # many clients read no further
    stored = tenants.mine.chat.completions.retrieve(chunk.id)
    assert stored.choices[0].message.content == "High water"
    assert stored.metadata == {}
    stream.close()


def test_row_48_what_is_not_asked_for_or_not_complete_is_not_stored(tenants: Tenants) -> None:
    ask(tenants.mine)
    ask(tenants.mine, store=False)
    for way in (ask, ask_streamed):
        with pytest.raises(openai.APIError):
            way(tenants.mine, store=True, max_completion_tokens=FAILING_TOKENS)
    held = raw.request("POST", COMPLETIONS, AUTHORIZATION, body=raw.chat(store=True, max_completion_tokens=HELD_TOKENS))
    with raw.connection(tenants.server.port) as connection:
        connection.sendall(held)
        eventually(lambda: tenants.server.engine.stats.running)
    eventually(lambda: not tenants.server.engine.stats.running)
    assert tenants.listed() == []


@pytest.mark.parametrize("policy", ["by_default", "never"])
def test_the_operator_decides_what_is_stored(kind: KindOfDatabase, policy: str) -> None:
    with tenants_of(kind.new_url(), completions=policy) as tenants:
        silent = ask(tenants.mine)
        ask(tenants.mine, store=False)
        assert tenants.listed() == ([silent.id] if policy == "by_default" else [])
        if policy == "never":
            with pytest.raises(openai.BadRequestError, match="stores no completions") as caught:
                ask(tenants.mine, store=True)
            assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "store")


def test_lists_in_both_orders_follow_the_pagers(tenants: Tenants) -> None:
    """Many of them in one second."""
    ids = [completion.id for completion in tenants.store(25)]
    assert tenants.listed() == ids
    assert tenants.listed(limit=7) == ids
    assert tenants.listed(limit=5, order="desc") == ids[::-1]
    first = tenants.mine.chat.completions.list(limit=25)
    assert (first.first_id, first.last_id, first.has_more) == (ids[0], ids[-1], False)  # type: ignore[attr-defined]
    assert tenants.mine.chat.completions.list(limit=24).has_more
    tail = raw.json_of(get(tenants, f"{COMPLETIONS}?after={ids[-1]}"))
    assert tail == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_loop_may_delete_what_it_lists(tenants: Tenants, order: Literal["asc", "desc"]) -> None:
    ids = [completion.id for completion in tenants.store(9)]
    seen = []
    for completion in tenants.mine.chat.completions.list(limit=2, order=order):
        seen.append(completion.id)
        tenants.mine.chat.completions.delete(completion.id)
    assert seen == (ids if order == "asc" else ids[::-1])
    assert tenants.listed() == []


def test_filters_must_all_match(tenants: Tenants) -> None:
    blue, red, both = (
        tenants.store(metadata=metadata)[0].id
        for metadata in ({"team": "blue"}, {"team": "red"}, {"team": "blue", "ü": "a b+c&d=\0"})
    )
    assert tenants.listed(metadata={"team": "blue"}) == [blue, both]
    assert tenants.listed(metadata={"team": "blue"}, limit=1, order="desc") == [both, blue]
    assert tenants.listed(metadata={"team": "blue", "ü": "a b+c&d=\0"}) == [both]
    assert tenants.listed(metadata={"team": "red"}, model=MODEL) == [red]
    assert tenants.listed(metadata={"team": "Blue"}) == tenants.listed(metadata={"teamb": "lue"}) == []
    assert tenants.listed(model="another") == tenants.listed(model=MODEL, metadata={"team": "green"}) == []
    tenants.mine.chat.completions.update(red, metadata={"team": "blue"})
    assert tenants.listed(metadata={"team": "red"}) == []
    assert tenants.listed(metadata={"team": "blue"}) == [blue, red, both]


def test_an_update_replaces_the_whole_map(tenants: Tenants) -> None:
    (created,) = tenants.store(metadata={"a": "1", "b": "2"})
    before = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}"))
    updated = tenants.mine.chat.completions.update(created.id, metadata={"c": "3"})
    assert updated.metadata == {"c": "3"}
    after = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}"))
    assert after == before | {"metadata": {"c": "3"}}
    assert tenants.mine.chat.completions.update(created.id, metadata=None).metadata == {}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{}", "missing_required_parameter", "metadata"),
        (b'{"metadata":{},"store":true}', "unknown_parameter", "store"),
        (b'{"metadata":{"a":1}}', "invalid_type", "metadata.a"),
        (b'{"metadata":[]}', "invalid_type", "metadata"),
        (b'{"metadata":{"a":"' + b"x" * 513 + b'"}}', "string_above_max_length", "metadata.a"),
        (b'{"metadata":{"' + b"k" * 65 + b'":"v"}}', "property_name_above_max_length", "metadata." + "k" * 65),
        (
            b'{"metadata":{' + b",".join(b'"%d":""' % i for i in range(17)) + b"}}",
            "object_above_max_properties",
            "metadata",
        ),
        (b"[", None, None),
    ],
)
def test_a_bad_update_changes_nothing(tenants: Tenants, body: bytes, code: str | None, param: str | None) -> None:
    (created,) = tenants.store(metadata={"a": "1"})
    reply = raw.send(tenants.server.port, raw.request("POST", f"{COMPLETIONS}/{created.id}", AUTHORIZATION, body=body))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, code, param)
    assert tenants.mine.chat.completions.retrieve(created.id).metadata == {"a": "1"}


def test_an_update_longer_than_any_metadata_is_not_read(tenants: Tenants) -> None:
    head = raw.request(
        "POST", f"{COMPLETIONS}/x", AUTHORIZATION, "Content-Length: 200000", "Content-Type: application/json"
    )
    assert raw.send(tenants.server.port, head).status == 413


def test_messages_are_listed_in_order(tenants: Tenants) -> None:
    messages = [{"role": "user", "content": f"line {i}"} for i in range(30)]
    messages[3] = {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}  # type: ignore[dict-item]
    (created,) = tenants.store(messages=messages)
    listed = list(tenants.mine.chat.completions.messages.list(created.id))
    assert [message.id for message in listed] == [f"{created.id}-{i}" for i in range(30)]
    assert [message.content for message in listed[:3]] == ["line 0", "line 1", "line 2"]
    assert (listed[3].content, listed[3].role) == ("a\nb", "developer")
    backwards = list(tenants.mine.chat.completions.messages.list(created.id, order="desc", limit=7))
    assert [message.id for message in backwards] == [message.id for message in listed[::-1]]
    page = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}/messages?limit=1"))
    assert page == {
        "object": "list",
        "data": [
            {
                "id": f"{created.id}-0",
                "role": "user",
                "content": "line 0",
                "refusal": None,
                "name": None,
                "content_parts": None,
            }
        ],
        "first_id": f"{created.id}-0",
        "last_id": f"{created.id}-0",
        "has_more": True,
    }


@pytest.mark.parametrize("after", ["x", "{id}", "{id}-3", "{id}--1", "{id}-01", "{id}-+1", "{id}-", NEVER, "%00", ""])
def test_an_unknown_message_is_no_cursor(tenants: Tenants, after: str) -> None:
    (created,) = tenants.store()
    reply = get(tenants, f"{COMPLETIONS}/{created.id}/messages?after={after.format(id=created.id)}")
    assert (reply.status, reply.error["code"]) == (404, None)


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "integer_below_min_value", "limit"),
        ("limit=-1", "integer_below_min_value", "limit"),
        ("limit=101", "integer_above_max_value", "limit"),
        ("limit=1e9", "invalid_type", "limit"),
        ("limit=", "invalid_type", "limit"),
        ("limit=" + "9" * 40, "invalid_type", "limit"),
        ("order=foo", "invalid_value", "order"),
        ("&".join(f"metadata[{i}]=x" for i in range(17)), "object_above_max_properties", "metadata"),
        ("&".join("a=b" for _ in range(500)), None, None),
    ],
)
def test_a_bad_query_is_refused(tenants: Tenants, query: str, code: str | None, param: str | None) -> None:
    reply = get(tenants, f"{COMPLETIONS}?{query}")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, code, param)


@pytest.mark.parametrize("after", ["x", NEVER, "", "%00", "%ff", "%ED%A0%80", "' OR 1=1 --"])
def test_an_unknown_completion_is_no_cursor(tenants: Tenants, after: str) -> None:
    tenants.store()
    reply = get(tenants, f"{COMPLETIONS}?after={after.replace(' ', '%20')}")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, None, None)


@pytest.mark.parametrize(
    "query",
    [
        "metadata[a'%20OR%201=1]=x",
        "metadata%5Ba'+OR+1%3D1%5D=x",
        "metadata[%00]=%00",
        "metadata[%ff]=%ff",
        "model=%00",
        "model=%ff",
        "metadata[]=",
        "model=",
        "metadata[team]=blue&metadata[team]=red",
    ],
)
def test_a_filter_that_nothing_matches_is_an_empty_list(tenants: Tenants, query: str) -> None:
    tenants.store(metadata={"team": "blue"})
    reply = get(tenants, f"{COMPLETIONS}?{query}")
    assert (reply.status, raw.json_of(reply)["data"]) == (200, [])


def expire(tenants: Tenants, kind: KindOfDatabase, id_: str) -> None:
    """As if it had been created a month and a day ago."""
    seconds = 31 * 86_400
    kind.query(tenants.url, f"UPDATE completion_metadata SET created = created - {seconds}")  # noqa: S608
    kind.query(tenants.url, f"UPDATE completions SET created = created - {seconds} WHERE id = '{id_}'")  # noqa: S608


Make = Callable[[Tenants, KindOfDatabase], str]


def unknown(tenants: Tenants, kind: KindOfDatabase) -> str:
    return NEVER


def deleted(tenants: Tenants, kind: KindOfDatabase) -> str:
    (created,) = tenants.store(metadata={"a": "1"})
    tenants.mine.chat.completions.delete(created.id)
    return created.id


def expired(tenants: Tenants, kind: KindOfDatabase) -> str:
    (created,) = tenants.store(metadata={"a": "1"})
    expire(tenants, kind, created.id)
    return created.id


def foreign(tenants: Tenants, kind: KindOfDatabase) -> str:
    return ask(tenants.others, store=True, metadata={"a": "1"}).id


@pytest.mark.parametrize("make", [unknown, deleted, expired, foreign])
def test_what_is_not_there_is_the_same_404_everywhere(tenants: Tenants, kind: KindOfDatabase, make: Make) -> None:
    id_ = make(tenants, kind)
    completions = tenants.mine.chat.completions
    attempts: list[Callable[[], Any]] = [
        lambda: completions.retrieve(id_),
        lambda: completions.update(id_, metadata={}),
        lambda: completions.messages.list(id_),
        lambda: completions.delete(id_),
    ]
    for attempt in attempts:
        with pytest.raises(openai.NotFoundError) as caught:
            attempt()
        assert caught.value.body == {
            "message": f"Chat completion with id '{id_}' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    assert tenants.listed() == tenants.listed(metadata={"a": "1"}) == []
    if make is foreign:
        assert tenants.others.chat.completions.retrieve(id_).metadata == {"a": "1"}
        with pytest.raises(openai.NotFoundError):
            tenants.listed(after=id_)


def test_what_has_expired_is_swept(tenants: Tenants, kind: KindOfDatabase) -> None:
    id_ = expired(tenants, kind)
    (kept,) = tenants.store(metadata={"b": "2"})
    tenants.server.on_loop(tenants.server.store.sweep())
    assert kind.query(tenants.url, f"SELECT id FROM completions WHERE id IN ('{id_}', '{kept.id}')") == [(kept.id,)]  # noqa: S608
    assert kind.count(tenants.url, "completion_messages") == kind.count(tenants.url, "completion_metadata") == 1


def test_row_3_nul_comes_back_unchanged(tenants: Tenants) -> None:
    """PostgreSQL's text refuses it."""
    text, astral = "zero\0width", "\U0001f30a"
    messages = [
        {"role": "user", "content": text, "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": text}]},
    ]
    (created,) = tenants.store(messages=messages, metadata={f"k\0{astral}": text}, user=f"{text}{astral}")
    stored = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}"))
    assert (stored["metadata"], stored["input_user"]) == ({f"k\0{astral}": text}, f"{text}{astral}")
    assert [message.content for message in tenants.mine.chat.completions.messages.list(created.id)] == [text, text]
    assert tenants.listed(metadata={f"k\0{astral}": text}) == [created.id]
    assert tenants.mine.chat.completions.update(created.id, metadata={"a": text}).metadata == {"a": text}


def test_messages_are_shown_as_they_were_sent(tenants: Tenants) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    parts = [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit"}},
    ]
    (created,) = tenants.store(
        messages=[
            {"role": "system", "content": "s"},
            {"role": "user", "content": parts, "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "x", "tool_call_id": "call_1"},
            {"role": "assistant", "content": None, "refusal": "no"},
            {"role": "user", "content": "?"},
        ],
        tools=tools,
        tool_choice="none",
        response_format={"type": "text"},
    )
    plain: dict[str, Any] = {"refusal": None, "name": None, "content_parts": None}
    expected = [
        plain | {"role": "system", "content": "s"},
        plain | {"role": "user", "content": "a\nb", "name": "ann", "content_parts": parts},
        plain | {"role": "assistant", "content": None, "tool_calls": [call]},
        plain | {"role": "tool", "content": "x", "tool_call_id": "call_1"},
        plain | {"role": "assistant", "content": None, "refusal": "no"},
        plain | {"role": "user", "content": "?"},
    ]
    page = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}/messages"))
    assert page["data"] == [message | {"id": f"{created.id}-{i}"} for i, message in enumerate(expected)]
    stored = raw.json_of(get(tenants, f"{COMPLETIONS}/{created.id}"))
    assert (stored["tools"], stored["tool_choice"], stored["response_format"]) == (tools, "none", {"type": "text"})


def test_what_another_server_sweeps_is_left_to_it(postgres: Postgres) -> None:
    """In SQLite one writes at a time."""
    kind = KindOfDatabase(postgres.new_database, postgres)
    url = kind.new_url()
    with tenants_of(url) as tenants, psycopg.connect(url) as other:
        id_ = expired(tenants, kind)
        other.execute("SELECT 1 FROM completions FOR UPDATE")
        tenants.server.on_loop(tenants.server.store.sweep())
        assert kind.query(url, "SELECT id FROM completions") == [(id_,)]
        other.rollback()
        tenants.server.on_loop(tenants.server.store.sweep())
        assert kind.count(url, "completions") == 0


def test_a_sweep_that_fails_is_tried_again(kind: KindOfDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stopped it."""
    monkeypatch.setattr(store_module, "_SWEEP_S", 0.05)
    url = kind.new_url()
    with tenants_of(url) as tenants:
        (made,) = tenants.store()
        place = f"SELECT id, project, created, sequence, 9999999999 FROM completions WHERE id = '{made.id}'"  # noqa: S608
        kind.query(url, f"INSERT INTO deleted_completions {place}")
        expire(tenants, kind, made.id)  # it cannot have a place twice
        eventually(lambda: tenants.server.log_lines(event="a chore failed"))
        kind.query(url, "DELETE FROM deleted_completions")
        eventually(lambda: kind.count(url, "completions") == 0)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_ends_where_it_gets_long(
    tenants: Tenants, order: Literal["asc", "desc"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions_module, "_PAGE_BYTES", 2500)
    messages = [{"role": "user", "content": "x" * 900}] * 8
    ids = [completion.id for completion in tenants.store(7, messages=messages)]
    page = tenants.mine.chat.completions.list(limit=6, order=order)
    assert page.has_more
    assert 0 < len(page.data) < 6
    assert tenants.listed(limit=6, order=order) == (ids if order == "asc" else ids[::-1])
    said = tenants.mine.chat.completions.messages.list(ids[0], order=order)
    assert 0 < len(said.data) < 8
    assert len(list(said)) == 8
