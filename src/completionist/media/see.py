"""Pictures → pixels in a file, in the worker: Pillow decodes the four formats of the API."""

from __future__ import annotations

import binascii
import io
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from completionist.media.frames import BadImage, Seen, SeePicture
from completionist.media.pages import MAX_ASPECT
from completionist.media.raster import FORMATS, fault_of, upright


def see(question: SeePicture, payload: bytes) -> Seen | BadImage:
    """Writes the file."""
    try:
        with PIL.Image.open(io.BytesIO(binascii.a2b_base64(payload)), formats=FORMATS) as picture:
            if fault := fault_of(picture, question.max_pixels) or _stripe(picture):
                return fault
            pixels = np.asarray(upright(picture, question.max_side))
    except PIL.UnidentifiedImageError:
        return BadImage("invalid_image_format")
    except (OSError, ValueError, SyntaxError):
        return BadImage("image_parse_error")
    return _written(pixels, Path(question.path))


def _stripe(picture: PIL.Image.Image) -> BadImage | None:
    if max(picture.size) > MAX_ASPECT * min(picture.size):
        return BadImage("image_parse_error", f"It is more than {MAX_ASPECT} times as long as it is wide.")
    return None


def _written(pixels: NDArray[np.uint8], path: Path) -> Seen | BadImage:
    try:
        with path.open("r+b") as file:
            file.write(pixels.data)
    except FileNotFoundError:  # whoever asked has left
        return BadImage("image_parse_error")
    height, width = pixels.shape[:2]
    return Seen(width=width, height=height)
