"""Pictures in messages to a model that does not see: refused, or read where the operator says so."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import openai
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from completionist.settings import ImageSettings, ServerSettings, Settings
from tests.conftest import Serve
from tests.media.test_documents import echo
from tests.media.test_speech import client_of
from tests.support.ask import ask
from tests.support.documents import file_part
from tests.support.eyes import Eyes
from tests.support.parrot import Parrot
from tests.support.server import RunningServer, running_server

TEXT = {"type": "text", "text": "What does it say?"}
URL = "messages[0].content[1].image_url.url"
SETTINGS = Settings(server=ServerSettings(port=0), images=ImageSettings(reads_text=True, max_pixels=4_000_000))


def image_part(content: bytes, kind: str = "png", **more: str) -> dict[str, Any]:
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url, **more}}


def asked(server: RunningServer, *parts: dict[str, Any]) -> Any:
    with client_of(server) as client:
        return ask(client, messages=[{"role": "user", "content": [TEXT, *parts]}])


def said(answer: Any) -> str:
    return str(answer.choices[0].message.content).removeprefix("user\n").partition("\nassistant")[0]


def refusal(server: RunningServer, part: dict[str, Any]) -> tuple[str | None, str | None, str]:
    with pytest.raises(openai.BadRequestError) as caught:
        asked(server, part)
    body: Any = caught.value.body
    return body["code"], body["param"], body["message"]


def drawn(*lines: str, kind: str = "PNG", **options: Any) -> bytes:
    """A page with these lines."""
    page = PIL.Image.new("RGB", (640, 60 + 60 * len(lines)), "white")
    font = PIL.ImageFont.load_default(size=36)
    for number, line in enumerate(lines):
        PIL.ImageDraw.Draw(page).text((30, 30 + 60 * number), line, "black", font)
    file = io.BytesIO()
    page.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, bits: int = 8) -> bytes:
    """One whose header promises so many pixels, and whose data is their beginning."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def animated(n_frames: int = 3) -> bytes:
    """A GIF whose frames differ."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02"
    return head + b"".join(frame + (b"\x44" if i % 2 else b"\x4c") + b"\x01\x00" for i in range(n_frames)) + b"\x3b"


def test_pictures_are_refused_unless_the_operator_has_them_read(serve: Serve) -> None:
    code, param, message = refusal(serve(), image_part(b"x"))
    assert (code, param) == (None, "messages.[0].content.[1].type")
    assert message.startswith(
        "Invalid content type. image_url is only supported by certain models. This model does not see"
    )


def test_a_picture_sound_and_a_file_in_one_message(serve: Serve) -> None:
    server = serve(echo, pictures=Eyes(), listener=Parrot())
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"At six.").decode(), "format": "wav"}}
    answer = asked(server, image_part(b"Noon", detail="low"), sound, file_part("a.txt", b"High water", "text/plain"))
    assert said(answer).split("\n\n") == [
        "What does it say?",
        "[Text in the picture]\nNoon in small\n[End of the picture]",
        "",
        "At six.",
        "",
        "[File: a.txt]\nHigh water\n[End of file: a.txt]",
    ]
    details = answer.usage.prompt_tokens_details.model_dump()
    assert details["text_tokens"] + details["audio_tokens"] == answer.usage.prompt_tokens
    assert details["image_tokens"] == 0


def test_row_36_more_pictures_than_a_request_may_bring_are_refused(serve: Serve) -> None:
    with pytest.raises(openai.BadRequestError, match="At most 3 are taken"):
        asked(serve(echo, pictures=Eyes()), *[image_part(b"x")] * 4)


@pytest.fixture(scope="module")
def eyes() -> Iterator[RunningServer]:
    with running_server(echo, settings=SETTINGS) as server:
        yield server


def test_an_invoice_is_read(eyes: RunningServer) -> None:
    """A picture may have the label of another of the four kinds."""
    text = said(asked(eyes, image_part(drawn("Invoice 1207", "Total: 42.50 EUR", kind="JPEG"), "webp")))
    assert text.split("\n")[2:] == ["[Text in the picture]", "Invoice 1207", "Total: 42.50 EUR", "[End of the picture]"]


FORMAT, PARSE = "invalid_image_format", "image_parse_error"
BAD = {
    "row 34 an svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", FORMAT),
    "row 34 a tiff": (drawn("x", kind="TIFF"), FORMAT),
    "row 34 an eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", FORMAT),
    "row 34 a psd": (b"8BPS\x00\x01" + bytes(6) + b"\x00\x03" + bytes(7) + b"\x08" + bytes(99), FORMAT),
    "row 34 an animated gif": (animated(), FORMAT),
    "row 35 a gif of 10,000 frames": (animated(10_000), FORMAT),
    "row 35 20,000 x 20,000": (png(20_000, 20_000), PARSE),
    "row 35 9,000 x 9,000, one bit": (png(9_000, 9_000, bits=1), PARSE),
    "row 35 truncated": (drawn("x")[:300], PARSE),
    "row 35 nothing": (png(0, 0), FORMAT),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD)
def test_what_is_no_picture_is_refused(eyes: RunningServer, content: bytes, code: str) -> None:
    assert refusal(eyes, image_part(content))[:2] == (code, URL)


@pytest.mark.parametrize("name", ["row 35 20,000 x 20,000", "row 35 9,000 x 9,000, one bit"])
def test_row_35_pixels_are_counted_before_any_is_decoded(eyes: RunningServer, name: str) -> None:
    """What decodes would find something wrong too, after as much memory as they take."""
    assert "It has more than 4000000 pixels." in refusal(eyes, image_part(BAD[name][0]))[2]


@pytest.mark.large
def test_row_35_a_picture_with_more_beside_it_than_in_it(eyes: RunningServer) -> None:
    """64 MB of what a camera may have noted: read or refused, and the next picture is read."""
    content = png(1, 1)
    exif = b"Exif" + bytes(64_000_000)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    at = content.index(b"IDAT") - 4
    try:
        asked(eyes, image_part(content[:at] + chunk + content[at:]))
    except openai.BadRequestError as error:
        assert error.param == URL  # noqa: PT017 - either will do
    assert "[Text in the picture]" in said(asked(eyes, image_part(png(1, 1))))


def test_row_35_one_pixel_is_a_picture(eyes: RunningServer) -> None:
    assert "[Text in the picture]\n\n[End of the picture]" in said(asked(eyes, image_part(png(1, 1))))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://example.org/a.png", "http://169.254.169.254/"])
def test_row_32_nothing_is_fetched(eyes: RunningServer, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert refusal(eyes, part) == ("invalid_image_url", URL, f"Error while downloading {url}.")
