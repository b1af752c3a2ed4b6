"""`doctor --templates DIR`: a user's own chat templates, rendered here and by Jinja2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from completionist.cli.findings import Finding
from completionist.errors import OperatorError
from completionist.local.agreement import Agreement, isolated_agreement
from completionist.models.gguf import BrokenModelFile, read_facts

_TEXTS = (".jinja", ".jinja2", ".j2", ".txt")


class NoTemplates(OperatorError):
    def __init__(self, directory: Path) -> None:
        none = "has no chat template" if directory.exists() else "does not exist"
        super().__init__(f"{directory} {none}: give .jinja files, .json files with a chat_template, or .gguf files")


def compare_templates(directory: Path, add: Callable[[Finding], None]) -> None:
    """A finding for each template, and one for all; a single file will do. Raises `NoTemplates`, `OracleMissing`."""
    found: list[Agreement] = []
    for path in [directory] if directory.is_file() else sorted(directory.rglob("*")):
        name = path.name if path == directory else str(path.relative_to(directory))
        try:
            sources = _sources(path) if path.is_file() else {}
        except (OSError, ValueError, BrokenModelFile) as error:
            add(Finding("template", "note", f"{name}: it cannot be read: {error}"))
            continue
        for part, source in sources.items():
            agreement = isolated_agreement(source)
            found.append(agreement)
            add(_finding(f"{name}{part}", agreement))
    if not found:
        raise NoTemplates(directory)
    add(_total(found))


def _sources(path: Path) -> dict[str, str]:
    """Templates of a file, by what tells them apart: a configuration may have several."""
    if path.suffix in _TEXTS:
        return {"": path.read_text(encoding="utf-8")}
    if path.suffix == ".gguf":
        source = read_facts(path).text("tokenizer.chat_template")
        return {"": source} if source else {}
    if path.suffix == ".json":
        value = json.loads(path.read_text(encoding="utf-8"))
        said = value.get("chat_template") if isinstance(value, dict) else None
        return _named(said if isinstance(said, list) else [{"name": "", "template": said}])
    return {}


def _named(listed: list[Any]) -> dict[str, str]:
    several = (one for one in listed if isinstance(one, dict) and isinstance(one.get("template"), str))
    return {f" {one['name']}" if one.get("name") else "": one["template"] for one in several}


def _finding(name: str, agreement: Agreement) -> Finding:
    if agreement.unusable:
        return Finding("template", "note", f"{name}: refused: {agreement.unusable}")
    counts = f"{name}: {agreement.n_equal} of {agreement.n_trials} conversations rendered alike"
    if agreement.n_refused:
        counts += f", {agreement.n_refused} refused by both"
    if agreement.differences:
        first = agreement.differences[0]
        return Finding("template", "wrong", f"{counts}; {first.trial}: {first.ours!r} here, {first.jinja!r} by Jinja2")
    if agreement.refusals:
        first = agreement.refusals[0]
        return Finding(
            "template", "note", f"{counts}, {len(agreement.refusals)} refused here alone; {first.trial}: {first.ours}"
        )
    return Finding("template", "fine", counts)


def _total(found: list[Agreement]) -> Finding:
    n_equal = sum(one.n_equal + one.n_refused for one in found)
    n_trials = sum(one.n_trials for one in found)
    n_refused = sum(one.n_trials if one.unusable else len(one.refusals) for one in found)
    is_sound = all(one.is_sound for one in found)
    return Finding(
        "all",
        "fine" if is_sound else "wrong",
        f"{len(found)} templates: {n_equal} of {n_trials} conversations treated alike, {n_refused} refused here alone",
    )
