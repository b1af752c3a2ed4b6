"""Sound in prompts, on the library's real path: a tiny model and projectors of random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from completionist.engine.base import Hearing, Picture, Sound, WorkerFault
from completionist.engine.llama.loading import load
from completionist.engine.llama.loop import Engine
from tests.engine.test_memory import evaluated, order, run
from tests.engine.test_pictures import AFTER, BEFORE, cached, one, showing
from tests.engine.tiny_models import WIDTH, write_plain
from tests.support.projectors import Kind, write_projector

RATE_HZ = 16_000
TOKENS: dict[Kind, tuple[int, int]] = {"ultravox": (0, 30), "voxtral": (len("[BEGIN_AUDIO]"), 15), "both": (0, 30)}
"""Those of the first marker, of which the tiny vocabulary makes letters, and those of every 30 s."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def hearing(directory: Path) -> Callable[[Kind], Engine]:
    """One engine for each kind of projector."""
    engines: dict[Kind, Engine] = {}
    model = write_plain(directory / "tiny.gguf")

    def get(kind: Kind) -> Engine:
        if kind not in engines:
            projector = write_projector(directory / f"{kind}.gguf", kind, WIDTH)
            engines[kind], card = load(order(model, directory / "cache", projector_path=str(projector)))
            assert card.hearing == Hearing(rate_hz=RATE_HZ)
            assert (card.sight is not None) == (kind == "both")
        return engines[kind]

    return get


@pytest.fixture
def sound(tmp_path: Path) -> Callable[..., Sound]:
    def make(pitch: int, seconds: float = 20.0) -> Sound:
        path, n_samples = tmp_path / f"{pitch}-{seconds}", int(seconds * RATE_HZ)
        tone = np.sin(np.arange(n_samples) * (pitch * 0.3))
        path.write_bytes(tone.astype(np.float32).tobytes())
        return Sound(path=str(path), n_samples=n_samples)

    return make


@pytest.mark.parametrize("kind", TOKENS)
def test_the_same_sound_is_found_again_and_another_never(
    hearing: Callable[[Kind], Engine], sound: Callable[..., Sound], kind: Kind
) -> None:
    engine, (n_marker, n_window) = hearing(kind), TOKENS[kind]
    first, again, other, longer = (
        one(engine, showing(heard, project=kind, more=more))
        for heard, more in ((sound(1), ""), (sound(1), ""), (sound(2), ""), (sound(1), " And on."))
    )
    n_all = n_marker + n_window
    assert first.accepted is not None
    assert (first.accepted.sound_tokens, first.accepted.picture_tokens) == (n_all, 0)
    assert first.accepted.prompt_tokens == n_all + len(BEFORE + AFTER)
    assert cached(first) == 0
    assert cached(again) >= len(BEFORE) + n_all
    assert again.tokens == first.tokens
    assert evaluated(first).encode_s > 0 == evaluated(again).encode_s
    assert cached(other) <= len(BEFORE) + n_marker
    assert other.tokens != first.tokens
    assert cached(longer) >= len(BEFORE) + n_all
    engine._memory.check()


def test_longer_sound_is_heard_in_windows(hearing: Callable[[Kind], Engine], sound: Callable[..., Sound]) -> None:
    """What they have in common at their start is found again."""
    engine = hearing("ultravox")
    longer = one(engine, showing(sound(3, 31.0), project="long"))
    assert longer.accepted is not None
    assert longer.accepted.sound_tokens == 2 * 30
    assert cached(one(engine, showing(sound(3, 31.0), project="long", more=" And on."))) >= len(BEFORE) + 60


def test_text_beside_sound_is_what_it_is_alone(hearing: Callable[[Kind], Engine], sound: Callable[..., Sound]) -> None:
    engine = hearing("both")
    alone = one(engine, showing(project="alone"))
    together = run(
        engine,
        {
            1: showing(sound(4), project="a"),
            2: showing(project="b"),
            3: showing(sound(5), sound(6), project="c", n=2),
        },
    )
    assert together[2].tokens == alone.tokens
    assert together[1].tokens == one(engine, showing(sound(4), project="d")).tokens
    assert together[3].tokens[0] == together[3].tokens[1]
    assert together[3].tokens[0] == one(engine, showing(sound(5), sound(6), project="e")).tokens[0]


def test_a_picture_and_a_sound_stand_in_one_prompt(
    hearing: Callable[[Kind], Engine], sound: Callable[..., Sound], tmp_path: Path
) -> None:
    pixels = tmp_path / "pixels"
    pixels.write_bytes(np.random.default_rng(7).integers(0, 256, 3 * 90 * 60, np.uint8).tobytes())
    picture = Picture(path=str(pixels), width=90, height=60)
    engine = hearing("both")
    first, swapped = (one(engine, showing(*media)) for media in ((picture, sound(7)), (sound(7), picture)))
    for answer in (first, swapped):
        assert answer.accepted is not None
        assert (answer.accepted.picture_tokens, answer.accepted.sound_tokens) == (16, 30)
    assert first.tokens != swapped.tokens


def test_a_file_that_is_not_the_sound_ends_its_request_alone(
    hearing: Callable[[Kind], Engine], sound: Callable[..., Sound]
) -> None:
    short = Sound(path=sound(8).path, n_samples=9_000)
    answers = run(hearing("ultravox"), {1: showing(short), 2: showing()})
    assert isinstance(answers[1].fault, WorkerFault)
    assert answers[2].fault is None
