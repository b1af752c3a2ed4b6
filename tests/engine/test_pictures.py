"""Pictures in prompts, on the library's real path: tiny models and projectors of random weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from completionist.engine.base import (
    Caching,
    Medium,
    MediumSlot,
    Picture,
    PlainText,
    Prompt,
    Sampling,
    WorkerFault,
)
from completionist.engine.llama.capi import CData
from completionist.engine.llama.insets import Rows
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.model import ModelRefused
from completionist.engine.llama.projector import MediumFailed, Projector
from tests.engine.asking import Answer
from tests.engine.test_memory import evaluated, order, run
from tests.engine.tiny_models import WIDTH, write_multi_axis, write_plain
from tests.support.projectors import IMAGE_PIXELS, Eyes, write_projector

TOKENS: dict[Eyes, tuple[int, int]] = {"mlp": (16, 0), "phi4": (1, 0), "gemma3": (46, 16)}
"""That a small picture takes, and of these the ones of its first marker, of which the tiny vocabulary makes letters."""
BEFORE, AFTER = "Before the first picture. ", " Behind the last picture."


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def model(directory: Path) -> Path:
    return write_plain(directory / "tiny.gguf")


@pytest.fixture(scope="module")
def seeing(directory: Path, model: Path) -> Callable[[Eyes], Engine]:
    """One engine for each kind of projector."""
    engines: dict[Eyes, Engine] = {}

    def get(kind: Eyes) -> Engine:
        if kind not in engines:
            projector = write_projector(directory / f"{kind}.gguf", kind, WIDTH)
            engines[kind] = load(order(model, directory / "cache", projector_path=str(projector)))[0]
        return engines[kind]

    return get


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Picture]:
    def make(seed: int, width: int = 90, height: int = 60) -> Picture:
        path = tmp_path / f"{seed}-{width}x{height}"
        path.write_bytes(np.random.default_rng(seed).integers(0, 256, 3 * width * height, np.uint8).tobytes())
        return Picture(path=str(path), width=width, height=height)

    return make


def showing(
    *media: Medium, project: str = "default", n: int = 1, caching: Caching | None = None, more: str = ""
) -> Prompt:
    slots = [MediumSlot(i, is_breakpoint=caching is not None) for i in range(len(media))]
    return Prompt(
        project=project,
        segments=(PlainText(BEFORE), *slots, PlainText(AFTER + more)),
        media=media,
        n=n,
        max_tokens=12,
        sampling=Sampling(temperature=0.0, seed=1),
        caching=caching or Caching(),
    )


def one(engine: Engine, prompt: Prompt) -> Answer:
    return run(engine, {1: prompt})[1]


def cached(answer: Answer) -> int:
    return evaluated(answer).cached_tokens


@pytest.mark.parametrize("kind", TOKENS)
def test_the_same_picture_is_found_again_and_another_never(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture], kind: Eyes
) -> None:
    engine, (n_all, n_marker) = seeing(kind), TOKENS[kind]
    first, second, other, longer = (
        one(engine, showing(shown, project=kind, more=more))
        for shown, more in ((picture(1), ""), (picture(1), ""), (picture(2), ""), (picture(1), " And on."))
    )
    assert first.accepted is not None
    assert first.accepted.picture_tokens == n_all
    assert first.accepted.prompt_tokens == n_all + len(BEFORE + AFTER)
    assert cached(first) == 0
    assert cached(second) >= len(BEFORE) + n_all
    assert second.tokens == first.tokens
    assert cached(other) <= len(BEFORE) + n_marker
    assert other.tokens != first.tokens
    assert cached(longer) >= len(BEFORE) + n_all
    engine._memory.check()


def test_what_is_read_from_the_cache_continues_as_what_is_computed(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture]
) -> None:
    """With short text behind the picture too: its rows need no other start."""
    engine = seeing("mlp")
    for more in ("", " And what is behind it is longer.", " One more."):
        warm = one(engine, showing(picture(3), picture(4), project="shared", more=more))
        cold = one(engine, showing(picture(3), picture(4), project=f"alone{more}", more=more))
        assert warm.tokens == cold.tokens
        assert cached(cold) == 0


def test_a_breakpoint_behind_a_picture_is_kept(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture]
) -> None:
    engine, explicit = seeing("mlp"), Caching(is_explicit=True)
    first = one(engine, showing(picture(5), project="explicit", caching=explicit))
    assert evaluated(first).cache_write_tokens == len(BEFORE) + 16
    second = one(engine, showing(picture(5), project="explicit", caching=explicit, more=" And on."))
    assert cached(second) == len(BEFORE) + 16


def test_text_beside_pictures_is_what_it_is_alone(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture]
) -> None:
    engine = seeing("gemma3")
    alone = one(engine, showing(project="alone"))
    together = run(
        engine,
        {
            1: showing(picture(6), project="a"),
            2: showing(project="b"),
            3: showing(picture(7), picture(8), project="c"),
        },
    )
    assert together[2].tokens == alone.tokens
    assert together[1].tokens == one(engine, showing(picture(6), project="d")).tokens
    assert together[3].tokens == one(engine, showing(picture(7), picture(8), project="e")).tokens


def test_choices_share_a_picture(seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture]) -> None:
    engine = seeing("phi4")
    alone = one(engine, showing(picture(9, 700, 500), project="alone"))
    assert alone.accepted is not None
    assert alone.accepted.picture_tokens == 5 * 4
    several = one(engine, showing(picture(9, 700, 500), project="several", n=4))
    assert list(several.tokens.values()) == [alone.tokens[0]] * 4


def test_a_large_picture_is_evaluated_in_several_calls(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture]
) -> None:
    answer = one(seeing("phi4"), showing(picture(10, 2304, 2176), project="large"))
    assert answer.accepted is not None
    assert answer.accepted.picture_tokens == 18 * 17
    assert len(answer.tokens[0]) == 12


class Gate:
    """Encoding waits until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened, self.n_begun = threading.Event(), 0
        encode = Projector.encode

        def gated(projector: Projector, chunk: CData) -> Rows:
            self.n_begun += 1
            assert self._opened.wait(timeout=30)
            return encode(projector, chunk)

        monkeypatch.setattr(Projector, "encode", gated)

    def open(self) -> None:
        self._opened.set()


def test_other_answers_go_on_while_a_picture_is_encoded(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, gate = seeing("mlp"), Gate(monkeypatch)
    woken = threading.Event()
    engine.rouse_by(woken.set)
    answers = {1: Answer(), 2: Answer()}

    def step() -> None:
        engine.step()
        for request_id, event in engine.take_events():
            answers[request_id].add(event)

    def waits() -> bool:
        return engine.must_wait

    engine.submit(1, showing(picture(11), project="encoded"))
    while answers[1].accepted is None or not gate.n_begun:
        step()
    engine.submit(2, showing(project="decoded"))
    while not answers[2].ends:
        step()
    assert answers[1].evaluated is None
    step()
    assert waits()
    woken.clear()
    gate.open()
    assert woken.wait(timeout=30)
    assert not waits()
    while not answers[1].ends:
        step()
    assert len(answers[1].tokens[0]) == 12


def test_leaving_while_pictures_are_encoded_leaves_nothing(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, gate = seeing("mlp"), Gate(monkeypatch)
    engine.submit(1, showing(picture(12), picture(13), project="left"))
    while not gate.n_begun:
        engine.step()
    engine.cancel(1)
    assert (engine.stats().running, engine.stats().waiting) == (0, 0)
    gate.open()
    engine.take_events()
    assert len(one(engine, showing(picture(14), project="next")).tokens[0]) == 12
    assert gate.n_begun == 2, "what had not begun was not encoded"
    engine._memory.check()


def test_a_picture_that_cannot_be_encoded_ends_its_request_alone(
    seeing: Callable[[Eyes], Engine], picture: Callable[..., Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = seeing("mlp")

    def failing(_: Projector, __: CData) -> Rows:
        raise MediumFailed("no")

    monkeypatch.setattr(Projector, "encode", failing)
    answers = run(engine, {1: showing(picture(15), project="failing"), 2: showing(project="failing")})
    assert isinstance(answers[1].fault, WorkerFault)
    assert answers[2].fault is None
    gone = picture(16)
    Path(gone.path).unlink()
    assert isinstance(one(engine, showing(gone)).fault, WorkerFault)


def test_what_the_model_cannot_use_is_refused_at_load(
    directory: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(projector: Path, beside: Path = model) -> str:
        with pytest.raises(ModelRefused) as caught:
            load(order(beside, directory / "cache", projector_path=str(projector)))
        return str(caught.value)

    assert "mismatch between text model" in refused(write_projector(directory / "wide.gguf", "mlp", 2 * WIDTH))
    assert "it cannot be loaded" in refused(model)
    assert "no projector at" in refused(directory / "none.gguf")
    monkeypatch.setitem(IMAGE_PIXELS, "gemma3", 14 * 23)
    assert "529 of its tokens must be evaluated at once, at most 512 can" in refused(
        write_projector(directory / "whole.gguf", "gemma3", WIDTH)
    )
    two_dimensional = write_projector(directory / "qwen2vl.gguf", "qwen2vl_merger", WIDTH)
    reason = refused(two_dimensional, write_multi_axis(directory / "axes.gguf"))
    assert "positions in two dimensions (M-RoPE) are not supported" in reason
    assert 'with projector = "none" the model answers to text' in reason


def test_the_projector_is_part_of_the_fingerprint(directory: Path, model: Path) -> None:
    projector = write_projector(directory / "own.gguf", "mlp", WIDTH)
    cards = [
        load(order(model, directory / "cache", projector_path=path))[1]
        for path in (None, str(projector), str(projector))
    ]
    assert [card.sight is None for card in cards] == [True, False, False]
    assert cards[0].fingerprint != cards[1].fingerprint == cards[2].fingerprint
