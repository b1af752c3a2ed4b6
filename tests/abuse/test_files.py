"""Rows 36, 38 and 39, and what rows 43 and 55 say of files: parts, uploads, names and ids that are not what they should
be."""

from __future__ import annotations

import json
from collections.abc import Mapping

import psutil
import pytest

from tests.abuse.invariants import FILES, KEY, OTHER_KEY, Abuse
from tests.abuse.served import watch_peak
from tests.support import raw
from tests.support.documents import LOCKED, announcing, archive, file_part, pdf, pdf_announcing, pdf_with_a_circle
from tests.support.forms import BOUNDARY, CONTENT_TYPE, FILE, PURPOSE, form, part
from tests.support.server import eventually

UNKNOWN = "file-" + "0" * 22
MiB = 2**20


def uploaded(abuse: Abuse) -> str:
    """The id of a file that is there; to be deleted by the row."""
    reply = abuse.upload(b"High water")
    assert reply.status == 200, reply
    id_ = json.loads(reply.body)["id"]
    assert isinstance(id_, str)
    return id_


def deleted(abuse: Abuse, id_: str, key: str = KEY) -> raw.Reply:
    return abuse.send(abuse.request("DELETE", f"{FILES}/{id_}", key=key))


def with_file(id_: str) -> list[object]:
    return [{"role": "user", "content": [{"type": "file", "file": {"file_id": id_}}]}]


def refused_file(abuse: Abuse, filename: str, content: bytes, reason: str) -> None:
    messages = [{"role": "user", "content": [file_part(filename, content)]}]
    reply = abuse.refused(400, "invalid_value", "messages[0].content[0].file.file_data", messages=messages)
    assert reason in reply.error["message"]


def parts_of(abuse: Abuse, *parts: Mapping[str, object]) -> bytes:
    return abuse.body(messages=[{"role": "user", "content": parts}])


def test_row_36_more_parts_than_fit(abuse: Abuse) -> None:
    """Ten thousand words are more than the context; a part that is too long is never looked at by the model."""
    abuse.refused(
        400, "context_length_exceeded", "messages", parts_of(abuse, *[{"type": "text", "text": "x"}] * 10_000)
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    abuse.refused(400, None, "messages.[0].content.[0].type", parts_of(abuse, *[image] * 10_000))


@pytest.mark.large
@pytest.mark.parametrize("where", ["a part", "a message"])
def test_row_36_a_hundred_megabytes_of_text(abuse: Abuse, where: str) -> None:
    text = "x" * 100_000_000
    content, at = (
        ([{"type": "text", "text": text}], "messages[0].content[0].text")
        if where == "a part"
        else (text, "messages[0].content")
    )
    abuse.refused(400, "string_above_max_length", at, abuse.body(messages=[{"role": "user", "content": content}]))


def test_row_36_more_than_a_body_may_have(limited: Abuse) -> None:
    limited.refused(413, None, None, parts_of(limited, {"type": "text", "text": "x" * 2**17}))


def test_row_38(abuse: Abuse) -> None:
    """What each of them says is in tests/media; here it is whether they leave a trace."""
    refused_file(abuse, "a.pdf", pdf(["x"], trailer=LOCKED), "It is encrypted.")
    refused_file(abuse, "a.pdf", pdf_announcing(100_000), "It has 100000 pages")
    refused_file(abuse, "a.pdf", pdf_with_a_circle(), "It is no valid pdf file.")
    refused_file(abuse, "a.pdf", archive({"x": b"x"}), "It is no valid pdf file.")
    refused_file(abuse, "a.docx", announcing(archive({"word/document.xml": b" "}), 2**32 - 1), "Unpacked it has more")


def test_row_39_ids(abuse: Abuse) -> None:
    gone = uploaded(abuse)
    assert deleted(abuse, gone).status == 200
    for id_ in (UNKNOWN, gone, "file-..%2F..%2Fx", "file-%00", "file-" + "x" * 7000):
        for reply in (abuse.get(f"{FILES}/{id_}"), abuse.get(f"{FILES}/{id_}/content"), deleted(abuse, id_)):
            assert (reply.status, reply.error["code"], reply.error["param"]) == (404, None, "id"), reply
    assert abuse.get(f"{FILES}/file-../../x").status == 404
    assert abuse.get(f"{FILES}/file-{'x' * 10_000}").status == 414
    for id_ in (UNKNOWN, gone, "file-../../x", "x" * 10_000):
        abuse.refused(400, None, "messages[0].content[0].file.file_id", messages=with_file(id_))


def test_row_39_and_43_another_keys_file(abuse: Abuse) -> None:
    file = uploaded(abuse)
    texts = []
    for id_ in (file, UNKNOWN):
        replies = [
            abuse.get(f"{FILES}/{id_}", key=OTHER_KEY),
            abuse.get(f"{FILES}/{id_}/content", key=OTHER_KEY),
            deleted(abuse, id_, OTHER_KEY),
            abuse.create(messages=with_file(id_), key=OTHER_KEY),
            abuse.get(f"{FILES}?after={id_}", key=OTHER_KEY),
        ]
        assert [reply.status for reply in replies] == [404, 404, 404, 400, 400]
        texts.append([reply.body.decode().replace(id_, "ID") for reply in replies])
    assert texts[0] == texts[1]
    assert json.loads(abuse.get(FILES, key=OTHER_KEY).body)["data"] == []
    assert abuse.get(f"{FILES}/{file}/content").body == b"High water"
    deleted(abuse, file)


@pytest.mark.parametrize(
    "name", ["a/b", "../../etc/passwd", "a\\b", "a%0D%0Ab", "a\x00b", "a\x1b[31m", "x" * 4096, ".."]
)
def test_row_39_names(abuse: Abuse, name: str) -> None:
    assert abuse.upload(b"x", name).status == 400
    assert abuse.upload(b"", "tides.txt").status == 400


def test_row_39_markup_and_directions_in_names_are_only_data(abuse: Abuse) -> None:
    name = "<img src=x>\u202egpj.exe; filename=y"
    reply = abuse.upload(b"x", name)
    file = json.loads(reply.body)
    assert file["filename"] == name
    content = abuse.get(f"{FILES}/{file['id']}/content")
    assert content.headers["content-disposition"].isascii()
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["x-content-type-options"] == "nosniff"
    deleted(abuse, file["id"])


def test_row_39_an_upload_that_is_cut_leaves_nothing(abuse: Abuse) -> None:
    head = abuse.request(
        "POST", FILES, f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {4 * MiB}",
    )  # fmt: skip
    begun = form(PURPOSE, part("file", b"x" * 3 * MiB, filename="x")).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    before = abuse.served.files()
    with raw.connection(abuse.port) as sock:
        sock.sendall(head + begun)
        eventually(lambda: abuse.served.files() - before)
    eventually(lambda: abuse.served.files() == before)
    assert json.loads(abuse.get(FILES).body)["data"] == []


def test_row_7_uploads_have_a_limit_of_their_own(abuse: Abuse) -> None:
    grown = watch_peak(abuse.served.api)
    whole = form(PURPOSE, part("file", b"x" * (5 * MiB), filename="x"))
    honest = abuse.push(abuse.request("POST", FILES, f"Content-Type: {CONTENT_TYPE}", body=whole))
    assert honest is None or honest.status == 413
    chunked = abuse.request("POST", FILES, f"Content-Type: {CONTENT_TYPE}", "Transfer-Encoding: chunked")
    reply = abuse.push(chunked, b"%x\r\n%b\r\n" % (len(whole), whole), b"0\r\n\r\n")
    assert reply is None or (reply.status, reply.error["param"]) == (413, "file")
    assert grown() < 16 * MiB


def test_hostile_forms(abuse: Abuse) -> None:
    head = (f"Content-Type: {CONTENT_TYPE}",)
    for body in (
        b"",
        b"{}",
        form(PURPOSE, FILE)[:-9],
        form(*[part("x", b"x")] * 10_000),
        f"--{BOUNDARY}\r\nX: ".encode() + b"x" * MiB,
        b"-" * MiB,
        form(PURPOSE, PURPOSE, FILE),
        form(FILE, PURPOSE, FILE),
    ):
        assert abuse.send(abuse.request("POST", FILES, *head, body=body)).status == 400
    for kind in ("multipart/form-data", "multipart/mixed; boundary=x", "text/plain"):
        assert abuse.send(abuse.request("POST", FILES, f"Content-Type: {kind}", body=form(FILE, PURPOSE))).status == 400


def test_row_55_a_disk_that_takes_no_more(abuse: Abuse) -> None:
    """The kernel refuses to write on, as a full disk does."""
    limit = abuse.served.api.rlimit(psutil.RLIMIT_FSIZE)
    before = abuse.served.files()
    try:
        abuse.served.api.rlimit(psutil.RLIMIT_FSIZE, (2 * MiB, limit[1]))
        reply = abuse.upload(b"x" * 3 * MiB)
    finally:
        abuse.served.api.rlimit(psutil.RLIMIT_FSIZE, limit)
    assert (reply.status, reply.error["code"], reply.headers["x-should-retry"]) == (507, "storage_full", "false")
    assert abuse.served.files() == before
    abuse.is_fault_ours = True
    assert deleted(abuse, uploaded(abuse)).status == 200
    assert abuse.create().status == 200
