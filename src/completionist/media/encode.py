"""Samples → sound files, in the worker."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from completionist.chat.speech import SAMPLE_RATE_HZ, SoundFormat

_CONTAINERS: dict[SoundFormat, tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}


def encoded(samples: bytes, sound_format: SoundFormat) -> bytes:
    """A whole file. `samples`: 16 bit, little-endian, one channel."""
    pcm = np.frombuffer(samples, "<i2")
    if sound_format == "aac":
        return _aac(pcm)
    import soundfile  # noqa: PLC0415 - aac needs another library

    file = io.BytesIO()
    container, subtype = _CONTAINERS[sound_format]
    soundfile.write(file, pcm, SAMPLE_RATE_HZ, format=container, subtype=subtype)
    return file.getvalue()


def _aac(pcm: npt.NDArray[np.int16]) -> bytes:
    """In ADTS frames, as a player takes it from a stream."""
    import av  # noqa: PLC0415 - an extra of its own

    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream: Any = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        resampler = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=SAMPLE_RATE_HZ, frame_size=stream.frame_size or None
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()
