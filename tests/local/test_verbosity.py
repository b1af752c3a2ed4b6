"""`verbosity` is an instruction in the prompt, and only where it is sent (contract 13.1)."""

from __future__ import annotations

import pytest

from completionist.local.verbosity import INSTRUCTIONS, with_verbosity
from tests.wire.bodies import chat, read

SYSTEM = {"role": "system", "content": "Be kind."}
DEVELOPER = {"role": "developer", "content": "Be quick."}
USER = {"role": "user", "content": "hello"}


def shown(*messages: object, **fields: object) -> list[tuple[str, str]]:
    request = read(chat(*messages, **fields))
    return [(message.role, message.text) for message in with_verbosity(request).messages]


def test_unsent_it_says_nothing() -> None:
    assert shown(SYSTEM, USER) == shown(SYSTEM, USER, verbosity=None) == [("system", "Be kind."), ("user", "hello")]


@pytest.mark.parametrize("verbosity", ["low", "medium", "high"])
def test_sent_it_follows_the_opening_system_messages(verbosity: str) -> None:
    instruction = ("developer", INSTRUCTIONS[verbosity])
    assert shown(SYSTEM, DEVELOPER, USER, SYSTEM, verbosity=verbosity) == [
        ("system", "Be kind."), ("developer", "Be quick."), instruction, ("user", "hello"), ("system", "Be kind."),
    ]  # fmt: skip
    assert shown(USER, verbosity=verbosity)[0] == instruction
    assert shown(SYSTEM, verbosity=verbosity)[-1] == instruction


def test_every_value_says_something_else() -> None:
    assert len(set(INSTRUCTIONS.values())) == 3
