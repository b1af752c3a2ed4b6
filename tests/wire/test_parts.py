"""Content parts and the form of media (contract, section 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from completionist.types.parts import (
    AudioPart,
    FilePart,
    FileReference,
    ImagePart,
    ImageURL,
    InputAudio,
    PromptCacheBreakpoint,
    TextPart,
)
from tests.wire.bodies import (
    Refusal,
    chat,
    empty_string,
    missing,
    read,
    refusal,
    too_long,
    unknown,
    wrong_type,
    wrong_value,
)

AT = "messages[0].content[0]"
PNG = "data:image/png;base64,aW1nIGJ5dGVzIGhlcmU="
PDF = "data:application/pdf;base64,aW1nIGJ5dGVzIGhlcmU="


def with_part(*parts: object) -> dict[str, Any]:
    return chat({"role": "user", "content": list(parts)})


def image(url: object, **more: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def sound(**keys: object) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": keys}


def file(**keys: object) -> dict[str, Any]:
    return {"type": "file", "file": keys}


def bad_picture(fault: str) -> Refusal:
    param = f"{AT}.image_url.url"
    return Refusal(
        "invalid_value",
        param,
        f"Invalid '{param}'. Expected a base64-encoded data URL with an image MIME type "
        f"(e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got {fault}.",
    )


def bad_file(fault: str) -> Refusal:
    param = f"{AT}.file.file_data"
    return Refusal(
        "invalid_value",
        param,
        f"Invalid '{param}'. Expected a base64-encoded data URL with an application/pdf MIME type "
        f"(e.g. 'data:application/pdf;base64,cGRmIGJ5dGVzIGhlcmU='), but got {fault}.",
    )


def bad_address(url: str) -> Refusal:
    return Refusal("invalid_image_url", f"{AT}.image_url.url", f"Error while downloading {url}.")


NO_PREFIX = "a value without the 'data:' prefix"
BROKEN = "an invalid base64-encoded value"
EMPTY = "empty base64-encoded bytes"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("x", wrong_type(AT, "an object", "a string")),
        ({}, missing(f"{AT}.type")),
        (
            {"type": 1},
            wrong_type(
                f"{AT}.type", "one of 'text', 'image_url', 'input_audio', 'refusal', 'audio', or 'file'", "an integer"
            ),
        ),
        ({"type": "text"}, missing(f"{AT}.text")),
        ({"type": "text", "text": None}, wrong_type(f"{AT}.text", "a string", "null")),
        ({"type": "text", "text": "x" * 1_048_577}, too_long(f"{AT}.text", 1_048_576, 1_048_577)),
        ({"type": "text", "text": "x", "foo": 1}, unknown(f"{AT}.foo")),
        ({"type": "text", "text": "x", "prompt_cache_breakpoint": {}}, missing(f"{AT}.prompt_cache_breakpoint.mode")),
        (
            {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "implicit"}},
            wrong_value(f"{AT}.prompt_cache_breakpoint.mode", "implicit", "'explicit'"),
        ),
        (
            {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "1h"}},
            wrong_value(f"{AT}.prompt_cache_breakpoint.ttl", "1h", "'30m' and '12h'"),
        ),
        # pictures
        ({"type": "image_url"}, missing(f"{AT}.image_url")),
        ({"type": "image_url", "image_url": "https://x"}, wrong_type(f"{AT}.image_url", "an object", "a string")),
        ({"type": "image_url", "image_url": {}}, missing(f"{AT}.image_url.url")),
        (image(1), wrong_type(f"{AT}.image_url.url", "a string", "an integer")),
        (
            image(PNG, detail="best"),
            wrong_value(f"{AT}.image_url.detail", "best", "'auto', 'low', 'high', and 'original'"),
        ),
        (image(PNG, size=1), unknown(f"{AT}.image_url.size")),
        *(
            (image(url), bad_address(url))
            for url in ("file:///etc/passwd", "ftp://x/y.png", "gopher://x", "javascript:alert(1)")
        ),
        (image("ftp://" + "x" * 100), bad_address("ftp://" + "x" * 58 + "...")),
        (image(""), bad_picture(NO_PREFIX)),
        (image("aW1nIGJ5dGVzIGhlcmU="), bad_picture(NO_PREFIX)),
        (image("data:text/html;base64,AAAA"), bad_picture("unsupported MIME type 'text/html'")),
        (image("data:image/svg+xml;base64,AAAA"), bad_picture("unsupported MIME type 'image/svg+xml'")),
        (image("data:;base64,AAAA"), bad_picture("unsupported MIME type ''")),
        (image("data:" + "x" * 99 + ";base64,AAAA"), bad_picture(f"unsupported MIME type '{'x' * 64}...'")),
        (image("data:image/png;base64,"), bad_picture(EMPTY)),
        (image("data:image/png;base64"), bad_picture(EMPTY)),
        *(
            (image(f"data:image/png;base64,{data}"), bad_picture(BROKEN))
            for data in ("A", "AAA", "AA AA", "AAAA\n", "AA-_", "====", "AAAA=", "AAé=")
        ),
        (image("data:image/png,AAAA"), bad_picture(BROKEN)),
        # sound
        ({"type": "input_audio"}, missing(f"{AT}.input_audio")),
        (sound(format="wav"), missing(f"{AT}.input_audio.data")),
        (sound(data="AAAA"), missing(f"{AT}.input_audio.format")),
        (sound(data="AAAA", format="flac"), wrong_value(f"{AT}.input_audio.format", "flac", "'wav' and 'mp3'")),
        *(
            (
                sound(data=data, format="mp3"),
                Refusal(
                    "invalid_value",
                    f"{AT}.input_audio.data",
                    "The data provided for 'input_audio' is not of valid mp3 format.",
                ),
            )
            for data in ("A", "data:audio/mp3;base64,AAAA", "AA AA")
        ),
        # files
        ({"type": "file"}, missing(f"{AT}.file")),
        (file(), missing(f"{AT}.file.file_id")),
        (file(filename="a.pdf"), missing(f"{AT}.file.file_id")),
        (file(file_data=PDF), missing(f"{AT}.file.filename")),
        (
            file(file_id="file-1", file_data=PDF, filename="a.pdf"),
            Refusal(
                "mutually_exclusive_parameters",
                f"{AT}.file",
                "Mutually exclusive parameters: 'file_id' and 'file_data'. "
                "Ensure you are only providing one of: 'file_id' or 'file_data'.",
            ),
        ),
        (file(file_id=""), empty_string(f"{AT}.file.file_id")),
        (file(file_id="file-1", detail="low"), unknown(f"{AT}.file.detail")),
        (file(file_data="AAAA", filename="a.pdf"), bad_file(NO_PREFIX)),
        (file(file_data="https://x/a.pdf", filename="a.pdf"), bad_file(NO_PREFIX)),
        (file(file_data="data:application/pdf;base64,", filename="a.pdf"), bad_file(EMPTY)),
        (file(file_data="data:application/pdf;base64,A", filename="a.pdf"), bad_file(BROKEN)),
    ],
)
def test_refused(part: object, expected: Refusal) -> None:
    assert refusal(with_part(part)) == expected


MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
FROZEN_MARK = PromptCacheBreakpoint(mode="explicit", ttl="12h")


@pytest.mark.parametrize(
    ("part", "frozen"),
    [
        (
            {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
            TextPart(text="x", prompt_cache_breakpoint=PromptCacheBreakpoint(mode="explicit")),
        ),
        ({**image(PNG), **MARK}, ImagePart(image_url=ImageURL(url=PNG), prompt_cache_breakpoint=FROZEN_MARK)),
        (
            image("https://example.org/a", detail="original"),
            ImagePart(image_url=ImageURL(url="https://example.org/a", detail="original")),
        ),
        (image("HTTP://example.org"), ImagePart(image_url=ImageURL(url="HTTP://example.org"))),
        (image("data:image/GIF;x=y;base64,AAAA"), ImagePart(image_url=ImageURL(url="data:image/GIF;x=y;base64,AAAA"))),
        (
            {**sound(data="AA==", format="wav"), **MARK},
            AudioPart(input_audio=InputAudio(data="AA==", format="wav"), prompt_cache_breakpoint=FROZEN_MARK),
        ),
        (sound(data="", format="mp3"), AudioPart(input_audio=InputAudio(data="", format="mp3"))),
        (
            {**file(file_id="file-1"), **MARK},
            FilePart(file=FileReference(file_id="file-1"), prompt_cache_breakpoint=FROZEN_MARK),
        ),
        (file(file_data=PDF, filename="a.pdf"), FilePart(file=FileReference(file_data=PDF, filename="a.pdf"))),
    ],
)
def test_frozen(part: object, frozen: object) -> None:
    (message,) = read(with_part(part)).messages
    assert message.content == (frozen,)


def test_the_index_of_the_part_is_told() -> None:
    sent = chat(
        {"role": "user", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text"}]},
    )
    assert refusal(sent) == missing("messages[1].content[1].text")


def test_a_refusal_part_may_carry_a_breakpoint() -> None:
    sent = chat({"role": "assistant", "content": [{"type": "refusal", "refusal": "no", **MARK}]})
    assert read(sent).messages[0].text == "no"
