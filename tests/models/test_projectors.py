"""Which projector a model is loaded with."""

from __future__ import annotations

from pathlib import Path

import pytest

from completionist.models.installed import LOCAL_PUBLISHER, ModelFile
from completionist.models.projectors import with_projector
from completionist.settings import Projector, Settings

MODEL, PARTS, PROJECTOR = "a.gguf", ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"), "mmproj-a-F16.gguf"


def chosen(directory: Path, *names: str, said: Projector | None = None, fetched: Path | None = None) -> str | None:
    """The first of `names` is the model."""
    for name in names:
        (directory / name).touch()
    path = directory / names[0]
    file = ModelFile(path=path, name="a", publisher=LOCAL_PUBLISHER, sha256=None, added_at_s=0, projector_path=fetched)
    found = with_projector(file, said).projector_path
    return found.name if found else None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((MODEL,), None),
        ((MODEL, PROJECTOR), PROJECTOR),
        ((*PARTS, PROJECTOR), PROJECTOR),
        ((MODEL, PROJECTOR, "another.gguf"), None),
        ((MODEL, PROJECTOR, "mmproj-a-F32.gguf"), None),
        ((PROJECTOR,), None),
    ],
)
def test_one_beside_the_only_model_is_taken(tmp_path: Path, names: tuple[str, ...], expected: str | None) -> None:
    assert chosen(tmp_path, *names) == expected


def test_what_the_operator_says_counts_most(tmp_path: Path) -> None:
    assert chosen(tmp_path, MODEL, PROJECTOR, said=tmp_path / "other.gguf") == "other.gguf"
    assert chosen(tmp_path, MODEL, PROJECTOR, said="none") is None
    assert chosen(tmp_path, MODEL, fetched=tmp_path / "hub.gguf") == "hub.gguf"
    assert chosen(tmp_path, MODEL, fetched=tmp_path / "hub.gguf", said="none") is None


def test_none_is_no_path_in_settings() -> None:
    settings = Settings.model_validate({"projector": "none", "served": {"a": {"projector": "eyes.gguf"}}})
    assert settings.projector == "none"
    assert settings.served["a"].projector == Path("eyes.gguf")
