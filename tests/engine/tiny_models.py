"""Random-weight models of other kinds of memory, small enough to be written by a test: they speak nonsense, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, LAYERS, FEED_FORWARD, HEADS = 64, 6, 128, 2
WINDOW = 32
CONTEXT = 2048
STATE, CONVOLUTION, RANK = 16, 4, 8


def write_sliding_window(path: Path) -> Path:
    """Gemma 3's shape: five layers of six see the last `WINDOW` tokens only."""
    model = _Writer(path, "gemma3")
    model.w.add_head_count(HEADS)
    model.w.add_head_count_kv(1)
    model.w.add_key_length(32)
    model.w.add_value_length(32)
    model.w.add_sliding_window(WINDOW)
    for i in range(LAYERS):
        block = f"blk.{i}."
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            model.ones(f"{block}{norm}.weight", WIDTH)
        for norm in ("attn_q_norm", "attn_k_norm"):
            model.ones(f"{block}{norm}.weight", 32)
        model.random(f"{block}attn_q.weight", HEADS * 32, WIDTH)
        model.random(f"{block}attn_k.weight", 32, WIDTH)
        model.random(f"{block}attn_v.weight", 32, WIDTH)
        model.random(f"{block}attn_output.weight", WIDTH, HEADS * 32)
        model.random(f"{block}ffn_gate.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_up.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_down.weight", WIDTH, FEED_FORWARD)
    return model.finish()


def write_plain(path: Path, *, controls: Sequence[str] = (), chat_template: str | None = None) -> Path:
    """Llama's shape, two layers of it: attention to everything, memory that can be cut anywhere. `controls` are spellings of
    further control tokens."""
    model = _Writer(path, "llama", layers=2, controls=controls)
    if chat_template is not None:
        model.w.add_chat_template(chat_template)
    model.w.add_head_count(HEADS)
    model.w.add_head_count_kv(1)
    model.w.add_rope_dimension_count(WIDTH // HEADS)
    for i in range(2):
        block = f"blk.{i}."
        for norm in ("attn_norm", "ffn_norm"):
            model.ones(f"{block}{norm}.weight", WIDTH)
        model.random(f"{block}attn_q.weight", WIDTH, WIDTH)
        model.random(f"{block}attn_k.weight", WIDTH // HEADS, WIDTH)
        model.random(f"{block}attn_v.weight", WIDTH // HEADS, WIDTH)
        model.random(f"{block}attn_output.weight", WIDTH, WIDTH)
        model.random(f"{block}ffn_gate.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_up.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_down.weight", WIDTH, FEED_FORWARD)
    return model.finish()


def write_multi_axis(path: Path) -> Path:
    """Qwen2-VL's shape, two layers of it: positions on three axes."""
    model = _Writer(path, "qwen2vl", layers=2)
    width = WIDTH // HEADS
    model.w.add_head_count(HEADS)
    model.w.add_head_count_kv(1)
    model.w.add_rope_dimension_sections([4, 6, 6, 0])
    for i in range(2):
        block = f"blk.{i}."
        for norm in ("attn_norm", "ffn_norm"):
            model.ones(f"{block}{norm}.weight", WIDTH)
        for name, n_out in (("attn_q", WIDTH), ("attn_k", width), ("attn_v", width)):
            model.random(f"{block}{name}.weight", n_out, WIDTH)
            model.random(f"{block}{name}.bias", n_out)
        model.random(f"{block}attn_output.weight", WIDTH, WIDTH)
        model.random(f"{block}ffn_gate.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_up.weight", FEED_FORWARD, WIDTH)
        model.random(f"{block}ffn_down.weight", WIDTH, FEED_FORWARD)
    return model.finish()


def write_recurrent(path: Path) -> Path:
    """Mamba's shape: a state instead of cells."""
    model, inner = _Writer(path, "mamba"), 2 * WIDTH
    model.w.add_head_count(0)
    model.w.add_ssm_conv_kernel(CONVOLUTION)
    model.w.add_ssm_inner_size(inner)
    model.w.add_ssm_state_size(STATE)
    model.w.add_ssm_time_step_rank(RANK)
    for i in range(LAYERS):
        block = f"blk.{i}."
        model.ones(f"{block}attn_norm.weight", WIDTH)
        model.random(f"{block}ssm_in.weight", 2 * inner, WIDTH)
        model.random(f"{block}ssm_conv1d.weight", inner, CONVOLUTION)
        model.random(f"{block}ssm_conv1d.bias", inner)
        model.random(f"{block}ssm_x.weight", RANK + 2 * STATE, inner)
        model.random(f"{block}ssm_dt.weight", inner, RANK)
        model.random(f"{block}ssm_dt.bias", inner)
        model.add(f"{block}ssm_a", np.tile(np.arange(1, STATE + 1) / -8, (inner, 1)).astype(np.float32))
        model.ones(f"{block}ssm_d", inner)
        model.random(f"{block}ssm_out.weight", WIDTH, inner)
    return model.finish()


def token_of(character: str) -> int:
    """The id of a character of one byte."""
    return 1 + ord(character)


class _Writer:
    """A GGUF file with a vocabulary of single bytes."""

    def __init__(self, path: Path, architecture: str, layers: int = LAYERS, controls: Sequence[str] = ()) -> None:
        self._path = path
        self._random = np.random.default_rng(7)
        self.w = w = gguf.GGUFWriter(str(path), architecture)
        w.add_context_length(CONTEXT)
        w.add_embedding_length(WIDTH)
        w.add_block_count(layers)
        w.add_feed_forward_length(FEED_FORWARD)
        w.add_layer_norm_rms_eps(1e-6)
        tokens = ["<end>", *_byte_letters(), *controls]
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre("default")
        w.add_token_list(tokens)
        control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
        w.add_token_types([control, *[normal] * 256, *[control] * len(controls)])
        w.add_token_merges(["Ġ Ġ"])
        w.add_eos_token_id(0)
        w.add_add_bos_token(False)
        self.random("token_embd.weight", len(tokens), WIDTH, scale=1.0)
        self.random("output.weight", len(tokens), WIDTH, scale=1.0)
        self.ones("output_norm.weight", WIDTH)

    def add(self, name: str, values: NDArray[np.float32]) -> None:
        self.w.add_tensor(name, values)

    def random(self, name: str, *shape: int, scale: float = 0.2) -> None:
        self.add(name, (self._random.standard_normal(shape) * scale).astype(np.float32))

    def ones(self, name: str, *shape: int) -> None:
        self.add(name, np.ones(shape, np.float32))

    def finish(self) -> Path:
        self.w.write_header_to_file()
        self.w.write_kv_data_to_file()
        self.w.write_tensors_to_file()
        self.w.close()
        return self._path


def _byte_letters() -> list[str]:
    """The letters that byte-level vocabularies write bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]
