"""The prefix cache: what earlier prompts of a project left in streams and in host memory, and what may be dropped.

An entry is a run of tokens whose cells exist somewhere: in a stream that a sequence is still using, in a free stream
that nobody has needed since, or as a `State`. Projects have trees of their own: nothing of one is ever found, counted or
timed by another.

Within a project the entries of one key are a group: using one of them counts as a use of all, so that the group which was
not used for longest goes before anything of another one does.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from completionist.engine.llama.keeping import Lifetime
from completionist.engine.llama.radix import Node, RadixTree, Tokens
from completionist.engine.llama.state import State

if TYPE_CHECKING:
    from completionist.engine.llama.sequence import Sequence
    from completionist.engine.llama.streams import Streams

_SWEEP_S = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """Cells for `tokens`. Exactly one of `sequence`, `pool` and `state` says where they are."""

    project: str
    tokens: Tokens
    lifetime: Lifetime = field(default_factory=Lifetime)
    sequence: Sequence | None = None
    """Still running: its first `n_cells` tokens are there."""
    pool: Streams | None = None
    """Left behind in the free stream `stream` of this pool."""
    stream: int = -1
    state: State | None = None
    node: Node[Entry] | None = field(default=None, repr=False)
    last_used: int = 0
    used_s: float = -math.inf

    @property
    def n_present(self) -> int:
        """Tokens whose cells exist now."""
        return min(len(self.tokens), self.sequence.n_cells) if self.sequence else len(self.tokens)


class PrefixCache:
    """All entries, and the byte budget of those in host memory."""

    def __init__(self, budget_bytes: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self.budget_bytes = budget_bytes
        self.now_s = now_s
        self._trees: dict[str, RadixTree[Entry]] = {}
        self._blobs: dict[str, list[Entry]] = {}
        self._clock = itertools.count(1)
        self._groups: dict[tuple[str, str], _Group] = {}
        self._limited: set[Entry] = set()
        self._swept_s = -math.inf

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
        if (key := entry.lifetime.key) is not None:
            self._groups.setdefault((entry.project, key), _Group(last_used=entry.last_used)).n_entries += 1
        if entry.lifetime.is_limited:
            self._limited.add(entry)
        if not entry.last_used:  # else it was somewhere else before
            self.touch(entry)

    def remove(self, entry: Entry) -> None:
        """Forget an entry; one that was dropped already stays so."""
        if entry.node is None:
            return
        tree = self._trees[entry.project]
        tree.remove(entry.node, entry)
        entry.node = None
        self._limited.discard(entry)
        self._leave_group(entry)
        if not tree:
            del self._trees[entry.project]
        if entry.state is not None:
            self._discard_blob(entry)

    def touch(self, entry: Entry) -> None:
        entry.last_used = next(self._clock)
        entry.used_s = self.now_s()
        if group := self._group(entry):
            group.last_used = entry.last_used

    def expired(self) -> list[Entry]:
        """Entries that are too old to be kept; looked for once a second. What a running sequence holds is none of them."""
        now_s = self.now_s()
        if not self._limited or now_s - self._swept_s < _SWEEP_S:
            return []
        self._swept_s = now_s
        return [
            entry for entry in self._limited if entry.sequence is None and entry.lifetime.is_over(now_s, entry.used_s)
        ]

    def is_covered(self, entry: Entry) -> bool:
        """Another entry holds these tokens too, or these and more: keeping a copy of this one gains nothing."""
        node = entry.node
        return node is not None and (len(node.entries) > 1 or bool(node.children))

    def _make_room(self, newcomer: Entry) -> bool:
        """Drop entries until the newcomer fits into the budget; false where it is too large, or all others are to stay."""
        size = newcomer.state.n_bytes if newcomer.state else 0
        if size > self.budget_bytes:
            return False
        self._blobs.setdefault(newcomer.project, []).append(newcomer)
        while self.n_bytes > self.budget_bytes:
            victim = self._victim(newcomer)
            if victim.project == newcomer.project and self._outlasts(victim, newcomer):
                self._discard_blob(newcomer)
                return False
            self.remove(victim)
        return True

    def _discard_blob(self, entry: Entry) -> None:
        blobs = self._blobs[entry.project]
        blobs.remove(entry)
        if not blobs:
            del self._blobs[entry.project]

    def _outlasts(self, entry: Entry, other: Entry) -> bool:
        now_s = self.now_s()
        return entry.lifetime.is_protected(now_s) and not other.lifetime.is_protected(now_s)

    def _victim(self, newcomer: Entry) -> Entry:
        """The least valuable entry of the project that is furthest above its equal share."""
        greediest = max(self._blobs, key=self._project_bytes)
        candidates = [entry for entry in self._blobs[greediest] if entry is not newcomer]
        if not candidates:  # all of it is the newcomer's own project's, or other projects' that are within their share
            candidates = [entry for project in self._blobs for entry in self._blobs[project] if entry is not newcomer]
        return min(candidates, key=self._value)

    def _value(self, entry: Entry) -> tuple[bool, bool, float, float]:
        """What dropping the entry would lose: a client may have asked to keep it; one that another continues costs nothing
        to do without; a longer one costs more to compute again, a recently used one is more likely to be wanted, and with
        it the others of its key."""
        is_needed = entry.node is None or not entry.node.children
        own = entry.last_used + float(np.log2(len(entry.tokens) + 1))
        group = self._group(entry)
        return entry.lifetime.is_protected(self.now_s()), is_needed, group.last_used if group else own, own

    def _group(self, entry: Entry) -> _Group | None:
        return self._groups.get((entry.project, entry.lifetime.key)) if entry.lifetime.key is not None else None

    def _leave_group(self, entry: Entry) -> None:
        if group := self._group(entry):
            group.n_entries -= 1
            if not group.n_entries:
                del self._groups[entry.project, entry.lifetime.key or ""]

    def _project_bytes(self, project: str) -> int:
        return sum(entry.state.n_bytes for entry in self._blobs[project] if entry.state)


@dataclass(slots=True)
class _Group:
    """The entries of one key."""

    n_entries: int = 0
    last_used: int = 0
