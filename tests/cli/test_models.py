"""Models on the command line: found on a hub of the test's own, shown before they come, listed, shown, removed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from completionist.cli import run
from tests.models.hub_server import HubServer, serving_hub
from tests.models.simple_index import gguf
from tests.models.test_gguf import pair, string

REPO = "org/tiny-GGUF"
TEMPLATE = b"{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n[MADE_UP]{% endfor %}"
TOKENS = [b"<|im_start|>", b"<|im_end|>", b"<think>", b"a"]
PAIRS = [
    pair(b"general.architecture", 8, string(b"llama")),
    pair(b"general.name", 8, string(b"Tiny")),
    pair(b"general.license", 8, string(b"mit")),
    pair(b"llama.context_length", 4, struct.pack("<I", 2048)),
    pair(b"llama.block_count", 4, struct.pack("<I", 2)),
    pair(b"llama.embedding_length", 4, struct.pack("<I", 64)),
    pair(b"llama.attention.head_count", 4, struct.pack("<I", 4)),
    pair(b"llama.attention.head_count_kv", 4, struct.pack("<I", 2)),
    pair(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(TOKENS)) + b"".join(map(string, TOKENS))),
    pair(b"tokenizer.ggml.token_type", 9, struct.pack("<IQ4i", 5, len(TOKENS), 3, 3, 4, 1)),
    pair(b"tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 1)),
    pair(b"tokenizer.chat_template", 8, string(TEMPLATE)),
]
PROJECTOR = gguf(500, pairs=pair(b"clip.has_audio_encoder", 7, b"\1"), n_pairs=1)
MODEL = gguf(1000, pairs=b"".join(PAIRS), n_pairs=len(PAIRS))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serving_hub() as running:
        running.publish(REPO, {"tiny-Q4_K_M.gguf": MODEL, "tiny-Q8_0.gguf": gguf(2000), "mmproj-F16.gguf": PROJECTOR})
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("COMPLETIONIST_MODELS__CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield running


Captured = pytest.CaptureFixture[str]


def test_a_model_comes_is_listed_shown_and_goes(hub: HubServer, capsys: Captured) -> None:
    assert run(["pull", REPO]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{REPO}:Q4_K_M: /")
    assert "size     0.0 MB; licence apache-2.0" in err
    assert "memory   about" in err
    assert "free: it fits" in err
    assert "beside   mmproj-F16.gguf" in err
    assert "others   Q8_0 (0.0 MB)" in err
    assert "fetched and verified" in err

    assert run(["ls", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["name"], row["is_installed"], row["licence"], row["context_tokens"]) == (
        f"{REPO}:Q4_K_M",
        True,
        "mit",
        2048,
    )

    assert run(["show", REPO, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["template"] == "ChatML"
    assert shown["dialect"] == "plain"
    assert shown["memory_kind"] == "trim_anywhere"
    assert shown["capabilities"] == ["chat", "tools", "hearing"]
    assert shown["n_control_tokens"] == 2
    assert shown["forgeable_markers"] == ["[MADE_UP]"]
    assert shown["need"]["kv_bytes"] == 2 * 2 * (16 + 16) * 2 * 2048
    assert run(["show", REPO]) == 0
    assert "clients can write these markers, which are plain text to the model: [MADE_UP]" in capsys.readouterr().out

    assert run(["rm", REPO, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": f"{REPO}:Q4_K_M",
        "freed_bytes": len(MODEL) + len(PROJECTOR),
    }
    assert run(["rm", REPO]) == 1
    assert capsys.readouterr().err.startswith(f"completionist: {REPO} is not here yet")


@pytest.mark.parametrize(("reads", "more"), [("true", ["text in pictures"]), ("false", [])])
def test_a_model_that_is_read_to_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, reads: str, more: list[str]
) -> None:
    monkeypatch.setenv("COMPLETIONIST_IMAGES__READS_TEXT", reads)
    file = tmp_path / "blind.gguf"
    file.write_bytes(MODEL)
    assert run(["show", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["capabilities"] == ["chat", "tools", *more]


def test_what_there_is_can_be_asked_first(hub: HubServer, capsys: Captured) -> None:
    assert run(["pull", REPO, "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["reference"], row["size_bytes"]) for row in rows] == [
        (f"{REPO}:Q4_K_M", len(MODEL)),
        (f"{REPO}:Q8_0", len(gguf(2000))),
    ]
    assert run(["pull", "smollm2-135m-instruct", "--list"]) == 0
    assert capsys.readouterr().out == "smollm2-135m-instruct  98.4 MB\n"
    assert hub.requests == []


def test_what_is_here_is_not_said_to_be_fetched(hub: HubServer, capsys: Captured, tmp_path: Path) -> None:
    assert run(["pull", REPO]) == 0
    assert "fetched and verified" in capsys.readouterr().err
    assert run(["pull", REPO]) == 0
    assert capsys.readouterr().err == f"{REPO}:Q4_K_M: it is here, and the hub has no newer one\n"
    file = tmp_path / "mine.gguf"
    file.write_bytes(MODEL)
    assert run(["pull", str(file)]) == 0
    assert capsys.readouterr().out == f"mine: {file}\n"


def test_what_is_broken_can_be_removed_and_fetched_again(hub: HubServer, capsys: Captured) -> None:
    assert run(["pull", REPO, "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    path.resolve().write_bytes(MODEL[:100])
    assert run(["pull", REPO]) == 1
    assert "remove it and fetch it again" in capsys.readouterr().err
    assert run(["rm", REPO]) == run(["pull", REPO]) == 0
    assert path.read_bytes() == MODEL


def test_an_endpoint_that_is_none_is_named(hub: HubServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    assert run(["pull", REPO]) == 1
    assert "HF_ENDPOINT is no address of a hub (nonsense)" in capsys.readouterr().err


def test_without_the_hub_what_is_here_will_do(
    hub: HubServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["pull", f"{REPO}:Q8_0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == f"{REPO}:Q8_0"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["pull", REPO]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{REPO}:Q8_0: ")
    assert "it is here; whether the hub has a newer one was not asked (HF_HUB_OFFLINE is set)" in err
    assert run(["pull", "org/other"]) == 1
    assert "org/other is not on this machine, and HF_HUB_OFFLINE forbids" in capsys.readouterr().err
    assert run(["show", f"{REPO}:Q4_K_M"]) == 1
    assert f"completionist pull {REPO}:Q4_K_M" in capsys.readouterr().err


def test_a_catalogue_model_goes_whole(hub: HubServer, capsys: Captured, tmp_path: Path) -> None:
    half = tmp_path / "cache" / "models" / "smollm2-135m-instruct" / "smollm2-135m-instruct-q4_1.gguf.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(bytes(1000))
    assert run(["rm", "smollm2-135m-instruct"]) == 0
    assert "removed, 0.0 MB freed" in capsys.readouterr().out
    assert not half.parent.exists()
    assert run(["rm", "smollm2-135m-instruct"]) == 1
    file = tmp_path / "mine.gguf"
    file.write_bytes(MODEL)
    assert run(["rm", str(file)]) == 1
    assert "a file of yours is yours to delete" in capsys.readouterr().err
    assert file.exists()


def test_a_shell_can_complete_commands_and_models(
    hub: HubServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_COMPLETIONIST_COMPLETE", "complete_bash")
    for line, wanted in (("pu", "pull\n"), ("run smol", "smollm2-135m-instruct\n"), ("show --js", "--json\n")):
        words = f"completionist {line}"
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        assert run([]) == 0
        assert capsys.readouterr().out == wanted
