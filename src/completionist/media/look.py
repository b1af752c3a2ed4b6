"""Pictures → the text in them, in the worker: Pillow decodes the four formats of the API, PP-OCR reads."""

from __future__ import annotations

import binascii
import io
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import rapidocr

from completionist.media.frames import BadImage, ReadPicture, Text

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_SMALL_PIXELS, _LARGE_PIXELS = 512, 2048
"""Sides to which a picture is reduced (contract 13.8)."""


def read_picture(question: ReadPicture, payload: bytes) -> Text | BadImage:
    """Its text, line by line."""
    data = binascii.a2b_base64(payload)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                return BadImage("invalid_image_format")
            if picture.width * picture.height > question.max_pixels:
                return BadImage("image_parse_error", f"It has more than {question.max_pixels} pixels.")
            return Text("\n".join(_lines(_reduced(picture, _SMALL_PIXELS if question.is_small else _LARGE_PIXELS))))
    except PIL.UnidentifiedImageError:
        return BadImage("invalid_image_format")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return BadImage("image_parse_error")


def _reduced(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """Upright, on white where it is transparent, within a square."""
    picture.draft("RGB", (side, side))  # JPEG: decode no more than that
    upright = PIL.ImageOps.exif_transpose(picture).convert("RGBA")
    upright.thumbnail((side, side))
    paper = PIL.Image.new("RGBA", upright.size, "white")
    return PIL.Image.alpha_composite(paper, upright).convert("RGB")


def _lines(picture: PIL.Image.Image) -> list[str]:
    found = _reader()(np.asarray(picture)[:, :, ::-1])  # it takes blue first
    return list(found.txts or ())


@cache
def _reader() -> Any:  # noqa: ANN401 - the library is untyped
    """One thread: more of them would spin while they wait, and the library does not let that be switched off."""
    threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "EngineConfig.onnxruntime.inter_op_num_threads": 1}
    return rapidocr.RapidOCR(params={"Global.log_level": "critical", **threads})
