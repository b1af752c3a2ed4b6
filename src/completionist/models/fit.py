"""What a model will take of a machine's memory, before it is fetched or loaded: an estimate from its header.

Weights are as large as the file. A token of a conversation takes its keys and values in every layer that attends; recurrent
layers keep a state that does not grow. Buffers hold what the rows of a batch attend to, head by head, and the logits of those
that are asked for. The engine measures all of it when it loads a model.
"""

from __future__ import annotations

import msgspec

from completionist.models.header import Facts

CONVERSATION_TOKENS = 4096
"""What a conversation wants to have room for; the estimate is for one."""
_BATCH_TOKENS = 512
_BYTES_PER_CELL_VALUE = 2
_LOGIT_ROWS = 80
_BYTES_PER_FLOAT = 4
_PROCESS_BYTES = 120_000_000
"""The worker itself: interpreter, library, vocabulary, and what the heap keeps after a full batch."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What the memory of a conversation depends on."""

    kv_bytes_per_token: int
    """With cells of 16 bits."""
    head_count: int
    """Of attention, in the layer that has the most."""
    vocabulary_size: int
    context_tokens: int
    """What it was trained for."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of memory, for one conversation of `tokens` tokens."""

    weights_bytes: int
    kv_bytes: int
    buffer_bytes: int
    tokens: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.buffer_bytes


def shape_of(facts: Facts) -> Shape | None:
    """From a header; None where it does not tell enough."""
    context = facts.number(facts.own("context_length"))
    vocabulary = _vocabulary_size(facts)
    per_token = _kv_bytes_per_token(facts)
    if context is None or vocabulary is None or per_token is None:
        return None
    return Shape(
        kv_bytes_per_token=per_token,
        head_count=max(facts.numbers(facts.own("attention.head_count")) or (0,), default=0),
        vocabulary_size=vocabulary,
        context_tokens=context,
    )


def need_of(weights_bytes: int, shape: Shape) -> Need:
    tokens = min(CONVERSATION_TOKENS, shape.context_tokens)
    return Need(
        weights_bytes=weights_bytes,
        kv_bytes=shape.kv_bytes_per_token * tokens,
        buffer_bytes=_buffer_bytes(shape, tokens),
        tokens=tokens,
    )


def _buffer_bytes(shape: Shape, tokens: int) -> int:
    scores = shape.head_count * _BATCH_TOKENS * tokens
    return (scores + _LOGIT_ROWS * shape.vocabulary_size) * _BYTES_PER_FLOAT + _PROCESS_BYTES


def _vocabulary_size(facts: Facts) -> int | None:
    tokens = facts.array("tokenizer.ggml.tokens")
    return tokens.count if tokens else facts.number(facts.own("vocab_size"))


def _kv_bytes_per_token(facts: Facts) -> int | None:
    n_layers, width = facts.number(facts.own("block_count")), facts.number(facts.own("embedding_length"))
    heads = facts.numbers(facts.own("attention.head_count")) or (0,)
    if not n_layers or not width:
        return None
    if latent := facts.number(facts.own("attention.kv_lora_rank")):
        turned = facts.number(facts.own("rope.dimension_count")) or 0
        return n_layers * (latent + turned) * _BYTES_PER_CELL_VALUE
    kv_heads = facts.numbers(facts.own("attention.head_count_kv")) or heads
    n_kv_heads = sum(kv_heads) if len(kv_heads) > 1 else n_layers * kv_heads[0]
    usual = width // max(*heads, 1)
    key = facts.number(facts.own("attention.key_length")) or usual
    value = facts.number(facts.own("attention.value_length")) or usual
    return n_kv_heads * (key + value) * _BYTES_PER_CELL_VALUE
