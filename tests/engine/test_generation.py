"""A real model, shortened, through the public seam: what comes out, in which order, and what is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from completionist.engine.base import GrammarSpec, PlainText, Prompt, PromptTooLong, QueueFull, Sampling, Token
from completionist.engine.client import EngineClient
from completionist.engine.llama.capi import CData, Native, ffi
from completionist.engine.llama.library import find_library
from completionist.engine.llama.model import Model
from tests.engine.asking import IM_END, Answer, ask, chat, collect, prompt, until
from tests.engine.conftest import CONTEXT_TOKENS, STREAMS

pytestmark = pytest.mark.model

QUESTIONS = (
    "What is the capital of France?",
    "Count from one to ten.",
    "Write a haiku about the sea. Wörter, 漢字 and emoji 🙂 too!",
    "def fibonacci(n):",
)


class BareLoop:
    """The library used as directly as possible: one sequence, one call for the prompt, then one a token."""

    def __init__(self, path: Path) -> None:
        native = Native(find_library().path)
        self.c = native.c
        self.model = Model(native, path)
        params = self.c.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT_TOKENS, 512, 512
        params.flash_attn_type = 1  # as the server has it in streams this short
        params.n_threads = params.n_threads_batch = 1
        self.context = self.c.llama_init_from_model(self.model.handle, params)

    def greedy(self, tokens: list[int], n: int) -> list[int]:
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        generated: list[int] = []
        position = 0
        while len(generated) < n:
            token = self._evaluate(tokens, position)
            position += len(tokens)
            generated.append(token)
            if self.model.ends_turn(token):
                break
            tokens = [token]
        return generated

    def _evaluate(self, tokens: list[int], first: int) -> int:
        n = len(tokens)
        batch: CData = ffi.new("llama_batch *")
        arrays = (
            ffi.new("llama_token[]", tokens),
            ffi.new("llama_pos[]", list(range(first, first + n))),
            ffi.new("int32_t[]", [1] * n),
            ffi.new("llama_seq_id[]", [0]),
            ffi.new("int8_t[]", [0] * (n - 1) + [1]),
        )
        sequences = ffi.new("llama_seq_id *[]", [arrays[3]] * n)
        batch.n_tokens, batch.token, batch.pos, batch.n_seq_id = n, arrays[0], arrays[1], arrays[2]
        batch.seq_id, batch.logits = sequences, arrays[4]
        assert self.c.llama_decode(self.context, batch[0]) == 0
        row = self.c.llama_get_logits_ith(self.context, -1)
        return int(np.array(ffi.unpack(row, self.model.vocabulary_size)).argmax())


@pytest.fixture(scope="module")
def bare(short_model_path: Path) -> BareLoop:
    return BareLoop(short_model_path)


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_text_is_that_of_the_bare_loop(
    question: str, engine: EngineClient, runner: asyncio.Runner, bare: BareLoop
) -> None:
    answer = runner.run(ask(engine, prompt(question, max_tokens=24)))
    expected = bare.greedy(bare.model.tokenise(chat(question))[0], 24)
    assert answer.tokens[0] == expected
    assert answer.pieces[0] == b"".join(map(bare.model.piece, expected))
    assert answer.ends == {0: "end_of_turn" if bare.model.ends_turn(expected[-1]) else "length"}


def test_requests_that_run_together_get_what_they_get_alone(engine: EngineClient, runner: asyncio.Runner) -> None:
    async def together() -> list[Answer]:
        return await asyncio.gather(*(ask(engine, prompt(question)) for question in QUESTIONS))

    alone = [runner.run(ask(engine, prompt(question))).tokens for question in QUESTIONS]
    assert [answer.tokens for answer in runner.run(together())] == alone


def test_choices_share_one_prompt_and_run_in_waves(engine: EngineClient, runner: asyncio.Runner) -> None:
    before = engine.stats.prompt_tokens_total
    answer = runner.run(ask(engine, prompt(QUESTIONS[0], n=2 * STREAMS + 1, max_tokens=4)))
    assert answer.accepted is not None
    assert answer.evaluated is not None
    n_new = answer.accepted.prompt_tokens - answer.evaluated.cached_tokens
    assert engine.stats.prompt_tokens_total - before == n_new
    assert sorted(answer.ends) == list(range(2 * STREAMS + 1))
    assert len({tuple(tokens) for tokens in answer.tokens.values()}) == 1  # greedy: all the same


def test_a_choice_draws_from_seed_and_index_alone(engine: EngineClient, runner: asyncio.Runner) -> None:
    def sampled(seed: int, n: int) -> dict[int, list[int]]:
        request = prompt("Tell me a story.", n=n, temperature=1.0, top_p=0.95, seed=seed)
        return runner.run(ask(engine, request)).tokens

    first = sampled(seed=-5, n=3)
    assert sampled(seed=-5, n=3) == first
    assert sampled(seed=-5, n=1)[0] == first[0]
    assert sampled(seed=6, n=1)[0] != first[0]
    assert len({tuple(tokens) for tokens in first.values()}) == 3


def test_the_end_of_turn_token_is_counted_and_has_no_bytes(engine: EngineClient, runner: asyncio.Runner) -> None:
    asked = prompt(QUESTIONS[0], max_tokens=40)
    sampling = Sampling(temperature=0, seed=1, logit_bias=((IM_END.id, 100),))
    answer = runner.run(ask(engine, msgspec.structs.replace(asked, sampling=sampling)))
    assert answer.ends == {0: "end_of_turn"}
    assert answer.tokens == {0: [IM_END.id]}
    assert answer.pieces == {0: b""}


def test_a_prompt_must_leave_room_for_one_token(engine: EngineClient, runner: asyncio.Runner) -> None:
    def of_length(n_tokens: int) -> Prompt:
        sampling = Sampling(temperature=0, seed=1)
        return Prompt(project="default", segments=(IM_END,) * n_tokens, sampling=sampling)

    full = runner.run(ask(engine, of_length(CONTEXT_TOKENS)))
    assert full.fault == PromptTooLong(prompt_tokens=CONTEXT_TOKENS, context_tokens=CONTEXT_TOKENS)
    almost = runner.run(ask(engine, of_length(CONTEXT_TOKENS - 1)))
    assert len(almost.tokens[0]) == 1
    assert almost.ends[0] in ("length", "end_of_turn")


def test_an_answer_ends_at_the_end_of_the_context(engine: EngineClient, runner: asyncio.Runner) -> None:
    text = "one two three " * 155
    answer = runner.run(ask(engine, prompt(text, max_tokens=None, temperature=1.5)))
    assert answer.accepted is not None
    total = answer.accepted.prompt_tokens + len(answer.tokens[0])
    assert total == CONTEXT_TOKENS if answer.ends[0] == "length" else total < CONTEXT_TOKENS


def test_stop_ends_one_choice_and_leaves_the_others(engine: EngineClient, runner: asyncio.Runner) -> None:
    async def stop_first() -> Answer:
        generation = engine.submit(prompt("Count to a hundred.", n=2, max_tokens=200))
        answer = Answer()
        async for event in generation:
            answer.add(event)
            if isinstance(event, Token) and event.index == 0:
                generation.stop(0)
                generation.stop(0)
        return answer

    answer = runner.run(stop_first())
    assert answer.ends == {0: "stopped", 1: "length"}
    assert len(answer.tokens[0]) < len(answer.tokens[1]) == 200


def test_cancelling_frees_the_sequence_before_its_end(engine: EngineClient, runner: asyncio.Runner) -> None:
    """At the next step, which is seen in test_proposals.py: here it is this process that may be late."""
    n_before = engine.stats.generated_tokens_total

    async def cancel_midway() -> list[object]:
        generation = engine.submit(prompt("Count to a thousand.", n=2, max_tokens=300))
        async for event in generation:
            if isinstance(event, Token):
                break
        generation.cancel()
        generation.cancel()
        await until(lambda: not engine.stats.running)
        return [event async for event in generation]

    assert runner.run(cancel_midway()) == []
    assert engine.stats.generated_tokens_total - n_before < 2 * 300
    assert engine.stats.streams_free == STREAMS


def test_the_queue_is_bounded(engine: EngineClient, runner: asyncio.Runner) -> None:
    async def crowd() -> list[Answer]:
        return await asyncio.gather(*(ask(engine, prompt("Count.", max_tokens=40)) for _ in range(STREAMS + 3 + 2)))

    answers = runner.run(crowd())
    assert sum(answer.fault == QueueFull() for answer in answers) == 2
    assert sum(answer.ends == {0: "length"} for answer in answers) == STREAMS + 3


def test_text_that_looks_like_a_special_token_stays_text(engine: EngineClient, runner: asyncio.Runner) -> None:
    def n_tokens(text: str) -> int:
        segments = (PlainText(text),)
        request = Prompt(project="default", segments=segments, max_tokens=1, sampling=Sampling(temperature=0, seed=1))
        accepted = runner.run(ask(engine, request)).accepted
        assert accepted is not None
        return accepted.prompt_tokens

    for special in engine.card.specials:
        if special.kind == "control":
            assert n_tokens(special.text) > 1


def test_a_slow_reader_loses_nothing(engine: EngineClient, runner: asyncio.Runner) -> None:
    async def read_late() -> Answer:
        generation = engine.submit(prompt(QUESTIONS[1], max_tokens=12))
        await until(lambda: generation.is_complete)
        return await collect(generation)

    assert runner.run(read_late()).tokens == runner.run(ask(engine, prompt(QUESTIONS[1]))).tokens


def test_a_worker_with_nothing_else_to_do_wakes_for_what_is_prepared(
    engine: EngineClient, runner: asyncio.Runner
) -> None:
    """A grammar that nobody has compiled yet, and a prompt that takes long to be cut into tokens."""
    plain = prompt("Yes or no?", max_tokens=8)
    held = msgspec.structs.replace(plain, grammar=GrammarSpec('start: "yes" | "no"', has_client_rules=True))
    answer = runner.run(ask(engine, held))
    assert answer.pieces[0] in (b"yes", b"no")
    assert answer.ends == {0: "end_of_turn"}
    refused = runner.run(ask(engine, prompt("word and more " * 2_000)))
    assert isinstance(refused.fault, PromptTooLong)


def test_what_is_cancelled_while_it_is_prepared_leaves_nothing(engine: EngineClient, runner: asyncio.Runner) -> None:
    async def leave() -> Answer:
        counting = GrammarSpec(r"start: /[0-9]{4}/", has_client_rules=True)
        long = engine.submit(prompt("word and more " * 20_000))
        held = engine.submit(msgspec.structs.replace(prompt("A year?"), grammar=counting))
        long.cancel()
        held.cancel()
        return await ask(engine, prompt("And now?", max_tokens=2))

    assert runner.run(leave()).ends == {0: "length"}
    assert (engine.stats.running, engine.stats.waiting, engine.stats.streams_free) == (0, 0, STREAMS)


def test_the_card_tells_what_was_loaded(engine: EngineClient) -> None:
    card = engine.card
    assert card.context_tokens == CONTEXT_TOKENS
    assert card.trained_context_tokens == 8192
    assert card.streams == STREAMS
    assert (card.bos_text, card.eos_text, card.bos_id) == ("<|im_start|>", "<|im_end|>", None)
    assert card.memory_kind == "trim_anywhere"
    assert len(card.fingerprint) == len("fp_") + 10
    assert card.chat_template is not None
    assert "<|im_start|>" in card.chat_template
