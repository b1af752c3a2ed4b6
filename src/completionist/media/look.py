"""Pictures → the text in them, in the worker: Pillow decodes the four formats of the API, PP-OCR reads."""

from __future__ import annotations

import binascii
import io
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
import rapidocr

from completionist.media.frames import BadImage, ReadPicture, Text
from completionist.media.raster import FORMATS, fault_of, upright

_SMALL_PIXELS, _LARGE_PIXELS = 512, 2048
"""Sides to which a picture is reduced (contract 13.8)."""


def read_picture(question: ReadPicture, payload: bytes) -> Text | BadImage:
    """Its text, line by line."""
    data = binascii.a2b_base64(payload)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if fault := fault_of(picture, question.max_pixels):
                return fault
            return Text("\n".join(_lines(upright(picture, _SMALL_PIXELS if question.is_small else _LARGE_PIXELS))))
    except PIL.UnidentifiedImageError:
        return BadImage("invalid_image_format")
    except (OSError, ValueError, SyntaxError):
        return BadImage("image_parse_error")


def _lines(picture: PIL.Image.Image) -> list[str]:
    found = _reader()(np.asarray(picture)[:, :, ::-1])  # it takes blue first
    return list(found.txts or ())


@cache
def _reader() -> Any:  # noqa: ANN401 - the library is untyped
    """One thread: more of them would spin while they wait, and the library does not let that be switched off."""
    threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "EngineConfig.onnxruntime.inter_op_num_threads": 1}
    return rapidocr.RapidOCR(params={"Global.log_level": "critical", **threads})
