"""What users write, and what they mean by it."""

from __future__ import annotations

import pytest

from completionist.models.quantisations import (
    AmbiguousVariant,
    NoModel,
    NoSuchVariant,
    PartMissing,
    RemoteFile,
    choose,
    label_of,
    projector,
    variants,
)
from completionist.models.references import BadReference, HubReference, hub_reference


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hf:org/repo", HubReference(repository="org/repo")),
        ("org/repo", HubReference(repository="org/repo")),
        ("org/repo:q4_k_m", HubReference(repository="org/repo", quantisation="Q4_K_M")),
        ("hf:org/repo@v1.0:Q8_0", HubReference(repository="org/repo", revision="v1.0", quantisation="Q8_0")),
        ("org/repo@v1.0:Q8_0", HubReference(repository="org/repo", revision="v1.0", quantisation="Q8_0")),
        ("hf:org/repo/sub/m.gguf", HubReference(repository="org/repo", file="sub/m.gguf")),
        ("https://huggingface.co/org/repo", HubReference(repository="org/repo")),
        ("https://huggingface.co/org/repo/", HubReference(repository="org/repo")),
        ("hf.co/org/repo:Q4_0", HubReference(repository="org/repo", quantisation="Q4_0")),
        ("https://huggingface.co/org/repo/tree/dev", HubReference(repository="org/repo", revision="dev")),
        (
            "https://huggingface.co/org/repo/blob/main/a%20b/m.gguf",
            HubReference(repository="org/repo", file="a b/m.gguf"),
        ),
        (
            "https://huggingface.co/org/repo/resolve/abc/m.gguf?download=true",
            HubReference(repository="org/repo", revision="abc", file="m.gguf"),
        ),
        ("https://hub.example/org/repo", HubReference(repository="org/repo")),
    ],
)
def test_references_are_read(text: str, meant: HubReference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert hub_reference(text) == meant
    assert hub_reference(meant.text) == meant


@pytest.mark.parametrize("text", ["name", "./dir/file", "/dir/file", "~/file", "dir/model.gguf", "a/b/c", "C:/x"])
def test_files_and_names_are_none(text: str) -> None:
    assert hub_reference(text) is None


@pytest.mark.parametrize(
    "text", ["hf:org", "hf:../x", "hf:o/..", "hf:o/r/../../x.gguf", "hf:o/r:", "https://example.com/o/r", "hf:o/r@../x"]
)
def test_what_is_meant_for_the_hub_and_wrong_is_refused(text: str) -> None:
    with pytest.raises(BadReference, match="write hf:org/repo"):
        hub_reference(text)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("model-Q4_K_M.gguf", "Q4_K_M"),
        ("m.Q4_1.gguf", "Q4_1"),
        ("x-iq3_xxs.gguf", "IQ3_XXS"),
        ("Qwen2.5-0.5B-fp16.gguf", "F16"),
        ("Q8_0/m-00001-of-00002.gguf", "Q8_0"),
        ("L-3.2-1B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("g-BF16.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("m-Q3_K_M_imatrix.gguf", "Q3_K_M"),
        ("phi-2.gguf", None),
    ],
)
def test_names_tell_how_weights_are_stored(path: str, label: str | None) -> None:
    assert label_of(path) == label


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path=path, size_bytes=1000 + i, sha256=f"{i:064}") for i, path in enumerate(paths)]


def test_models_are_told_from_the_rest_and_parts_belong_together() -> None:
    known = variants(
        files(
            "README.md",
            "m-Q8_0-00002-of-00002.gguf",
            "m-Q8_0-00001-of-00002.gguf",
            "m-Q4_K_M.gguf",
            "mmproj-m-F16.gguf",
            "imatrix.gguf",
        )
    )
    assert [(one.label, one.first, len(one.files)) for one in known] == [
        ("Q4_K_M", "m-Q4_K_M.gguf", 1),
        ("Q8_0", "m-Q8_0-00001-of-00002.gguf", 2),
    ]


def test_the_usual_choice_is_four_bits() -> None:
    known = variants(files("m-Q8_0.gguf", "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-F16.gguf"))
    assert choose("o/r", known).label == "Q4_K_M"
    assert choose("o/r", known, label="F16").first == "m-F16.gguf"
    assert choose("o/r", variants(files("b-F16.gguf", "a-F32.gguf"))).label == "F16"
    assert choose("o/r", variants(files("model.gguf"))).first == "model.gguf"


def test_what_cannot_be_chosen_says_what_can() -> None:
    known = variants(files("a-Q8_0.gguf", "b-Q8_0.gguf", "c-Q2_K-00001-of-00002.gguf"))
    with pytest.raises(NoSuchVariant, match=r"no Q5_0; it has Q8_0 \(0 MB\), Q8_0 \(0 MB\), Q2_K"):
        choose("o/r", known, label="Q5_0")
    with pytest.raises(AmbiguousVariant, match=r"more than one Q8_0.*hf:o/r/a-Q8_0\.gguf, hf:o/r/b-Q8_0\.gguf"):
        choose("o/r", known, label="Q8_0")
    with pytest.raises(PartMissing, match="1 of the 2 parts"):
        choose("o/r", known, label="Q2_K")
    with pytest.raises(NoModel, match="ends in -GGUF"):
        choose("o/r", variants(files("model.safetensors")))


def test_of_projectors_one_with_16_bits_is_taken() -> None:
    chosen = projector(files("mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "m-F16.gguf"))
    assert chosen is not None
    assert chosen.path == "mmproj-F16.gguf"
    assert projector(files("m-F16.gguf")) is None
