"""Text → speech, in the worker: Kokoro-82M through onnxruntime, with a grapheme-to-phoneme converter without GPL parts.

Inputs of the model: `tokens` [1, n + 2] int64 (phonemes, with a zero at either end), `style` [1, 256] float32 (the row of the
voice for n phonemes), `speed` [1] float32. Output: float32 samples, 24 kHz, one channel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import hibari.g2p
import numpy as np
import numpy.typing as npt
import onnxruntime

from completionist.media.frames import Speak

_STYLE_SHAPE = (510, 256)
_MAX_PHONEMES = _STYLE_SHAPE[0] - 1
_RATE_HZ = 24_000
_SILENCE = 0.01
"""Of full scale; what is quieter before and behind an utterance is cut, but for a breath."""
_LEAD_SAMPLES, _TRAIL_SAMPLES = _RATE_HZ // 20, _RATE_HZ // 5
_PAUSES = '.,;:!?…\u2014\u2013)"'
"""Behind these somebody who reads aloud takes a breath; a text that ends otherwise goes on."""

_Floats = npt.NDArray[np.float32]


def say(question: Speak, payload: bytes) -> bytes:
    """`payload`: the style, where the question names no file of it.

    Signed 16-bit samples; none where the text has nothing to pronounce, as in a script that the converter does not know."""
    text = question.text.replace("](", "] (")  # no way for a text to dictate phonemes
    phonemes = _converter(question.is_british)(text) or ""
    ids = [_phoneme_ids()[phoneme] for phoneme in phonemes if phoneme in _phoneme_ids()]
    if not any(character.isalnum() for character in phonemes):
        return b""
    session = _session(question.model_path, question.threads)
    style = _shaped(payload) if question.voice_path is None else _style(question.voice_path)
    trail = _TRAIL_SAMPLES if question.text.rstrip().endswith(tuple(_PAUSES)) else 0
    parts = [_utterance(session, ids[i : i + _MAX_PHONEMES], style, trail) for i in range(0, len(ids), _MAX_PHONEMES)]
    loud = np.clip(np.concatenate(parts) * question.gain, -1.0, 1.0)
    return bytes((loud * 32767).astype("<i2").tobytes())


def _utterance(session: Any, ids: list[int], style: _Floats, trail: int) -> _Floats:  # noqa: ANN401 - the library is untyped
    inputs = {
        "tokens": np.array([[0, *ids, 0]], np.int64),
        "style": style[len(ids) - 1][None],
        "speed": np.ones(1, np.float32),
    }
    samples: _Floats = session.run(None, inputs)[0].ravel()
    heard = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not heard.size:
        return samples[:0]
    return samples[max(0, heard[0] - _LEAD_SAMPLES) : heard[-1] + 1 + trail]


@cache
def _session(path: str, threads: int) -> Any:  # noqa: ANN401 - likewise
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def _style(path: str) -> _Floats:
    return _shaped(Path(path).read_bytes())


def _shaped(style: bytes) -> _Floats:
    return np.frombuffer(style, "<f4").reshape(_STYLE_SHAPE)


@cache
def _converter(is_british: bool) -> Any:  # noqa: ANN401 - likewise
    return hibari.g2p.G2P(british=is_british)


@cache
def _phoneme_ids() -> Mapping[str, int]:
    """The model's vocabulary."""
    vocabulary: Mapping[str, int] = json.loads(
        resources.files("hibari").joinpath("assets/vocab.json").read_text(encoding="utf-8")
    )
    return vocabulary
