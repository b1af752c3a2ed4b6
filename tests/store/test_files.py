"""Files through the official client, on both databases."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from completionist.settings import FileSettings
from tests.store.databases import KindOfDatabase
from tests.store.tenants import KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.ask import ask
from tests.support.forms import CONTENT_TYPE, FILE, PURPOSE, form, part
from tests.support.server import eventually

CONTENT = b"High water\r\n--\x00\xff" * 1000
UNKNOWN = "file-" + "0" * 22
DAY_S = 86_400
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


@pytest.fixture
def files(tenants: Tenants) -> Tenants:
    for client in (tenants.mine, tenants.others):
        for file in client.with_options(max_retries=2).files.list():  # a connection may have been idle for too long
            client.files.delete(file.id)
    return tenants


def upload(client: openai.OpenAI, content: bytes = CONTENT, name: str = "tides.txt", **fields: Any) -> Any:
    return client.files.create(file=(name, content), **{"purpose": "user_data", **fields})


def refused(call: Callable[[], object]) -> tuple[int, str | None, str | None]:
    """Status, code and param of a refusal."""
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.param


def posted(tenants: Tenants, body: bytes, content_type: str = CONTENT_TYPE) -> raw.Reply:
    headers = (f"Content-Type: {content_type}", f"Authorization: Bearer {KEY}")
    return raw.send(tenants.server.port, raw.request("POST", "/v1/files", *headers, body=body))


def contents(tenants: Tenants) -> list[Path]:
    """What is in the directory of files."""
    return [path for path in tenants.files_directory.rglob("*") if path.is_file() and path.name != "database"]


def test_a_file_is_kept_as_it_came(files: Tenants) -> None:
    file = upload(files.mine, name='pl\u00e4n "1".pdf')
    shown = file.to_dict()
    assert shown == {
        "object": "file",
        "id": file.id,
        "purpose": "user_data",
        "filename": 'pl\u00e4n "1".pdf',
        "bytes": len(CONTENT),
        "created_at": file.created_at,
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }
    assert files.mine.files.retrieve(file.id).to_dict() == shown
    assert files.mine.files.wait_for_processing(file.id).to_dict() == shown
    assert files.mine.files.list().data[0].to_dict() == shown
    answer = files.mine.files.content(file.id)
    assert answer.read() == CONTENT
    assert answer.response.headers["content-type"] == "application/octet-stream"
    assert answer.response.headers["content-disposition"] == (
        "attachment; filename=\"pl_n _1_.pdf\"; filename*=UTF-8''pl%C3%A4n%20%221%22.pdf"
    )
    (path,) = contents(files)
    assert path.read_bytes() == CONTENT
    assert path.name == file.id


def test_a_deleted_file_is_gone(files: Tenants) -> None:
    file = upload(files.mine)
    assert files.mine.files.delete(file.id).to_dict() == {"id": file.id, "object": "file", "deleted": True}
    assert contents(files) == []
    assert files.mine.files.list().data == []
    for call in (files.mine.files.retrieve, files.mine.files.content, files.mine.files.delete):
        assert refused(partial(call, file.id)) == (404, None, "id")


@pytest.mark.parametrize("id_", [UNKNOWN, "file-../../x", "file-\x00", "x" * 5000, "file-" + "\u00e9" * 22])
def test_unknown_files(files: Tenants, id_: str) -> None:
    for call in (files.mine.files.retrieve, files.mine.files.content, files.mine.files.delete):
        with pytest.raises(openai.NotFoundError, match="No such File object: ") as caught:
            call(id_)
        assert (caught.value.code, caught.value.param) == (None, "id")


def test_another_projects_file_is_an_unknown_one(files: Tenants) -> None:
    file = upload(files.mine)
    mine, others = file.id, UNKNOWN
    assert files.others.files.list().data == []
    assert refused(lambda: files.others.files.list(after=mine)) == (400, None, "after")
    for name in ("retrieve", "content", "delete"):
        bodies = []
        for id_ in (mine, others):
            with pytest.raises(openai.NotFoundError) as caught:
                getattr(files.others.files, name)(id_)
            bodies.append(json.dumps(caught.value.body).replace(id_, "ID"))
        assert bodies[0] == bodies[1]
    assert files.mine.files.content(file.id).read() == CONTENT


def test_lists_are_paged_in_both_orders(files: Tenants) -> None:
    ids = [upload(files.mine, b"x", purpose=("batch", "evals")[i % 2]).id for i in range(7)]  # most within one second
    assert [file.id for file in files.mine.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in files.mine.files.list(limit=3, order="asc")] == ids
    assert [file.id for file in files.mine.files.list(limit=2, order="asc", purpose="evals")] == ids[1::2]
    page = files.mine.files.list(limit=3, order="asc", after=ids[3])
    assert ([file.id for file in page.data], page.has_more) == (ids[4:], False)
    seen = []
    for file in files.mine.files.list(limit=2):
        files.mine.files.delete(file.id)
        seen.append(file.id)
    assert seen == ids[::-1]
    empty = files.mine.files.list()
    assert (empty.data, empty.has_more, empty.first_id, empty.last_id) == ([], False, None, None)  # type: ignore[attr-defined]  # the client keeps what it does not name


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ({"limit": 0}, "integer_below_min_value", "limit"),
        ({"limit": 10_001}, "integer_above_max_value", "limit"),
        ({"order": "up"}, "invalid_value", "order"),
        ({"purpose": "fun"}, "invalid_value", "purpose"),
        ({"after": UNKNOWN}, None, "after"),
        ({"after": "\x00' OR 1=1"}, None, "after"),
    ],
)
def test_bad_lists(files: Tenants, query: dict[str, Any], code: str | None, param: str) -> None:
    assert refused(lambda: files.mine.files.list(**query)) == (400, code, param)


def test_expiry(files: Tenants, kind: KindOfDatabase) -> None:
    file = upload(files.mine, expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.expires_at == file.created_at + 3600
    batch = upload(files.mine, purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * DAY_S
    kind.query(files.url, "UPDATE files SET expires_at = created_at WHERE purpose = 'user_data'")
    assert refused(lambda: files.mine.files.retrieve(file.id)) == (404, None, "id")
    assert [found.id for found in files.mine.files.list()] == [batch.id]
    assert len(contents(files)) == 2
    files.server.on_loop(files.server.services.files.sweep())
    assert [path.name for path in contents(files)] == [batch.id]
    assert [found.id for found in files.mine.files.list(order="asc", after=file.id)] == [batch.id]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (form(PURPOSE), "missing_required_parameter", "file"),
        (form(FILE), "missing_required_parameter", "purpose"),
        (form(part("purpose", b"fun"), FILE), "invalid_value", "purpose"),
        (form(FILE, part("purpose", b"")), "invalid_value", "purpose"),
        (form(PURPOSE, PURPOSE, FILE), "invalid_value", "purpose"),
        (form(PURPOSE, FILE, FILE), "invalid_value", "file"),
        (form(PURPOSE, part("file", b"no file")), "invalid_type", "file"),
        (form(part("purpose", b"batch", filename="x"), FILE), "invalid_type", "purpose"),
        (form(PURPOSE, FILE, part("vector_store", b"x")), "unknown_parameter", "vector_store"),
        (form(PURPOSE, part("file", b"", filename="empty")), "invalid_value", "file"),
        (form(PURPOSE, FILE, part(SECONDS, b"3600")), "missing_required_parameter", "expires_after.anchor"),
        (form(PURPOSE, FILE, part(ANCHOR, b"created_at")), "missing_required_parameter", "expires_after.seconds"),
        (form(PURPOSE, FILE, part(ANCHOR, b"now")), "invalid_value", "expires_after.anchor"),
        (form(part(SECONDS, b"3599"), FILE), "integer_below_min_value", "expires_after.seconds"),
        (form(part(SECONDS, b"2592001"), FILE), "integer_above_max_value", "expires_after.seconds"),
        (form(part(SECONDS, b"1e4"), FILE), "invalid_type", "expires_after.seconds"),
        (form(PURPOSE, FILE)[:-5], None, None),
    ],
)  # fmt: skip
def test_bad_uploads_leave_nothing(files: Tenants, body: bytes, code: str | None, param: str | None) -> None:
    reply = posted(files, body)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, code, param)
    assert files.mine.files.list().data == []
    assert contents(files) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "a\\b", "a\r\nb", "a\x00b", "a\x7fb", "x" * 256, "x" * 4096]
)
def test_bad_names_are_refused(files: Tenants, name: str) -> None:
    quoted = name.replace("\r\n", "%0D%0A").replace("\x00", "\x00")
    reply = posted(files, form(PURPOSE, part("file", b"x", filename=quoted)))
    assert reply.status == 400
    assert contents(files) == []


def test_uploads_must_be_forms(files: Tenants) -> None:
    assert posted(files, b"{}", "application/json").error["code"] == "unsupported_content_type"
    assert posted(files, form(PURPOSE, FILE), "multipart/form-data").status == 400


def test_a_file_that_a_message_names_must_be_there(files: Tenants) -> None:
    file = upload(files.others)

    def asked(id_: str) -> tuple[int, str | None, str | None]:
        content = [{"type": "text", "text": "?"}, {"type": "file", "file": {"file_id": id_}}]
        return refused(lambda: ask(files.mine, messages=[{"role": "user", "content": content}]))

    unknown = (400, None, "messages[0].content[1].file.file_id")
    assert [asked(id_) for id_ in (UNKNOWN, "file-../../x", file.id)] == [unknown] * 3
    assert asked(upload(files.mine).id) == (400, "invalid_value", "messages[0].content[1].file.file_id")  # by its name


def test_orphans_are_swept_and_nothing_else(files: Tenants) -> None:
    kept = upload(files.mine)
    service = files.server.services.files
    directory = files.files_directory
    for name in (UNKNOWN, f"{UNKNOWN}.part"):
        path = directory / "00" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left by a crash")
    (directory / "00" / "notes.txt").write_text("somebody else's")
    files.server.on_loop(service.sweep_orphans())
    assert sorted(path.name for path in contents(files)) == sorted([kept.id, "notes.txt"])
    (directory / "00" / "notes.txt").unlink()
    assert hashlib.sha256(files.mine.files.content(kept.id).read()).digest() == hashlib.sha256(CONTENT).digest()


def test_the_directory_of_another_database_is_not_swept(files: Tenants) -> None:
    mark = files.files_directory / "database"
    name = mark.read_text()
    file = upload(files.mine)
    orphan = files.files_directory / "00" / UNKNOWN
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"not ours")
    try:
        mark.write_text("another")
        files.server.on_loop(files.server.services.files.sweep_orphans())
        assert orphan.exists()
        eventually(lambda: files.server.log_lines(level="error"))
    finally:
        mark.write_text(name)
    files.server.on_loop(files.server.services.files.sweep_orphans())
    assert [path.name for path in contents(files)] == [file.id]


def test_a_lost_content_is_our_fault(files: Tenants) -> None:
    file = upload(files.mine)
    (path,) = contents(files)
    path.unlink()
    assert refused(lambda: files.mine.files.content(file.id))[0] == 500


def test_files_of_the_callers_kinds(files: Tenants, tmp_path: Path) -> None:
    path = tmp_path / "tides.jsonl"
    path.write_bytes(CONTENT)
    with path.open("rb") as stream:
        for source in (path, stream, io.BytesIO(CONTENT), CONTENT):
            file = files.mine.files.create(file=source, purpose="fine-tune")
            assert files.mine.files.content(file.id).read() == CONTENT


def test_downloads_follow_each_other_on_one_connection(files: Tenants) -> None:
    """The next request may come as soon as the last byte is there."""
    file = upload(files.mine, CONTENT * 30)
    for _ in range(30):
        assert files.mine.files.content(file.id).read() == CONTENT * 30


def test_limits(kind: KindOfDatabase) -> None:
    limits = FileSettings(max_file_bytes=3000, max_project_bytes=5000, withheld_purposes=("user_data",))
    with tenants_of(kind.new_url(), files=limits) as tenants:
        file = upload(tenants.mine, b"x" * 3000)
        assert refused(lambda: upload(tenants.mine, b"x" * 3001)) == (413, None, "file")
        assert refused(lambda: upload(tenants.mine, b"x" * 200_000)) == (413, None, "file")
        assert refused(lambda: upload(tenants.mine, b"x" * 2001)) == (400, None, "file")
        upload(tenants.others, b"x" * 2001)
        assert refused(lambda: tenants.mine.files.content(file.id)) == (400, None, None)
        assert len(contents(tenants)) == 2


def test_a_full_disk_is_a_clear_answer(kind: KindOfDatabase) -> None:
    with tenants_of(kind.new_url(), files=FileSettings(reserve_bytes=2**60)) as tenants:
        with pytest.raises(openai.InternalServerError) as caught:
            upload(tenants.mine)
        assert (caught.value.status_code, caught.value.code) == (507, "storage_full")
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert contents(tenants) == []
        assert tenants.mine.files.list().data == []
        assert ask(tenants.mine, store=True).id
