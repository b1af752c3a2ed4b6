"""A few seconds of `make fuzz`."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.document import documented, fuzz


def test_the_document_and_the_server_agree(tmp_path: Path) -> None:
    with documented(tmp_path) as server:
        found = fuzz(server, tmp_path, "--phases", "fuzzing", "--max-examples", "3", "--seed", "1")
        n_answers = len(server.log_lines(event="request"))
    assert found.is_clean, found.report
    assert found.n_cases > 50
    assert n_answers > 50
