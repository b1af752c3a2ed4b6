"""Random-weight projectors, small enough to be written by a test: they perceive nothing, through the code of those that do.

mlp       pictures: one size for every picture, 16 tokens
phi4      pictures: any size, a token for each patch of 128 by 128 pixels
gemma3    pictures: one size, and its tokens see each other both ways, 16 tokens
qwen2vl_merger  pictures: any size, for models with positions in two dimensions
ultravox  sound: 30 tokens for every 30 s that were begun
voxtral   sound: a marker, then 15 tokens for every 30 s
both      pictures as mlp does, sound as ultravox does
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

Eyes = Literal["mlp", "phi4", "gemma3", "qwen2vl_merger"]
Ears = Literal["ultravox", "voxtral"]
Kind = Eyes | Ears | Literal["both"]

WIDTH, FEED_FORWARD, LAYERS, HEADS = 32, 64, 2, 2
IMAGE_PIXELS: dict[Eyes, int] = {"mlp": 56, "phi4": 512, "gemma3": 56, "qwen2vl_merger": 56}
PATCH_PIXELS: dict[Eyes, int] = {"mlp": 14, "phi4": 128, "gemma3": 14, "qwen2vl_merger": 14}
STACKED_FRAMES = 50
"""Of 20 ms, for one row."""
MEL_BANDS, WINDOW_FRAMES = 16, 1500


def write_projector(path: Path, kind: Kind, text_width: int) -> Path:
    """For a text model whose embeddings have `text_width` numbers."""
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.use_gelu", True)
    weights = _Weights(writer)
    match kind:
        case "both":
            _write_eyes(writer, weights, "mlp", "clip.vision.projector_type", text_width)
            _write_ears(writer, weights, "ultravox", "clip.audio.projector_type", text_width)
        case "ultravox" | "voxtral":
            _write_ears(writer, weights, kind, "clip.projector_type", text_width)
        case _:
            _write_eyes(writer, weights, kind, "clip.projector_type", text_width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_eyes(writer: gguf.GGUFWriter, weights: _Weights, kind: Eyes, kind_key: str, text_width: int) -> None:
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string(kind_key, kind)
    _write_shape(writer, "clip.vision", text_width)
    writer.add_uint32("clip.vision.image_size", IMAGE_PIXELS[kind])
    writer.add_uint32("clip.vision.patch_size", PATCH_PIXELS[kind])
    if kind == "phi4":
        writer.add_uint32("clip.vision.image_min_pixels", 128 * 128)
        writer.add_uint32("clip.vision.image_max_pixels", 4096 * 4096)
    if kind == "gemma3":
        writer.add_uint32("clip.vision.projector.scale_factor", 1)
    writer.add_array("clip.vision.image_mean", [0.48, 0.46, 0.41])
    writer.add_array("clip.vision.image_std", [0.27, 0.26, 0.28])
    weights.write_eyes(kind, text_width)


def _write_ears(writer: gguf.GGUFWriter, weights: _Weights, kind: Ears, kind_key: str, text_width: int) -> None:
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string(kind_key, kind)
    _write_shape(writer, "clip.audio", text_width)
    writer.add_uint32("clip.audio.num_mel_bins", MEL_BANDS)
    writer.add_uint32("clip.audio.projector.stack_factor", STACKED_FRAMES)
    weights.write_ears(kind, text_width)


def _write_shape(writer: gguf.GGUFWriter, section: str, text_width: int) -> None:
    numbers = {
        "embedding_length": WIDTH,
        "feed_forward_length": FEED_FORWARD,
        "projection_dim": text_width,
        "block_count": LAYERS,
        "attention.head_count": HEADS,
    }
    for name, number in numbers.items():
        writer.add_uint32(f"{section}.{name}", number)
    writer.add_float32(f"{section}.attention.layer_norm_epsilon", 1e-5)


class _Weights:
    def __init__(self, writer: gguf.GGUFWriter) -> None:
        self._writer = writer
        self._random = np.random.default_rng(7)

    def write_eyes(self, kind: Eyes, text_width: int) -> None:
        self._random_one("v.patch_embd.weight", WIDTH, 3, PATCH_PIXELS[kind], PATCH_PIXELS[kind])
        if kind == "qwen2vl_merger":
            self._random_one("v.patch_embd.weight.1", WIDTH, 3, PATCH_PIXELS[kind], PATCH_PIXELS[kind])
            self._norm("v.post_ln")
        else:
            self._positions(kind)
        for i in range(LAYERS):
            self._block(f"v.blk.{i}.")
        match kind:
            case "mlp" | "phi4":
                self._linear("mm.0", WIDTH, text_width)
                self._linear("mm.2", text_width, text_width)
            case "qwen2vl_merger":
                self._linear("mm.0", 4 * WIDTH, 4 * WIDTH)
                self._linear("mm.2", 4 * WIDTH, text_width)
            case "gemma3":
                self._random_one("mm.input_projection.weight", WIDTH, text_width)
                self._add("mm.soft_emb_norm.weight", np.ones(WIDTH, np.float32))

    def _positions(self, kind: Eyes) -> None:
        has_class = kind == "mlp"
        n_patches = (IMAGE_PIXELS[kind] // PATCH_PIXELS[kind]) ** 2
        self._random_one("v.position_embd.weight", n_patches + has_class, WIDTH)
        if has_class:
            self._random_one("v.class_embd", WIDTH)
        self._norm("v.pre_ln")

    def write_ears(self, kind: Ears, text_width: int) -> None:
        for i, n_in in enumerate((MEL_BANDS, WIDTH), start=1):
            kernel = (self._random.standard_normal((WIDTH, n_in, 3)) * 0.2).astype(np.float16)
            self._writer.add_tensor(f"a.conv1d.{i}.weight", kernel)
            self._random_one(f"a.conv1d.{i}.bias", WIDTH, 1)
        self._random_one("a.position_embd.weight", WINDOW_FRAMES, WIDTH)
        for i in range(LAYERS):
            self._block(f"a.blk.{i}.", has_key_bias=False)
        self._norm("a.post_ln")
        stacked = WIDTH * STACKED_FRAMES
        self._random_one("mm.a.mlp.1.weight", 2 * FEED_FORWARD if kind == "ultravox" else FEED_FORWARD, stacked)
        self._random_one("mm.a.mlp.2.weight", text_width, FEED_FORWARD)
        if kind == "ultravox":
            self._add("mm.a.norm_pre.weight", np.ones(stacked, np.float32))
            self._add("mm.a.norm_mid.weight", np.ones(FEED_FORWARD, np.float32))

    def _block(self, block: str, *, has_key_bias: bool = True) -> None:
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            self._random_one(f"{block}{name}.weight", WIDTH, WIDTH)
            if has_key_bias or name != "attn_k":
                self._random_one(f"{block}{name}.bias", WIDTH)
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
