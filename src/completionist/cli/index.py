"""`completionist index`: the documents that answers can search."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from completionist.cli.configure import read_settings
from completionist.cli.options import Config, Json
from completionist.cli.terminal import json_text, printable
from completionist.errors import APIError, OperatorError
from completionist.settings import DocumentSettings

if TYPE_CHECKING:
    from completionist.search.folder import Refreshed, Report
    from completionist.search.index import IndexWriter

app = typer.Typer()

_PREFIX = "document:"
"""Before paths that no address was given for: names a file without saying where on this machine it is."""


class NoFolder(OperatorError):
    exit_code: ClassVar[int] = 2


@app.command()
def index(
    folder: Annotated[
        Path | None, typer.Argument(help="What to read; without it what was read last time is brought up to date.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where clients find the folder, for links: https://wiki.example/ for example.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Read the documents of a folder, so that answers can search them."""
    from completionist.app import index_file  # noqa: PLC0415 - it takes long to import
    from completionist.cli.progress import byte_progress  # noqa: PLC0415 - likewise
    from completionist.search.index import About, writing  # noqa: PLC0415 - likewise

    settings = read_settings({}, config)
    file = index_file(settings)
    with writing(file) as writer, byte_progress() as draw:
        old = writer.about()
        if folder is None and old is None:
            raise NoFolder(f"{file} holds nothing yet: say which folder to read")
        root = (folder or Path(old.folder if old else "")).expanduser().resolve()
        if not root.is_dir():
            raise NoFolder(f"{root} is no folder")
        kept = old.prefix if old and old.folder == str(root) else _PREFIX
        prefix = kept if url is None else f"{url.rstrip('/')}/"
        writer.set_about(About(str(root), prefix))
        result = asyncio.run(_refreshed(writer, root, settings.documents, partial(draw, f"reading {root.name}")))
    if as_json:
        typer.echo(json_text({"file": file, "result": result}))
        return
    for path, reason in result.unread:
        typer.echo(f"not read: {printable(path)}: {reason}", err=True)
    typer.echo(
        f"{file}: {result.n_read} read, {result.n_unchanged} unchanged, {result.n_removed} removed, "
        f"{len(result.unread)} not read"
    )


async def _refreshed(writer: IndexWriter, root: Path, limits: DocumentSettings, report: Report) -> Refreshed:
    from completionist.media.handover import Handover  # noqa: PLC0415 - it takes long to import
    from completionist.media.reader import WorkerReader  # noqa: PLC0415 - likewise
    from completionist.search.folder import refresh  # noqa: PLC0415 - likewise

    reader = WorkerReader(limits, Handover())
    try:
        return await refresh(
            writer,
            root,
            lambda document: reader.text_of(document, ""),
            max_bytes=limits.max_request_bytes,
            report=report,
        )
    except APIError as error:
        raise OperatorError(error.message) from None
    finally:
        await reader.close()
