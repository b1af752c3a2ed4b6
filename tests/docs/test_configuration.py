"""docs/configuration.md describes the settings that there are, with their real defaults, and its example works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from completionist.cli.configure import read_settings
from completionist.settings import KeySettings, ServedSettings, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Za-z0-9_.]+)` \| (.+?) \| ", PAGE, re.MULTILINE))


def described(section: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Every key with its default as the page writes it."""
    rows: dict[str, str] = {}
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows |= described(inner, f"{prefix}{name}.")
        else:
            rows[prefix + name] = "required" if field.is_required() else written(field.default)
    return rows


def written(default: Any) -> str:
    return "none" if default is None else f"`{json.dumps(default)}`"


def test_every_key_has_a_row_with_its_default() -> None:
    assert described(Settings) | described(KeySettings, "keys.") | described(ServedSettings, "served.NAME.") == ROWS


def test_the_example_is_a_valid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "example.toml"
    file.write_text(example[0])
    settings = read_settings({}, file)
    assert settings.server.port == 9000
    assert settings.keys[0].project == "search"
