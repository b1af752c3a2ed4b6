"""Progress, on a terminal and elsewhere."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import msgspec

from completionist.cli.progress import byte_progress, percent_progress
from completionist.cli.terminal import harmless, json_text, megabytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_log_each_tenth_is_a_line() -> None:
    log = io.StringIO()
    with byte_progress(log) as draw:
        for done in range(0, 1001, 7):
            draw("model: fetching", done, 1000)
        draw("model: assembling", 0, 500)
    lines = log.getvalue().splitlines()
    assert lines[0] == "model: fetching: 0 %"
    for percent, line in zip((10, 20, 30), lines[1:], strict=False):
        assert re.fullmatch(rf"model: fetching: {percent} %, [\d,.]+ MB/s, [\d,]+ s left", line)
    assert len(lines) == 11
    assert lines[-1] == "model: assembling: 0 %"


def test_on_a_terminal_there_is_a_bar() -> None:
    terminal = Terminal()
    with byte_progress(terminal) as draw:
        draw("model: fetching", 500_000, 1_000_000)
    assert "model: fetching" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_a_long_name_leaves_room_for_the_numbers() -> None:
    terminal = Terminal()
    with byte_progress(terminal) as draw:
        draw(f"org/{'long-' * 30}GGUF:Q4_K_M: fetching 1.0 MB", 500_000, 1_000_000)
    assert "GGUF:Q4_K_M: fetching 1.0 MB" in terminal.getvalue()
    assert "50%" in terminal.getvalue()
    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).splitlines())) <= 80


def test_on_a_terminal_work_is_in_percent() -> None:
    terminal = Terminal()
    with percent_progress(terminal) as draw:
        draw("engine: compiling", 40, 100)
    assert "engine: compiling" in terminal.getvalue()
    assert "40%" in terminal.getvalue()


def test_a_model_cannot_command_the_terminal() -> None:
    assert harmless("Grüße 👩‍👧\tto\nall") == "Grüße 👩‍👧\tto\nall"
    assert harmless("\x1b]0;owned\x07 \x9b2J\r\x7f") == r"\x1b]0;owned\x07 \x9b2J\r\x7f"


def test_sizes_and_json() -> None:
    class Row(msgspec.Struct):
        path: Path

    assert megabytes(92_871_040) == "92.9 MB"
    assert json.loads(json_text([Row(Path("/a"))])) == [{"path": "/a"}]
