"""Who is next."""

from __future__ import annotations

from collections import Counter

from completionist.engine.base import Tier
from completionist.engine.llama.sequence import Account, Request
from completionist.engine.llama.waiting import AGEING_S, ASKING_S, WaitingRoom
from tests.engine.asking import request


def room(*requests: Request, max_waiting: int = 100) -> WaitingRoom:
    waiting = WaitingRoom(max_waiting)
    for one in requests:
        waiting.add(one)
    return waiting


def order(waiting: WaitingRoom, now_s: float = 0.0, running: Counter[Account] | None = None) -> list[int]:
    return [one.id for one in waiting.in_order(now_s, running or Counter())]


def of_tier(request_id: int, tier: Tier, arrived_s: float = 0.0) -> Request:
    return request(request_id, tokens=[1], tier=tier, arrived_s=arrived_s)


def test_tiers_come_in_their_order() -> None:
    assert order(room(of_tier(1, "flex"), of_tier(2, "default"), of_tier(3, "priority"))) == [3, 2, 1]


def test_within_a_tier_the_first_comes_first() -> None:
    assert order(room(of_tier(1, "default", 5.0), of_tier(2, "default", 4.0))) == [2, 1]


def test_nothing_starves() -> None:
    old, now_s = of_tier(1, "flex"), 2 * AGEING_S
    newcomers = [of_tier(i, "priority", arrived_s=now_s) for i in range(2, 5)]
    assert order(room(*newcomers, old), now_s)[0] == 1


def test_the_project_with_least_running_is_next() -> None:
    busy, idle = request(1, tokens=[1], project="busy"), request(2, tokens=[1], project="idle", arrived_s=9.0)
    assert order(room(busy, idle), 9.0, Counter({("busy", ""): 3, ("idle", ""): 1})) == [2, 1]


def test_the_key_with_least_running_is_next_within_a_project() -> None:
    busy, idle = request(1, tokens=[1], key="busy"), request(2, tokens=[1], key="idle", arrived_s=9.0)
    assert order(room(busy, idle), 9.0, Counter({("default", "busy"): 3, ("default", "idle"): 1})) == [2, 1]


def test_a_long_queue_of_ones_own_makes_nobody_climb() -> None:
    flood, other = [of_tier(i, "default") for i in range(2)], request(9, tokens=[1], key="other", arrived_s=AGEING_S)
    waiting = room(*flood, other)
    waiting.starts(flood[0], AGEING_S - 1)  # its turn came a second ago
    assert order(waiting, AGEING_S, Counter({("default", ""): 15})) == [9, 0, 1]


def test_the_last_free_stream_is_for_who_asks_and_holds_none() -> None:
    flood, now_s = request(1, tokens=[1], key="flood"), 100.0
    waiting, running = room(flood), Counter({flood.account: 15})
    assert waiting.leaves_room(flood, 1, running, now_s)  # nobody else is there
    waiting.sees(("default", "other"), now_s)
    assert waiting.leaves_room(flood, 2, running, now_s)
    assert not waiting.leaves_room(flood, 1, running, now_s)
    assert waiting.leaves_room(request(2, tokens=[1], key="other"), 1, running, now_s)
    assert waiting.leaves_room(flood, 1, running + Counter({("default", "other"): 1}), now_s)
    assert waiting.leaves_room(flood, 1, running, now_s + ASKING_S)


def test_short_streams_are_for_whoever_holds_no_more_than_others_who_ask() -> None:
    flood, now_s = request(1, tokens=[1], key="flood"), 100.0
    waiting, running = room(flood), Counter({flood.account: 15})
    assert waiting.may_have_short(flood, running, now_s)  # nobody else is there
    waiting.sees(("default", "other"), now_s)
    assert not waiting.may_have_short(flood, running, now_s)
    assert waiting.may_have_short(request(2, tokens=[1], key="other"), running, now_s)
    assert waiting.may_have_short(flood, running + Counter({("default", "other"): 15}), now_s)
    assert waiting.may_have_short(flood, running, now_s + ASKING_S)


def test_the_only_stream_is_for_whoever_comes() -> None:
    waiting = room(request(1, tokens=[1], key="a"), request(2, tokens=[1], key="b"))
    assert all(waiting.leaves_room(one, 1, Counter(), 0.0) for one in waiting.in_order(0.0, Counter()))


def test_a_request_of_many_choices_does_not_hold_up_its_neighbours() -> None:
    many, single = request(1, tokens=[1]), request(2, tokens=[1], arrived_s=1.0)
    many.choices_waiting = [0, 1, 2]
    many.start()
    assert order(room(many, single), 1.0) == [2, 1]


def test_one_project_cannot_fill_the_queue() -> None:
    waiting = room(*(request(i, tokens=[1], project="greedy") for i in range(6)), max_waiting=8)
    assert not waiting.has_room("greedy", 0)
    assert waiting.has_room("greedy", 1)
    assert waiting.has_room("other", 0)


def test_flex_fills_half_of_the_queue_at_most() -> None:
    waiting = room(*(of_tier(i, "flex") for i in range(2)), max_waiting=4)
    assert not waiting.has_room("default", 0, "flex")
    assert waiting.has_room("default", 1, "flex")
    assert waiting.has_room("default", 0, "priority")


def test_the_queue_has_an_end() -> None:
    waiting = room(*(request(i, tokens=[1], project=str(i)) for i in range(8)), max_waiting=8)
    assert not waiting.has_room("new", 0)
    assert waiting.has_room("new", 1)
    assert not WaitingRoom(0).has_room("new", 0)
