"""Whether a file is a whole GGUF model: read before the native library sees it, which trusts its input too much.

    magic "GGUF" · version u32 · tensor count u64 · pair count u64
    pairs        name, value type u32, value          (strings: length u64 and bytes; arrays: type u32, length u64, items)
    tensors      name, dimension count u32, dimensions u64 …, type u32, offset u64 from the start of the data
    padding to `general.alignment` (32), then the data

Layout: the GGUF specification, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import BinaryIO

from completionist.errors import OperatorError

_MAGIC = b"GGUF"
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32

# (weights a block, bytes a block) of each tensor type; types that later versions add are checked by their offset alone
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip


class BrokenModelFile(OperatorError):
    """`check`: what does not hold."""

    def __init__(self, path: Path, check: str) -> None:
        super().__init__(f"{path} is not a whole GGUF model: {check}; remove it and fetch it again")


class _Broken(Exception):
    """Which check failed."""


def check_gguf(path: Path) -> None:
    """Raises `BrokenModelFile` unless every tensor that the header announces lies inside the file."""
    try:
        with path.open("rb") as file, _mapped(file) as data:
            _check(_Reader(data))
    except _Broken as broken:
        raise BrokenModelFile(path, str(broken)) from None
    except OSError as error:
        raise BrokenModelFile(path, error.strerror or "it cannot be read") from None


def _mapped(file: BinaryIO) -> mmap.mmap:
    if file.read(4) != _MAGIC:  # an empty file cannot be mapped, so this comes first
        raise _Broken("its first four bytes are not 'GGUF'")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check(reader: _Reader) -> None:
    version, n_tensors, n_pairs = reader.unpack("<IQQ")
    if version not in (2, 3):
        raise _Broken(f"version {version} is not 2 or 3")
    if n_tensors == 0:
        raise _Broken("it has no tensors")
    alignment = _read_alignment(reader, n_pairs)
    end = max(_read_tensor_end(reader) for _ in _each(reader, n_tensors))
    start = -(-reader.position // alignment) * alignment
    if start + end > reader.size:
        raise _Broken(f"its tensors end at byte {start + end:,}, the file at {reader.size:,} (cut short?)")


def _each(reader: _Reader, count: int) -> range:
    """An announced number of things, each of which takes a byte at least."""
    if count > reader.size:
        raise _Broken(f"it announces {count:,} entries in {reader.size:,} bytes")
    return range(count)


def _read_alignment(reader: _Reader, n_pairs: int) -> int:
    alignment = _DEFAULT_ALIGNMENT
    for _ in _each(reader, n_pairs):
        key = reader.string()
        (kind,) = reader.unpack("<I")
        if key == b"general.alignment" and kind == _UINT32:
            (alignment,) = reader.unpack("<I")
        else:
            _skip(reader, kind)
    if alignment == 0 or alignment % 8:
        raise _Broken(f"its alignment is {alignment}")
    return alignment


def _skip(reader: _Reader, kind: int) -> None:
    if kind == _STRING:
        reader.string()
    elif kind == _ARRAY:
        item, count = reader.unpack("<IQ")
        if item == _STRING:
            for _ in _each(reader, count):
                reader.string()
        else:
            reader.advance(_scalar_bytes(item) * count)
    else:
        reader.advance(_scalar_bytes(kind))


def _scalar_bytes(kind: int) -> int:
    if kind not in _SCALAR_BYTES:
        raise _Broken(f"value type {kind} is unknown")
    return _SCALAR_BYTES[kind]


def _read_tensor_end(reader: _Reader) -> int:
    """In bytes from the start of the data."""
    name = reader.string()
    (n_dimensions,) = reader.unpack("<I")
    if n_dimensions > _MAX_DIMENSIONS:
        raise _Broken(f"tensor {name!r} has {n_dimensions} dimensions")
    n_weights = 1
    for length in reader.unpack(f"<{n_dimensions}Q"):
        n_weights *= length
    kind, offset = reader.unpack("<IQ")
    weights, size_bytes = _BLOCKS.get(kind, (1, 0))
    return int(offset + n_weights // weights * size_bytes)


class _Reader:
    """A place in the file that moves on and never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.size = len(data)
        self.position = len(_MAGIC)
        self._data = data

    def advance(self, n_bytes: int) -> int:
        """The place before moving."""
        before = self.position
        if n_bytes > self.size - before:
            raise _Broken("its header goes past the end of the file (cut short?)")
        self.position = before + n_bytes
        return before

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack_from(layout, self._data, self.advance(struct.calcsize(layout)))

    def string(self) -> bytes:
        (length,) = self.unpack("<Q")
        begin = self.advance(length)
        return self._data[begin : begin + length]
