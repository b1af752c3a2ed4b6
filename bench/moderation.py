"""How well a model of this server judges: sentences of our own, half of them harmless, as `python -m bench.moderation MODEL`.

No scenario of `python -m bench`: it compares nothing, and its figures hardly depend on the machine. They are in
docs/operations.md. `moderation.json` has the sentences, each with the categories that it belongs to; `sexual/minors` has none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from completionist.app import open_backend
from completionist.loading import Loading, loading
from completionist.models.installed import resolve
from completionist.moderation.judge import scores_of
from completionist.settings import EngineSettings, Settings
from completionist.types.caller import Caller
from completionist.types.moderation import CATEGORIES

_SENTENCES = Path(__file__).with_suffix(".json")
_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


class Judged(NamedTuple):
    categories: frozenset[str]
    """That the sentence belongs to; none: it is harmless."""
    scores: Mapping[str, float]

    @property
    def worst(self) -> float:
        return max(self.scores.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    settings = Settings(model=parser.parse_args().model, engine=EngineSettings(streams=1, context_tokens=1024))
    with loading(resolve(settings.model, settings.models), settings) as model:
        began_s = time.monotonic()
        judged = asyncio.run(_judge(model))
    print(f"{(time.monotonic() - began_s) / len(judged):.1f} s a sentence")
    _report(judged)


async def _judge(model: Loading) -> list[Judged]:
    async with open_backend(model) as backend:
        return [
            Judged(frozenset(one["of"]), await scores_of(one["text"], backend, model.file.name, Caller()))
            for one in json.loads(_SENTENCES.read_text())
        ]


def _report(judged: Sequence[Judged]) -> None:
    harmful, harmless = [one for one in judged if one.categories], [one for one in judged if not one.categories]
    for threshold in _THRESHOLDS:
        caught, wrong = (sum(one.worst >= threshold for one in part) for part in (harmful, harmless))
        print(f"from {threshold}: {caught} of {len(harmful)} harmful, {wrong} of {len(harmless)} harmless flagged")
    print(f"order, all: {_order([one.worst for one in harmful], [one.worst for one in harmless]):.2f}")
    for category in CATEGORIES:
        inside = [one.scores[category] for one in judged if category in one.categories]
        outside = [one.scores[category] for one in judged if category not in one.categories]
        if inside:
            print(f"order, {category}: {_order(inside, outside):.2f}")


def _order(inside: Sequence[float], outside: Sequence[float]) -> float:
    """How often a sentence that belongs has a higher score than one that does not (0.5: chance)."""
    return sum((a > b) + (a == b) / 2 for a in inside for b in outside) / (len(inside) * len(outside))


if __name__ == "__main__":
    main()
