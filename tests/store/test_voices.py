"""Voices of projects, on both databases, made and deleted by commands beside a running server."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from completionist.cli import run
from completionist.settings import KeySettings, ServerSettings, Settings, StoreSettings
from completionist.store.voices import STYLE_BYTES, Style
from tests.store.databases import KindOfDatabase
from tests.store.test_keys import Operator
from tests.support.ask import ask
from tests.support.humming import Humming
from tests.support.server import running_server

NUMBERS = struct.pack("<2f", 0.5, -1.25) * (STYLE_BYTES // 8)


KEYS = {"tides": "sk-0123456789abcdef-tides", "others": "sk-fedcba9876543210-others"}


class Maker(Operator):
    """With a server that hums, and keys of two projects."""

    hum: Humming

    def make(self, *options: str, name: str = "harbour") -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.run("voices", "create", name, "--json", *options))
        return made

    def speak(self, id_: str, project: str = "tides") -> None:
        with self.client(KEYS[project]) as client:
            audio = {"voice": {"id": id_}, "format": "wav"}
            message = ask(client, modalities=["text", "audio"], audio=audio).choices[0].message
        assert message.audio

    def cannot_speak(self, id_: str, project: str = "tides") -> None:
        with pytest.raises(openai.BadRequestError, match="There is no custom voice with this id") as caught:
            self.speak(id_, project)
        assert (caught.value.code, caught.value.param) == ("invalid_value", "audio.voice.id")


@pytest.fixture(scope="module")
def served(kind: KindOfDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, Path, Humming]]:
    url, hum = kind.new_url(), Humming()
    config = tmp_path_factory.mktemp("voices") / "completionist.toml"
    config.write_text(f"[store]\nurl = {json.dumps(url)}\n")
    keys = tuple(
        KeySettings(sha256=hashlib.sha256(key.encode()).hexdigest(), project=project) for project, key in KEYS.items()
    )
    settings = Settings(server=ServerSettings(port=0, drain_timeout_s=0), store=StoreSettings(url=url), keys=keys)
    with running_server(settings=settings, speaker=hum) as server:
        yield server, url, config, hum


@pytest.fixture
def maker(served: tuple[Any, str, Path, Humming], capsys: pytest.CaptureFixture[str]) -> Maker:
    server, url, config, hum = served
    maker = Maker(server, url, config, capsys)
    maker.hum, hum.voices_used = hum, []
    return maker


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "harbour.bin"
    file.write_bytes(NUMBERS)
    return file


def test_a_voice_speaks_for_its_project_until_it_is_deleted(maker: Maker, file: Path) -> None:
    made = maker.make("--project", "tides", "--style", str(file), "--british", "--gain", "1.5")
    maker.speak(made["id"])
    assert maker.hum.voices_used[0] == Style(numbers=NUMBERS, is_british=True, gain=1.5)
    maker.cannot_speak(made["id"], "others")
    assert json.loads(maker.run("voices", "show", made["id"], "--json")) == made
    assert made["id"] in maker.run("voices", "show", made["id"])
    listed = json.loads(maker.run("voices", "list", "--json", "--project", "tides"))
    assert listed["custom"] == [made]
    assert len(listed["named"]) == 13
    assert json.loads(maker.run("voices", "list", "--json", "--project", "others"))["custom"] == []
    assert "harbour.bin" in maker.run("voices", "list")
    assert json.loads(maker.run("voices", "delete", made["id"], "--json")) == {"id": made["id"], "deleted": True}
    maker.cannot_speak(made["id"])
    assert "no custom voice" in maker.refused("voices", "delete", made["id"])
    assert "no custom voice" in maker.refused("voices", "show", made["id"])


@pytest.mark.parametrize("id_", ["voice_1", "voice_" + "0" * 32, "x' OR '1'='1", "voice_\0", "v" * 1024, ""])
def test_an_id_of_no_voice_is_refused(maker: Maker, id_: str) -> None:
    maker.cannot_speak(id_)
    assert maker.hum.voices_used == []


def test_a_voice_moves_with_its_database_and_goes_with_its_project(
    maker: Maker, file: Path, kind: KindOfDatabase, tmp_path: Path
) -> None:
    made = maker.make("--project", "ebb", "--style", str(file))
    other = kind.new_url()
    maker.run("db", "copy", other)
    config = tmp_path / "other.toml"
    config.write_text(f"[store]\nurl = {json.dumps(other)}\n")
    assert run(["voices", "show", made["id"], "--config", str(config)]) == 0
    assert made["name"] in maker._capsys.readouterr().out
    maker.run("db", "delete-project", "ebb", "--yes")
    assert "no custom voice" in maker.refused("voices", "show", made["id"])


BAD = {
    "too small": (NUMBERS[:-4], f"it has {STYLE_BYTES - 4:,} bytes"),
    "too large": (NUMBERS + b"\0", f"more than {STYLE_BYTES:,} bytes"),
    "not a number": (NUMBERS[:-4] + struct.pack("<f", float("nan")), "not finite"),
    "infinite": (struct.pack("<f", float("inf")) + NUMBERS[4:], "not finite"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_style_makes_no_voice(maker: Maker, file: Path, content: bytes, reason: str) -> None:
    file.write_bytes(content)
    assert reason in maker.refused("voices", "create", "x", "--project", "bad", "--style", str(file))
    assert json.loads(maker.run("voices", "list", "--json", "--project", "bad"))["custom"] == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "either --blend or --style"),
        (("--blend", "alloy,nobody"), "no voice 'nobody': there are alloy, ash,"),
        (("--blend", "alloy=0,onyx=1"), "write each voice once"),
        (("--blend", "alloy=nan"), "write each voice once"),
        (("--blend", "alloy,alloy"), "write each voice once"),
        (("--style", "/nowhere/x.bin"), "no such file"),
        (("--blend", "alloy", "--project", "a b"), "cannot be the name of a project"),
    ],
)
def test_what_cannot_be_made_is_said(maker: Maker, options: tuple[str, ...], reason: str) -> None:
    assert reason in maker.refused("voices", "create", "x", *options)
