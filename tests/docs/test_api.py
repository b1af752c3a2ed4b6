"""docs/api.md has a row for every route and every field, and each of them works."""

from __future__ import annotations

import re
from pathlib import Path

from completionist.api.routes import ROUTES
from completionist.types.request import FIELDS, ChatRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
FIELD_ROWS = re.findall(r"^\| `(\w+)` \| (yes|no) \| (.*) \| `(tests/[\w/.]+)` \|$", PAGE, re.MULTILINE)
ENDPOINT_ROWS = re.findall(r"^\| `([A-Z]+) (/[\w/{}.]+)` \|.*\| `(tests/[\w/.]+)` \|$", PAGE, re.MULTILINE)


def test_every_route_has_a_row() -> None:
    routes = {(route.method, route.path.replace(":path}", "}")) for route in ROUTES}
    assert {(method, path) for method, path, _ in ENDPOINT_ROWS} == routes


def test_every_field_has_one_row() -> None:
    names = [name for name, *_ in FIELD_ROWS]
    assert sorted(names) == sorted(ChatRequest.__struct_fields__)
    assert set(names) == {"model", *(field.name for field in FIELDS)}


def test_every_field_works() -> None:
    assert {name for name, works, *_ in FIELD_ROWS if works == "no"} == set()


def test_every_proof_exists() -> None:
    proofs = {proof for *_, proof in FIELD_ROWS} | {proof for *_, proof in ENDPOINT_ROWS}
    assert proofs
    assert [proof for proof in sorted(proofs) if not (ROOT / proof).exists()] == []
