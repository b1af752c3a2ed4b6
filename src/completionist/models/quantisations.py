"""From the names of a repository's files to the models in it: quantisations, files in several parts, projectors.

A name says how the weights are stored (`model-Q4_K_M.gguf`, `Q8_0/model-00001-of-00003.gguf`) and whether the file is a
projector, which gives a text model eyes or ears (`mmproj-F16.gguf`). Nothing else tells without fetching the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import msgspec

from completionist.errors import OperatorError

_SUFFIX = ".gguf"
_LABEL = re.compile(
    r"(?<![A-Z0-9])("
    r"(?:UD-)?(?:IQ|TQ|Q)\d+(?:_(?:K|\d|NL|XXS|XXL|XS|XL|S|M|L)(?![A-Z0-9]))*"
    r"|MXFP\d+(?:_MOE)?|NVFP\d+|BF16|FP?(?:16|32)"
    r")(?![A-Z0-9])",
    re.IGNORECASE,
)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_NO_MODELS = ("mmproj", "imatrix")
_PREFERRED = (
    "Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_K_XL", "Q5_K_M", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "MXFP4", "MXFP4_MOE",
    "Q6_K", "Q8_0",
)  # fmt: skip
"""What is taken where nothing is said: four bits lose little and halve the time of eight."""
_PREFERRED_PROJECTORS = ("F16", "BF16", "Q8_0", "F32")


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a repository, or of the cache."""

    path: str
    """In the repository, with `/`."""
    size_bytes: int
    sha256: str


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One model: its file, or all its parts in order."""

    label: str | None
    """How the weights are stored, in capital letters; None where the name does not tell."""
    files: tuple[RemoteFile, ...]
    n_files: int
    """What the names announce."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def first(self) -> str:
        """The path that stands for the model."""
        return self.files[0].path

    @property
    def is_whole(self) -> bool:
        return len(self.files) == self.n_files


class NoModel(OperatorError):
    def __init__(self, repository: str) -> None:
        super().__init__(
            f"{repository} has no GGUF file: look for a repository of the same model whose name ends in -GGUF"
        )


class NoSuchVariant(OperatorError):
    def __init__(self, repository: str, wanted: str, variants: Sequence[Variant]) -> None:
        super().__init__(f"{repository} has no {wanted}; it has {listed(variants)}")


class AmbiguousVariant(OperatorError):
    def __init__(self, repository: str, wanted: str, variants: Sequence[Variant]) -> None:
        paths = ", ".join(f"hf:{repository}/{variant.first}" for variant in variants)
        super().__init__(f"{repository} has more than one {wanted}: name the file, one of {paths}")


class PartMissing(OperatorError):
    def __init__(self, repository: str, variant: Variant) -> None:
        super().__init__(f"{repository} has {len(variant.files)} of the {variant.n_files} parts of {variant.first}")


def label_of(path: str) -> str | None:
    """How the weights in a file are stored, by its name, else by its directory's."""
    pure = PurePosixPath(path)
    for name in (pure.stem, *(parent.name for parent in pure.parents)):
        if found := _LABEL.findall(name):
            return str(found[-1]).upper().replace("FP16", "F16").replace("FP32", "F32")
    return None


def variants(files: Iterable[RemoteFile]) -> tuple[Variant, ...]:
    """The models among `files`, the smallest first."""
    groups: dict[str, tuple[int, list[tuple[int, RemoteFile]]]] = {}
    for file in files:
        if _is_model(file.path):
            stem, number, count = _shard(file.path)
            groups.setdefault(f"{stem}/{count}", (count, []))[1].append((number, file))
    found = [
        Variant(
            label=label_of(parts[0][1].path),
            files=tuple(file for _, file in sorted(parts, key=lambda part: part[0])),
            n_files=count,
        )
        for count, parts in groups.values()
    ]
    return tuple(sorted(found, key=lambda variant: (variant.size_bytes, variant.first)))


def choose(repository: str, known: Sequence[Variant], *, label: str | None = None, file: str | None = None) -> Variant:
    """The one that is wanted. Raises `NoModel`, `NoSuchVariant`, `AmbiguousVariant`, `PartMissing`."""
    if not known:
        raise NoModel(repository)
    if file is not None:
        fitting = [variant for variant in known if file in (part.path for part in variant.files)]
    else:
        wanted = label or _usual(known)
        fitting = [variant for variant in known if variant.label == wanted] if wanted else list(known[:1])
    if not fitting:
        raise NoSuchVariant(repository, file or label or "such model", known)
    if len(fitting) > 1:
        raise AmbiguousVariant(repository, fitting[0].label or "such model", fitting)
    if not fitting[0].is_whole:
        raise PartMissing(repository, fitting[0])
    return fitting[0]


def projector(files: Iterable[RemoteFile]) -> RemoteFile | None:
    """The projector that goes with the models of a repository: 16 bits before more or fewer."""
    found = {
        label_of(file.path): file
        for file in files
        if _name(file.path).endswith(_SUFFIX) and "mmproj" in _name(file.path)
    }
    preferred = next((found[label] for label in _PREFERRED_PROJECTORS if label in found), None)
    return preferred or min(found.values(), key=lambda file: file.size_bytes, default=None)


def listed(known: Sequence[Variant]) -> str:
    """For messages: what there is, and how large."""
    return ", ".join(f"{variant.label or variant.first} ({variant.size_bytes / 1e6:,.0f} MB)" for variant in known)


def _usual(known: Sequence[Variant]) -> str | None:
    labels = {variant.label for variant in known}
    return next((label for label in _PREFERRED if label in labels), known[0].label)


def _is_model(path: str) -> bool:
    name = _name(path)
    return name.endswith(_SUFFIX) and not any(word in name for word in _NO_MODELS)


def _name(path: str) -> str:
    return PurePosixPath(path).name.lower()


def _shard(path: str) -> tuple[str, int, int]:
    """What is common to all parts of a model, which one this is, and how many there are."""
    pure = PurePosixPath(path)
    found = _SHARD.fullmatch(pure.stem)
    if found is None:
        return path, 1, 1
    return str(pure.with_name(found["stem"])), int(found["number"]), int(found["count"])
