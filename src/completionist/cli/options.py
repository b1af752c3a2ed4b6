"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file; else $COMPLETIONIST_CONFIG, ./completionist.toml, ~/.config/completionist/config.toml.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
