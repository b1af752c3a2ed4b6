"""The prompt cache as a client sees it: `cached_tokens`, `cache_write_tokens` (contract 8.2, 13.5); on the shortened model."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from completionist.settings import DEFAULT_MODEL

pytestmark = pytest.mark.model

BREAKPOINT = {"mode": "explicit"}
LORE = "The keeper of the lighthouse writes every ship into a book, with the hour and the colour of its sails. "


def counts(client: openai.OpenAI, messages: list[Any], **fields: Any) -> tuple[int, int, int]:
    """Prompt tokens, those read from the cache, those written to it."""
    answer = client.chat.completions.create(
        model=DEFAULT_MODEL, messages=messages, max_completion_tokens=1, temperature=0, **fields
    )
    usage = answer.usage
    assert usage.prompt_tokens_details
    read, written = usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens
    assert read is not None
    assert written is not None
    assert read + written <= usage.prompt_tokens
    return usage.prompt_tokens, read, written


def conversation(name: str, question: str, *, has_breakpoint: bool = True) -> list[Any]:
    part: dict[str, Any] = {"type": "text", "text": f"You are {name}. {LORE * 3}"}
    if has_breakpoint:
        part["prompt_cache_breakpoint"] = BREAKPOINT
    return [{"role": "system", "content": [part]}, {"role": "user", "content": f"{question} {LORE}"}]


def continued_at(n_tokens: int) -> range:
    """Where the engine may go on with a prompt of its own accord that it knows so much of: it depends on the processor."""
    return range(n_tokens // 8 * 8, n_tokens + 1)


def test_explicit_mode_reads_and_writes_at_breakpoints(short_client: openai.OpenAI) -> None:
    explicit: dict[str, Any] = {"prompt_cache_options": {"mode": "explicit"}}
    n_first, n_read, n_written = counts(short_client, conversation("Ada", "How many ships came?"), **explicit)
    assert n_read == 0
    assert 60 < n_written < n_first - 32
    n_second, *second = counts(short_client, conversation("Ada", "Which was the last one?"), **explicit)
    assert second == [n_written, 0]
    _, n_read, n_new = counts(short_client, conversation("Ada", "Which was the last one?"))
    assert n_read in continued_at(n_written)
    assert n_new == n_second - n_read


def test_explicit_mode_without_breakpoints_leaves_the_cache_alone(short_client: openai.OpenAI) -> None:
    messages = conversation("Bob", "How many ships came?", has_breakpoint=False)
    for _ in range(2):
        assert counts(short_client, messages, prompt_cache_options={"mode": "explicit"})[1:] == (0, 0)


def test_breakpoints_change_neither_prompt_nor_answer(client: openai.OpenAI) -> None:
    answers = []
    for has_breakpoint in (True, False):
        messages = conversation("Cy", "What colour were the sails?", has_breakpoint=has_breakpoint)
        answer = client.chat.completions.create(
            model=DEFAULT_MODEL, messages=messages, max_completion_tokens=8, temperature=0, seed=1
        )
        assert answer.usage
        answers.append((answer.choices[0].message.content, answer.usage.prompt_tokens))
    assert answers[0] == answers[1]


def test_implicit_mode_keeps_everything_whatever_the_key(short_client: openai.OpenAI) -> None:
    messages = conversation("Di", "Who wrote it down?", has_breakpoint=False)
    n_prompt, n_read, n_written = counts(
        short_client, messages, prompt_cache_key="a", prompt_cache_retention="in_memory"
    )
    assert (n_read < 20, n_written) == (True, n_prompt - n_read)
    _, n_again, _ = counts(short_client, messages, prompt_cache_key="b", prompt_cache_retention="24h")
    assert (n_prompt - 8) // 8 * 8 <= n_again <= n_prompt - 2
