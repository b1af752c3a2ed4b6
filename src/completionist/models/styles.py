"""Styles of custom voices: out of the voices that there are, or out of a file."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

from completionist.errors import OperatorError
from completionist.models.speech import SpeechModel, Voice
from completionist.store.voices import STYLE_BYTES, Style


class NoStyle(OperatorError):
    """What a voice should be made of cannot be."""


def blended(weights: Mapping[str, float], model: SpeechModel, directory: Path) -> Style:
    """Between named voices, by their `weights` (positive, of any sum); the heaviest one's accent.

    Raises `NoStyle` where there is no such voice, or it has not been pulled.
    """
    total = sum(weights.values())
    sum_ = [0.0] * (STYLE_BYTES // 4)
    for name, weight in weights.items():
        share = weight / total
        sum_ = [so_far + share * number for so_far, number in zip(sum_, _of_voice(name, model, directory), strict=True)]
    heaviest = model.voices[max(weights, key=weights.__getitem__)]
    gain = sum(model.voices[name].gain * weight for name, weight in weights.items()) / total
    return Style(numbers=_as_bytes(array("f", sum_)), is_british=heaviest.is_british, gain=gain)


def read_style(path: Path, *, is_british: bool, gain: float) -> Style:
    """A file of raw float32, little-endian, [510, 1, 256]. Raises `NoStyle`."""
    try:
        with path.open("rb") as file:
            numbers = file.read(STYLE_BYTES + 1)
    except OSError as error:
        raise NoStyle(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if len(numbers) != STYLE_BYTES:
        size = f"{len(numbers):,}" if len(numbers) < STYLE_BYTES else f"more than {STYLE_BYTES:,}"
        raise NoStyle(f"{path} is no style: it has {size} bytes, and 510 x 1 x 256 float32 numbers are {STYLE_BYTES:,}")
    if not all(map(isfinite, _numbers(numbers))):
        raise NoStyle(f"{path} is no style: some of its numbers are not finite")
    return Style(numbers=numbers, is_british=is_british, gain=gain)


def _of_voice(name: str, model: SpeechModel, directory: Path) -> array[float]:
    voice: Voice | None = model.voices.get(name)
    if voice is None:
        raise NoStyle(f"there is no voice '{name}': there are {', '.join(model.voices)}")
    try:
        return _numbers((directory / voice.file).read_bytes())
    except FileNotFoundError:
        raise NoStyle("a blend needs the voices it is made of: completionist voices pull fetches them") from None


def _numbers(data: bytes) -> array[float]:
    numbers = array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _as_bytes(numbers: array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
