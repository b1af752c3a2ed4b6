"""The header of a GGUF file: what it says of the model, and where its tensors lie. Read with every length checked first.

    magic "GGUF" · version u32 · tensor count u64 · pair count u64
    pairs        name, value type u32, value          (strings: length u64 and bytes; arrays: type u32, length u64, items)
    tensors      name, dimension count u32, dimensions u64 …, type u32, offset u64 from the start of the data
    padding to `general.alignment` (32), then the data

Layout: the GGUF specification, versions 2 and 3. A header is input like any other: nothing is allocated by what it announces,
only by what is there.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping

import msgspec

MAGIC = b"GGUF"
BEGINNING_BYTES = 1 << 17
"""Enough of a file to learn how large the model is: that stands before its vocabulary."""
STRING, ARRAY, UINT32 = 8, 9, 4
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SCALAR_BYTES = {kind: struct.calcsize(f"<{code}") for kind, code in _SCALARS.items()}
_MAX_PAIRS = 1 << 16
_MAX_TEXT_BYTES = 1 << 24
"""Of one string that is kept: templates are the longest."""
_MAX_NUMBERS = 4096
"""Of one array that is kept: a number a layer."""
_LENGTH = struct.Struct("<Q")


class Broken(Exception):
    """Which check failed."""


class CutShort(Broken):
    """The bytes end before the header does."""

    def __init__(self) -> None:
        super().__init__("its header goes past the end of the file (cut short?)")


class Array(msgspec.Struct, frozen=True):
    """An array that is left where it is: a vocabulary, for example."""

    kind: int
    count: int
    begin: int
    """Where its first item is."""


Scalar = int | float | bool | str
Value = Scalar | tuple[int | float | bool, ...] | Array


class Reader:
    """A place in the file that moves on and never past the end."""

    def __init__(self, data: bytes | mmap.mmap, size: int | None = None) -> None:
        """`size`: of the whole file, where `data` is only its beginning."""
        self.size = len(data) if size is None else size
        self.position = 0
        self._data = data

    def begins_with(self, text: bytes) -> bool:
        return self._data[: len(text)] == text

    def advance(self, n_bytes: int) -> int:
        """The place before moving."""
        before = self.position
        if n_bytes > len(self._data) - before:
            raise CutShort
        self.position = before + n_bytes
        return before

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack_from(layout, self._data, self.advance(struct.calcsize(layout)))

    def string(self) -> bytes:
        (length,) = self.unpack("<Q")
        begin = self.advance(length)
        return self._data[begin : begin + length]

    def text(self) -> str:
        """A string that is kept; what is no UTF-8 in it is replaced."""
        (length,) = self.unpack("<Q")
        begin = self.advance(length)
        if length > _MAX_TEXT_BYTES:
            raise Broken(f"it has a string of {length:,} bytes")
        return self._data[begin : begin + length].decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        """Hundreds of thousands of them in a vocabulary: nothing but lengths is looked at."""
        position, end, unpack = self.position, len(self._data), _LENGTH.unpack_from
        for _ in range(self.counted(count)):
            if position + 8 > end:
                raise CutShort
            position += 8 + unpack(self._data, position)[0]
            if position > end:
                raise CutShort
        self.position = position

    def counted(self, count: int) -> int:
        """An announced number of things, each of which takes a byte at least."""
        if count > self.size:
            raise Broken(f"it announces {count:,} entries in {self.size:,} bytes")
        return count


def read_counts(reader: Reader) -> tuple[int, int]:
    """Behind the magic: how many tensors, and how many pairs."""
    if not reader.begins_with(MAGIC):
        raise Broken("its first four bytes are not 'GGUF'")
    reader.advance(len(MAGIC))
    version, n_tensors, n_pairs = reader.unpack("<IQQ")
    if version not in (2, 3):
        raise Broken(f"version {version} is not 2 or 3")
    if reader.counted(n_pairs) > _MAX_PAIRS:
        raise Broken(f"it announces {n_pairs:,} facts about itself")
    return reader.counted(n_tensors), n_pairs


def read_pairs(reader: Reader, n_pairs: int) -> Iterator[tuple[str, Value]]:
    """What the file says of the model, in its order."""
    for _ in range(n_pairs):
        key = reader.string().decode("utf-8", "replace")
        (kind,) = reader.unpack("<I")
        if kind == STRING:
            yield key, reader.text()
        elif kind == ARRAY:
            yield from _read_array(reader, key)
        else:
            yield key, reader.unpack(f"<{_scalar(kind)}")[0]


def _read_array(reader: Reader, key: str) -> Iterator[tuple[str, Value]]:
    """Announced before its items are read: of a beginning of a file, how many there are is known all the same."""
    kind, count = reader.unpack("<IQ")
    if kind != STRING and count <= _MAX_NUMBERS:
        yield key, reader.unpack(f"<{count}{_scalar(kind)}")
        return
    yield key, Array(kind, reader.counted(count), reader.position)
    if kind == STRING:
        reader.skip_strings(count)
    else:
        _scalar(kind)
        reader.advance(_SCALAR_BYTES[kind] * count)


def _scalar(kind: int) -> str:
    if kind not in _SCALARS:
        raise Broken(f"value type {kind} is unknown")
    return _SCALARS[kind]


class Facts:
    """What a header says, by key; a value of another kind than is asked for counts as not there."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = values

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        return value if isinstance(value, bool) else None

    def array(self, key: str) -> Array | None:
        value = self.values.get(key)
        return value if isinstance(value, Array) else None

    def numbers(self, key: str) -> tuple[int, ...] | None:
        """One for each layer; a single number is one for all, and comes as a tuple of one."""
        value = self.values.get(key)
        if isinstance(value, tuple):
            return tuple(int(item) for item in value)
        single = self.number(key)
        return None if single is None else (single,)

    @property
    def architecture(self) -> str:
        return self.text("general.architecture") or ""

    def own(self, key: str) -> str:
        """`key` with the architecture in front, as the hyperparameters have it."""
        return f"{self.architecture}.{key}"


def facts_of_beginning(data: bytes, size_bytes: int) -> Facts:
    """What the beginning of a file tells, as far as it goes. Raises `Broken` where it is no GGUF file."""
    reader = Reader(data, size_bytes)
    values: dict[str, Value] = {}
    try:
        _, n_pairs = read_counts(reader)
        values.update(read_pairs(reader, n_pairs))  # pair by pair: what was read stays
    except CutShort:
        pass
    return Facts(values)
