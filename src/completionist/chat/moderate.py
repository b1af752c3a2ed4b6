"""Input and output of an answer are judged (contract 8.10): a step before the answer, and a stage over its deltas.

    mode      input                                    output
    score     judged while the answer is written       deltas pass at once; each choice is judged when it is closed
    block     judged first: where it is flagged        deltas are held until all choices are judged; a flagged one is
              nothing runs                             nothing but its end, with `content_filter`

Behind the choices comes `Judged`, then the totals. The texts of a request are judged one after the other. One that could not
be judged is an error in the answer; where it was to be blocked, the operator says whether it passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

from completionist.chat.aside import aside
from completionist.chat.deltas import CallOpened, CallText, Closed, Delta, Judged, Opened, Reasoning, Text, Totals
from completionist.errors import ModerationUnavailable, UnsupportedValue
from completionist.types.caller import Caller, ServiceTier
from completionist.types.formats import Moderation
from completionist.types.messages import AssistantMessage, Message
from completionist.types.moderation import CompletionModeration, ModerationError, ModerationResult, ModerationResults
from completionist.types.parts import Base64, Part, PerceivedPart, RefusalPart, TextPart
from completionist.types.refusals import InvalidPrompt
from completionist.types.request import ChatRequest
from completionist.types.tools import FunctionToolCall

_Judging = asyncio.Task[ModerationResult | ModerationError]


class Unjudged(Exception):
    """No verdict; the reason is one sentence, for clients too."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Moderator(Protocol):
    """What judges texts, and pictures where it sees."""

    @property
    def missing(self) -> str | None:
        """Why it cannot, as a sentence; None: it can."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """What requests may call it."""
        ...

    @property
    def fails_open(self) -> bool:
        """Whether what it could not judge passes where it was to be blocked."""
        ...

    @property
    def sees(self) -> bool:
        """Whether it judges pictures."""
        ...

    def place(self, caller: Caller, tier: ServiceTier) -> AbstractContextManager[object]:
        """What a request holds from before it runs until its answer is judged, one text after the other.

        Entering raises `Overloaded`, `FlexUnavailable` where too many do.
        """
        ...

    async def judge(self, text: str, pictures: Sequence[Base64], name: str, caller: Caller) -> ModerationResult:
        """What `text` and `pictures` are together; there are none where it does not see. `name`: what the request calls the
        moderator. Raises `Unjudged`."""
        ...

    async def close(self) -> None: ...


class Moderated:
    """The moderation of one answer."""

    def __init__(self, moderator: Moderator, wanted: Moderation, caller: Caller) -> None:
        policy = wanted.policy
        self._moderator = moderator
        self._name = wanted.model
        self._caller = caller
        self._blocks_input = blocks_input(wanted)
        self._blocks_output = bool(policy and policy.output and policy.output.mode == "block")
        self._turn = asyncio.Lock()
        self._input: _Judging

    def place(self, tier: ServiceTier) -> AbstractContextManager[object]:
        """To be held around `input`. Entering raises `Overloaded`, `FlexUnavailable`."""
        return self._moderator.place(self._caller, tier)

    @asynccontextmanager
    async def input(self, request: ChatRequest) -> AsyncIterator[None]:
        """What the prompt says, judged: first, or meanwhile.

        Entering raises `InvalidPrompt`; `ModerationUnavailable`; `UnsupportedValue` where something is to be blocked that
        cannot be judged: what reaches the model as other than text, but for pictures where the moderator sees.
        """
        sees = self._moderator.sees
        if self._blocks_input and await aside(request, partial(has_unjudged, request.messages, sees=sees)):
            raise UnsupportedValue("moderation.policy.input.mode", "'block'", ("score",))
        text = await aside(request, partial(input_text, request.messages))
        pictures = await aside(request, partial(input_pictures, request.messages)) if sees else ()
        self._input = self._judging(text, pictures)
        try:
            if self._blocks_input:
                self._let_in(await self._input)
            yield
        finally:
            await _end([self._input])

    async def output(self, deltas: AsyncIterator[Delta], began: Callable[[], None]) -> AsyncGenerator[Delta]:
        """`deltas`, judged; within `input`. `began` is called with the first content, which may not be seen for long."""
        choices: dict[int, _Choice] = {}
        judging: dict[int, _Judging] = {}
        try:
            async for delta in deltas:
                match delta:
                    case Opened():
                        choices[delta.index] = _Choice()
                        yield delta
                    case Totals():
                        verdicts = [await judging[index] for index in choices]
                        for choice, verdict in zip(choices.values(), verdicts, strict=True):
                            for held in choice.released(is_blocked=self._is_blocked(verdict)):
                                yield held
                        yield Judged(CompletionModeration(input=_shown([await self._input]), output=_shown(verdicts)))
                        yield delta
                    case Judged():
                        raise RuntimeError("an answer is judged once")
                    case _:
                        began()
                        choice = choices[delta.index]
                        choice.hear(delta)
                        if isinstance(delta, Closed):
                            judging[delta.index] = self._judging(choice.text)
                        if self._blocks_output:
                            choice.held.append(delta)
                        else:
                            yield delta
        finally:
            await _end(judging.values())

    def _judging(self, text: str, pictures: Sequence[Base64] = ()) -> _Judging:
        return asyncio.create_task(self._judge(text, pictures))

    async def _judge(self, text: str, pictures: Sequence[Base64]) -> ModerationResult | ModerationError:
        try:
            async with self._turn:
                return await self._moderator.judge(text, pictures, self._name, self._caller)
        except Unjudged as fault:
            return ModerationError(message=fault.reason)

    def _let_in(self, verdict: ModerationResult | ModerationError) -> None:
        if isinstance(verdict, ModerationError):
            if not self._moderator.fails_open:
                raise ModerationUnavailable(verdict.message)
        elif verdict.flagged:
            raise InvalidPrompt

    def _is_blocked(self, verdict: ModerationResult | ModerationError) -> bool:
        if not self._blocks_output:
            return False
        return not self._moderator.fails_open if isinstance(verdict, ModerationError) else verdict.flagged


class _Choice:
    """What one choice has said."""

    def __init__(self) -> None:
        self.held: list[Delta] = []
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def hear(self, delta: Delta) -> None:
        """All that a client would see of it: words, thinking, and what calls are given."""
        match delta:
            case Text() | Reasoning() | CallText():
                self._texts.append(delta.text)
            case CallOpened():
                self._texts.append("\n\n")
            case _:
                pass

    def released(self, *, is_blocked: bool) -> list[Delta]:
        """What was held of it, or in its place its end."""
        if not is_blocked:
            return self.held
        return [Closed(end.index, "content_filter") for end in self.held[-1:] if isinstance(end, Closed)]


def blocks_input(wanted: Moderation | None) -> bool:
    """Whether nothing may reach the model before it was judged."""
    policy = wanted.policy if wanted else None
    return bool(policy and policy.input and policy.input.mode == "block")


def input_text(messages: Iterable[Message]) -> str:
    """What is judged of a request: what its messages say, and what calls in them are given; no names and no schemas."""
    return "\n\n".join(text for message in messages for text in _texts(message) if text)


def input_pictures(messages: Iterable[Message]) -> Sequence[Base64]:
    """Those that the model sees, as they came."""
    return tuple(part.data for part in _parts(messages) if isinstance(part, PerceivedPart) and part.data)


def has_unjudged(messages: Iterable[Message], *, sees: bool) -> bool:
    """Whether something in them reaches the model as other than text, and is no picture that is judged."""
    return any(
        not (sees and part.data) if isinstance(part, PerceivedPart) else not isinstance(part, TextPart | RefusalPart)
        for part in _parts(messages)
    )


def _parts(messages: Iterable[Message]) -> Iterator[Part]:
    for message in messages:
        if isinstance(message.content, tuple):
            yield from message.content


def _texts(message: Message) -> Iterator[str]:
    yield message.text
    if isinstance(message, AssistantMessage):
        for call in message.tool_calls or ():
            yield call.function.arguments if isinstance(call, FunctionToolCall) else call.custom.input
        if message.function_call:
            yield message.function_call.arguments


def _shown(verdicts: Sequence[ModerationResult | ModerationError]) -> ModerationResults | ModerationError:
    """One error speaks for all."""
    results: list[ModerationResult] = []
    for verdict in verdicts:
        if isinstance(verdict, ModerationError):
            return verdict
        results.append(verdict)
    return ModerationResults(model=results[0].model, results=tuple(results))


async def _end(tasks: Iterable[_Judging]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
