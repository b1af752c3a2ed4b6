"""Prompts of known length that keep a small model talking, and the ChatML text that both test models are prompted with."""

from __future__ import annotations

import random

import msgspec

SYSTEM = "You tell very long stories."

# Each is one token, with the blank before it, in the vocabularies of both test models.
_TEXT = (
    "time people water house day night road river tree hand old new long small great light dark stone fire wind story "
    "city friend money table door window garden king ship sea mountain summer winter morning letter song bird horse dog"
)
_WORDS = tuple(_TEXT.split())
_SUBJECTS = ("a lighthouse", "a lost dog", "an old ship", "a quiet village", "two brothers", "a stone bridge")


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str


Chat = tuple[Message, ...]


def chat(user: str, system: str = SYSTEM) -> Chat:
    return (Message("system", system), Message("user", user))


def program(number: int) -> Chat:
    """A short prompt whose answer goes on for hundreds of tokens, drawn at temperature 1 too: of 32 answers by the small
    test model none ended within 80 tokens, where stories did. Two digits keep the prompts equally long."""
    assert 10 <= number <= 99
    return chat(
        f"Program {number}: write a complete chess game in Python with all classes.",
        system="You write long programs.",
    )


def varied(number: int) -> Chat:
    """Short prompts that differ in more than a number."""
    subject = _SUBJECTS[number % len(_SUBJECTS)]
    return chat(f"Chapter {number}: tell a very long story about {subject} and {words(3, seed=number)}.")


def words(n_tokens: int, seed: int) -> str:
    """About `n_tokens` tokens of text, never the same for two seeds."""
    draw = random.Random(seed)  # noqa: S311 - reproducible text, not a secret
    return " ".join(draw.choices(_WORDS, k=n_tokens))


def chatml(messages: Chat) -> str:
    """The prompt as the templates of SmolLM2 and Qwen2.5 render it when the first message is the system's."""
    turns = [f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages]
    return "".join(turns) + "<|im_start|>assistant\n"
