"""Sound of messages → samples, in the worker: decoding by PyAV. For models that hear, into a file."""

from __future__ import annotations

import binascii
import io
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from completionist.media.frames import Heard, HearSound
from completionist.media.pages import Refusal

_CODECS = {"wav": ("pcm_", "adpcm_ms", "adpcm_ima_wav"), "mp3": ("mp3",)}
_RIFF = b"RIFF"
_MAX_CHANNELS = 64
_WINDOW_S, _LEAST_S = 30, 0.1
"""Families cut sound into windows; over a last one of next to nothing some of them end the process."""

Floats = npt.NDArray[np.float32]


def hear(question: HearSound, payload: bytes) -> Heard:
    """Writes the file. Raises `Refusal`."""
    samples = decoded(payload, question.sound_format, rate_hz=question.rate_hz, max_s=question.max_s)
    n_last = samples.size % (_WINDOW_S * question.rate_hz)
    n_least = int(_LEAST_S * question.rate_hz)
    if 0 < n_last < n_least:
        samples = np.pad(samples, (0, n_least - n_last))
    try:
        with Path(question.path).open("r+b") as file:
            file.write(samples.data)
    except FileNotFoundError:  # whoever asked has left
        raise Refusal from None
    return Heard(n_samples=samples.size)


def decoded(payload: bytes, sound_format: Literal["wav", "mp3"], *, rate_hz: int, max_s: float) -> Floats:
    """Of base64. One channel. Raises `Refusal`: without a reason for what is no sound of its format."""
    data = binascii.a2b_base64(payload)
    if (sound_format == "wav") != data.startswith(_RIFF):
        raise Refusal
    try:
        return _samples(data, sound_format, rate_hz, max_s)
    except (av.FFmpegError, ValueError, IndexError):
        raise Refusal from None


def _samples(data: bytes, sound_format: Literal["wav", "mp3"], rate_hz: int, max_s: float) -> Floats:
    """Decoding stops where there is more than anybody may send."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    parts: list[Floats] = []
    n_left = int(max_s * rate_hz)
    with av.open(io.BytesIO(data), "r", format=sound_format, metadata_errors="ignore") as container:
        stream = container.streams.audio[0]
        if not stream.codec_context.name.startswith(_CODECS[sound_format]):
            raise Refusal
        if stream.codec_context.channels > _MAX_CHANNELS:
            raise Refusal
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                n_left -= part.samples
                if n_left < 0:
                    raise Refusal(f"It is longer than {round(max_s, 1):g} seconds.")
                parts.append(part.to_ndarray().ravel().astype(np.float32))
    if not parts:
        raise Refusal
    return np.concatenate(parts)
