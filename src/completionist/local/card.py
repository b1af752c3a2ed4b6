"""A model's card as its operator wants it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from completionist.engine.base import ModelCard
from completionist.errors import OperatorError
from completionist.settings import ServedSettings


class TemplateUnreadable(OperatorError):
    """The configured chat template is no text file that can be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"chat_template: cannot read {path}: {reason}")


def card_as_served(card: ModelCard, said: ServedSettings) -> ModelCard:
    """What changes answers changes the fingerprint too (contract 13.6). Raises `TemplateUnreadable`."""
    if said.chat_template is None and said.dialect is None:
        return card
    template = _text(said.chat_template) if said.chat_template else card.chat_template
    changes = "\0".join([card.fingerprint, template or "", said.dialect or ""])
    digest = hashlib.sha256(changes.encode()).hexdigest()
    return msgspec.structs.replace(card, chat_template=template, fingerprint=f"fp_{digest[:10]}")


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateUnreadable(path, str(error)) from None
