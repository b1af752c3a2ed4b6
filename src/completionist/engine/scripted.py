"""A `TokenEngine` that plays a script in place of a model: for demonstrations and for tests that need no model.

It keeps the rules of the real one: a bounded queue, the higher tier first, one token per sequence and step, `Accepted`
and `Evaluated` first, one `End` per choice or one `Failed`, stop and cancel at the next step, and after a crash a while
without service.

A script is a function from the prompt to one list of moves for each choice. When a list is at its end, the choice ends
its turn with a control token, as a model does:

    lambda prompt: [[b"High", b" water", Pause(0.5), b" soon."]] * prompt.n

Grammar, prediction and thinking budget of a prompt are the script's own to keep: it sees them, and what it says is what
comes. `Control`, `Finish` and `Predicted` are for what a model does under them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    Likelihood,
    ModelCard,
    PlainText,
    Prompt,
    PromptTooLong,
    QueueFull,
    SpecialToken,
    StreamRange,
    Tier,
    Token,
    WorkerLost,
)
from completionist.engine.frames import Stats
from completionist.engine.mailbox import Mailbox


class Pause(msgspec.Struct, frozen=True):
    """Nothing comes from this choice for `seconds`; `math.inf` holds it until it is stopped or cancelled."""

    seconds: float


class Crash(msgspec.Struct, frozen=True):
    """The engine dies under all its requests and is back after `restart_s`."""

    restart_s: float


class Control(msgspec.Struct, frozen=True):
    """The control token that the card spells so."""

    text: str


class Finish(msgspec.Struct, frozen=True):
    """The turn ends without another token: its grammar allows none, or the last control token was an end of turn."""


class Predicted(msgspec.Struct, frozen=True):
    """So many tokens of the prompt's prediction were verified and kept, and thrown away; the choice's `End` counts them."""

    accepted: int
    rejected: int


Move = bytes | Control | Finish | Predicted | Pause | Fault | Crash
Script = Callable[[Prompt], Sequence[Sequence[Move]]]

_RANKS: dict[Tier, int] = {"priority": 0, "default": 1, "flex": 2}

END_OF_TURN = SpecialToken(id=2, text="<|im_end|>", kind="control")
CARD = ModelCard(
    name="scripted",
    description="a script in place of a model",
    context_tokens=8192,
    trained_context_tokens=8192,
    vocabulary_size=65_536,
    parameters=0,
    weights_bytes=0,
    kv_bytes=0,
    streams=64,
    ranges=(StreamRange(64, 8192),),
    chat_template=(
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    bos_text="",
    eos_text=END_OF_TURN.text,
    bos_id=None,
    specials=(SpecialToken(id=1, text="<|im_start|>", kind="control"), END_OF_TURN),
    memory_kind="trim_anywhere",
    fingerprint="fp_0000000000",
    engine="scripted",
)


def friendly(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """A script that has something to say to every prompt."""
    text = (
        "Hello! Nothing is thinking here: this is the scripted engine, which plays a script in place of a model. "
        f"Your prompt came to {count_tokens(prompt)} tokens, and everything from the socket to the token stream is the "
        "same as with a model. Start the server with a model to get real answers."
    )
    return [pieces(text)] * prompt.n


def pieces(text: str) -> list[bytes]:
    """`text` cut as a tokenizer might: a word and the blanks before it are one token."""
    return [piece.encode() for piece in re.findall(r"\s*\S+|\s+$", text)]


def count_tokens(prompt: Prompt) -> int:
    """The scripted tokenizer: four characters of text are a token, and so is a control token."""
    return sum(-(-len(s.text) // 4) if isinstance(s, PlainText) else 1 for s in prompt.segments)


class ScriptedEngine:
    """Runs as many requests side by side as its card has streams; `step_s` is the time of one decode step."""

    def __init__(
        self, script: Script = friendly, *, card: ModelCard = CARD, queue_requests: int = 256, step_s: float = 0.0
    ) -> None:
        self.card = card
        self.pid: int | None = None
        """It runs in this process."""
        self.n_cancelled = 0
        self._script = script
        self._queue_requests = queue_requests
        self._step_s = step_s
        self._running: list[_Request] = []
        self._waiting: list[_Request] = []
        self._ready_at_s = -math.inf
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        return self._ready_in_s() <= 0

    @property
    def stats(self) -> Stats:
        """As of now; a request counts as one sequence."""
        running = len(self._running)
        return Stats(running=running, waiting=len(self._waiting), streams_free=self.card.streams - running)

    def submit(self, prompt: Prompt) -> Mailbox:
        prompt_tokens = count_tokens(prompt)
        if fault := self._refusal(prompt_tokens, prompt.tier):
            mailbox = Mailbox(n_choices=prompt.n, stop=_ignore, cancel=_ignore)
            mailbox.deliver(Failed(fault))
            return mailbox
        limit = min(prompt.max_tokens or self.card.context_tokens, self.card.context_tokens - prompt_tokens)
        controls = {token.text: token.id for token in self.card.specials}
        n_alternatives = prompt.sampling.n_alternatives
        choices = [_Choice(i, moves, limit, n_alternatives, controls) for i, moves in enumerate(self._script(prompt))]
        request = _Request(choices, self, _RANKS[prompt.tier])
        request.mailbox.deliver(Accepted(prompt_tokens))
        self._waiting.append(request)
        self.rouse()
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._run())
        return request.mailbox

    def rest(self, *, is_wanted: bool) -> None:
        """Its steps take nobody's time."""

    async def close(self) -> None:
        """Ends what is under way."""
        self._crash(Crash(restart_s=math.inf))
        self.rouse()
        if self._loop is not None:
            await self._loop

    def _refusal(self, prompt_tokens: int, tier: Tier) -> Fault | None:
        if not self.is_ready:
            return WorkerLost(retry_after_s=self._ready_in_s(), started=False)
        if prompt_tokens >= self.card.context_tokens:
            return PromptTooLong(prompt_tokens, self.card.context_tokens)
        queue_requests = self._queue_requests // 2 if tier == "flex" else self._queue_requests
        if len(self._running) + len(self._waiting) >= self.card.streams + queue_requests:
            return QueueFull(tier)
        return None

    def _ready_in_s(self) -> float:
        return self._ready_at_s - time.monotonic()

    def rouse(self) -> None:
        """Something changed: take the next step at once."""
        self._wake.set()

    def drop(self, request: _Request) -> None:
        """Its reader left."""
        self.n_cancelled += 1
        for requests in (self._running, self._waiting):
            if request in requests:
                requests.remove(request)
        self.rouse()

    async def _run(self) -> None:
        while self._running or self._waiting:
            self._wake.clear()
            idle_s = self._step()
            if idle_s > 0:
                await self._sleep(idle_s)
            else:
                await asyncio.sleep(self._step_s)

    async def _sleep(self, seconds: float) -> None:
        """Until something is due, or a request comes, goes or is told to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._wake.wait()

    def _step(self) -> float:
        """Every running sequence makes a move. Returns how long nothing will be due, in seconds."""
        self._admit()
        now_s = time.monotonic()
        due_s = math.inf
        for request in self._running:
            for choice in request.choices:
                if choice.is_open and not request.mailbox.is_complete:
                    due_s = min(due_s, self._advance(request, choice, now_s))
        self._running = [request for request in self._running if not request.mailbox.is_complete]
        return 0 if self._waiting and len(self._running) < self.card.streams else due_s - now_s

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.card.streams:
            request = min(self._waiting, key=lambda waiting: waiting.rank)  # of equals the first to come
            self._waiting.remove(request)
            request.mailbox.deliver(Evaluated(cached_tokens=0, cache_write_tokens=0))
            self._running.append(request)

    def _advance(self, request: _Request, choice: _Choice, now_s: float) -> float:
        """Make the next move of `choice`. Returns when the one after it is due."""
        match move := choice.next_move(now_s):
            case None:
                return choice.due_s
            case bytes() | Control():
                request.mailbox.deliver(choice.token(move))
            case Predicted():
                choice.predicted = move
            case Finish():
                request.end(choice, "end_of_turn", is_told=False)
            case Pause():
                choice.due_s = now_s + move.seconds
                return choice.due_s
            case Crash():
                self._crash(move)
            case "end_of_turn" | "length" | "stopped":
                request.end(choice, move)
            case _:
                request.mailbox.deliver(Failed(move))
        return now_s

    def _crash(self, crash: Crash) -> None:
        self._ready_at_s = time.monotonic() + crash.restart_s
        for request in [*self._running, *self._waiting]:
            if not request.mailbox.is_complete:
                request.mailbox.deliver(Failed(WorkerLost(retry_after_s=crash.restart_s, started=True)))
        self._waiting.clear()


class _Request:
    """One request under way."""

    def __init__(self, choices: list[_Choice], engine: ScriptedEngine, rank: int) -> None:
        self.choices = choices
        self.rank = rank
        self.mailbox = Mailbox(n_choices=len(choices), stop=self._stop, cancel=lambda: engine.drop(self))
        self._engine = engine

    def end(self, choice: _Choice, reason: EndReason, *, is_told: bool = True) -> None:
        """`is_told`: where the turn ends, a token says so."""
        if reason == "end_of_turn" and is_told:
            self.mailbox.deliver(Token(choice.index, END_OF_TURN.id, b""))
        choice.is_open = False
        self.mailbox.deliver(End(choice.index, reason, choice.predicted.accepted, choice.predicted.rejected))

    def _stop(self, index: int) -> None:
        self.choices[index].stop()
        self._engine.rouse()


class _Choice:
    """One sequence: where it is in its script."""

    def __init__(
        self,
        index: int,
        moves: Sequence[Move],
        max_tokens: int,
        n_alternatives: int | None,
        controls: Mapping[str, int],
    ) -> None:
        self.index = index
        self.predicted = Predicted(0, 0)
        self._n_alternatives = n_alternatives
        self._controls = controls
        self.is_open = True
        self.due_s = -math.inf
        self._is_stopped = False
        self._moves = iter(moves)
        self._tokens_left = max_tokens

    def next_move(self, now_s: float) -> Move | EndReason | None:
        """What happens to this choice now; None while it pauses."""
        if self._is_stopped:
            return "stopped"
        if self._tokens_left == 0:
            return "length"
        if self.due_s > now_s:
            return None
        return next(self._moves, "end_of_turn")

    def token(self, move: bytes | Control) -> Token:
        self._tokens_left -= 1
        is_control = isinstance(move, Control)
        text = move.text.encode() if isinstance(move, Control) else move
        token_id = self._controls[move.text] if isinstance(move, Control) else zlib.crc32(move) % CARD.vocabulary_size
        piece = b"" if is_control else text
        if self._n_alternatives is None:
            return Token(self.index, token_id, piece)
        certain = Likelihood(text, is_control=is_control, logprob=0.0)  # a script has one token at each place
        return Token(self.index, token_id, piece, certain, (certain,)[: self._n_alternatives])

    def stop(self) -> None:
        self._is_stopped = True
        self.due_s = -math.inf


def _ignore(*_: object) -> None:
    """What was refused can be neither stopped nor cancelled."""
