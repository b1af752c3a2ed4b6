"""Speech → words, in the worker: decoding by PyAV, recognition by Whisper through CTranslate2."""

from __future__ import annotations

import binascii
import io
from functools import cache
from typing import Any

import av
import faster_whisper
import numpy as np
import numpy.typing as npt

from completionist.media.frames import Listen
from completionist.media.pages import Refusal

_RATE_HZ = 16_000
"""What the model listens to, one channel."""
_CODECS = {"wav": ("pcm_", "adpcm_ms", "adpcm_ima_wav"), "mp3": ("mp3",)}
_RIFF = b"RIFF"
_MAX_CHANNELS = 64

_Floats = npt.NDArray[np.float32]


def heard(question: Listen, payload: bytes) -> str:
    """Raises `Refusal`: without a reason for what is no sound of its format."""
    samples = _decoded(binascii.a2b_base64(payload), question)
    segments, _ = _model(question.model_path, question.threads).transcribe(
        samples, beam_size=1, condition_on_previous_text=False
    )
    return " ".join(segment.text.strip() for segment in segments).strip()


def _decoded(data: bytes, question: Listen) -> _Floats:
    if (question.sound_format == "wav") != data.startswith(_RIFF):
        raise Refusal
    try:
        return _samples(data, question)
    except (av.FFmpegError, ValueError, IndexError):
        raise Refusal from None


def _samples(data: bytes, question: Listen) -> _Floats:
    """Decoding stops where there is more than anybody may send."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE_HZ)
    parts: list[_Floats] = []
    n_left = int(question.max_s * _RATE_HZ)
    with av.open(io.BytesIO(data), "r", format=question.sound_format, metadata_errors="ignore") as container:
        stream = container.streams.audio[0]
        if not stream.codec_context.name.startswith(_CODECS[question.sound_format]):
            raise Refusal
        if stream.codec_context.channels > _MAX_CHANNELS:
            raise Refusal
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                n_left -= part.samples
                if n_left < 0:
                    raise Refusal(f"It is longer than {question.max_s:g} seconds.")
                parts.append(part.to_ndarray().ravel().astype(np.float32))
    if not parts:
        raise Refusal
    return np.concatenate(parts)


@cache
def _model(path: str, threads: int) -> Any:  # noqa: ANN401 - the library is untyped
    return faster_whisper.WhisperModel(
        path, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
