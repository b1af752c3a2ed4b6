"""What a picture has to be, and how it is laid out, whoever looks at it: in the worker, by Pillow."""

from __future__ import annotations

import PIL.Image
import PIL.ImageOps

from completionist.media.frames import BadImage

PIL.Image.MAX_IMAGE_PIXELS = None  # `fault_of` counts them, by the operator's limit
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Those of the API."""


def fault_of(picture: PIL.Image.Image, max_pixels: int) -> BadImage | None:
    """As its header tells, before anything is decoded."""
    if getattr(picture, "n_frames", 1) > 1:
        return BadImage("invalid_image_format")
    if picture.width * picture.height > max_pixels:
        return BadImage("image_parse_error", f"It has more than {max_pixels} pixels.")
    return None


def upright(picture: PIL.Image.Image, max_side: int | None) -> PIL.Image.Image:
    """Red, green and blue, on white where it is transparent, reduced to fit into a square; never enlarged."""
    if max_side is not None:
        picture.draft("RGB", (max_side, max_side))  # JPEG: decode no more than that
    picture = PIL.ImageOps.exif_transpose(picture).convert("RGBA")
    if max_side is not None:
        picture.thumbnail((max_side, max_side))
    paper = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(paper, picture).convert("RGB")
