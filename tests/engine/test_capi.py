"""The layer over the native library refuses what it was not written for."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from completionist.engine.llama import capi, digest
from completionist.engine.llama.library import find_library


def test_the_pinned_library_is_accepted() -> None:
    native = capi.Native(find_library().path)
    assert native.build().startswith(capi.KNOWN_VERSION)


def test_every_field_of_the_defaults_is_known() -> None:
    _, model, context, projector = capi.observe(capi.Native(find_library().path).c)
    assert model == capi.KNOWN_MODEL_DEFAULTS
    assert context == capi.KNOWN_CONTEXT_DEFAULTS
    assert projector == capi.KNOWN_PROJECTOR_DEFAULTS


def test_another_version_is_refused() -> None:
    observed = ("9.9.9", capi.KNOWN_MODEL_DEFAULTS, capi.KNOWN_CONTEXT_DEFAULTS, capi.KNOWN_PROJECTOR_DEFAULTS)
    with pytest.raises(capi.LibraryRefused, match=r"9\.9\.9"):
        capi.check(observed, Path("lib.so"))


KNOWN = {
    "model": capi.KNOWN_MODEL_DEFAULTS,
    "context": capi.KNOWN_CONTEXT_DEFAULTS,
    "projector": capi.KNOWN_PROJECTOR_DEFAULTS,
}


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in KNOWN for field in KNOWN[kind]])
def test_any_changed_default_is_refused_by_name(kind: str, field: str) -> None:
    seen = {**KNOWN, kind: {**KNOWN[kind], field: 12345.0}}
    with pytest.raises(capi.LibraryRefused, match=f"another {kind} parameter layout .*{field} is"):
        capi.check((capi.KNOWN_VERSION, seen["model"], seen["context"], seen["projector"]), Path("lib.so"))


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"nothing")
    with pytest.raises(capi.LibraryRefused, match="cannot load"):
        capi.Native(path)


def test_a_library_of_something_else_is_refused() -> None:
    other = next(iter(glob.glob(str(Path(os.__file__).parent / "lib-dynload" / "*.so"))), None)  # noqa: PTH207 - any one
    if other is None:
        pytest.skip("this interpreter has no extension modules as files")
    with pytest.raises(capi.LibraryRefused, match="lacks"):
        capi.Native(Path(other))


def test_a_digest_is_computed_again_only_when_the_file_changed(tmp_path: Path) -> None:
    path, cache = tmp_path / "model", tmp_path / "cache"
    path.write_bytes(b"one")
    first = digest.file_sha256(path, cache)
    (record,) = (cache / "digests").iterdir()
    kept = record.stat().st_mtime_ns
    assert digest.file_sha256(path, cache) == first
    assert record.stat().st_mtime_ns == kept
    path.write_bytes(b"three")
    assert digest.file_sha256(path, cache) != first


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    path, cache = tmp_path / "model", tmp_path / "cache"
    path.write_bytes(b"one")
    cache.write_text("a file, not a directory", encoding="utf-8")
    assert len(digest.file_sha256(path, cache)) == 64
