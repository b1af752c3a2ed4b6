"""A radix tree over token sequences: which entries share the longest start with a prompt.

root ─[1 2 3]─ node ─[4 5]─ leaf        every entry hangs at the node where its tokens end
                    └[9]─── leaf
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
T = TypeVar("T")


class Node(Generic[T]):
    """One edge with its lower end."""

    __slots__ = ("children", "depth", "edge", "entries", "parent")

    def __init__(self, edge: Tokens, parent: Node[T] | None) -> None:
        self.edge = edge
        self.parent = parent
        self.depth: int = len(edge) + (parent.depth if parent else 0)
        self.children: dict[int, Node[T]] = {}
        self.entries: list[T] = []


class RadixTree(Generic[T]):
    """Entries by their tokens. Several entries may have the same ones."""

    def __init__(self) -> None:
        self._root: Node[T] = Node(np.empty(0, np.int32), None)

    def __bool__(self) -> bool:
        return bool(self._root.children or self._root.entries)

    def insert(self, tokens: Tokens, entry: T) -> Node[T]:
        """Hang `entry` in; the node is what `remove` needs."""
        node = self._root
        while node.depth < len(tokens):
            rest = tokens[node.depth :]
            child = node.children.get(int(rest[0]))
            if child is None:
                child = node.children[int(rest[0])] = Node(rest.copy(), node)
            elif (common := n_common(child.edge, rest)) < len(child.edge):
                child = self._split(child, common)
            node = child
        node.entries.append(entry)
        return node

    def remove(self, node: Node[T], entry: T) -> None:
        """Take `entry` out of the `node` that `insert` gave for it, and the nodes that only led to it."""
        node.entries.remove(entry)
        while node.parent is not None and not node.entries and not node.children:
            del node.parent.children[int(node.edge[0])]
            node = node.parent

    def matches(self, tokens: Tokens) -> Iterator[tuple[int, T]]:
        """Every entry with the number of tokens that it shares with the start of `tokens`, longest first."""
        path = [(0, self._root)]
        while True:
            depth, node = path[-1]
            child = node.children.get(int(tokens[depth])) if depth == node.depth and depth < len(tokens) else None
            if child is None:
                break
            path.append((depth + n_common(child.edge, tokens[depth:]), child))
        below: Node[T] | None = None
        for depth, node in reversed(path):
            yield from ((depth, entry) for entry in _subtree(node, below))
            below = node

    def entries(self) -> Iterator[T]:
        return _subtree(self._root, None)

    def _split(self, node: Node[T], length: int) -> Node[T]:
        """Put a node in the middle of the edge of `node`, `length` tokens down."""
        parent = node.parent
        if parent is None:
            raise ValueError("the root has no edge to split")
        upper: Node[T] = Node(node.edge[:length].copy(), parent)
        parent.children[int(upper.edge[0])] = upper
        node.edge = node.edge[length:].copy()
        node.parent = upper
        upper.children[int(node.edge[0])] = node
        return upper


def n_common(left: Tokens, right: Tokens) -> int:
    """Length of the common start."""
    n = min(len(left), len(right))
    differs = left[:n] != right[:n]
    first = int(differs.argmax()) if n else 0
    return first if n and differs[first] else n


def _subtree(node: Node[T], without: Node[T] | None) -> Iterator[T]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield from current.entries
        stack += [child for child in current.children.values() if child is not without]
