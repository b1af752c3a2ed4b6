"""`completionist bench`: what this machine does with a model, and what the bare library would do."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from completionist.cli.configure import read_settings
from completionist.cli.fetching import fetch
from completionist.cli.options import Config, Json, known_models
from completionist.cli.progress import percent_progress
from completionist.cli.terminal import json_text
from completionist.engine.llama.compare import Comparison, compare

app = typer.Typer()


@app.command()
def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name that `list` shows, or the path of a GGUF file; by default what is served.",
            autocompletion=known_models,
        ),
    ] = None,
    *,
    threads: Annotated[
        int | None, typer.Option(help="Measure with so many only; by default the best is found.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A rough look in a few seconds; keeps nothing.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Measure speed beside the bare library's (a minute or two), and keep what makes later starts faster."""
    settings = read_settings({"model": model, "engine.threads": threads}, config)
    file = fetch(settings.model, settings.models)
    with percent_progress() as draw:
        found = asyncio.run(
            compare(
                file.path,
                file.name,
                settings.engine,
                settings.models,
                is_quick=quick,
                reached=lambda what, percent: draw(what, percent, 100),
            )
        )
    typer.echo(json_text(found) if as_json else table(found))


def table(found: Comparison) -> str:
    """The figures side by side, and what was kept."""
    rows = (
        ("one stream", found.ours.one_per_s, found.bare.one_per_s),
        (f"{found.streams} streams", found.ours.many_per_s, found.bare.many_per_s),
        ("prompt", found.ours.prompt_per_s, found.bare.prompt_per_s),
    )
    lines = [f"{name:11} {ours:9.1f} {bare:9.1f} {ours / bare:7.0%}" for name, ours, bare in rows]
    counts = ", ".join(f"{count}: {speeds.many_per_s:.0f}" for count, speeds in found.by_threads.items())
    costs = found.costs
    per_thing = f"a call {costs.call_ms:.2f} ms, a row {costs.row_ms:.2f}, a thousand cells {1000 * costs.cell_ms:.2f}"
    return "\n".join(
        [
            f"{found.model} with {found.library}, threads: {found.threads}",
            f"{'tokens/s':11} {'ours':>9} {'bare':>9} {'share':>7}",
            *lines,
            f"tokens/s of {found.streams} bare streams by threads: {counts}",
            f"{per_thing}: {'kept for later starts' if found.is_kept else 'not kept'}",
        ]
    )
