"""The `completionist` command. One file a group; only the group that is asked for is imported, so that each starts fast."""

from __future__ import annotations

import sys
import time
from importlib import import_module

import typer

from completionist.errors import OperatorError

STARTED_S = time.monotonic()
"""When this command began, a few hundredths of a second after its process."""

MODULES = {
    "serve": "serve",
    "run": "run",
    "pull": "models",
    "list": "models",
    "voices": "voices",
    "hearing": "hearing",
    "db": "db",
    "export": "transfer",
    "import": "transfer",
    "doctor": "doctor",
    "bench": "bench",
    "engine": "engine",
    "version": "version",
}
"""Command → module of this package that holds it."""


def main() -> None:
    """Entry point. Exit codes: 0, 1 for what failed, 2 for wrong usage or settings, 130 for an interrupt."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code; what an operator can mend ends in one line on stderr."""
    try:
        _command_line(arguments)(arguments, prog_name="completionist")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except OperatorError as error:
        print(f"completionist: {error}", file=sys.stderr)  # noqa: T201 - the one line that an operator reads
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _command_line(arguments: list[str]) -> typer.Typer:
    app = typer.Typer(
        help="A self-hosted server for the whole Chat Completions API, with real inference inside.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_only_commands)
    wanted = [MODULES[name] for name in arguments[:1] if name in MODULES] or dict.fromkeys(MODULES.values())
    for module in wanted:
        app.add_typer(import_module(f"{__name__}.{module}").app)
    return app


def _only_commands() -> None:
    """A callback keeps typer from taking a single command for the whole application."""
