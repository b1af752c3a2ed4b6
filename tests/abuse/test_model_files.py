"""Row 57 of the catalogue: a model file that is wrong, or is changed while it is loaded.

What a pull does about digests, cut files and names that lead elsewhere is in `tests/models`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from random import Random

import msgspec
import pytest

from completionist.engine.client import EngineClient, EngineStartFailed
from completionist.engine.llama.launch import launch
from completionist.models.gguf import BrokenModelFile
from completionist.settings import EngineSettings, ModelSettings, ServedSettings, Settings
from completionist.stock import Stock
from tests.engine.asking import ask, prompt
from tests.engine.tiny_models import write_plain

SETTINGS = EngineSettings(streams=2, context_tokens=256)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def patched(path: Path, key: str, value: int) -> bytes:
    content, name = path.read_bytes(), key.encode()
    at = content.index(name) + len(name) + 4
    return content[:at] + value.to_bytes(4, "little") + content[at + 4 :]


def loading_fails(path: Path) -> str:
    async def scenario() -> None:
        engine = EngineClient(launch(path, "tiny", SETTINGS))
        try:
            await engine.start()
        finally:
            await engine.close()

    with pytest.raises(EngineStartFailed) as failed:
        asyncio.run(scenario())
    assert "\n" not in str(failed.value)
    return str(failed.value)


def test_a_file_that_was_cut_is_refused_before_a_worker_starts(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes()[:-1])
    settings = Settings(served={"cut": ServedSettings(model=str(path))}, models=ModelSettings(cache_dir=tmp_path))
    model = next(model for model in Stock(settings, None).scan().models if model.name == "cut")
    with pytest.raises(BrokenModelFile, match="cut short"):
        asyncio.run(as_coroutine(model.start("nothing")))


async def as_coroutine(starting: Awaitable[object]) -> None:
    await starting


def test_a_library_that_gives_up_says_why(tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "many.gguf"
    path.write_bytes(patched(tiny, "llama.block_count", 0))  # past our own check, which refuses it before
    said = loading_fails(path)
    assert said.startswith(f"cannot load {path}: the library gave up: llama-model.cpp:")
    assert "n_layer" in said
    assert capfd.readouterr().err == ""


def test_a_number_that_does_not_fit_is_one_line(tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(patched(tiny, "llama.context_length", 2**32 - 1))
    how = launch(path, "tiny", EngineSettings(streams=2))

    async def scenario() -> None:
        await EngineClient(how).start()

    with pytest.raises(EngineStartFailed, match=f"cannot load {path}: OverflowError"):
        asyncio.run(scenario())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("last_act", "how"),
    [
        ("os.abort()", "ended by SIGABRT"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL, as where memory runs out"),
        ("os._exit(3)", "ended with status 3"),
    ],
)
def test_a_worker_that_dies_without_a_word_is_one_line(tiny: Path, last_act: str, how: str) -> None:
    command = (sys.executable, "-c", f"import os; {last_act}")
    dying = msgspec.structs.replace(launch(tiny, "tiny", SETTINGS), command=command)

    async def scenario() -> None:
        await EngineClient(dying).start()

    with pytest.raises(EngineStartFailed, match=rf"died over {tiny} \(it was {how}|\(it {how}"):
        asyncio.run(scenario())


def test_a_file_that_is_swapped_while_it_is_loaded(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "loaded.gguf"
    path.write_bytes(tiny.read_bytes())

    async def scenario() -> None:
        engine = EngineClient(launch(path, "tiny", SETTINGS))
        await engine.start()
        try:
            before = await ask(engine, prompt("Count.", max_tokens=4))
            other = tmp_path / "other"
            other.write_bytes(b"GGUF and nothing else")
            other.replace(path)
            assert (await ask(engine, prompt("Count.", max_tokens=4))).ends == before.ends
            assert engine.restarts == 0
        finally:
            await engine.close()

    asyncio.run(scenario())


@pytest.mark.large
def test_damaged_headers_end_in_one_line_or_in_an_answer(tiny: Path, tmp_path: Path) -> None:
    """Past our own check, straight into the library."""
    random, path = Random(57), tmp_path / "m.gguf"  # noqa: S311 - a repeatable walk
    whole = tiny.read_bytes()
    header = whole.index(b"tokenizer.ggml.tokens")
    for _ in range(25):
        content = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(24, header)
            content[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, content[at] ^ (1 << random.randrange(8))))
        path.write_bytes(content)
        asked = subprocess.run(
            [sys.executable, "-m", "completionist", "run", str(path), "hi", "--max-tokens", "2"],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=55, env=dict(os.environ),
        )  # fmt: skip
        assert asked.returncode in (0, 1)
        assert asked.stderr.count("\n") == asked.returncode, asked.stderr
