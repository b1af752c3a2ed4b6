"""The radix tree against plain comparison, and the budget of the cache."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.engine.llama.keeping import Lifetime
from completionist.engine.llama.prefixes import Entry, PrefixCache
from completionist.engine.llama.radix import RadixTree, Tokens
from completionist.engine.llama.state import State

token_lists = st.lists(st.integers(0, 2), max_size=8)


def tokens(values: list[int]) -> Tokens:
    return np.array(values, np.int32)


def shared(left: list[int], right: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


@given(held=st.lists(token_lists, max_size=12), asked=token_lists)
def test_matches_are_all_entries_by_shared_length(held: list[list[int]], asked: list[int]) -> None:
    tree: RadixTree[int] = RadixTree()
    for i, values in enumerate(held):
        tree.insert(tokens(values), i)
    found = list(tree.matches(tokens(asked)))
    assert {i: n for n, i in found} == {i: shared(values, asked) for i, values in enumerate(held)}
    assert [n for n, _ in found] == sorted((n for n, _ in found), reverse=True)


@given(held=st.lists(token_lists, max_size=12), data=st.data())
def test_what_was_removed_is_gone_and_the_rest_stays(held: list[list[int]], data: st.DataObject) -> None:
    tree: RadixTree[int] = RadixTree()
    nodes = {i: tree.insert(tokens(values), i) for i, values in enumerate(held)}
    order = data.draw(st.permutations(range(len(held))))
    for n_removed, i in enumerate(order, start=1):
        tree.remove(nodes[i], i)
        assert sorted(tree.entries()) == sorted(order[n_removed:])
    assert not tree


def state(n_bytes: int) -> State:
    return State(np.zeros(n_bytes, np.uint8), n_bytes, stream=0, n_streams=1, is_movable=False)


def blob(project: str, values: list[int], n_bytes: int = 100, lifetime: Lifetime | None = None) -> Entry:
    return Entry(
        project=project,
        tokens=tokens(values),
        state=state(n_bytes),
        lifetime=Lifetime() if lifetime is None else lifetime,
    )


def test_projects_never_see_each_other() -> None:
    cache = PrefixCache(1000)
    cache.add(blob("a", [1, 2, 3]))
    assert list(cache.matches("b", tokens([1, 2, 3]))) == []
    assert [n for n, _ in cache.matches("a", tokens([1, 2, 9]))] == [2]


def test_the_least_recently_used_goes_first() -> None:
    cache = PrefixCache(300)
    first, second, third = blob("a", [1]), blob("a", [2]), blob("a", [3])
    for entry in (first, second, third):
        cache.add(entry)
    cache.touch(first)
    cache.add(blob("a", [4]))
    assert next(cache.matches("a", tokens([2])))[0] == 0
    assert next(cache.matches("a", tokens([1]))) == (1, first)
    assert cache.n_bytes == 300


def test_an_entry_that_another_continues_goes_before_all_others() -> None:
    cache = PrefixCache(300)
    other, short, whole = blob("a", [7]), blob("a", [1]), blob("a", [1, 2])
    for entry in (other, short, whole):
        cache.add(entry)
    assert cache.is_covered(short)
    cache.add(blob("a", [9]))
    assert short not in list(cache.entries())
    assert other in list(cache.entries())


def test_a_greedy_project_pays_for_its_own_entries() -> None:
    cache = PrefixCache(400)
    small = blob("small", [1])
    cache.add(small)
    for i in range(10):
        cache.add(blob("greedy", [i]))
    assert small in list(cache.entries())
    assert cache.n_bytes == 400


def held(cache: PrefixCache) -> list[int]:
    return sorted(int(entry.tokens[0]) for entry in cache.entries())


def test_entries_of_a_key_stay_fresh_and_go_together() -> None:
    cache = PrefixCache(400)
    key = Lifetime(key="k")
    first, second = blob("a", [1], lifetime=key), blob("a", [2], lifetime=key)
    for entry in (first, second, blob("a", [3]), blob("a", [4], lifetime=Lifetime(key="other"))):
        cache.add(entry)
    cache.touch(second)
    for value in (5, 6):
        cache.add(blob("a", [value]))
    assert held(cache) == [1, 2, 5, 6], "the oldest of all was used with another one of its key"
    for value in (7, 8):
        cache.add(blob("a", [value]))
    assert held(cache) == [5, 6, 7, 8], "both went before what came later"
    assert not cache._groups


def test_keys_of_projects_are_their_own() -> None:
    cache = PrefixCache(300)
    key = Lifetime(key="k")
    cache.add(blob("a", [1], lifetime=key))
    cache.add(blob("a", [2]))
    other = blob("b", [3], lifetime=key)
    cache.add(other)
    cache.touch(other)
    cache.add(blob("a", [4]))
    assert held(cache) == [2, 3, 4]


def test_what_was_asked_to_stay_goes_last_until_its_time_is_over() -> None:
    clock = [0.0]
    cache = PrefixCache(300, now_s=lambda: clock[0])
    cache.add(blob("a", [1], lifetime=Lifetime(protected_until_s=1800.0)))
    for value in (2, 3, 4, 5):
        cache.add(blob("a", [value]))
    assert held(cache) == [1, 4, 5]
    clock[0] = 1800.0
    cache.add(blob("a", [6]))
    assert held(cache) == [4, 5, 6]


def test_what_was_asked_to_stay_makes_room_for_other_projects_only() -> None:
    cache = PrefixCache(200, now_s=lambda: 0.0)
    wanted = Lifetime(protected_until_s=1800.0)
    for value in (1, 2):
        cache.add(blob("a", [value], lifetime=wanted))
    cache.add(blob("a", [3]))
    assert held(cache) == [1, 2]
    assert cache.n_bytes == 200
    cache.add(blob("b", [4]))
    assert held(cache) == [2, 4]


def test_age_and_idleness_end_what_nobody_asked_to_keep() -> None:
    clock = [0.0]
    cache = PrefixCache(1000, now_s=lambda: clock[0])
    in_memory = Lifetime(max_age_s=3600.0, max_idle_s=600.0)
    idle, busy = blob("a", [1], lifetime=in_memory), blob("a", [2], lifetime=in_memory)
    wanted = blob("a", [3], lifetime=in_memory._replace(protected_until_s=4000.0))
    for entry in (idle, busy, wanted, blob("a", [4])):
        cache.add(entry)
    clock[0] = 500.0
    cache.touch(busy)
    assert cache.expired() == []
    clock[0] = 599.0
    assert cache.expired() == []
    clock[0] = 601.0
    assert cache.expired() == [idle]
    cache.remove(idle)
    for clock[0] in range(1000, 3600, 500):
        cache.touch(busy)
    clock[0] = 3600.0
    assert cache.expired() == [busy]
    cache.remove(busy)
    clock[0] = 4000.0
    assert cache.expired() == [wanted]


def test_a_state_larger_than_the_budget_is_not_kept() -> None:
    cache = PrefixCache(400)
    cache.add(blob("a", [1], n_bytes=401))
    assert cache.n_entries == cache.n_bytes == 0


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), token_lists, st.integers(1, 200)), max_size=40),
    budget=st.integers(1, 500),
)
def test_the_budget_holds_whatever_comes(steps: list[tuple[str, list[int], int]], budget: int) -> None:
    cache = PrefixCache(budget)
    for project, values, n_bytes in steps:
        cache.add(blob(project, values, n_bytes=max(4, n_bytes)))
        assert cache.n_bytes <= budget
        assert cache.n_bytes == sum(entry.state.n_bytes for entry in cache.entries() if entry.state)
    for entry in list(cache.entries()):
        cache.remove(entry)
        cache.remove(entry)
    assert cache.n_bytes == cache.n_entries == 0


def test_states_that_cannot_move_fit_only_where_they_came_from() -> None:
    with pytest.raises(ValueError, match="stream count"):
        state(16).for_context(2)
