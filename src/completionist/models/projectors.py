"""Which projector goes with a model: the operator's choice, the hub's, or one that lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from completionist.models.gguf import read_facts
from completionist.models.installed import ModelFile
from completionist.parts import parts_of
from completionist.settings import Projector

_MARK = "mmproj"
"""In the names of projectors everywhere."""
Sense = Literal["vision", "hearing"]
_STATED: Mapping[str, Sense] = {"clip.has_vision_encoder": "vision", "clip.has_audio_encoder": "hearing"}


def with_projector(file: ModelFile, chosen: Projector | None) -> ModelFile:
    """`file` with the projector that it is loaded with. `chosen` None: what was fetched with it, or lies beside it."""
    if chosen == "none":
        path = None
    elif chosen is not None:
        path = chosen.expanduser()
    else:
        path = file.projector_path or beside(file.path)
    return msgspec.structs.replace(file, projector_path=path)


def senses_of(projector: Path) -> tuple[Sense, ...]:
    """What it gives a model, as its file states. Raises `BrokenModelFile`, `OSError`."""
    facts = read_facts(projector)
    return tuple(sense for key, sense in _STATED.items() if facts.flag(key))


def beside(model: Path) -> Path | None:
    """The one projector in a directory that holds no other model: elsewhere nobody can tell whose it is."""
    files = set(model.parent.glob("*.gguf"))
    projectors = {path for path in files if _MARK in path.name.lower()}
    has_others = bool(files - projectors - set(parts_of(model)))
    return projectors.pop() if len(projectors) == 1 and not has_others and model not in projectors else None
