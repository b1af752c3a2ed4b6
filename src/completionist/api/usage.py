"""Usage, in the shape of the hosted service's endpoint for it, which the official client asks with its admin key.

A key that may not look after the server sees its own project. Days are those of UTC, and the only buckets there are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from completionist import ids
from completionist.api.exchange import Exchange
from completionist.api.query import Pairs, pairs, read_limit
from completionist.api.services import Services
from completionist.errors import InvalidType, InvalidValue, MissingParameter
from completionist.store.usage import DAY_S, Dimension, UsageQuery, UsageTotals

MAX_DAYS = 31
_DEFAULT_DAYS = 7
DIMENSIONS: Mapping[str, Dimension] = {
    "project_id": "project",
    "user_id": "end_user",
    "api_key_id": "key",
    "model": "model",
    "served_model": "served_model",
}


class UsageResult(msgspec.Struct, kw_only=True):
    """`output_reasoning_tokens` and `served_model` are ours; what it was not asked to be told apart by is null."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    input_cached_tokens: int
    output_tokens: int
    output_reasoning_tokens: int
    num_model_requests: int
    project_id: str | None
    user_id: str | None
    api_key_id: str | None
    model: str | None
    served_model: str | None
    batch: None = None
    service_tier: None = None


class UsageBucket(msgspec.Struct, kw_only=True):
    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[UsageResult]


class UsagePage(msgspec.Struct, kw_only=True):
    object: Literal["page"] = "page"
    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


async def completions(exchange: Exchange, services: Services) -> None:
    """Sums for each day and each combination of `group_by`."""
    sent = pairs(exchange.query)
    first, end, limit = _days(sent)
    last = min(end, first + limit * DAY_S)
    query = UsageQuery(
        since=first,
        until=last,
        projects=_all(sent, "project_ids"),
        keys=_all(sent, "api_key_ids"),
        models=_all(sent, "models"),
        end_users=_all(sent, "user_ids"),
        by=("day", *_dimensions(sent)),
    )
    if "admin" not in exchange.caller.scopes:
        query = msgspec.structs.replace(query, projects=(exchange.caller.project,))
    found = await services.usage.report(query)
    await exchange.respond_json(await asyncio.to_thread(_encoded, found, first, last, end))


def _encoded(found: Sequence[UsageTotals], first: int, last: int, end: int) -> bytes:
    """However many end users there are: on a thread."""
    days: dict[int, list[UsageResult]] = {day: [] for day in range(first, last, DAY_S)}
    for totals in found:
        if totals.day in days:
            days[totals.day].append(_result(totals))
    buckets = [UsageBucket(start_time=day, end_time=day + DAY_S, results=results) for day, results in days.items()]
    has_more = last < end
    return msgspec.json.encode(UsagePage(data=buckets, has_more=has_more, next_page=str(last) if has_more else None))


def _result(totals: UsageTotals) -> UsageResult:
    return UsageResult(
        input_tokens=totals.counts.input_tokens,
        input_cached_tokens=totals.counts.cached_tokens,
        output_tokens=totals.counts.output_tokens,
        output_reasoning_tokens=totals.counts.reasoning_tokens,
        num_model_requests=totals.counts.requests,
        project_id=totals.project,
        user_id=totals.end_user,
        api_key_id=totals.key,
        model=totals.model,
        served_model=totals.served_model,
    )


def _days(sent: Pairs) -> tuple[int, int, int]:
    """Where the first day begins, where the last one ends, and how many are wanted at most. Raises `InvalidRequest`."""
    last = dict(sent)
    if "start_time" not in last:
        raise MissingParameter("start_time")
    if (width := last.get("bucket_width", "1d")) != "1d":
        raise InvalidValue("bucket_width", width, ("1d",))
    start = _time(last, "page") if "page" in last else _time(last, "start_time")
    end = _time(last, "end_time") if "end_time" in last else ids.now_s() + 1
    limit = read_limit(last["limit"], MAX_DAYS) if "limit" in last else _DEFAULT_DAYS
    first = start - start % DAY_S
    return first, max(first, end + -end % DAY_S), limit


def _time(last: Mapping[str, str], name: str) -> int:
    if re.fullmatch(r"[0-9]{1,11}", last[name]) is None:
        raise InvalidType(name, expected="an integer", got="a string")
    return int(last[name])


def _dimensions(sent: Pairs) -> list[Dimension]:
    names = _all(sent, "group_by")
    for name in names:
        if name not in DIMENSIONS:
            raise InvalidValue("group_by", name, tuple(DIMENSIONS))
    return [DIMENSIONS[name] for name in dict.fromkeys(names)]


def _all(sent: Pairs, name: str) -> tuple[str, ...]:
    """A list in a query string: the name once for each element, with brackets or without."""
    return tuple(value for sent_name, value in sent if sent_name in (name, f"{name}[]"))
