"""Rates, concurrency and the bounded queue: who is refused, with which words, and what is left (contract 9.4, 9.5)."""

from __future__ import annotations

import hashlib
import math
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import msgspec
import openai
import pytest

from completionist.api.buckets import Bucket
from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import CARD, Move, Pause
from completionist.errors.rates import duration
from completionist.settings import EngineSettings, KeySettings, LimitSettings, ProjectLimits, Settings, SharedLimits
from tests.conftest import Serve
from tests.support import raw
from tests.support.server import MODEL, SETTINGS, RunningServer, eventually, running_server

CREATE = "/v1/chat/completions"
LIMITS: dict[str, dict[str, int]] = {
    "free": {},
    "rare": {"requests_per_minute": 2},
    "short": {"tokens_per_minute": 200},
    "alone": {"concurrent_requests": 1},
    "poor": {"tokens_per_month": 1},
    "plain": {},
    "brother": {},
    "users": {},
}
"""Of keys, each in a project of its own but `plain` and `brother`."""


def key_settings(name: str, **limits: int) -> KeySettings:
    project = "family" if name in {"plain", "brother"} else name
    return KeySettings(sha256=hashlib.sha256(name.encode()).hexdigest(), project=project, organization="port", **limits)


def waits(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """Two words; asked to wait, one and then no more."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    return [[b"High", Pause(math.inf)] if "wait" in text else [b"High", b" water"]] * prompt.n


KEYED = SETTINGS.model_copy(update={"keys": tuple(key_settings(name, **limits) for name, limits in LIMITS.items())})


@pytest.fixture(scope="module")
def limited() -> Iterator[RunningServer]:
    """Keys with limits; end users of a key may have two requests under way."""
    limits = LimitSettings(end_user=SharedLimits(concurrent_requests=2))
    with running_server(waits, settings=KEYED.model_copy(update={"limits": limits})) as server:
        yield server


def create(server: RunningServer, key: str, **fields: object) -> raw.Reply:
    return raw.send(server.port, raw.request("POST", CREATE, f"Authorization: Bearer {key}", body=raw.chat(**fields)))


@contextmanager
def held(server: RunningServer, key: str, n: int = 1, **fields: object) -> Iterator[list[socket.socket]]:
    """`n` requests under way that come to no end."""
    body = raw.chat(**{"stream": True, "messages": [{"role": "user", "content": "wait"}], **fields})
    with ExitStack() as stack:
        socks = [stack.enter_context(raw.connection(server.port)) for _ in range(n)]
        for sock in socks:
            sock.sendall(raw.request("POST", CREATE, f"Authorization: Bearer {key}", body=body))
        for sock in socks:
            raw.read_head(sock)
        yield socks
    eventually(lambda: server.engine.stats.running == 0)


def test_every_key_has_limits_and_says_what_is_left(limited: RunningServer) -> None:
    headers = create(limited, "free", max_completion_tokens=10).headers
    assert headers["x-ratelimit-limit-requests"] == "1000000"
    assert 999_000 < int(headers["x-ratelimit-remaining-requests"]) <= 1_000_000  # they fill up while the answer comes
    assert re.fullmatch(r"0s|[0-9]+ms", headers["x-ratelimit-reset-requests"])
    assert headers["x-ratelimit-limit-tokens"] == "1000000000"
    assert "x-ratelimit-limit-project-tokens" not in headers


@pytest.mark.parametrize(
    ("key", "fields", "status", "is_shown"),
    [
        ("free", {}, 200, True),
        ("free", {"n": 0}, 400, True),
        ("free", {"model": "none"}, 404, False),
        ("no", {}, 401, False),
    ],
)
def test_what_is_left_is_told_with_200_400_and_429(
    limited: RunningServer, key: str, fields: dict[str, Any], status: int, is_shown: bool
) -> None:
    reply = create(limited, key, **fields)
    assert reply.status == status
    assert ("x-ratelimit-remaining-requests" in reply.headers) is is_shown


def test_requests_per_minute(limited: RunningServer) -> None:
    assert create(limited, "rare").headers["x-ratelimit-remaining-requests"] == "1"
    assert create(limited, "rare", model="none").status == 404  # costs nothing
    assert create(limited, "rare", n=0).headers["x-ratelimit-remaining-requests"] == "0"  # costs one
    refused = create(limited, "rare")
    assert (refused.status, refused.error["type"], refused.error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert re.fullmatch(
        rf"Rate limit reached for {MODEL} in organization port on requests per min \(RPM\): Limit 2, Used 2, Requested 1\. "
        r"Please try again in [0-9.]+s\. Visit the operator of this server to learn more\.",
        refused.error["message"],
    )
    wait_ms = int(refused.headers["retry-after-ms"])
    assert 20_000 < wait_ms <= 30_000
    assert refused.headers["retry-after"] == str(math.ceil(wait_ms / 1000))
    assert "x-should-retry" not in refused.headers
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_the_tightest_limit_is_shown(serve: Serve) -> None:
    """Of the key, of its project and of the end user, whichever has the least left, each for requests and for tokens."""
    limits = LimitSettings(
        project=ProjectLimits(requests_per_minute=5, tokens_per_minute=3_000),
        end_user=SharedLimits(requests_per_minute=2, tokens_per_minute=1_000),
    )
    keys = (key_settings("plain"), key_settings("brother", requests_per_minute=3, tokens_per_minute=2_000))
    server = serve(waits, settings=SETTINGS.model_copy(update={"keys": keys, "limits": limits}))

    def shown(key: str, **fields: object) -> dict[str, tuple[str, str]]:
        headers = create(server, key, **fields).headers
        kinds = ("requests", "tokens", "project-tokens")
        assert all(f"x-ratelimit-reset-{kind}" in headers for kind in kinds)
        return {
            kind: (headers[f"x-ratelimit-limit-{kind}"], headers[f"x-ratelimit-remaining-{kind}"]) for kind in kinds
        }

    first = shown("plain")
    assert first["requests"] == ("5", "4")
    assert first["tokens"] == first["project-tokens"]
    assert first["tokens"][0] == "3000"
    brother = shown("brother")
    assert brother["requests"] == ("3", "2")  # the project has 3
    assert (brother["tokens"][0], brother["project-tokens"][0]) == ("2000", "3000")
    assert shown("plain", user="ada")["requests"] == ("2", "1")  # the project as well as the key have more
    assert shown("plain", user="ada", n=0)["requests"] == ("5", "1")  # refused before anybody looks at the user
    refused = create(server, "plain", user="ada")
    assert refused.status == 200
    assert [create(server, key).status for key in ("plain", "brother")] == [429, 429]
    assert shown("brother")["requests"] == ("5", "0")


def test_tokens_are_reserved_and_settled(limited: RunningServer) -> None:
    first = create(limited, "short", max_completion_tokens=100)
    left = int(first.headers["x-ratelimit-remaining-tokens"])
    assert left >= 200 - raw.json_of(first)["usage"]["total_tokens"]  # not what was reserved
    assert left < 200
    too_large = create(limited, "short", max_completion_tokens=500)
    assert (too_large.status, too_large.error["type"], too_large.error["code"]) == (
        429,
        "tokens",
        "rate_limit_exceeded",
    )
    assert too_large.headers["x-should-retry"] == "false"
    assert "retry-after" not in too_large.headers
    assert too_large.error["message"].startswith(
        f"Request too large for {MODEL} in organization port on tokens per min (TPM): Limit 200, Requested 5"
    )
    with held(limited, "short", max_completion_tokens=120):
        refused = create(limited, "short", max_completion_tokens=120)
        assert (refused.status, refused.error["type"]) == (429, "tokens")
        assert "on tokens per min (TPM): Limit 200, Used 1" in refused.error["message"]
        assert int(refused.headers["x-ratelimit-remaining-tokens"]) < 100  # nothing more was taken
    # What was reserved for a client that left is settled with what was run for it.
    eventually(lambda: int(create(limited, "short", n=0).headers["x-ratelimit-remaining-tokens"]) > 120)


def test_a_quota_is_used_up(limited: RunningServer) -> None:
    assert create(limited, "poor").status == 200
    refused = create(limited, "poor")
    assert (refused.status, refused.error["type"], refused.error["code"]) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert refused.error["message"].startswith("You exceeded your current quota, please check your plan and billing")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert create(limited, "poor", n=0).status == 400


def test_concurrent_requests(limited: RunningServer) -> None:
    with held(limited, "alone"):
        refused = create(limited, "alone")
        assert (refused.status, refused.error["type"], refused.error["code"]) == (
            429,
            "requests",
            "rate_limit_exceeded",
        )
        assert "on concurrent requests: Limit 1, Used 1, Requested 1." in refused.error["message"]
        assert refused.headers["retry-after"] == "1"
        assert create(limited, "free").status == 200
    eventually(lambda: create(limited, "alone").status == 200)


def test_end_users_are_limited_within_a_key(limited: RunningServer) -> None:
    with held(limited, "users", 2, safety_identifier="ada", user="grace"):
        assert create(limited, "users", safety_identifier="ada").status == 429
        assert create(limited, "users", user="ada").status == 429
        assert create(limited, "users", user="grace").status == 200
        assert create(limited, "users").status == 200
        assert create(limited, "free", user="ada").status == 200


def test_the_client_waits_and_comes_again(serve: Serve, client_of: Callable[..., openai.OpenAI]) -> None:
    """The official client finds out by itself when it may."""
    server = serve(
        waits, settings=SETTINGS.model_copy(update={"keys": (key_settings("often", requests_per_minute=60),)})
    )
    client = client_of(server, api_key="often", max_retries=3)
    for _ in range(60):  # all of them at once, or nearly
        create(server, "often", n=0)
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == "High water"


def of_one_stream(**engine: int) -> Settings:
    return KEYED.model_copy(update={"engine": EngineSettings(**engine)})


def test_a_full_queue_refuses_at_once_and_one_key_does_not_fill_it(serve: Serve) -> None:
    server = serve(waits, settings=of_one_stream(queue_requests=16), card=msgspec.structs.replace(CARD, streams=1))
    body = raw.chat(messages=[{"role": "user", "content": "wait"}])

    with held(server, "plain"), ExitStack() as stack:

        def queue(key: str) -> None:
            sock = stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port))))
            sock.sendall(raw.request("POST", CREATE, f"Authorization: Bearer {key}", body=body))

        def waiting(n: int) -> None:
            eventually(lambda: server.engine.stats.waiting == n)

        for i in range(9):  # three quarters of what its project may take of the queue
            queue("plain")
            waiting(i + 1)
        refused = create(server, "plain")
        assert (refused.status, refused.error["type"], refused.error["code"]) == (
            503,
            "service_unavailable_error",
            "server_is_overloaded",
        )
        assert refused.headers["retry-after"] == "1"
        assert "x-ratelimit-limit-requests" not in refused.headers
        for i in range(3):
            queue("brother")
            waiting(10 + i)
        assert create(server, "brother").status == 503
        for i in range(4):
            queue("free")
            waiting(13 + i)
        assert create(server, "free").status == 503
        assert create(server, "free", service_tier="flex").error["code"] == "resource_unavailable"
    eventually(lambda: server.engine.stats.waiting == 0)
    assert create(server, "plain").status == 200


def paced(prompt: Prompt) -> Sequence[Sequence[Move]]:
    """As `waits`, but what ends takes 0.3 s at least."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    return [[b"High", Pause(math.inf if "wait" in text else 0.3), b" water"]] * prompt.n


def test_who_is_refused_is_told_when_half_of_the_queue_has_gone_and_not_all_the_same(serve: Serve) -> None:
    server = serve(paced, settings=of_one_stream(queue_requests=64), card=msgspec.structs.replace(CARD, streams=1))
    with ExitStack() as stack:

        def queue(words: str, n: int) -> None:
            body = raw.chat(messages=[{"role": "user", "content": words}])
            for _ in range(n):
                sock = stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port))))
                sock.sendall(raw.request("POST", CREATE, "Authorization: Bearer plain", body=body))

        queue("rest", 4)
        eventually(lambda: server.engine.stats.running + server.engine.stats.waiting == 4)
        queue("wait", 30)
        eventually(lambda: server.engine.stats.waiting == 29)  # the pace is known: 0.3 s or more
        queue("wait", 7)
        eventually(lambda: server.engine.stats.waiting == 36)  # all that a key may have there
        refused = [create(server, "plain") for _ in range(20)]
        assert {reply.status for reply in refused} == {503}
        told_s = [int(reply.headers["retry-after"]) for reply in refused]
        assert min(told_s) >= 36 / 2 * 0.3 / 2
        assert max(told_s) <= 30
        assert len(set(told_s)) > 1
    eventually(lambda: server.engine.stats.waiting == 0)


def test_nothing_is_taken_where_the_answer_is_not_now(serve: Serve) -> None:
    """503 and 429 leave the buckets as they were."""
    card = msgspec.structs.replace(CARD, streams=1)
    server = serve(waits, settings=of_one_stream(queue_requests=0), card=card)
    with held(server, "short", max_completion_tokens=50):
        before = int(create(server, "short", n=0).headers["x-ratelimit-remaining-tokens"])
        for _ in range(3):
            assert create(server, "short", max_completion_tokens=50).status == 503
        assert int(create(server, "short", n=0).headers["x-ratelimit-remaining-tokens"]) >= before


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.012, "12ms"),
        (1, "1s"),
        (51.174, "51.174s"),
        (54, "54s"),
        (60, "1m0s"),
        (90.5, "1m30.5s"),
        (360, "6m0s"),
        (24_000, "6h40m0s"),
        (86_400, "24h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_buckets_fill_continuously_and_may_be_overdrawn() -> None:
    bucket = Bucket(60, now_s=0.0)
    bucket.take(60, now_s=0.0)
    assert (bucket.remaining(0.5), bucket.remaining(10.0), bucket.wait_s(15, 10.0)) == (0, 10, 5.0)
    bucket.take(30, now_s=10.0)
    assert (bucket.remaining(10.0), bucket.reset_s(10.0)) == (0, 80.0)
    bucket.take(-1000, now_s=10.0)  # what is given back overflows
    assert bucket.remaining(10.0) == 60
    bucket.take(50, now_s=10.0)
    bucket.resize(30, now_s=10.0)
    assert bucket.remaining(10.0) == 0


def test_many_at_once_take_no_more_than_there_is(serve: Serve) -> None:
    server = serve(waits, settings=SETTINGS.model_copy(update={"keys": (key_settings("ten", requests_per_minute=10),)}))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(create(server, "ten").status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 10 <= statuses.count(200) <= 11  # one more comes every six seconds
    assert set(statuses) == {200, 429}
