"""Pictures → pixels in a file, in the worker: Pillow decodes the four formats of the API."""

from __future__ import annotations

import binascii
import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from completionist.media.frames import BadImage, Seen, SeePicture

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_MAX_ASPECT = 200
"""Longer ones are stripes, which no preprocessor is made for; some end the process over what they do not expect."""


def see(question: SeePicture, payload: bytes) -> Seen | BadImage:
    """Writes the file."""
    try:
        with PIL.Image.open(io.BytesIO(binascii.a2b_base64(payload)), formats=FORMATS) as picture:
            if fault := _fault(picture, question.max_pixels):
                return fault
            pixels = np.asarray(upright(picture, question.max_side))
    except PIL.UnidentifiedImageError:
        return BadImage("invalid_image_format")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return BadImage("image_parse_error")
    return _written(pixels, Path(question.path))


def _fault(picture: PIL.Image.Image, max_pixels: int) -> BadImage | None:
    """As its header tells, before anything is decoded."""
    if getattr(picture, "n_frames", 1) > 1:
        return BadImage("invalid_image_format")
    if picture.width * picture.height > max_pixels:
        return BadImage("image_parse_error", f"It has more than {max_pixels} pixels.")
    if max(picture.size) > _MAX_ASPECT * min(picture.size):
        return BadImage("image_parse_error", f"It is more than {_MAX_ASPECT} times as long as it is wide.")
    return None


def _written(pixels: NDArray[np.uint8], path: Path) -> Seen | BadImage:
    try:
        with path.open("r+b") as file:
            file.write(pixels.data)
    except FileNotFoundError:  # whoever asked has left
        return BadImage("image_parse_error")
    height, width = pixels.shape[:2]
    return Seen(width=width, height=height)


def upright(picture: PIL.Image.Image, max_side: int | None) -> PIL.Image.Image:
    """Red, green and blue, on white where it is transparent, reduced to fit into a square; never enlarged."""
    if max_side is not None:
        picture.draft("RGB", (max_side, max_side))  # JPEG: decode no more than that
    picture = PIL.ImageOps.exif_transpose(picture).convert("RGBA")
    if max_side is not None:
        picture.thumbnail((max_side, max_side))
    paper = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(paper, picture).convert("RGB")
