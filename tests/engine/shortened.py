"""The 135M model with its first two layers only: its tokens and cells, many times faster, and nonsense for answers."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import NamedTuple

from completionist.models.header import Facts, Reader, read_counts, read_pairs

N_LAYERS = 2
_ALIGNMENT = 32


class _Tensor(NamedTuple):
    described: bytes
    """Name, dimensions and type, as the header has them."""
    name: str
    offset: int


def write_shortened(model: Path, path: Path) -> Path:
    """Write the beginning of the GGUF file `model` to `path`. What it says of itself is copied as bytes: a vocabulary that is
    read and written again takes seconds."""
    data = model.read_bytes()
    reader = Reader(data)
    n_tensors, n_pairs = read_counts(reader)
    begin = reader.position
    facts = Facts(dict(read_pairs(reader, n_pairs)))
    pairs = _with_number(data[begin : reader.position], facts.own("block_count"), N_LAYERS)
    tensors = sorted((_read_tensor(reader, data) for _ in range(n_tensors)), key=lambda tensor: tensor.offset)
    start = _aligned(reader.position)
    ends = [tensor.offset for tensor in tensors[1:]] + [len(data) - start]
    kept = [(tensor, end) for tensor, end in zip(tensors, ends, strict=True) if _is_kept(tensor.name)]

    infos, contents = bytearray(), bytearray()
    for tensor, end in kept:
        infos += tensor.described + struct.pack("<Q", len(contents))
        contents += data[start + tensor.offset : start + end]
        contents += bytes(_aligned(len(contents)) - len(contents))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(kept), n_pairs) + pairs + infos
    path.write_bytes(b"".join((head, bytes(_aligned(len(head)) - len(head)), contents)))
    return path


def _with_number(pairs: bytes, key: str, value: int) -> bytes:
    """`pairs` where the 32-bit number under `key` is `value`."""
    before = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", 4)
    changed, n_times = re.subn(re.escape(before) + b"....", before + struct.pack("<I", value), pairs, flags=re.DOTALL)
    assert n_times == 1
    return changed


def _read_tensor(reader: Reader, data: bytes) -> _Tensor:
    begin = reader.position
    name = reader.string().decode()
    (n_dimensions,) = reader.unpack("<I")
    reader.unpack(f"<{n_dimensions}QI")
    described = data[begin : reader.position]
    return _Tensor(described, name, *reader.unpack("<Q"))


def _is_kept(tensor: str) -> bool:
    layer = tensor.removeprefix("blk.").partition(".")[0]
    return not layer.isdigit() or int(layer) < N_LAYERS


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT
