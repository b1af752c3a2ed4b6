"""What the native library must never see is refused here, and the message names the check."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from completionist.models.gguf import BrokenModelFile, check_gguf

from .simple_index import gguf


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


PAIRS = [
    pair(b"general.name", 8, string("größe".encode())),
    pair(b"general.alignment", 4, struct.pack("<I", 32)),
    pair(b"flag", 7, b"\1"),
    pair(b"big", 10, bytes(8)),
    pair(b"scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
    pair(b"tokens", 9, struct.pack("<IQ", 8, 2) + string(b"a") + string(b"")),
]
WHOLE = gguf(1000, pairs=b"".join(PAIRS), n_pairs=len(PAIRS))
HEADER_BYTES = len(WHOLE) - 4000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_a_whole_file_passes(path: Path) -> None:
    path.write_bytes(WHOLE)
    check_gguf(path)


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    for length in [*range(HEADER_BYTES), *range(HEADER_BYTES, len(WHOLE), 199), len(WHOLE) - 1]:
        path.write_bytes(WHOLE[:length])
        with pytest.raises(BrokenModelFile, match=r"GGUF"):
            check_gguf(path)


@pytest.mark.parametrize(
    ("content", "check"),
    [
        pytest.param(b"", "first four bytes", id="empty"),
        pytest.param(b"PK\3\4" + bytes(100), "first four bytes", id="zip"),
        pytest.param(b"GGUF" + struct.pack("<IQQ", 1, 1, 0), "version 1", id="old"),
        pytest.param(b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "version 50331648", id="big-endian"),
        pytest.param(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(100), "no tensors", id="no-tensors"),
        pytest.param(b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0) + bytes(100), "announces 9,223", id="many-tensors"),
        pytest.param(b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63), "announces 9,223", id="many-pairs"),
        pytest.param(
            gguf(8, pairs=pair(b"k", 8, struct.pack("<Q", 2**63)), n_pairs=1), "past the end", id="long-string"
        ),
        pytest.param(
            gguf(8, pairs=pair(b"k", 9, struct.pack("<IQ", 8, 2**60)), n_pairs=1), "announces", id="long-list"
        ),
        pytest.param(
            gguf(8, pairs=pair(b"k", 9, struct.pack("<IQ", 0, 2**60)), n_pairs=1), "announces", id="long-blob"
        ),
        pytest.param(gguf(8, pairs=pair(b"k", 9, struct.pack("<IQ", 9, 1)), n_pairs=1), "value type 9", id="nested"),
        pytest.param(gguf(8, pairs=pair(b"k", 99, b""), n_pairs=1), "value type 99", id="value-type"),
        pytest.param(
            gguf(8, pairs=pair(b"general.alignment", 4, bytes(4)), n_pairs=1), "alignment is 0", id="alignment"
        ),
        pytest.param(gguf(8, offset=2**62), r"tensors end at byte 4,611.*\(cut short\?\)", id="offset"),
        pytest.param(gguf(8, kind=77, offset=2**62), "tensors end", id="unknown-type"),
        pytest.param(
            b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + string(b"w") + struct.pack("<I", 9) + bytes(200),
            "9 dimensions",
            id="dims",
        ),
    ],
)
def test_hostile_headers_are_refused_by_name(path: Path, content: bytes, check: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BrokenModelFile, match=check):
        check_gguf(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenModelFile, match="Is a directory"):
        check_gguf(tmp_path)
