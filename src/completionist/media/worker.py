"""The media worker process: `python -m completionist.media.worker DESCRIPTOR MEMORY_BYTES NICENESS`.

It holds the payload of the moment, and what it has loaded so far for its kind of work; so it may die at any time. The
libraries that decode are imported with the first question that needs them.
"""

from __future__ import annotations

import binascii
import os
import resource
import socket
import sys
from typing import BinaryIO

import msgspec

from completionist.framed import frame, read
from completionist.media.frames import (
    Answer,
    BadImage,
    EncodeSound,
    Heard,
    HearSound,
    Listen,
    Question,
    Read,
    ReadDocument,
    ReadPicture,
    Ready,
    Refused,
    Samples,
    Seen,
    SeePicture,
    Speak,
    Text,
)
from completionist.media.pages import Pages, Refusal


def main(connection: socket.socket, memory_bytes: int, niceness: int) -> None:
    """Answer until the other side closes the connection."""
    os.nice(niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the deadline alone must do
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, resource.RLIM_INFINITY))
    decoder = msgspec.msgpack.Decoder(Question)
    with connection, connection.makefile("rb") as source:
        connection.sendall(frame(Ready()))
        while question := read(source, decoder):
            connection.sendall(frame(_answer(question, source)))


def _answer(question: Question, source: BinaryIO) -> Answer:
    payload = source.read(question.n_payload_bytes)
    try:
        return _done(question, payload)
    except Refusal as refusal:
        return Refused(str(refusal))
    except MemoryError:
        return Refused("Reading it takes too much memory.")


def _done(question: Question, payload: bytes) -> Answer:
    """Raises `Refusal`."""
    match question:
        case ReadDocument():
            return _read_document(question, payload)
        case Speak():
            return _speak(question, payload)
        case EncodeSound():
            return _encode(question, payload)
        case Listen():
            return _listen(question, payload)
        case ReadPicture():
            return _read_picture(question, payload)
        case SeePicture() | HearSound():
            return _perceive(question, payload)


def _read_document(question: ReadDocument, payload: bytes) -> Read:
    from completionist.media import documents  # noqa: PLC0415 - as the docstring says

    pages = Pages(
        max_pages=question.max_pages,
        max_characters=question.max_characters,
        picture_paths=question.picture_paths,
        max_picture_side=question.max_picture_side,
    )
    documents.read_document(question.kind, payload, pages, is_base64=question.is_base64)
    return Read(pages.pieces())


def _speak(question: Speak, payload: bytes) -> Samples:
    from completionist.media import speak  # noqa: PLC0415 - as the docstring says

    return Samples(speak.say(question, payload))


def _encode(question: EncodeSound, payload: bytes) -> Text:
    from completionist.media import encode  # noqa: PLC0415 - as the docstring says

    return Text(binascii.b2a_base64(encode.encoded(payload, question.sound_format), newline=False).decode())


def _listen(question: Listen, payload: bytes) -> Text:
    from completionist.media import hear  # noqa: PLC0415 - as the docstring says

    return Text(hear.heard(question, payload))


def _read_picture(question: ReadPicture, payload: bytes) -> Text | BadImage:
    from completionist.media import look  # noqa: PLC0415 - as the docstring says

    return look.read_picture(question, payload)


def _perceive(question: SeePicture | HearSound, payload: bytes) -> Seen | Heard | BadImage:
    if isinstance(question, SeePicture):
        from completionist.media import see  # noqa: PLC0415 - as the docstring says

        return see.see(question, payload)
    from completionist.media import sound  # noqa: PLC0415 - as above

    return sound.hear(question, payload)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
