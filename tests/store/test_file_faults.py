"""Rows 53 to 55 of the abuse catalogue as far as they touch files: the database goes, and comes back."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import openai
import pytest

from completionist.store import files as files_module
from tests.store.cut import cut_way
from tests.store.databases import KindOfDatabase, Loss
from tests.store.tenants import KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.forms import CONTENT_TYPE, PURPOSE, form, part
from tests.support.postgres import Postgres
from tests.support.server import eventually

CONTENT = b"High water" * 120_000
UPLOAD = form(PURPOSE, part("file", CONTENT, filename="tides.txt"))
HELD_BACK_BYTES = 1000


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for once a minute is looked for ten times a second."""
    monkeypatch.setattr(files_module, "_SWEEP_S", 0.1)


def upload(client: openai.OpenAI) -> str:
    return client.files.create(file=("tides.txt", CONTENT), purpose="user_data").id


def contents(tenants: Tenants) -> set[str]:
    """The names in the directory of files."""
    return {path.name for path in tenants.files_directory.rglob("file-*")}


def listed(tenants: Tenants) -> set[str]:
    return {file.id for file in tenants.mine.files.list()}


def check_unavailable(call: Callable[[], object]) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        call()
    error = caught.value
    assert (error.status_code, error.code, error.type) == (503, "storage_unavailable", "service_unavailable_error")
    assert 1 <= int(error.response.headers["retry-after"]) <= 120


def check_all_whole(tenants: Tenants, told: set[str]) -> None:
    """What was acknowledged is there, and what is there is whole, whoever was told of it or not."""
    found = listed(tenants)
    assert told <= found
    for id_ in found:
        assert tenants.mine.files.content(id_).read() == CONTENT
    eventually(lambda: contents(tenants) == found)


def uploaded_if_it_can(tenants: Tenants) -> str | None:
    try:
        return upload(tenants.mine)
    except openai.InternalServerError:
        return None


@contextmanager
def half_uploaded(tenants: Tenants) -> Iterator[socket.socket]:
    """A connection on which the rest of an upload is to come; a part of its content is on the disk."""
    head = raw.request(
        "POST", "/v1/files", f"Authorization: Bearer {KEY}", f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(UPLOAD)}", "Connection: close",
    )  # fmt: skip
    before = contents(tenants)
    with raw.connection(tenants.server.port) as sock:
        sock.sendall(head + UPLOAD[:-HELD_BACK_BYTES])
        eventually(lambda: contents(tenants) - before)
        yield sock


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("gone_s", [0, pytest.param(10, marks=pytest.mark.large)])
def test_row_54_files_while_the_database_is_gone(kind: KindOfDatabase, lost: Loss, gone_s: float) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        files = tenants.mine.files
        told = {upload(tenants.mine) for _ in range(3)}
        known = min(told)
        with half_uploaded(tenants) as begun, lost(url):
            begun.sendall(UPLOAD[-HELD_BACK_BYTES:])
            reply = raw.Reply(*raw.parsed(raw.read_to_end(begun)))
            assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
            deadline_s = time.monotonic() + gone_s
            while True:
                for call in (files.retrieve, files.content, files.delete):
                    check_unavailable(partial(call, known))
                check_unavailable(files.list)
                check_unavailable(partial(upload, tenants.mine))
                if time.monotonic() > deadline_s:
                    break
            assert len(contents(tenants)) == 4  # nothing is swept that might have a row, and nothing else was written
        told.add(eventually(lambda: uploaded_if_it_can(tenants)) or "")
        check_all_whole(tenants, told)
        assert listed(tenants) == told
        files.delete(known)
        check_all_whole(tenants, told - {known})


def is_done(call: Callable[[], object]) -> bool:
    """Whether it was; if not, the client was told so."""
    try:
        call()
    except openai.APIStatusError as error:
        refused = error
    else:
        return True
    assert (refused.status_code, refused.code) == (503, "storage_unavailable")
    return False


@pytest.mark.usefixtures("often")
def test_row_54_files_over_a_connection_that_is_cut_at_every_message(postgres: Postgres) -> None:
    """First uploads, then deletions: what is said of a file is true of the database, and of the disk."""
    with (
        tempfile.TemporaryDirectory(prefix="cut-") as directory,
        cut_way(postgres.new_database(), Path(directory)) as (cut, url),
        tenants_of(url) as tenants,
    ):
        told, gone = {upload(tenants.mine)}, set[str]()

        def n_cut(call: Callable[[], object]) -> int:
            """At how many messages it could be cut, until it went through."""
            for n_messages in range(40):
                told.add(eventually(lambda: uploaded_if_it_can(tenants)) or "")
                cut.n_left = n_messages
                is_through = is_done(call)
                cut.n_left = None
                if is_through:
                    return n_messages
            raise AssertionError("it never went through")

        assert n_cut(lambda: told.add(upload(tenants.mine))) > 3
        assert n_cut(lambda: gone.add(tenants.mine.files.delete(told.pop()).id)) > 3
        eventually(lambda: uploaded_if_it_can(tenants))
        check_all_whole(tenants, told)
        assert not gone & listed(tenants)
