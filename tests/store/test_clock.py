"""A clock that is set forward and back beside a running server."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest

from completionist import ids
from completionist.settings import LimitSettings, ProjectLimits
from completionist.store.usage import DAY_S
from tests.store.databases import KindOfDatabase
from tests.store.tenants import COMPLETIONS, HELD_TOKENS, KEY, tenants_of
from tests.support import raw
from tests.support.ask import ask

Jump = Callable[[int], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Sets the clock so many seconds forward from what it is in truth."""
    now_s = ids.now_s
    return lambda by_s: monkeypatch.setattr(ids, "now_s", lambda: now_s() + by_s)


def test_everything_goes_on_when_the_clock_jumps(kind: KindOfDatabase, jump: Jump) -> None:
    with tenants_of(kind.new_url()) as tenants, raw.connection(tenants.server.port) as under_way:
        body = raw.chat(stream=True, max_completion_tokens=HELD_TOKENS)
        once = ("Idempotency-Key: once", f"Authorization: Bearer {KEY}")
        under_way.sendall(raw.request("POST", COMPLETIONS, *once, body=body))
        raw.read_head(under_way)
        stored = tenants.store()
        for by_s in (DAY_S, -DAY_S, 0):
            jump(by_s)
            again = raw.send(tenants.server.port, raw.request("POST", COMPLETIONS, *once, body=body))
            assert (again.status, again.error["code"]) == (409, "idempotency_key_in_use")
            stored += tenants.store()
            assert sorted(tenants.listed()) == sorted(one.id for one in stored)
            for one in stored:
                assert tenants.mine.chat.completions.retrieve(one.id).choices == one.choices
            headers = tenants.mine.chat.completions.with_raw_response.create(
                model="scripted", messages=[{"role": "user", "content": "x"}]
            ).headers
            assert int(headers["x-ratelimit-remaining-requests"]) > 0
            assert int(headers["openai-processing-ms"]) < DAY_S


def test_a_quota_is_still_used_up_when_the_clock_comes_back(kind: KindOfDatabase, jump: Jump) -> None:
    with tenants_of(kind.new_url(), limits=LimitSettings(project=ProjectLimits(tokens_per_month=1))) as tenants:
        ledger = tenants.server.services.ledger

        def is_used_up() -> bool:
            tenants.server.on_loop(ledger.flush())
            tenants.server.on_loop(ledger.months.refresh())
            try:
                ask(tenants.mine)
            except openai.RateLimitError as refused:
                return refused.code == "insufficient_quota"
            return False

        assert [is_used_up(), is_used_up()] == [False, True]
        jump(40 * DAY_S)
        assert [is_used_up(), is_used_up()] == [False, True]
        jump(0)
        assert is_used_up()
