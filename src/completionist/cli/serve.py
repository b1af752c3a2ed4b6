"""`completionist serve`: fetch the model if it is missing, load it, listen, and say how to talk to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from completionist import __version__
from completionist.cache import cache_directory
from completionist.cli import STARTED_S
from completionist.cli.configure import config_file, read_settings
from completionist.cli.fetching import fetch
from completionist.cli.options import Config
from completionist.cli.terminal import megabytes
from completionist.engine.base import ModelCard
from completionist.loading import loading
from completionist.models.installed import ModelFile
from completionist.settings import Settings
from completionist.store.sql.place import database_url, shown

if TYPE_CHECKING:
    from completionist.app import Serving

app = typer.Typer()


@app.command()
def serve(
    *,
    model: Annotated[str | None, typer.Option(help="A name that `list` shows, or the path of a GGUF file.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    config: Config = None,
    scripted: Annotated[bool, typer.Option("--scripted", help="No model: a script answers.")] = False,
    streams: Annotated[int | None, typer.Option(help="Sequences that decode side by side.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Context of each sequence.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the engine.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve a model on loopback until told to stop."""
    settings = read_settings(
        {
            "model": model,
            "server.host": host,
            "server.port": port,
            "engine.streams": streams,
            "engine.context_tokens": context_tokens,
            "engine.threads": threads,
            "log.level": log_level,
        },
        config,
    )
    began_s = time.monotonic()
    file = None if scripted else fetch(settings.model, settings.models)
    fetched_s = time.monotonic() - began_s

    def announce(serving: Serving) -> None:
        ready_s = time.monotonic() - STARTED_S - fetched_s
        typer.echo(banner(serving, settings, config_file(config), ready_s))

    raise typer.Exit(_serve_model(file, settings, announce) if file else _serve_script(settings, announce))


def _serve_model(file: ModelFile, settings: Settings, announce: Callable[[Serving], None]) -> int:
    with loading(file, settings) as model:
        from completionist import app as application  # noqa: PLC0415 - imported while the model is being loaded

        return application.serve(settings, model, announce)


def _serve_script(settings: Settings, announce: Callable[[Serving], None]) -> int:
    from completionist import app as application  # noqa: PLC0415 - as above
    from completionist.engine.scripted import friendly  # noqa: PLC0415 - only where a script is played

    return application.serve(settings, friendly, announce)


def banner(serving: Serving, settings: Settings, settings_file: Path | None, ready_s: float) -> str:
    """What a user wants to know first, examples to paste among it."""
    card, base = serving.card, f"{serving.url}/v1"
    facts = {
        "address": base,
        "model": f"{card.name} ({card.description}, {megabytes(card.weights_bytes)})",
        "context": f"{_streams(card)} (engine.streams, engine.stream_tokens, engine.context_tokens)",
        "memory": f"{_memory(card)} (engine.kv_type, engine.cache_bytes)",
        "engine": card.engine.partition(",")[0],
        "keys": _keys(serving),
        "data": f"{cache_directory(settings.models.cache_dir)} (models, native builds)",
        "stored": shown(database_url(settings.store.url)),
        "settings": str(settings_file or "no file; environment and defaults"),
    }
    lines = [f"Completionist {__version__}", *(f"  {name:9} {fact}" for name, fact in facts.items())]
    examples = [_curl(base, card.name, has_key=serving.needs_key), _sdk(base, card.name, has_key=serving.needs_key)]
    ready = f"Ready in {ready_s:.1f} s, KV cache {megabytes(card.kv_bytes)}. Ctrl-C stops."
    return "\n".join([*lines, "", *examples, ready])


def _keys(serving: Serving) -> str:
    if not serving.needs_key:
        return "none: whoever is on this machine may ask (completionist keys create)"
    return f"{serving.n_keys} good" if serving.n_keys else "none that is good: nobody may ask"


def _streams(card: ModelCard) -> str:
    return ", ".join(f"{one.n_streams} streams of {one.tokens:,} tokens" for one in card.ranges)


def _memory(card: ModelCard) -> str:
    """What the worker will have taken when all of it is in use, buffers aside."""
    parts = {"weights": card.weights_bytes, "KV cache": card.kv_bytes, "kept prompts up to": card.cache_bytes}
    said = ", ".join(f"{name} {megabytes(n_bytes)}" for name, n_bytes in parts.items())
    return f"{megabytes(sum(parts.values()))}: {said}"


def _curl(base: str, model: str, *, has_key: bool) -> str:
    key = '  -H "Authorization: Bearer $API_KEY" \\\n' if has_key else ""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'
    return f"curl {base}/chat/completions -H 'Content-Type: application/json' \\\n{key}  -d '{body}'\n"


def _sdk(base: str, model: str, *, has_key: bool) -> str:
    key = 'os.environ["API_KEY"]' if has_key else '"none needed"'
    lines = [
        *(["import os"] if has_key else []),
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{base}", api_key={key})',
        f'stream = client.chat.completions.create(model="{model}", stream=True,',
        '    messages=[{"role": "user", "content": "Why is the sky blue?"}])',
        "for chunk in stream:",
        '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
    ]
    return "\n".join([*lines, ""])
