"""What is asked to see the shape of answers: one row a feature. A new feature is a new row.

A scripted row plays `moves` (for each choice), and is asked of the scripted engine; a row without them is asked of the real
model. Every row is asked plain, streamed, and streamed with usage and without obfuscation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Move, pieces

TEXT = "High water is at six, low water at noon: «à bientôt», said the sea 🌊."


class Case(NamedTuple):
    """`fields` go into the request; `finish` is what every choice ends with, empty for a model that may end either way."""

    name: str
    fields: Mapping[str, Any]
    moves: Sequence[Move] | None = None
    finish: str = "stop"
    content: str | None = None
    """What choices say, where that is known; those of a script that is played to its end say its text."""

    @property
    def key(self) -> str:
        """Stands in the prompt, so that one server can play every script."""
        return f"[{self.name}]"


def scripted(name: str, text: str = TEXT, *, finish: str = "stop", content: str | None = None, **fields: Any) -> Case:
    said = text if content is None else content
    return Case(name, fields, pieces(text), finish, said)


def split_bytes(name: str, text: str, **fields: Any) -> Case:
    """One byte a token."""
    return Case(name, fields, [bytes([byte]) for byte in text.encode()], "stop", text)


SCRIPTED = (
    scripted("text"),
    scripted("several choices", n=3),
    scripted("many choices", "yes", n=40),
    scripted("empty", ""),
    scripted("token limit", max_completion_tokens=2, finish="length", content="High water"),
    scripted("older token limit", max_tokens=1, finish="length", content="High"),
    scripted("stop string", stop=["noon", "never"], content="High water is at six, low water at "),
    scripted("stop string across tokens", stop="six, low", content="High water is at "),
    scripted("stop at once", stop="High", content=""),
    scripted("logprobs", logprobs=True),
    scripted("top logprobs", logprobs=True, top_logprobs=3, n=2),
    scripted("logprobs of nothing", "", logprobs=True),
    scripted("logprobs up to a stop string", logprobs=True, top_logprobs=1, stop="water", content="High "),
    split_bytes("split characters", "à 🌊 ß"),
    split_bytes("split characters with logprobs", "à 🌊 ß", logprobs=True, top_logprobs=2),
    scripted("sampling", temperature=0.3, top_p=0.5, seed=7, presence_penalty=1, frequency_penalty=-1),
    scripted("bias", logit_bias={"7": -100}),
    scripted("flex", service_tier="flex"),
    scripted("priority", service_tier="fast"),
    scripted("verbosity", verbosity="low"),
    scripted("cache", prompt_cache_key="k", prompt_cache_retention="24h", prompt_cache_options={"mode": "explicit"}),
    scripted("who asks", user="u", safety_identifier="s", metadata={"team": "blue"}, store=False),
    scripted("asks for text", modalities=["text"], response_format={"type": "text"}),
)  # fmt: skip

REAL = (
    Case("text", {}, finish=""),
    Case("several choices", {"n": 2, "temperature": 0.9, "seed": 3}, finish=""),
    Case("logprobs", {"logprobs": True, "top_logprobs": 2}, finish=""),
    Case("verbosity and tier", {"verbosity": "low", "service_tier": "priority"}, finish=""),
    Case("penalties and bias", {"presence_penalty": 1, "logit_bias": {"30": 5}, "logprobs": True}, finish=""),
    Case("cache", {"prompt_cache_options": {"mode": "explicit"}, "prompt_cache_key": "k"}, finish=""),
)


def play(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """The script of every scripted row."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    (case,) = (case for case in SCRIPTED if case.key in text)
    return [case.moves or ()] * prompt.n
