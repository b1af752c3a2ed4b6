"""`completionist run`: one question to a model, answered on the terminal, without a server."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated, ClassVar

import typer

from completionist.chat.deltas import Text
from completionist.cli.configure import read_settings
from completionist.cli.models import fetch
from completionist.cli.options import Config
from completionist.errors import APIError, OperatorError
from completionist.loading import Loading, loading
from completionist.types.caller import Caller
from completionist.types.messages import Message, SystemMessage, UserMessage
from completionist.types.request import ChatRequest

app = typer.Typer()


class NothingAsked(OperatorError):
    exit_code: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__("no prompt: give it as an argument or on standard input")


class NotAnswered(OperatorError):
    """What a client of the server would have got as an error body."""


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="A name that `list` shows, or the path of a GGUF file.")],
    prompt: Annotated[str, typer.Argument(help="The question. What is piped in follows it.")] = "",
    *,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None,
    config: Config = None,
) -> None:
    """Ask a model once; the answer streams to standard output."""
    question = _question(prompt)
    settings = read_settings({"model": model, "engine.streams": 1}, config)
    file = fetch(settings.model, settings.models)
    messages: tuple[Message, ...] = (UserMessage(content=question),)
    if system is not None:
        messages = (SystemMessage(content=system), *messages)
    request = ChatRequest(
        model=file.name, messages=messages, max_completion_tokens=max_tokens, temperature=temperature, seed=seed
    )
    with loading(file, settings) as coming:
        asyncio.run(_answer(coming, request))


def _question(prompt: str) -> str:
    piped = "" if sys.stdin.isatty() else sys.stdin.read()
    question = "\n\n".join(part for part in (prompt, piped.strip()) if part)
    if not question:
        raise NothingAsked
    return question


async def _answer(model: Loading, request: ChatRequest) -> None:
    from completionist.app import open_backend  # noqa: PLC0415 - imported while the model is being loaded

    async with open_backend(model) as backend:
        try:
            async with aclosing(backend.deltas(request, Caller())) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Text):
                        typer.echo(delta.text, nl=False)
        except APIError as error:
            raise NotAnswered(error.message) from None
    typer.echo()
