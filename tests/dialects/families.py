"""One card for each family: a template cut down to what tells it, a vocabulary of bytes, words and the family's markers."""

from __future__ import annotations

from completionist.dialects.base import Dialect
from completionist.dialects.choose import choose
from completionist.engine.base import ModelCard, SpecialToken

N_BYTES = 256
WORDS = (
    '{"', '": "', '", "', '"}', "}}", "}\n", '": ', "name", "arguments", "parameters", "tool", "call", "_call>", "```json\n",
    "```", "json", "functions.", "analysis", "final", "get_tide", "run_sql", "input", "</think>", "Hello", " there", "\n\n",
)  # fmt: skip
EOS = "<|eos|>"

_BARS = ("calls▁begin", "call▁begin", "sep", "call▁end", "calls▁end")
_DEEPSEEK = tuple(f"<｜tool▁{word}｜>" for word in _BARS)  # noqa: RUF001 - so the vocabulary spells them

CONTROLS: dict[str, tuple[str, ...]] = {
    "plain": ("<|im_start|>", "<|im_end|>"),
    "hermes": ("<|im_start|>", "<|im_end|>"),
    "hermes thinking": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|python_tag|>", "<|eot_id|>"),
    "mistral list": ("[INST]", "[TOOL_CALLS]"),
    "mistral": ("[INST]", "[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"),
    "gemma": ("<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>"),
    "harmony": ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>"),
    "deepseek": _DEEPSEEK,
    "deepseek fenced": (*_DEEPSEEK, "<think>", "</think>"),
}
TEMPLATES: dict[str, str] = {
    "plain": "<|im_start|>{{ messages }}",
    "hermes": '<|im_start|>{{ tools }}<tool_call>{"name": "f", "arguments": {}}',
    "hermes thinking": '<|im_start|>{{ tools }}<tool_call>{"name": "f", "arguments": {}}<think></think>',
    "llama3": '<|start_header_id|>{{ tools }}{"name": "f", "parameters": {}}',
    "mistral list": "[INST]{{ tools }}[TOOL_CALLS]",
    "mistral": "[INST]{{ tools }}[TOOL_CALLS]f[ARGS][THINK][/THINK]",
    "gemma": "{{ tools }}<|tool_call>call:f{}<tool_call|><|channel>thought\n<channel|>",
    "harmony": "{{ tools }}<|start|>assistant<|channel|>",
    "deepseek": "".join(_DEEPSEEK),
    "deepseek fenced": "".join(_DEEPSEEK) + "```json <think></think>",
}
FAMILIES = tuple(CONTROLS)


def control_id(position: int) -> int:
    return N_BYTES + len(WORDS) + position


def card(family: str) -> ModelCard:
    spellings = (EOS, *CONTROLS[family])
    return ModelCard(
        name=family,
        description="",
        context_tokens=512,
        trained_context_tokens=512,
        vocabulary_size=control_id(len(spellings)),
        parameters=0,
        weights_bytes=0,
        kv_bytes=0,
        streams=1,
        chat_template=TEMPLATES[family],
        bos_text="",
        eos_text=EOS,
        bos_id=None,
        specials=tuple(SpecialToken(control_id(i), text, "control") for i, text in enumerate(spellings)),
        memory_kind="trim_anywhere",
        fingerprint="fp_0000000000",
        engine="",
    )


def dialect(family: str) -> Dialect:
    return choose(card(family))
