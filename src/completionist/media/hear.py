"""Speech → words, in the worker: recognition by Whisper through CTranslate2."""

from __future__ import annotations

from functools import cache
from typing import Any

import faster_whisper

from completionist.media.frames import Listen
from completionist.media.sound import decoded

_RATE_HZ = 16_000
"""What the model listens to, one channel."""


def heard(question: Listen, payload: bytes) -> str:
    """Raises `Refusal`: without a reason for what is no sound of its format."""
    samples = decoded(payload, question.sound_format, rate_hz=_RATE_HZ, max_s=question.max_s)
    segments, _ = _model(question.model_path, question.threads).transcribe(
        samples, beam_size=1, condition_on_previous_text=False
    )
    return " ".join(segment.text.strip() for segment in segments).strip()


@cache
def _model(path: str, threads: int) -> Any:  # noqa: ANN401 - the library is untyped
    return faster_whisper.WhisperModel(
        path, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )
