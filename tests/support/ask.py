"""Questions through the official client, with fields as tests vary them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.support.server import MODEL

MESSAGES = ({"role": "user", "content": "When is high water?"},)


def official(base_url: str, **options: Any) -> openai.OpenAI:
    """The official client. No server of the tests has a certificate, and to load those of this machine takes 30 ms."""
    return openai.OpenAI(base_url=base_url, http_client=_Transport(verify=False), **options)


class _Transport(openai.DefaultHttpxClient):
    """Closes itself, as the client's own one does."""

    def __del__(self) -> None:
        if not self.is_closed:
            self.close()


def ask(client: openai.OpenAI, **fields: Any) -> ChatCompletion:
    """A plain answer."""
    answer = client.chat.completions.create(**_with_defaults(fields))
    assert isinstance(answer, ChatCompletion)
    return answer


def ask_streamed(client: openai.OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    """All chunks of a streamed answer."""
    return list(client.chat.completions.create(stream=True, **_with_defaults(fields)))


async def ask_async(client: openai.AsyncOpenAI, **fields: Any) -> ChatCompletion:
    answer = await client.chat.completions.create(**_with_defaults(fields))
    assert isinstance(answer, ChatCompletion)
    return answer


async def ask_streamed_async(client: openai.AsyncOpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(stream=True, **_with_defaults(fields))
    return [chunk async for chunk in stream]


def text_of(chunks: Iterable[ChatCompletionChunk], index: int = 0) -> str:
    """What the chunks of one choice add up to."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def _with_defaults(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": MODEL, "messages": list(MESSAGES), **fields}
