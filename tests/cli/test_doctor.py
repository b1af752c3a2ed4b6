"""The doctor tries what it is given: a model, or a directory of templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from completionist.cli import run
from completionist.settings import DEFAULT_MODEL
from tests.engine.tiny_models import write_recurrent

from .test_models import MODEL

Captured = pytest.CaptureFixture[str]


def test_templates_of_a_directory_are_compared(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "good.jinja").write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}")
    (tmp_path / "config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}{{ 2.0 | tojson }}"}))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.gguf").write_bytes(MODEL)
    (tmp_path / "broken.j2").write_text("{% for %}")
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "cut.json").write_text("{")
    named = [{"name": "default", "template": "{{ messages[0].role }}"}, {"name": "tool_use", "template": "{{ 1 }}"}]
    (tmp_path / "several.json").write_text(json.dumps({"chat_template": named}))
    assert run(["doctor", "--templates", str(tmp_path), "--json"]) == 1
    found = {finding["detail"].partition(":")[0]: finding for finding in json.loads(capsys.readouterr().out)}
    several = {"several.json default", "several.json tool_use"}
    assert found.keys() == several | {
        "good.jinja",
        "config.json",
        "sub/model.gguf",
        "broken.j2",
        "cut.json",
        "6 templates",
    }
    assert "cannot be read" in found["cut.json"]["detail"]
    assert found["good.jinja"]["verdict"] == found["sub/model.gguf"]["verdict"] == "fine"
    assert "'Hello!2' here, 'Hello!2.0' by Jinja2" in found["config.json"]["detail"]
    assert "refused: TemplateError: syntax error" in found["broken.j2"]["detail"]


def test_without_templates_or_jinja_it_says_so(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor", "--templates", str(tmp_path)]) == 1
    assert "has no chat template" in capsys.readouterr().err
    assert run(["doctor", "--templates", str(tmp_path / "nowhere")]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err
    (tmp_path / "good.jinja").write_text("{{ messages[0].content }}")
    assert run(["doctor", "--templates", str(tmp_path / "good.jinja")]) == 0
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert run(["doctor", "--templates", str(tmp_path)]) == 1
    assert "pip install 'completionist[templates]'" in capsys.readouterr().err


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "cut.gguf").write_bytes(MODEL[:-1])
    assert run(["doctor", str(tmp_path / "cut.gguf")]) == 1
    assert "cut short?" in capsys.readouterr().err


TOPICS = ["file", "load", "context", "template", "tokens", "dialect", "turns", "end", "tools", "memory", "speed"]


def test_a_model_is_loaded_and_tried(tmp_path: Path, capsys: Captured) -> None:
    """One that speaks nonsense and keeps a state: what it is shows all the same."""
    path = write_recurrent(tmp_path / "tiny.gguf")
    assert run(["doctor", str(path), "--json"]) == 0
    found = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert list(found) == TOPICS
    assert "asked in ChatML; 10 of 10 conversations rendered whole" in found["template"]["detail"]
    assert (found["turns"]["verdict"], found["memory"]["verdict"]) == ("note", "note")
    assert "checkpoints only" in found["memory"]["detail"]


@pytest.mark.large
@pytest.mark.model
def test_the_default_model_does_what_its_card_says(capsys: Captured) -> None:
    assert run(["doctor", DEFAULT_MODEL, "--json"]) == 0
    found = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert list(found) == TOPICS
    assert "10 of 10 conversations rendered whole" in found["template"]["detail"]
    assert found["dialect"]["detail"].endswith("a call in the history is read back as the same call")
    assert "<|im_end|>" in found["turns"]["detail"]
    assert "trim anywhere; after going back" in found["memory"]["detail"]
    assert "get_tide {" in found["tools"]["detail"]
