"""The real source, the real compiler: what comes out says the same as the wheel's library.

Compiling takes minutes, so the build is kept in the user's cache, beside what the user has built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from completionist.cache import cache_directory
from completionist.engine.llama.build import BuildProgress, build
from completionist.engine.llama.library import Library, find_library, native_library
from completionist.engine.llama.show import show
from completionist.models.installed import resolve
from completionist.settings import DEFAULT_MODEL, EngineSettings, ModelSettings

pytestmark = [pytest.mark.large, pytest.mark.model, pytest.mark.timeout(3600)]

MAX_GAP = 1.5
"""Logits between two candidates that another order of additions may swap."""

# `python -c … LIBRARY MODEL PROMPT`: the greedy tokens, and the best candidates of each step with their logits.
GENERATE = """
import sys
from pathlib import Path
import msgspec
from bench.bare import BareContext, tokenise
from completionist.engine.llama.capi import Native
from completionist.engine.llama.model import Model
model = Model(Native(Path(sys.argv[1])), Path(sys.argv[2]))
context = BareContext(model, n_sequences=1, n_cells=256, threads=2)
prompt = tokenise(model, sys.argv[3])
row, steps = context.prefill(0, prompt), []
for done in range(64):
    best = [int(token) for token in row.argsort()[::-1][:20]]
    steps.append([[token, float(row[token])] for token in best])
    row = context.step(best[:1], len(prompt) + done)[0]
print(msgspec.json.encode(steps).decode())
"""

PROMPTS = ["What is the capital of France?", "Tell me a story about a lighthouse.", "List five uses of a paperclip."]


@pytest.fixture(scope="module")
def settings() -> ModelSettings:
    return ModelSettings(cache_dir=cache_directory() / "tests")


@pytest.fixture(scope="module")
def native(settings: ModelSettings) -> Library:
    assert settings.cache_dir is not None
    if library := native_library(settings.cache_dir):
        return library
    seen: list[BuildProgress] = []
    library = build(settings, "cpu", seen.append)
    assert [progress.percent for progress in seen if progress.stage == "compiling"][-1] == 100
    return library


def test_the_build_is_for_this_processor(native: Library, settings: ModelSettings) -> None:
    report = show(EngineSettings(), settings)
    assert report.library == native
    assert "LLAMAFILE" not in report.system_info


@pytest.mark.parametrize("question", PROMPTS)
def test_it_says_what_the_wheels_library_says(native: Library, tmp_path: Path, question: str) -> None:
    """The same tokens up to a near tie: the two add numbers in different orders, so only near ties may fall otherwise."""
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    ours, wheels = (steps(library, prompt) for library in (native, find_library(cache_dir=tmp_path)))
    for ours_at, wheels_at in zip(ours, wheels, strict=True):
        (token, _), (_, best) = ours_at[0], wheels_at[0]
        assert best - dict(wheels_at)[token] <= MAX_GAP
        if token != wheels_at[0][0]:
            return


def steps(library: Library, prompt: str) -> list[list[tuple[int, float]]]:
    command = [
        sys.executable,
        "-c",
        GENERATE,
        str(library.path),
        str(resolve(DEFAULT_MODEL, ModelSettings()).path),
        prompt,
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "GOMP_SPINCOUNT": "1000"}  # as in the worker: spinning threads starve a busy machine
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return msgspec.json.decode(run.stdout, type=list[list[tuple[int, float]]])
