"""A projector file beside a model: pictures and sound → rows that the model reads in place of tokens, by the library's mtmd.

A medium is *laid out* when its prompt is tokenised: resized and cut as its family has it, between its family's markers.
That tells how many places it takes. It is *encoded*, which takes long, when its turn has come and no cache has it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from completionist.engine.base import Hearing, Medium, Picture, Sight, Sound
from completionist.engine.llama.capi import CData, ffi, text_at
from completionist.engine.llama.insets import Rows, ids_for
from completionist.engine.llama.model import Model, ModelRefused

_TEXT = 0
"""Of mtmd's kinds of chunks; the others are pictures and sound."""
_TRIAL_SIZES = ((224, 224), (448, 448), (1344, 448))
"""Of pictures without pixels, which show what becomes of a size."""
_TRIAL_S = (30, 33)
"""Of silences: most families cut sound into windows of 30 s, so that the longer one has no longer pieces."""
_MAX_WHOLE_S = 120.0
"""Of a sound that is encoded in one piece: what that takes grows with its square."""


class MediumFailed(Exception):
    """It cannot be laid out or encoded."""


class Piece(NamedTuple):
    """Part of a laid-out medium: tokens of a marker, or what stands for the rows of `chunk`."""

    tokens: list[int]
    chunk: CData | None
    is_whole: bool = False


class Projector:
    """`lay_out` may be called from one thread while another one is in `encode`."""

    def __init__(self, model: Model, path: Path, *, threads: int, max_call_tokens: int) -> None:
        """Raises `ModelRefused` for what is no projector of this model, or one whose rows cannot be given to it."""
        self._c = model.c
        self._width = int(self._c.llama_model_n_embd_inp(model.handle))
        params = self._c.mtmd_context_params_default()
        params.use_gpu = params.print_timings = params.warmup = False
        params.n_threads = threads
        self._marker = ffi.new("char[]", text_at(params.media_marker).encode())
        self._handle = self._loaded(model, path, params)
        if self._c.mtmd_decode_use_mrope(self._handle):
            raise _refused(path, "positions in two dimensions (M-RoPE) are not supported")
        self.sight = self._sight(path, max_call_tokens)
        self.hearing = self._hearing(path, max_call_tokens)

    def _loaded(self, model: Model, path: Path, params: CData) -> CData:
        if not path.is_file():
            raise ModelRefused(f"no projector at {path}")
        handle = self._c.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if handle == ffi.NULL:
            raise _refused(path, f"it cannot be loaded ({model.native.last_words()})")
        return handle

    def _sight(self, path: Path, max_call_tokens: int) -> Sight | None:
        if not self._c.mtmd_support_vision(self._handle):
            return None
        trials = [self._pieces(self._c.mtmd_bitmap_init(*size, ffi.NULL), b"") for size in _TRIAL_SIZES]
        _check_calls(path, trials, max_call_tokens)
        return Sight(takes_any_size=len({sum(len(piece.tokens) for piece in trial) for trial in trials}) > 1)

    def _hearing(self, path: Path, max_call_tokens: int) -> Hearing | None:
        if not self._c.mtmd_support_audio(self._handle):
            return None
        rate_hz = int(self._c.mtmd_get_audio_sample_rate(self._handle))
        trials = [self._pieces(self._sound(np.zeros(seconds * rate_hz, np.float32)), b"") for seconds in _TRIAL_S]
        _check_calls(path, trials, max_call_tokens)
        window, beyond = (max(len(piece.tokens) for piece in trial) for trial in trials)
        return Hearing(rate_hz=rate_hz, max_s=_MAX_WHOLE_S if beyond > window else None)

    def lay_out(self, medium: Medium) -> list[Piece]:
        """What a medium becomes in a prompt. Reads its file. Raises `MediumFailed`, `OSError`."""
        return self._laid_sound(medium) if isinstance(medium, Sound) else self._laid_picture(medium)

    def _laid_picture(self, picture: Picture) -> list[Piece]:
        pixels = np.fromfile(picture.path, np.uint8)
        if pixels.size != 3 * picture.width * picture.height:
            raise MediumFailed("the file is not as long as the picture is large")
        digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode())
        digest.update(pixels.data)
        data = ffi.cast("unsigned char *", pixels.ctypes.data)
        return self._pieces(self._c.mtmd_bitmap_init(picture.width, picture.height, data), digest.digest())

    def _laid_sound(self, sound: Sound) -> list[Piece]:
        samples = np.fromfile(sound.path, np.float32)
        if samples.size != sound.n_samples:
            raise MediumFailed("the file is not as long as the sound is")
        digest = hashlib.sha256(b"sound")
        digest.update(samples.data)
        return self._pieces(self._sound(samples), digest.digest())

    def _sound(self, samples: NDArray[np.float32]) -> CData:
        return self._c.mtmd_bitmap_init_from_audio(samples.size, ffi.cast("float *", samples.ctypes.data))

    def _pieces(self, owned: CData, digest: bytes) -> list[Piece]:
        """`owned`: a bitmap, which nobody has any more afterwards."""
        bitmap = ffi.gc(owned, self._c.mtmd_bitmap_free)
        chunks = ffi.gc(self._c.mtmd_input_chunks_init(), self._c.mtmd_input_chunks_free)
        text: CData = ffi.new("struct mtmd_input_text *")
        text.text, text.text_len, text.parse_special = self._marker, len(self._marker) - 1, True
        bitmaps = ffi.new("struct mtmd_bitmap *[]", [bitmap])
        status = self._c.mtmd_tokenize(self._handle, chunks, text, bitmaps, 1)
        if status != 0:
            raise MediumFailed(f"mtmd_tokenize returned {status}")
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
        is_whole = bool(self._c.mtmd_decode_use_non_causal(self._handle, chunk.handle))
        return Piece(ids_for(digest + i.to_bytes(4), n_tokens), chunk, is_whole)

    def encode(self, chunk: _Chunk) -> Rows:
        """The rows of a laid-out medium. Takes long. Raises `MediumFailed`."""
        status = self._c.mtmd_encode_chunk(self._handle, chunk.handle)
        if status != 0:
            raise MediumFailed(f"mtmd_encode_chunk returned {status}")
        n_tokens = int(self._c.mtmd_input_chunk_get_n_tokens(chunk.handle))
        output = ffi.buffer(self._c.mtmd_get_output_embd(self._handle), n_tokens * self._width * 4)
        rows = np.frombuffer(cast("memoryview", output), np.float32).reshape(n_tokens, self._width).copy()
        if not np.isfinite(rows).all():
            raise MediumFailed("the encoder's output holds what is no number")
        return rows


class _Chunk(NamedTuple):
    """One of `owner`, which is freed with the last of them."""

    owner: CData
    handle: CData


def _check_calls(path: Path, trials: list[list[Piece]], max_call_tokens: int) -> None:
    """Raises `ModelRefused`."""
    n_most = max((len(piece.tokens) for trial in trials for piece in trial if piece.is_whole), default=0)
    if n_most > max_call_tokens:
        raise _refused(path, f"{n_most} of its tokens must be evaluated at once, at most {max_call_tokens} can")


def _refused(path: Path, reason: str) -> ModelRefused:
    return ModelRefused(f'cannot use the projector {path}: {reason}; with projector = "none" the model answers to text')
