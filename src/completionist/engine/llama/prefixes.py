"""The prefix cache: what earlier prompts of a project left in streams and in host memory, and what may be dropped.

An entry is a run of tokens whose cells exist somewhere: in a stream that a sequence is still using, in a free stream
that nobody has needed since, or as a `State`. Projects have trees of their own: nothing of one is ever found, counted or
timed by another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from completionist.engine.llama.radix import Node, RadixTree, Tokens
from completionist.engine.llama.state import State

if TYPE_CHECKING:
    from completionist.engine.llama.sequence import Sequence
    from completionist.engine.llama.streams import Streams


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """Cells for `tokens`. Exactly one of `sequence`, `pool` and `state` says where they are."""

    project: str
    tokens: Tokens
    sequence: Sequence | None = None
    """Still running: its first `n_cells` tokens are there."""
    pool: Streams | None = None
    """Left behind in the free stream `stream` of this pool."""
    stream: int = -1
    state: State | None = None
    node: Node[Entry] | None = field(default=None, repr=False)
    last_used: int = 0

    @property
    def n_present(self) -> int:
        """Tokens whose cells exist now."""
        return min(len(self.tokens), self.sequence.n_cells) if self.sequence else len(self.tokens)


class PrefixCache:
    """All entries, and the byte budget of those in host memory."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._trees: dict[str, RadixTree[Entry]] = {}
        self._blobs: dict[str, list[Entry]] = {}
        self._clock = itertools.count(1)

    @property
    def is_enabled(self) -> bool:
        return self.budget_bytes > 0

    @property
    def n_bytes(self) -> int:
        return sum(map(self._project_bytes, self._blobs))

    @property
    def n_entries(self) -> int:
        return sum(1 for _ in self.entries())

    def entries(self) -> Iterator[Entry]:
        return itertools.chain.from_iterable(tree.entries() for tree in self._trees.values())

    def matches(self, project: str, tokens: Tokens) -> Iterator[tuple[int, Entry]]:
        """Entries of `project` with the length of the start they share with `tokens`, longest first."""
        tree = self._trees.get(project)
        return tree.matches(tokens) if tree else iter(())

    def add(self, entry: Entry) -> None:
        """Make an entry known. One with a state counts against the budget, and older ones may go for it."""
        if entry.state is not None and not self._make_room(entry):
            return
        entry.node = self._trees.setdefault(entry.project, RadixTree()).insert(entry.tokens, entry)
        self.touch(entry)

    def remove(self, entry: Entry) -> None:
        """Forget an entry; one that was dropped already stays so."""
        if entry.node is None:
            return
        tree = self._trees[entry.project]
        tree.remove(entry.node, entry)
        entry.node = None
        if not tree:
            del self._trees[entry.project]
        if entry.state is not None:
            self._blobs[entry.project].remove(entry)
            if not self._blobs[entry.project]:
                del self._blobs[entry.project]

    def touch(self, entry: Entry) -> None:
        entry.last_used = next(self._clock)

    def is_covered(self, entry: Entry) -> bool:
        """Another entry holds these tokens too, or these and more: keeping a copy of this one gains nothing."""
        node = entry.node
        return node is not None and (len(node.entries) > 1 or bool(node.children))

    def _make_room(self, newcomer: Entry) -> bool:
        """Drop entries until the newcomer fits into the budget; false where it is too large by itself."""
        size = newcomer.state.n_bytes if newcomer.state else 0
        if size > self.budget_bytes:
            return False
        self._blobs.setdefault(newcomer.project, []).append(newcomer)
        while self.n_bytes > self.budget_bytes:
            self.remove(self._victim(newcomer))
        return True

    def _victim(self, newcomer: Entry) -> Entry:
        """The least valuable entry of the project that is furthest above its equal share."""
        greediest = max(self._blobs, key=self._project_bytes)
        candidates = [entry for entry in self._blobs[greediest] if entry is not newcomer]
        if not candidates:  # all of it is the newcomer's own project's, or other projects' that are within their share
            others = (entry for project in self._blobs for entry in self._blobs[project] if entry is not newcomer)
            return min(others, key=_value)
        return min(candidates, key=_value)

    def _project_bytes(self, project: str) -> int:
        return sum(entry.state.n_bytes for entry in self._blobs[project] if entry.state)


def _value(entry: Entry) -> tuple[bool, float]:
    """What dropping the entry would lose: one that another continues costs nothing to do without; a longer one costs
    more to compute again, a recently used one is more likely to be wanted."""
    is_needed = entry.node is None or not entry.node.children
    return is_needed, entry.last_used + np.log2(len(entry.tokens) + 1)
