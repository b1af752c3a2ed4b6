"""Whether a file is a whole GGUF model, and what it says of itself: read before the native library sees it, which trusts its
input too much."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from completionist.errors import OperatorError
from completionist.models.header import (
    BEGINNING_BYTES,
    STRING,
    Array,
    Broken,
    Facts,
    Reader,
    Value,
    facts_of_beginning,
    read_counts,
    read_pairs,
)
from completionist.parts import parts_of

_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
_SIZES = {
    "block_count": (1, 512),
    "context_length": (1, 2**31 - 1),
    "embedding_length": (1, 2**20),
    "feed_forward_length": (0, 2**24),
    "expert_count": (0, 2**12),
    "vocab_size": (1, 2**24),
}
"""From the least to the most, where a model states it."""

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


def check_gguf(path: Path) -> None:
    """Raises `BrokenModelFile` unless every tensor that the header announces lies inside the file; of a model in several
    parts, unless that holds for each."""
    for part in parts_of(path):
        with _opened(part) as reader:
            _check(reader)


def read_facts(path: Path) -> Facts:
    """What a model file says of itself. Raises `BrokenModelFile`."""
    with _opened(path) as reader:
        _, n_pairs = read_counts(reader)
        return Facts(dict(read_pairs(reader, n_pairs)))


def read_beginning(path: Path) -> Facts:
    """What the first pages tell, all of a model's size among it; nothing where they cannot be read."""
    try:
        with path.open("rb") as file:
            return facts_of_beginning(file.read(BEGINNING_BYTES), path.stat().st_size)
    except (Broken, OSError):
        return Facts({})


def read_strings(path: Path, array: Array) -> list[str]:
    """The items of an array of strings that `read_facts` found in `path`."""
    if array.kind != STRING:
        raise BrokenModelFile(path, "a list that should hold text holds numbers")
    with _opened(path) as reader:
        reader.position = array.begin
        return [reader.text() for _ in range(array.count)]


def read_numbers(path: Path, array: Array) -> tuple[int, ...]:
    """The items of an array of 32-bit integers."""
    with _opened(path) as reader:
        reader.position = array.begin
        return reader.unpack(f"<{array.count}i")


@contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    """Whatever does not hold inside the block is a `BrokenModelFile`."""
    try:
        with path.open("rb") as file:
            if file.read(1):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    yield Reader(data)
            else:
                yield Reader(b"")  # an empty file cannot be mapped
    except Broken as broken:
        raise BrokenModelFile(path, str(broken)) from None
    except OSError as error:
        raise BrokenModelFile(path, error.strerror or "it cannot be read") from None


def _check(reader: Reader) -> None:
    n_tensors, n_pairs = read_counts(reader)
    facts = Facts(dict(read_pairs(reader, n_pairs)))
    alignment = _alignment(facts.values.get("general.alignment", _DEFAULT_ALIGNMENT))
    if n_tensors == 0 and not facts.number("split.count"):
        raise Broken("it has no tensors")
    _check_sizes(facts)
    end = max((_read_tensor_end(reader) for _ in range(n_tensors)), default=0)
    start = -(-reader.position // alignment) * alignment
    if n_tensors and start + end > reader.size:
        raise Broken(f"its tensors end at byte {start + end:,}, the file at {reader.size:,} (cut short?)")


def _check_sizes(facts: Facts) -> None:
    """What the library builds tables by, or ends over; whatever else is wrong it refuses itself."""
    for key, (least, most) in _SIZES.items():
        stated = facts.number(facts.own(key))
        if stated is not None and not least <= stated <= most:
            raise Broken(f"its {key} is {stated:,}")


def _alignment(value: Value) -> int:
    if not isinstance(value, int) or value <= 0 or value % 8:
        raise Broken(f"its alignment is {value}")
    return value


def _read_tensor_end(reader: Reader) -> int:
    """In bytes from the start of the data."""
    name = reader.string()
    (n_dimensions,) = reader.unpack("<I")
    if n_dimensions > _MAX_DIMENSIONS:
        raise Broken(f"tensor {name!r} has {n_dimensions} dimensions")
    n_weights = 1
    for length in reader.unpack(f"<{n_dimensions}Q"):
        n_weights *= length
    kind, offset = reader.unpack("<IQ")
    weights, size_bytes = _BLOCKS.get(kind, (1, 0))
    return int(offset + n_weights // weights * size_bytes)
