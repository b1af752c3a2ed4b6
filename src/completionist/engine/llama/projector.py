"""A projector file beside a model: pictures → the rows that the model reads in place of tokens, by the library's mtmd.

A picture is *laid out* when its prompt is tokenised: resized and cut as its family has it, between its family's markers.
That tells how many places it takes. It is *encoded*, which takes long, when its turn has come and no cache has it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from completionist.engine.base import Picture, Sight
from completionist.engine.llama.capi import CData, ffi, text_at
from completionist.engine.llama.model import Model, ModelRefused
from completionist.engine.llama.pictures import Rows, ids_for

_TEXT, _IMAGE = 0, 1
"""Of mtmd's kinds of chunks."""
_TRIAL_SIZES = ((224, 224), (448, 448), (1344, 448))
"""Of pictures without pixels, which show what becomes of a size."""


class PictureFailed(Exception):
    """It cannot be laid out or encoded."""


class Piece(NamedTuple):
    """Part of a laid-out picture: tokens of a marker, or what stands for the rows of `chunk`."""

    tokens: list[int]
    chunk: CData | None
    is_whole: bool = False


class Projector:
    """`lay_out` may be called from one thread while another one is in `encode`."""

    def __init__(self, model: Model, path: Path, *, threads: int, max_call_tokens: int) -> None:
        """Raises `ModelRefused` for what is no projector of this model, or one whose pictures cannot be given to it."""
        self._c = model.c
        self._width = int(self._c.llama_model_n_embd_inp(model.handle))
        params = self._c.mtmd_context_params_default()
        params.use_gpu = params.print_timings = params.warmup = False
        params.n_threads = threads
        self._marker = ffi.new("char[]", text_at(params.media_marker).encode())
        self._handle = self._loaded(model, path, params)
        self._check(path, max_call_tokens)
        self.sight = Sight(takes_any_size=len({self._n_places(*size) for size in _TRIAL_SIZES}) > 1)

    def _loaded(self, model: Model, path: Path, params: CData) -> CData:
        if not path.is_file():
            raise ModelRefused(f"no projector at {path}")
        handle = self._c.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if handle == ffi.NULL:
            raise _refused(path, f"it cannot be loaded ({model.native.last_words()})")
        return handle

    def _check(self, path: Path, max_call_tokens: int) -> None:
        if not self._c.mtmd_support_vision(self._handle):
            raise _refused(path, "it gives a model ears and no eyes, which is not supported")
        if self._c.mtmd_decode_use_mrope(self._handle):
            raise _refused(path, "its pictures have positions in two dimensions (M-RoPE), which is not supported")
        if self._c.mtmd_decode_use_non_causal(self._handle, ffi.NULL):
            n_most = max(len(piece.tokens) for size in _TRIAL_SIZES for piece in self._pieces(*size, ffi.NULL, b""))
            if n_most > max_call_tokens:
                raise _refused(
                    path, f"{n_most} tokens of a picture must be evaluated at once, at most {max_call_tokens} can"
                )

    def _n_places(self, width: int, height: int) -> int:
        return sum(len(piece.tokens) for piece in self._pieces(width, height, ffi.NULL, b""))

    def lay_out(self, picture: Picture) -> list[Piece]:
        """What a picture becomes in a prompt. Reads its file. Raises `PictureFailed`, `OSError`."""
        pixels = np.fromfile(picture.path, np.uint8)
        if pixels.size != 3 * picture.width * picture.height:
            raise PictureFailed("the file is not as long as the picture is large")
        digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
        digest.update(pixels.data)
        data = ffi.cast("unsigned char *", pixels.ctypes.data)
        return self._pieces(picture.width, picture.height, data, digest.digest())

    def _pieces(self, width: int, height: int, data: CData, digest: bytes) -> list[Piece]:
        bitmap = ffi.gc(self._c.mtmd_bitmap_init(width, height, data), self._c.mtmd_bitmap_free)
        chunks = ffi.gc(self._c.mtmd_input_chunks_init(), self._c.mtmd_input_chunks_free)
        text: CData = ffi.new("struct mtmd_input_text *")
        text.text, text.text_len, text.parse_special = self._marker, len(self._marker) - 1, True
        bitmaps = ffi.new("struct mtmd_bitmap *[]", [bitmap])
        status = self._c.mtmd_tokenize(self._handle, chunks, text, bitmaps, 1)
        if status != 0:
            raise PictureFailed(f"mtmd_tokenize returned {status} for a picture of {width}x{height}")
        n_chunks = self._c.mtmd_input_chunks_size(chunks)
        return [
            self._piece(_Chunk(chunks, self._c.mtmd_input_chunks_get(chunks, i)), digest, i) for i in range(n_chunks)
        ]

    def _piece(self, chunk: _Chunk, digest: bytes, i: int) -> Piece:
        kind = self._c.mtmd_input_chunk_get_type(chunk.handle)
        n_tokens = int(self._c.mtmd_input_chunk_get_n_tokens(chunk.handle))
        if kind == _TEXT:
            n = ffi.new("size_t *")
            tokens = self._c.mtmd_input_chunk_get_tokens_text(chunk.handle, n)
            return Piece(cast("list[int]", ffi.unpack(tokens, n_tokens)) if n_tokens else [], None)
        if kind != _IMAGE:
            raise PictureFailed(f"a picture became a chunk of kind {kind}")
        is_whole = bool(self._c.mtmd_decode_use_non_causal(self._handle, chunk.handle))
        return Piece(ids_for(digest + i.to_bytes(4), n_tokens), chunk, is_whole)

    def encode(self, chunk: _Chunk) -> Rows:
        """The rows of a laid-out picture. Takes long. Raises `PictureFailed`."""
        status = self._c.mtmd_encode_chunk(self._handle, chunk.handle)
        if status != 0:
            raise PictureFailed(f"mtmd_encode_chunk returned {status}")
        n_tokens = int(self._c.mtmd_input_chunk_get_n_tokens(chunk.handle))
        output = ffi.buffer(self._c.mtmd_get_output_embd(self._handle), n_tokens * self._width * 4)
        rows = np.frombuffer(cast("memoryview", output), np.float32).reshape(n_tokens, self._width).copy()
        if not np.isfinite(rows).all():
            raise PictureFailed("the encoder's output holds what is no number")
        return rows


class _Chunk(NamedTuple):
    """One of `owner`, which is freed with the last of them."""

    owner: CData
    handle: CData


def _refused(path: Path, reason: str) -> ModelRefused:
    return ModelRefused(f'cannot use the projector {path}: {reason}; with projector = "none" the model answers to text')
