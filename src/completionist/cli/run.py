"""`completionist run`: a question to a model, or a chat with it, on the terminal, without a server."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
import typer

from completionist.chat.deltas import ChatBackend, Delta, Text
from completionist.cli.asking import ask
from completionist.cli.configure import read_settings
from completionist.cli.fetching import fetch
from completionist.cli.naming import behind
from completionist.cli.options import Config, Json, Model
from completionist.cli.terminal import harmless, json_text
from completionist.errors import APIError, OperatorError
from completionist.loading import Loading, loading
from completionist.types.messages import AssistantMessage, Message, SystemMessage, UserMessage
from completionist.types.request import ChatRequest

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from completionist.types.completion import ChatCompletion

app = typer.Typer()

_WELCOME = "Ask; /clear forgets what was said, Ctrl-C stops an answer, Ctrl-D ends."
_PROMPT = ">>> "


class NothingAsked(OperatorError):
    exit_code: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__("no prompt: give it as an argument or on standard input")


class NotAnswered(OperatorError):
    """What a client of the server would have got as an error body."""


@app.command()
def run(
    model: Model,
    prompt: Annotated[str, typer.Argument(help="The question. What is piped in follows it.")] = "",
    *,
    system: Annotated[str | None, typer.Option(help="Instructions that come first.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Ask a model once, or chat with it where nothing is asked and the input is a terminal."""
    is_chat = not prompt and sys.stdin.isatty()
    question = "" if is_chat else _question(prompt)
    settings = read_settings({"model": model, "engine.streams": 1}, config)
    file = fetch(behind(model, settings), settings.models)
    opening: tuple[Message, ...] = () if system is None else (SystemMessage(content=system),)
    request = ChatRequest(
        model=file.name, messages=opening, max_completion_tokens=max_tokens, temperature=temperature, seed=seed
    )
    with loading(file, settings) as coming:
        if is_chat:
            _chat(coming, request)
        else:
            asyncio.run(_ask(coming, _with(request, UserMessage(content=question)), as_json=as_json))


def _question(prompt: str) -> str:
    piped = "" if sys.stdin.isatty() else sys.stdin.read()
    question = "\n\n".join(part for part in (prompt, piped.strip()) if part)
    if not question:
        raise NothingAsked
    return question


def _with(request: ChatRequest, *messages: Message) -> ChatRequest:
    return msgspec.structs.replace(request, messages=(*request.messages, *messages))


async def _ask(model: Loading, request: ChatRequest, *, as_json: bool) -> None:
    """Text as it comes; as JSON the completion, when it is whole."""
    from completionist.app import open_backend  # noqa: PLC0415 - imported while the model is being loaded

    async with open_backend(model) as backend:
        completion = await _answer(backend, request, is_shown=not as_json)
    if as_json:
        typer.echo(json_text(completion))


def _chat(model: Loading, request: ChatRequest) -> None:
    """Question by question, with all that was said before. Lines are read on this thread, where Ctrl-C arrives; answers come
    from an event loop on another."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - as above

    from completionist.app import open_backend  # noqa: PLC0415 - as above

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_backend(model)) as backend,
    ):
        typer.echo(_WELCOME, err=True)
        conversation = request
        while (line := _read_line()) is not None:
            if line.strip() == "/clear":
                conversation = request
            elif line.strip():
                asked = _with(conversation, UserMessage(content=line))
                said = _said(portal, backend, asked)
                conversation = conversation if said is None else _with(asked, AssistantMessage(content=said))


def _said(portal: BlockingPortal, backend: ChatBackend, asked: ChatRequest) -> str | None:
    """The answer, which was shown as it came; None where it was refused or stopped: then the question counts as not asked."""
    coming = portal.start_task_soon(partial(_answer, backend, asked, is_shown=True))
    try:
        return coming.result().choices[0].message.content or ""
    except NotAnswered as error:
        typer.echo(f"completionist: {error}", err=True)
    except KeyboardInterrupt:
        coming.cancel()
        typer.echo()
    return None


def _read_line() -> str | None:
    """None at the end of the input. The line can be edited, and earlier ones come back, where the terminal lets them."""
    import readline  # noqa: F401, PLC0415 - its import is its effect

    try:
        return input(_PROMPT)
    except EOFError:
        typer.echo(err=True)
        return None


async def _answer(backend: ChatBackend, request: ChatRequest, *, is_shown: bool) -> ChatCompletion:
    """Raises `NotAnswered`."""

    def show(delta: Delta) -> None:
        if is_shown and isinstance(delta, Text):
            typer.echo(harmless(delta.text) if sys.stdout.isatty() else delta.text, nl=False)

    try:
        completion = await ask(backend, request, show)
    except APIError as error:
        raise NotAnswered(error.message) from None
    if is_shown:
        typer.echo()
    return completion
