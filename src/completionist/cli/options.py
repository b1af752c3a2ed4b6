"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from completionist.types.limits import Limits

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file; else $COMPLETIONIST_CONFIG, ./completionist.toml, ~/.config/completionist/config.toml.",
    ),
]


def known_models(incomplete: str) -> list[str]:
    """For a shell that completes a line."""
    from completionist.cli.configure import read_settings  # noqa: PLC0415 - long to import, rarely wanted
    from completionist.models.catalog import catalog  # noqa: PLC0415 - as above
    from completionist.models.installed import installed  # noqa: PLC0415 - as above

    here = [model.name for model in installed(read_settings({}).models)]
    return [name for name in dict.fromkeys([*here, *catalog()]) if name.startswith(incomplete)]


def known_names(incomplete: str) -> list[str]:
    """Models and the aliases that commands have set."""
    return [*known_models(incomplete), *known_aliases(incomplete)]


def known_aliases(incomplete: str) -> list[str]:
    """Those that `alias rm` can remove."""
    from completionist.registry.aliases import FILE_NAME, AliasFile  # noqa: PLC0415 - as above
    from completionist.store.sql.place import data_directory  # noqa: PLC0415 - as above

    return [name for name in AliasFile(data_directory() / FILE_NAME).read() if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(
        help="A name that `list` shows, a GGUF file, or a repository of the hub (org/repo[:quantisation]).",
        autocompletion=known_models,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

RequestsPerMinute = Annotated[int | None, typer.Option(min=1, help="Requests a minute.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=1, help="Tokens a minute, of prompts and answers.")]
ConcurrentRequests = Annotated[int | None, typer.Option(min=1, help="Requests under way at the same time.")]

TokensPerMonth = Annotated[int | None, typer.Option(min=1, help="Tokens in a calendar month (UTC).")]


def shown_limits(limits: Limits) -> str:
    """In one cell of a list."""
    said = {
        "requests/min": limits.requests_per_minute,
        "tokens/min": limits.tokens_per_minute,
        "at once": limits.concurrent_requests,
        "tokens/month": limits.tokens_per_month,
    }
    return ", ".join(f"{value:,} {name}" for name, value in said.items() if value is not None) or "-"
