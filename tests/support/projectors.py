"""Random-weight projectors, small enough to be written by a test: they see nothing, through the same code as those that do.

mlp       one size for every picture: 16 tokens
phi4      any size: a token for each patch of 128 by 128 pixels
gemma3    one size, and its tokens see each other both ways: 16 tokens
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

Kind = Literal["mlp", "phi4", "gemma3"]

WIDTH, FEED_FORWARD, LAYERS, HEADS = 32, 64, 2, 2
IMAGE_PIXELS: dict[Kind, int] = {"mlp": 56, "phi4": 512, "gemma3": 56}
PATCH_PIXELS: dict[Kind, int] = {"mlp": 14, "phi4": 128, "gemma3": 14}


def write_projector(path: Path, kind: Kind, text_width: int) -> Path:
    """For a text model whose embeddings have `text_width` numbers."""
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": IMAGE_PIXELS[kind],
        "patch_size": PATCH_PIXELS[kind],
        "embedding_length": WIDTH,
        "feed_forward_length": FEED_FORWARD,
        "projection_dim": text_width,
        "block_count": LAYERS,
        "attention.head_count": HEADS,
    }
    for name, number in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    if kind == "phi4":
        writer.add_uint32("clip.vision.image_min_pixels", 128 * 128)
        writer.add_uint32("clip.vision.image_max_pixels", 4096 * 4096)
    if kind == "gemma3":
        writer.add_uint32("clip.vision.projector.scale_factor", 1)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.48, 0.46, 0.41])
    writer.add_array("clip.vision.image_std", [0.27, 0.26, 0.28])
    _Weights(writer).write(kind, text_width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Weights:
    def __init__(self, writer: gguf.GGUFWriter) -> None:
        self._writer = writer
        self._random = np.random.default_rng(7)

    def write(self, kind: Kind, text_width: int) -> None:
        self._random_one("v.patch_embd.weight", WIDTH, 3, PATCH_PIXELS[kind], PATCH_PIXELS[kind])
        has_class = kind == "mlp"
        n_patches = (IMAGE_PIXELS[kind] // PATCH_PIXELS[kind]) ** 2
        self._random_one("v.position_embd.weight", n_patches + has_class, WIDTH)
        if has_class:
            self._random_one("v.class_embd", WIDTH)
        self._norm("v.pre_ln")
        for i in range(LAYERS):
            self._block(f"v.blk.{i}.")
        match kind:
            case "mlp" | "phi4":
                self._linear("mm.0", WIDTH, text_width)
                self._linear("mm.2", text_width, text_width)
            case "gemma3":
                self._random_one("mm.input_projection.weight", WIDTH, text_width)
                self._add("mm.soft_emb_norm.weight", np.ones(WIDTH, np.float32))

    def _block(self, block: str) -> None:
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            self._linear(f"{block}{name}", WIDTH, WIDTH)
        self._norm(f"{block}ln1")
        self._norm(f"{block}ln2")
        self._linear(f"{block}ffn_up", WIDTH, FEED_FORWARD)
        self._linear(f"{block}ffn_down", FEED_FORWARD, WIDTH)

    def _linear(self, name: str, n_in: int, n_out: int) -> None:
        self._random_one(f"{name}.weight", n_out, n_in)
        self._random_one(f"{name}.bias", n_out)

    def _norm(self, name: str) -> None:
        self._add(f"{name}.weight", np.ones(WIDTH, np.float32))
        self._add(f"{name}.bias", np.zeros(WIDTH, np.float32))

    def _random_one(self, name: str, *shape: int) -> None:
        self._add(name, (self._random.standard_normal(shape) * 0.2).astype(np.float32))

    def _add(self, name: str, values: NDArray[np.float32]) -> None:
        self._writer.add_tensor(name, values)
