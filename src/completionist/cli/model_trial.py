"""`doctor MODEL`: load a model and try what a server would ask of it. Cards are probed, not guessed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import msgspec

from completionist.chat.deltas import CallOpened, ChatBackend, Delta, Text
from completionist.cli.asking import ask
from completionist.cli.findings import Finding
from completionist.cli.terminal import megabytes
from completionist.dialects.choose import choose
from completionist.engine.base import ModelCard
from completionist.errors import APIError, OperatorError
from completionist.loading import Loading, loading
from completionist.local.card import card_as_served
from completionist.local.markers import forgeable_markers, template_kind
from completionist.local.probe import TOOL, TemplateProbe
from completionist.local.renderer import Renderer
from completionist.models.installed import ModelFile
from completionist.settings import Settings
from completionist.types.completion import ChatCompletion, Usage
from completionist.types.messages import Message, SystemMessage, UserMessage
from completionist.types.request import ChatRequest
from completionist.types.tools import FunctionToolCall

_LONG_TEXT = "The ferry leaves the harbour at noon and comes back with the tide in the evening. " * 12
_MAX_ANSWER_TOKENS = 192
_SAMPLE_TOKENS = 24

Add = Callable[[Finding], None]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What one request brought. Times are from its start, in seconds."""

    completion: ChatCompletion
    first_s: float
    total_s: float

    @property
    def text(self) -> str:
        return self.completion.choices[0].message.content or ""

    @property
    def is_cut(self) -> bool:
        return self.completion.choices[0].finish_reason == "length"

    @property
    def usage(self) -> Usage:
        return self.completion.usage

    @property
    def arguments(self) -> str | None:
        """Of its first call; None where it has none."""
        calls = self.completion.choices[0].message.tool_calls
        first = calls[0] if calls else None
        return first.function.arguments if isinstance(first, FunctionToolCall) else None


def try_model(file: ModelFile, settings: Settings, add: Add) -> None:
    """Everything tried, in the order of the report; a model that cannot be loaded is a finding too."""
    add(Finding("file", "fine", f"{file.path}, {megabytes(file.size_bytes)}: every tensor lies inside"))
    began_s = time.monotonic()
    try:
        with loading(file, settings) as coming:
            asyncio.run(_try(coming, began_s, add))
    except OperatorError as error:
        add(Finding("load", "wrong", str(error)))


async def _try(model: Loading, began_s: float, add: Add) -> None:
    from completionist.app import open_backend  # noqa: PLC0415 - imported while the model is being loaded

    async with open_backend(model) as backend:
        card = backend.card
        add(Finding("load", "fine", f"in {time.monotonic() - began_s:.1f} s: {card.description}"))
        add(
            Finding(
                "context",
                "fine",
                f"{card.context_tokens:,} tokens here, {card.trained_context_tokens:,} as it was trained",
            )
        )
        await _try_template(model, card, add)
        for trial in (_try_end, _try_call, _try_memory):
            try:
                await trial(backend, card, add)
            except APIError as error:
                add(Finding("answers", "wrong", error.message))


async def _try_template(model: Loading, card: ModelCard, add: Add) -> None:
    """Does it render the sequences of roles and the tools that it should; does a call that it writes come back as one?"""
    served = card_as_served(card, model.said)
    dialect = choose(served, model.said.dialect)
    renderer = Renderer(served)
    await renderer.start()
    try:
        probe = TemplateProbe(served, dialect, renderer)
        tried = await probe.sequences()
        faults = [f"{one.name} ({one.fault})" for one in tried if one.fault]
        kind, n_whole = template_kind(served.chat_template), len(tried) - len(faults)
        said = "; ".join([f"{kind}; {n_whole} of {len(tried)} conversations rendered whole", *faults])
        add(Finding("template", "note" if faults else "fine", said))
        add(_markers(served))
        fault = await probe.call_comes_back()
        how = "explained in words" if dialect.tools_in == "system" else "described by the template"
        read = "a call in the history is read back as the same call"
        add(Finding("dialect", "note" if fault else "fine", f"{dialect.name}, tools {how}; {fault or read}"))
        add(_end_of_turn(await probe.end_of_turn()))
    finally:
        await renderer.close()


def _markers(card: ModelCard) -> Finding:
    forgeable = forgeable_markers(card.chat_template or "", (token.text for token in card.specials))
    if forgeable:
        return Finding(
            "tokens", "note", f"clients can write these markers, plain text to the model: {' '.join(forgeable)}"
        )
    n_control = sum(token.kind == "control" for token in card.specials)
    return Finding("tokens", "fine", f"{n_control} control tokens, which no client can write")


def _end_of_turn(spelling: str | None) -> Finding:
    if spelling is None:
        return Finding(
            "turns", "note", "no control token ends an answer in the template: the model must end it by another"
        )
    return Finding("turns", "fine", f"the template ends an answer with {spelling}")


async def _try_end(backend: ChatBackend, card: ModelCard, add: Add) -> None:
    """Does an answer end by itself, and show nothing that is no text?"""
    reply = await _ask(backend, card, UserMessage(content="Say hello."), max_tokens=_MAX_ANSWER_TOKENS)
    shown = [token.text for token in card.specials if len(token.text) > 2 and token.text in reply.text]
    if shown:
        add(Finding("end", "wrong", f"an answer shows {shown[0]!r}, which is a token of the vocabulary"))
    elif reply.is_cut:
        add(Finding("end", "note", f"an answer to a greeting did not end within {_MAX_ANSWER_TOKENS} tokens"))
    else:
        add(Finding("end", "fine", f"an answer ends by itself, after {reply.usage.completion_tokens} tokens"))


async def _try_call(backend: ChatBackend, card: ModelCard, add: Add) -> None:
    """Can the model be held to a call?"""
    request = ChatRequest(
        model=card.name,
        messages=(UserMessage(content="How high is the tide in Brest?"),),
        tools=(TOOL,),
        tool_choice="required",
        temperature=0,
        max_completion_tokens=_MAX_ANSWER_TOKENS,
    )
    reply = await _reply(backend, request)
    if reply.arguments and _is_object(reply.arguments):
        add(Finding("tools", "fine", f"a call that is required comes: get_tide {reply.arguments}"))
    elif reply.arguments is not None:
        add(Finding("tools", "note", f"a call that is required was not over after {_MAX_ANSWER_TOKENS} tokens"))
    else:
        add(Finding("tools", "wrong", "a call that is required does not come"))


async def _try_memory(backend: ChatBackend, card: ModelCard, add: Add) -> None:
    """Is what two prompts have in common computed once, and is an answer the same after going back; and how fast is it?"""
    text = SystemMessage(content=_LONG_TEXT)
    first = await _ask(backend, card, text, UserMessage(content="When does it leave?"), max_tokens=_SAMPLE_TOKENS)
    await _ask(backend, card, text, UserMessage(content="Who is on board?"), max_tokens=_SAMPLE_TOKENS)
    again = await _ask(backend, card, text, UserMessage(content="When does it leave?"), max_tokens=_SAMPLE_TOKENS)
    details = again.usage.prompt_tokens_details
    cached, prompt = details.cached_tokens, again.usage.prompt_tokens
    kind = card.memory_kind.replace("_", " ")
    if again.text != first.text:
        add(Finding("memory", "note", f"{kind}; after going back the answer is another one"))
    elif cached:
        add(
            Finding(
                "memory",
                "fine",
                f"{kind}; after going back {cached} of {prompt} tokens were kept, the answer is the same",
            )
        )
    else:
        add(Finding("memory", "note", f"{kind}; going back keeps nothing, every prompt is computed whole"))
    n_decoded, decoding_s = first.usage.completion_tokens - 1, first.total_s - first.first_s
    rate = f", {n_decoded / decoding_s:,.0f} tokens/s of an answer" if n_decoded > 0 and decoding_s > 0 else ""
    add(
        Finding(
            "speed",
            "fine",
            f"about {prompt / first.first_s:,.0f} tokens/s of a prompt{rate}; completionist bench measures",
        )
    )


async def _ask(backend: ChatBackend, card: ModelCard, *messages: Message, max_tokens: int) -> Reply:
    request = ChatRequest(model=card.name, messages=messages, temperature=0, max_completion_tokens=max_tokens)
    return await _reply(backend, request)


async def _reply(backend: ChatBackend, request: ChatRequest) -> Reply:
    began_s = time.monotonic()
    came_s: list[float] = []

    def note(delta: Delta) -> None:
        if isinstance(delta, Text | CallOpened):
            came_s.append(time.monotonic() - began_s)

    completion = await ask(backend, request, note)
    total_s = time.monotonic() - began_s
    return Reply(completion=completion, first_s=came_s[0] if came_s else total_s, total_s=total_s)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
