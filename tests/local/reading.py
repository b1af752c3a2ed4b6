"""Readings of answers for tests, by the dialect of models that know no tools."""

from __future__ import annotations

from completionist.dialects.choose import choose
from completionist.engine.scripted import CARD
from completionist.grammar.forms import Offer
from completionist.local.assemble import Reading

CONTROLS = {token.id: token.text for token in CARD.specials}


def reading(
    *stop_strings: str, offer: Offer | None = None, is_legacy: bool = False, is_forced_by_name: bool = False
) -> Reading:
    return Reading(
        dialect=choose(CARD),
        controls=CONTROLS,
        offer=offer,
        is_legacy=is_legacy,
        is_forced_by_name=is_forced_by_name,
        stop_strings=stop_strings,
    )
