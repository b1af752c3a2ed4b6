"""The `completionist` command. One file a group; only the group that is asked for is imported, so that each starts fast."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from completionist import __version__
from completionist.errors import OperatorError

STARTED_S = time.monotonic()
"""When this command began, a few hundredths of a second after its process."""

COMPLETE_VARIABLE = "_COMPLETIONIST_COMPLETE"
"""Set by a shell that completes a line."""


class Command(NamedTuple):
    """`module` of this package holds it; `summary` is its help in the list of commands, which must not import them all."""

    module: str
    summary: str
    is_hidden: bool = False


COMMANDS = {
    "serve": Command("serve", "Serve the models of this machine on loopback until told to stop."),
    "run": Command("run", "Ask a model once, or chat with it where nothing is asked and the input is a terminal."),
    "pull": Command("models", "Fetch a model, or go on where an earlier pull stopped."),
    "list": Command("models", "List the models that are here, and those of the catalogue that can be."),
    "ls": Command("models", "List the models that are here, and those of the catalogue that can be.", is_hidden=True),
    "show": Command(
        "show", "Show what a model is: template, context, memory, dialect, capabilities, dangerous tokens."
    ),
    "rm": Command("models", "Remove a model that was pulled from this machine."),
    "alias": Command("alias", "Other names for models."),
    "ps": Command("loaded", "Show the models that the running server has in memory."),
    "stop": Command(
        "loaded",
        "Unload a model of the running server, once its answers are complete; the next request loads it again.",
    ),
    "voices": Command("voices", "The voices that answers are spoken with."),
    "hearing": Command("hearing", "What understands speech in messages."),
    "index": Command("index", "Read the documents of a folder, so that answers can search them."),
    "keys": Command("keys", "API keys: who may ask, and for what."),
    "projects": Command("projects", "Projects: what belongs together, and what it may take."),
    "usage": Command("usage", "Show requests and tokens as the database has them."),
    "block": Command("block", "Refuse the requests of an end user with 403, within seconds."),
    "unblock": Command("block", "Answer an end user again."),
    "blocked": Command("block", "List the end users who are blocked."),
    "db": Command("db", "The database of stored completions."),
    "export": Command(
        "transfer", "Write stored completions as JSON lines, oldest first, one completion after the other."
    ),
    "import": Command(
        "transfer",
        "Store exported completions, under their old ids where they have any; what is there already is left.",
    ),
    "doctor": Command(
        "doctor", "Examine this machine, or try a model. Exit code 1 if something is missing or does not work."
    ),
    "bench": Command(
        "bench", "Measure speed beside the bare library's (a minute or two), and keep what makes later starts faster."
    ),
    "engine": Command("engine", "The native inference library."),
    "version": Command("version", "Print the version."),
}
"""By name, in the order of the help."""


def main() -> None:
    """Entry point. Exit codes: 0, 1 for what failed, 2 for wrong usage or settings, 130 for an interrupt."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code; what an operator can mend ends in one line on stderr."""
    try:
        command_line(arguments)(arguments, prog_name="completionist")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except OperatorError as error:
        print(f"completionist: {error}", file=sys.stderr)  # noqa: T201 - the one line that an operator reads
        return error.exit_code
    except (
        OSError
    ) as error:  # a disk that is full, a file that may not be read: nothing that a traceback would help with
        where = f": {error.filename}" if error.filename else ""
        print(f"completionist: {error.strerror or error}{where}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def command_line(arguments: list[str]) -> typer.Typer:
    """The command that is asked for; where none is, or one that is not there, the names of all."""
    app = typer.Typer(
        help="A self-hosted server for the whole Chat Completions API, with real inference inside.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    wanted = next((word for word in _words(arguments) if not word.startswith("-")), None)
    app.callback()(_version_or_commands)
    if wanted in COMMANDS:
        app.add_typer(import_module(f"{__name__}.{COMMANDS[wanted].module}").app)
        return app
    for name, command in COMMANDS.items():
        app.command(name, help=command.summary, hidden=command.is_hidden)(_only_commands)
    return app


def _words(arguments: list[str]) -> list[str]:
    """What has been typed: a shell that completes a line hands it over in a variable."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS")
    return line.split()[1:] if line and COMPLETE_VARIABLE in os.environ else arguments


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(__version__)
        raise typer.Exit


def _version_or_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps typer from taking a single command for the whole application."""


def _only_commands() -> None:
    """Stands for commands that are only listed."""
