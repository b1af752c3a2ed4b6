"""Names and paths become files, or one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from completionist.cache import cache_directory
from completionist.models.catalog import catalog
from completionist.models.fit import shape_of
from completionist.models.gguf import BrokenModelFile, read_facts
from completionist.models.installed import NoModelFile, NotPulled, UnknownModel, installed, model_path, resolve
from completionist.settings import DEFAULT_MODEL, ModelSettings

from .simple_index import gguf


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return ModelSettings(cache_dir=tmp_path / "cache")


def test_the_catalogue_is_whole() -> None:
    assert next(iter(catalog())) == DEFAULT_MODEL
    for name, entry in catalog().items():
        assert entry.name == name
        assert entry.file.endswith(".gguf")
        assert Path(entry.file).name == entry.file
        digests = [entry.sha256, *(part.sha256 for part in entry.parts)]
        assert all(len(digest) == 64 for digest in digests)
        assert len(set(digests)) == len(digests)
        # weights hardly shrink: a part that is missing or twice there shows
        assert 0.9 < entry.download_bytes / entry.size_bytes < 1.01


def test_a_name_that_is_not_pulled_says_the_command(empty: ModelSettings) -> None:
    with pytest.raises(NotPulled, match=rf"completionist pull {DEFAULT_MODEL} \(99 MB\)"):
        resolve(DEFAULT_MODEL, empty)
    assert installed(empty) == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smollm2-135m", "did you mean smollm2-135m-instruct"),
        ("qwen2.5-coder-0.5b", "did you mean qwen2.5-coder-0.5b-instruct or qwen2.5-coder-1.5b-instruct"),
        ("zzz", "known are smollm2-135m-instruct, "),
    ],
)
def test_an_unknown_name_gets_a_suggestion(empty: ModelSettings, name: str, hint: str) -> None:
    with pytest.raises(UnknownModel, match=hint):
        resolve(name, empty)


@pytest.mark.parametrize("name", ["/no/such/model.gguf", "./model", "~/model.gguf", "no/such/model.gguf"])
def test_a_path_without_a_file_is_none(empty: ModelSettings, name: str) -> None:
    with pytest.raises(NoModelFile, match=f"{name} does not exist"):
        resolve(name, empty)


def test_a_directory_is_no_model(empty: ModelSettings, tmp_path: Path) -> None:
    with pytest.raises(NoModelFile, match="is a directory: name the GGUF file in it"):
        resolve(str(tmp_path), empty)


def test_a_path_is_named_by_its_stem(empty: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "My-Model.Q4_0.gguf"
    path.write_bytes(gguf(1000))
    model = resolve(str(path), empty)
    assert (model.path, model.name, model.publisher, model.sha256) == (path, "My-Model.Q4_0", "local", None)
    assert model.added_at_s == int(path.stat().st_mtime)
    monkeypatch.chdir(tmp_path)
    assert resolve(path.name, empty) == model
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(f"~/{path.name}", empty) == model


def test_a_broken_file_is_refused_by_path_and_by_name(empty: ModelSettings, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(gguf(1000)[:-1])
    with pytest.raises(BrokenModelFile, match="cut short"):
        resolve(str(path), empty)
    pulled = model_path(catalog()[DEFAULT_MODEL], empty)
    pulled.parent.mkdir(parents=True)
    pulled.write_bytes(gguf(1000))
    with pytest.raises(BrokenModelFile, match="the published file 98,362,432"):
        resolve(DEFAULT_MODEL, empty)


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory(Path("~/mine")) == tmp_path / "mine"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "completionist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    places = {"linux": ".cache", "darwin": "Library/Caches"}
    for platform, place in places.items():
        monkeypatch.setattr("sys.platform", platform)
        assert cache_directory() == tmp_path / place / "completionist"


@pytest.mark.model
def test_the_default_model_is_whole() -> None:
    model = resolve(DEFAULT_MODEL, ModelSettings())
    assert model.path.stat().st_size == catalog()[DEFAULT_MODEL].size_bytes
    assert shape_of(read_facts(model.path)) == catalog()[DEFAULT_MODEL].shape
