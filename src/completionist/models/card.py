"""A model's card as its file states it, without loading it. What an engine finds when it loads the file counts more."""

from __future__ import annotations

from completionist.engine.base import MemoryKind, ModelCard, SpecialToken
from completionist.models.fit import shape_of
from completionist.models.gguf import read_facts, read_numbers, read_strings
from completionist.models.header import Facts
from completionist.models.installed import ModelFile

_CONTROL, _USER_DEFINED = 3, 4
_STATES = ("ssm.conv_kernel", "ssm.state_size", "wkv.head_size", "shortconv.l_cache")
"""What models have that keep a state in place of cells, in all layers or in some."""
_BITS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 12: "Q3_K_M",
         14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 30: "IQ4_XS", 32: "BF16", 38: "MXFP4"}  # fmt: skip


def stated_card(model: ModelFile) -> ModelCard:
    """Raises `BrokenModelFile`. What only a loaded model has (streams, fingerprint, engine) is empty."""
    facts = read_facts(model.path)
    tokens = _tokens(model, facts)
    shape = shape_of(facts)
    return ModelCard(
        name=model.name,
        description=_description(facts),
        context_tokens=facts.number(facts.own("context_length")) or 0,
        trained_context_tokens=facts.number(facts.own("context_length")) or 0,
        vocabulary_size=len(tokens),
        parameters=0,
        weights_bytes=model.size_bytes,
        kv_bytes=shape.kv_bytes_per_token if shape else 0,
        streams=0,
        chat_template=facts.text("tokenizer.chat_template"),
        bos_text=_token(tokens, facts.number("tokenizer.ggml.bos_token_id")),
        eos_text=_token(tokens, facts.number("tokenizer.ggml.eos_token_id")),
        bos_id=facts.number("tokenizer.ggml.bos_token_id"),
        specials=_specials(model, facts, tokens),
        memory_kind=_memory_kind(facts),
        fingerprint="",
        engine="",
    )


def _tokens(model: ModelFile, facts: Facts) -> list[str]:
    array = facts.array("tokenizer.ggml.tokens")
    return read_strings(model.path, array) if array else []


def _token(tokens: list[str], token_id: int | None) -> str:
    return tokens[token_id] if token_id is not None and 0 <= token_id < len(tokens) else ""


def _specials(model: ModelFile, facts: Facts, tokens: list[str]) -> tuple[SpecialToken, ...]:
    array = facts.array("tokenizer.ggml.token_type")
    kinds = read_numbers(model.path, array) if array else facts.numbers("tokenizer.ggml.token_type") or ()
    return tuple(
        SpecialToken(i, text, "control" if kind == _CONTROL else "user_defined")
        for i, (text, kind) in enumerate(zip(tokens, kinds, strict=False))
        if kind in (_CONTROL, _USER_DEFINED)
    )


def _memory_kind(facts: Facts) -> MemoryKind:
    if any(facts.own(key) in facts.values for key in _STATES):
        return "checkpoints_only"
    return "trim_within_window" if facts.number(facts.own("attention.sliding_window")) else "trim_anywhere"


def _description(facts: Facts) -> str:
    name = facts.text("general.name") or "a model without a name"
    file_type = facts.number("general.file_type")
    kind = None if file_type is None else _BITS.get(file_type)
    return ", ".join(part for part in (name, facts.architecture, facts.text("general.size_label"), kind) if part)
