"""What `doctor` has to say: findings, and how they are printed."""

from __future__ import annotations

from typing import Literal

import msgspec
import typer

from completionist.cli.terminal import json_text

Verdict = Literal["fine", "note", "wrong"]
_MARKS: dict[Verdict, str] = {"fine": "ok   ", "note": "note ", "wrong": "WRONG"}


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `wrong` means that what was examined cannot do its work."""

    topic: str
    verdict: Verdict
    detail: str


class Report:
    """Add every finding, then `close`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._found: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Lines are printed as they come."""
        self._found.append(finding)
        if not self._as_json:
            typer.echo(f"{_MARKS[finding.verdict]} {finding.topic:10} {finding.detail}")

    def close(self) -> None:
        """Exit code 1 if something is wrong."""
        if self._as_json:
            typer.echo(json_text(self._found))
        if any(finding.verdict == "wrong" for finding in self._found):
            raise typer.Exit(1)
