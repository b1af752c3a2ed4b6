"""`completionist usage`: who asked for how much."""

from __future__ import annotations

from typing import Annotated, get_args

import msgspec
import typer

from completionist import ids
from completionist.cli.db import opened
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, moment, table
from completionist.cli.times import day_s, span_s
from completionist.errors import OperatorError
from completionist.store.sql import usage as sums
from completionist.store.usage import DAY_S, Counts, Dimension, UsageQuery, UsageTotals

app = typer.Typer()

_BY_HELP = "Told apart by these, comma-separated: " + ", ".join(get_args(Dimension)) + "."


@app.command()
def usage(
    *,
    by: Annotated[str, typer.Option(help=_BY_HELP)] = "project,key,model",
    since: Annotated[str, typer.Option(help="A date (UTC) or a span back from today: 2026-11-01, 30d.")] = "30d",
    until: Annotated[str | None, typer.Option(help="The first day that no longer counts.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="Only of these. Repeatable.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Only of these ids. Repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only of these. Repeatable.")] = None,
    end_user: Annotated[list[str] | None, typer.Option(help="Only of these. Repeatable.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Show requests and tokens as the database has them.

    What a running server counted in its last seconds is not there yet.
    """
    query = UsageQuery(
        since=day_s(since) if "-" in since else ids.now_s() // DAY_S * DAY_S - span_s(since),
        until=day_s(until) if until else None,
        projects=tuple(project or ()),
        keys=tuple(key or ()),
        models=tuple(model or ()),
        end_users=tuple(end_user or ()),
        by=_dimensions(by),
    )
    with opened(config, migrates=True) as database, database.reading() as connection:
        found = sums.report(connection, query)
    if as_json:
        typer.echo(json_text([_flat(totals, query.by) for totals in found]))
        return
    headings = (*query.by, *(name.removesuffix("_tokens") for name in Counts.__struct_fields__))
    typer.echo(table([heading.replace("_", " ") for heading in headings], [_row(one, query.by) for one in found]))


def _dimensions(text: str) -> tuple[Dimension, ...]:
    try:
        return msgspec.convert(tuple(dict.fromkeys(part.strip() for part in text.split(","))), tuple[Dimension, ...])
    except msgspec.ValidationError:
        raise OperatorError(f"usage cannot be told apart by '{text}': {', '.join(get_args(Dimension))}") from None


def _flat(totals: UsageTotals, by: tuple[Dimension, ...]) -> dict[str, object]:
    return {dimension: getattr(totals, dimension) for dimension in by} | msgspec.structs.asdict(totals.counts)


def _row(totals: UsageTotals, by: tuple[Dimension, ...]) -> list[str]:
    said = [moment(totals.day)[:10] if one == "day" else str(getattr(totals, one) or "-") for one in by]
    return said + [f"{count:,}" for count in msgspec.structs.astuple(totals.counts)]
