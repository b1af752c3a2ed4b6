"""`completionist doctor`: is this machine fit to serve, and would it gain from a native build? And does a model work?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from completionist.cache import cache_directory
from completionist.cli.configure import config_file, read_settings
from completionist.cli.findings import Finding, Report, Verdict
from completionist.cli.options import Config, Json, known_models
from completionist.cli.terminal import megabytes
from completionist.engine.llama.library import LibraryMissing, processor_features
from completionist.engine.llama.quota import free_memory_bytes, processors
from completionist.engine.llama.show import LibraryBroken, show
from completionist.models.catalog import catalog
from completionist.models.fit import need_of
from completionist.models.installed import installed
from completionist.settings import DEFAULT_MODEL, Settings

app = typer.Typer()

_SPEED_FEATURES = (
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)
_LOW_MEMORY_BYTES = 10**9
_LOW_DISK_BYTES = 10**9


@app.command()
def doctor(
    model: Annotated[
        str | None,
        typer.Argument(help="A model to load and try, instead of this machine.", autocompletion=known_models),
    ] = None,
    *,
    templates: Annotated[
        Path | None,
        typer.Option(
            help="Compare the chat templates in a directory (.jinja, .json, .gguf) with what Jinja2 makes of them."
        ),
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Examine this machine, or try a model. Exit code 1 if something is missing or does not work."""
    settings = read_settings({"engine.streams": 1} if model else {}, config)
    report = Report(as_json=as_json)
    if templates is not None:
        from completionist.cli.compare import compare_templates  # noqa: PLC0415 - not what every doctor needs

        compare_templates(templates, report.add)
    elif model is not None:
        from completionist.cli.fetching import fetch  # noqa: PLC0415 - as above
        from completionist.cli.model_trial import try_model  # noqa: PLC0415 - as above
        from completionist.cli.naming import behind  # noqa: PLC0415 - as above

        try_model(fetch(behind(model, settings), settings.models), settings, report.add)
    else:
        for finding in examine(settings, config_file(config)):
            report.add(finding)
    report.close()


def examine(settings: Settings, settings_file: Path | None) -> Iterator[Finding]:
    """Everything looked at, in the order of the report."""
    yield Finding("python", "fine", f"{platform.python_version()} at {sys.executable}")
    yield Finding("settings", "fine", str(settings_file or "no file; environment and defaults"))
    yield from _library(settings)
    yield _memory()
    yield from _disk(cache_directory(settings.models.cache_dir))
    yield _models(settings)
    yield from _media(settings)


def _library(settings: Settings) -> Iterator[Finding]:
    features = set(processor_features())
    fast = [name for name in _SPEED_FEATURES if name in features]
    yield Finding(
        "processor", "fine", f"{platform.machine()}, {processors()} usable, {' '.join(fast) or 'no known extension'}"
    )
    try:
        report = show(settings.engine, settings.models)
    except (LibraryMissing, LibraryBroken) as error:
        yield Finding("library", "wrong", str(error))
        return
    yield Finding("library", "fine", f"{report.library.description}: {report.library.path}")
    yield Finding("native", "fine", report.advice)


def _memory() -> Finding:
    free = free_memory_bytes()
    verdict: Verdict = "note" if free < _LOW_MEMORY_BYTES else "fine"
    model = catalog()[DEFAULT_MODEL]
    need = need_of(model.size_bytes, model.shape)
    return Finding(
        "memory",
        verdict,
        f"{megabytes(free)} free; the default model needs about {megabytes(need.total_bytes)} with a conversation of "
        f"{need.tokens:,} tokens, and takes more for further streams where there is some",
    )


def _disk(cache: Path) -> Iterator[Finding]:
    existing = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    if os.access(existing, os.W_OK):
        yield Finding("cache", "fine", str(cache))
    else:
        yield Finding("cache", "wrong", f"{cache} cannot be written: correct its permissions, or set models.cache_dir")
    free = shutil.disk_usage(existing).free
    yield Finding("disk", "note" if free < _LOW_DISK_BYTES else "fine", f"{megabytes(free)} free in {existing}")


def _models(settings: Settings) -> Finding:
    names = [model.name for model in installed(settings.models)]
    if names:
        return Finding("models", "fine", ", ".join(names))
    return Finding("models", "note", f"none here yet: completionist pull {settings.model}")


def _media(settings: Settings) -> Iterator[Finding]:
    """Nothing that a server cannot do without."""
    from completionist.app import open_media  # noqa: PLC0415 - it takes long to import

    media = open_media(settings)
    for topic, missing, there in (
        ("documents", media.documents.missing, "PDF and xlsx in messages are read"),
        ("speech", media.speaker.missing, f"answers are spoken, in {len(media.speaker.voices)} voices"),
        ("hearing", media.listener.missing, f"speech in messages is recognised by {settings.hearing.model}"),
        ("pictures", media.pictures.missing, "text in pictures is read"),
    ):
        yield Finding(topic, "note" if missing else "fine", missing or there)
    search, provider = media.search, settings.search.provider
    missing = "no search.provider is set: web_search_options are refused" if search is None else search.missing
    yield Finding("search", "note" if missing else "fine", missing or f"answers can search: {provider}")
