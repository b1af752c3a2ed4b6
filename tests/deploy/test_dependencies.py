"""What the project is made of: every locked package has digests, and a licence that may be carried on."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

LOCKS = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)", re.MULTILINE)
PERMISSIVE = re.compile(
    r"""(?: Apache(?:\ Software)?(?:\ License)?,?[-\ ]?(?:Version\ )?(?:2(?:\.0)?)?(?:\ License)?
    | MIT(?:-0|-CMU)?(?:\ License)? | 0BSD | ISC(?:\ License)? | zlib | Unlicense | HPND | CC0-1\.0 | BSL-1\.0
    | (?:New\ |Modified\ |[23]-Clause\ )?BSD(?:[-\ ][23]-Clause)?(?:\ License)?
    | PSF(?:-2\.0|L)? | Python(?:-2\.0|\ Software\ Foundation\ License) | CNRI-Python )""",
    re.VERBOSE | re.IGNORECASE,
)
NAMED = {
    "certifi": "MPL-2.0: a list of certificates, used as it is",
    "hypothesis": "MPL-2.0: a tool of the tests",
    "pathspec": "MPL-2.0: a tool of the tests",
    "tqdm": "MPL-2.0 and MIT: used as it is",
    "pypdfium2": "BSD-3-Clause, Apache-2.0, and those of what PDFium is made of",
    "pysqlite3": "zlib, which its metadata do not say",
    "psycopg": "LGPL-3.0: linked by import, replaceable",
    "psycopg-binary": "LGPL-3.0: linked by import, replaceable",
}
"""The others that are there, and why they may be."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_locked_package_has_one_version_and_digests(lock: Path) -> None:
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(packages) > 10
    assert [line[:60] for line in packages if not REQUIREMENT.match(line)] == []
    assert [line[:60] for line in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", line)] == []
    assert [line[:60] for line in packages if "://" in line] == []


def test_the_licence_of_everything_installed_is_on_the_list() -> None:
    locked = {canonical(match["name"]) for lock in LOCKS for match in REQUIREMENT.finditer(lock.read_text())}
    here = {canonical(one.metadata["Name"]): one for one in metadata.distributions()}
    judged = {name: licences(here[name]) for name in locked & here.keys() - NAMED.keys()}
    assert len(judged) > 50
    assert {name: said for name, said in judged.items() if not is_permissive(said)} == {}


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("MIT AND Python-2.0", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-or-later", False),
        ("AGPL-3.0", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_the_judge_can_say_no(said: str, *, verdict: bool) -> None:
    assert is_permissive(said) is verdict


def licences(distribution: metadata.Distribution) -> str:
    """As it says itself: an SPDX expression, else the classifiers, else what stands in the field."""
    said = distribution.metadata
    if expressions := said.get_all("License-Expression"):
        return str(expressions[0])
    classified = [
        line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License ::")
    ]
    named = [name for name in classified if name != "OSI Approved"]
    return " OR ".join(named) or "".join(said.get_all("License", [])).partition("\n")[0]


def is_permissive(said: str) -> bool:
    """Of several that may be chosen from one is enough; of those that hold together each."""
    named = re.sub(r"\([A-Z]+\)", "", said)  # an abbreviation behind the name
    choices = re.split(r"\s+OR\s+", named.replace("(", " ").replace(")", " ").strip())
    return any(
        all(PERMISSIVE.fullmatch(one.strip()) for one in re.split(r"\s+AND\s+|;\s*", choice)) for choice in choices
    )
