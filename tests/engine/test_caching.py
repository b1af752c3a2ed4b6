"""What a request asks of the prefix cache shows in what is evaluated again (contract 8.2, 13.5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from completionist.engine.base import Caching, ControlToken, Evaluated, PlainText, Prompt, Sampling, Segment, Tier
from completionist.engine.llama.blocks import LEAST_ROWS
from completionist.engine.llama.keeping import Keeping
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.asking import has_work
from tests.engine.test_memory import STORY, order, run

pytestmark = pytest.mark.model

START, END = ControlToken(1), ControlToken(2)
EXPLICIT = Caching(is_explicit=True)


@pytest.fixture(scope="module")
def engine(short_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One stream, so that every request moves what the one before left."""
    changes: dict[str, object] = {"streams": 1, "stream_tokens": 512, "long_streams": 0}
    engine = load(order(short_model_path, tmp_path_factory.mktemp("caching"), **changes))[0]
    yield engine
    engine._memory.check()


@pytest.fixture
def clock(engine: Engine) -> Iterator[list[float]]:
    """Sets the cache's time; what was in the cache before is gone, and so is what the test left."""
    prefixes = engine._memory.prefixes
    real, now_s = prefixes.now_s, [0.0]
    empty(engine)
    prefixes.now_s, prefixes._swept_s = lambda: now_s[0], -1000.0
    yield now_s
    empty(engine)
    prefixes.now_s = real


def empty(engine: Engine) -> None:
    memory = engine._memory
    for entry in list(memory.prefixes.entries()):
        pool, stream = entry.pool, entry.stream
        memory._unlist(entry, keep=False)
        if pool is not None:
            pool.context.forget(stream)
    memory.check()
    assert not memory.prefixes.n_entries


def story(name: str, n: int = 2) -> str:
    return f"This is the story of {name}. " + STORY * n


def prompt(*texts: str, caching: Caching | None = None, marked: int = 0, n: int = 1) -> Prompt:
    """A user turn; the first `marked` texts end at a breakpoint each."""
    head = "user\n"
    ends = [len(head + "".join(texts[: i + 1]).rstrip()) for i in range(marked)]
    run_of_text = PlainText(head + "".join(texts), tuple(ends))
    segments: tuple[Segment, ...] = (START, run_of_text, END, PlainText("\n"), START, PlainText("assistant\n"))
    return Prompt(
        project="p", segments=segments, n=n, max_tokens=1, sampling=Sampling(seed=1, temperature=0),
        caching=caching or Caching(),
    )  # fmt: skip


def evaluated(engine: Engine, one: Prompt) -> tuple[int, int, int]:
    """Prompt tokens, those from the cache, those newly kept."""
    answer = run(engine, {1: one})[1]
    assert answer.accepted is not None
    found = answer.evaluated
    assert isinstance(found, Evaluated)
    assert found.cached_tokens + found.cache_write_tokens <= answer.accepted.prompt_tokens
    return answer.accepted.prompt_tokens, found.cached_tokens, found.cache_write_tokens


def position(engine: Engine, *texts: str) -> int:
    """Tokens before the end of these texts."""
    return len(engine._model.tokenise((START, PlainText("user\n" + "".join(texts).rstrip())))[0])


def test_explicit_mode_without_breakpoints_reads_and_writes_nothing(engine: Engine) -> None:
    text = story("explicit silence")
    for _ in range(2):
        assert evaluated(engine, prompt(text, caching=EXPLICIT))[1:] == (0, 0)
    n_prompt, n_cached, n_written = evaluated(engine, prompt(text))
    assert n_cached < 10
    assert n_written == n_prompt - n_cached
    assert evaluated(engine, prompt(text, caching=EXPLICIT))[1:] == (0, 0), "although it is all there"


def test_explicit_mode_reads_and_writes_up_to_breakpoints(engine: Engine) -> None:
    start, end = story("breakpoints"), " And that is all. " * 14
    first, again = prompt(start, end, caching=EXPLICIT, marked=1), prompt(start, "?" * 90, caching=EXPLICIT, marked=1)
    n = position(engine, start)
    assert evaluated(engine, first)[1:] == (0, n)
    assert evaluated(engine, again)[1:] == (n, 0)
    assert evaluated(engine, first)[1:] == (n, 0), "nothing behind the breakpoint was kept"
    n_prompt, n_cached, n_written = evaluated(engine, prompt(start, end))
    n_aligned = n // engine._memory._block_rows * engine._memory._block_rows
    assert (n_cached, n_written) == (n_aligned, n_prompt - n_aligned)
    assert evaluated(engine, first)[1:] == (n, 0), "all of it is there, and it reads to the breakpoint"
    assert evaluated(engine, prompt(start, end))[1] == least_cached(engine, n_prompt)


def least_cached(engine: Engine, n_prompt: int) -> int:
    """Of a prompt that is there as a whole."""
    block_rows = engine._memory._block_rows
    return (n_prompt - max(LEAST_ROWS, block_rows)) // block_rows * block_rows


def test_several_breakpoints_grow_with_the_conversation(engine: Engine) -> None:
    one, two, three = story("first things"), story("second things"), story("third things")
    n_one, n_two = position(engine, one), position(engine, one, two)
    assert evaluated(engine, prompt(one, three, caching=EXPLICIT, marked=1))[1:] == (0, n_one)
    assert evaluated(engine, prompt(one, two, three, caching=EXPLICIT, marked=2))[1:] == (n_one, n_two - n_one)
    assert evaluated(engine, prompt(one, two, "end" * 90, caching=EXPLICIT, marked=2))[1:] == (n_two, 0)


def test_a_breakpoint_near_the_end_reads_all_but_what_is_always_evaluated(engine: Engine) -> None:
    text = story("the very end")
    one = prompt(text, caching=EXPLICIT, marked=1)
    assert evaluated(engine, one)[1:] == (0, position(engine, text))
    n_prompt, n_cached, _ = evaluated(engine, one)
    assert n_cached == min(position(engine, text), n_prompt - max(LEAST_ROWS, engine._memory._block_rows))


def test_choices_share_the_prompt_in_explicit_mode_too(engine: Engine) -> None:
    text, end = story("three choices"), " Well? " * 40
    n = position(engine, text)
    assert evaluated(engine, prompt(text, end, caching=EXPLICIT, marked=1, n=3))[1:] == (0, n)
    assert evaluated(engine, prompt(text, end, caching=EXPLICIT, marked=1, n=3))[1:] == (n, 0)


def test_a_key_never_prevents_a_hit(engine: Engine) -> None:
    text = story("keys")
    n_prompt, *_ = evaluated(engine, prompt(text, caching=Caching(key="a")))
    assert evaluated(engine, prompt(text, caching=Caching(key="b")))[1] == least_cached(engine, n_prompt)


def test_tiers_get_the_stream_in_their_order(engine: Engine) -> None:
    tiers: tuple[Tier, ...] = ("default", "flex", "default", "priority", "flex")
    for request_id, tier in enumerate(tiers):
        one = msgspec.structs.replace(prompt(story(f"tier {request_id}", 1)), tier=tier)
        engine.submit(request_id, one)
        if request_id == 0:
            engine.step()  # it has the stream before the others come
    order = [request_id for request_id, event in engine.take_events() if isinstance(event, Evaluated)]
    while has_work(engine):
        engine.step()
        order += [request_id for request_id, event in engine.take_events() if isinstance(event, Evaluated)]
    assert order == [0, 3, 2, 1, 4]


@pytest.mark.parametrize(
    ("caching", "kept_s", "gone_s"),
    [
        (Caching(max_age_s=3600.0, max_idle_s=600.0), 599.0, 600.0),
        (Caching(max_age_s=86_400.0), 86_399.0, 86_400.0),
        (Caching(max_age_s=3600.0, max_idle_s=600.0, min_age_s=1800.0), 1799.0, 1800.0),
    ],
)
def test_what_is_too_old_is_evaluated_again(
    engine: Engine, clock: list[float], caching: Caching, kept_s: float, gone_s: float
) -> None:
    text = story("old age")
    n_prompt, _, _ = evaluated(engine, prompt(text, caching=caching))
    evaluated(engine, prompt(story("something else")))  # moves it to host memory
    clock[0] = kept_s - 2
    engine.tidy()
    clock[0] = kept_s
    engine.tidy()
    assert max(len(entry.tokens) for entry in engine._memory.prefixes.entries()) >= n_prompt
    clock[0] = gone_s + 1
    engine.tidy()
    assert evaluated(engine, prompt(text))[1] < 10


def test_what_is_left_in_a_stream_grows_old_too(engine: Engine, clock: list[float]) -> None:
    text = story("idleness")
    evaluated(engine, prompt(text, caching=Caching(max_idle_s=600.0)))
    clock[0] = 601.0
    engine.tidy()
    engine._memory.check()
    assert evaluated(engine, prompt(text))[1] == 0


def squeezed(engine: Engine, wanted: Caching, *, uses_key_again: bool = False) -> int:
    """Tokens found again of a prompt that was first of many, when there is room for three."""
    prefixes = engine._memory.prefixes
    budget, names = prefixes.budget_bytes, ("the fox", "the hen", "the cow")
    try:
        evaluated(engine, prompt(story("the cat", 4), caching=wanted))
        evaluated(engine, prompt(story("the dog", 4), caching=wanted))
        n_bytes = next(entry.state.n_bytes for entry in prefixes.entries() if entry.state)
        prefixes.budget_bytes = n_bytes * 7 // 2
        for name in names:
            evaluated(engine, prompt(story(name, 4)))
            if uses_key_again:
                evaluated(engine, prompt(story("the dog", 4), caching=wanted))
        return evaluated(engine, prompt(story("the cat", 4)))[1]
    finally:
        prefixes.budget_bytes = budget


@pytest.mark.usefixtures("clock")
def test_what_was_asked_to_stay_goes_last(engine: Engine) -> None:
    assert squeezed(engine, Caching(min_age_s=1800.0)) > 30


@pytest.mark.usefixtures("clock")
def test_a_short_prompt_that_was_asked_to_stay_is_worth_a_copy(engine: Engine) -> None:
    n_prompt, *_ = evaluated(engine, prompt(story("the ant", 1), caching=Caching(min_age_s=1800.0)))
    evaluated(engine, prompt(story("the ape", 1)))
    assert evaluated(engine, prompt(story("the ant", 1), "!" * 90))[1] >= n_prompt - 16


@pytest.mark.usefixtures("clock")
def test_of_prompts_that_share_a_long_start_one_copy_is_kept(engine: Engine) -> None:
    for ending in ("One?", "Two?", "Three?"):
        evaluated(engine, prompt(story("the gull", 4), ending))
        evaluated(engine, prompt(story("the tern", 4), ending))
    copies = [entry for entry in engine._memory.prefixes.entries() if entry.state]
    assert len(copies) == 2
    n_prompt, n_cached, _ = evaluated(engine, prompt(story("the gull", 4), "Four?"))
    assert n_cached > n_prompt - 24


@pytest.mark.usefixtures("clock")
def test_using_one_prompt_of_a_key_keeps_the_others(engine: Engine) -> None:
    assert squeezed(engine, Caching(key="animals"), uses_key_again=True) > 30


@pytest.mark.usefixtures("clock")
def test_without_a_key_every_prompt_stands_alone(engine: Engine) -> None:
    assert squeezed(engine, Caching(), uses_key_again=True) < 10


def test_the_latest_eighty_breakpoints_are_looked_up() -> None:
    keeping = Keeping(EXPLICIT, tuple(range(10, 1010, 10)))
    assert keeping.n_readable(5000) == 1000
    assert keeping.n_readable(214) == 210
    assert keeping.n_readable(209) == 0
    assert Keeping(Caching(), (10,)).n_readable(209) == 209


def test_what_cannot_be_cut_is_not_kept() -> None:
    keeping = Keeping(EXPLICIT, (10, 20))
    assert keeping.n_kept(19, can_trim=True) == 10
    assert keeping.n_kept(19, can_trim=False) == 0
    assert Keeping().n_kept(19, can_trim=False) == 19
