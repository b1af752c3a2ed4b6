"""`completionist serve`: load a model where there is one, listen, and say how to talk to it or how to get one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from completionist import __version__
from completionist.cache import cache_directory
from completionist.cli import STARTED_S
from completionist.cli.configure import config_file, read_settings
from completionist.cli.fetching import fetch
from completionist.cli.options import Config, known_models
from completionist.cli.terminal import megabytes
from completionist.engine.base import ModelCard
from completionist.engine.llama.quota import free_memory_bytes
from completionist.loading import loading
from completionist.models.installed import ModelFile, NotPulled, resolve
from completionist.models.offer import offered
from completionist.settings import Settings
from completionist.store.sql.place import database_url, shown

if TYPE_CHECKING:
    from completionist.app import Serving

app = typer.Typer()

_SMALL_PARAMETERS = 10**9
ABLE_MODEL = "qwen2.5-coder-1.5b-instruct"
"""The smallest of the catalogue that follows instructions and calls tools."""


@app.command()
def serve(
    *,
    model: Annotated[
        str | None,
        typer.Option(help="A name that `list` shows, or the path of a GGUF file.", autocompletion=known_models),
    ] = None,
    projector: Annotated[
        str | None, typer.Option(help="What lets the model see or hear: a GGUF file (mmproj), or none.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    config: Config = None,
    fetch_it: Annotated[
        bool, typer.Option("--fetch", help="Fetch the default model first, where it is not here and no other is named.")
    ] = False,
    scripted: Annotated[bool, typer.Option("--scripted", help="No model: a script answers.")] = False,
    streams: Annotated[int | None, typer.Option(help="Sequences that decode side by side.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Context of each sequence.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the engine.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve the models of this machine on loopback until told to stop."""
    settings = read_settings(
        {
            "model": model,
            "projector": projector,
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
    file = None if scripted else _first_model(settings, may_fetch=fetch_it)
    fetched_s = time.monotonic() - began_s

    def announce(serving: Serving) -> None:
        ready_s = time.monotonic() - STARTED_S - fetched_s
        typer.echo(banner(serving, settings, config_file(config), ready_s))

    raise typer.Exit(_serve_script(settings, announce) if scripted else _serve_models(file, settings, announce))


def _first_model(settings: Settings, *, may_fetch: bool) -> ModelFile | None:
    """What is loaded at the start; None where nobody asked for a model and the default one is not here."""
    if may_fetch or "model" in settings.model_fields_set:
        return fetch(settings.model, settings.models)
    try:
        return resolve(settings.model, settings.models)
    except NotPulled:
        return None


def _serve_models(file: ModelFile | None, settings: Settings, announce: Callable[[Serving], None]) -> int:
    with nullcontext() if file is None else loading(file, settings) as first:
        from completionist import app as application  # noqa: PLC0415 - imported while the model is being loaded

        return application.serve(settings, first, announce)


def _serve_script(settings: Settings, announce: Callable[[Serving], None]) -> int:
    from completionist import app as application  # noqa: PLC0415 - as above
    from completionist.engine.scripted import friendly  # noqa: PLC0415 - only where a script is played

    return application.serve(settings, friendly, announce)


def banner(serving: Serving, settings: Settings, settings_file: Path | None, ready_s: float) -> str:
    """What a user wants to know first, examples to paste among it."""
    card, base = serving.card, f"{serving.url}/v1"
    facts = {
        "address": base,
        **(_model_facts(card) if card else {"model": _no_model(serving, settings)}),
        "others": _others(serving),
        "keys": _keys(serving),
        "data": f"{cache_directory(settings.models.cache_dir)} (models, native builds)",
        "stored": shown(database_url(settings.store.url)),
        "settings": str(settings_file or "no file; environment and defaults"),
    }
    lines = [f"Completionist {__version__}", *(f"  {name:9} {fact}" for name, fact in facts.items() if fact)]
    kv = f", KV cache {megabytes(card.kv_bytes)}" if card else ", no model loaded"
    ready = f"Ready in {ready_s:.1f} s{kv}. Ctrl-C stops."
    return "\n".join([*lines, "", *(_examples(serving, card.name) if card else _offers()), ready])


def _model_facts(card: ModelCard) -> Mapping[str, str]:
    return {
        "model": f"{card.name} ({card.description}, {megabytes(card.weights_bytes)})",
        "sees": _sight(card),
        "hears": _hearing(card),
        "limits": _limits(card),
        "context": f"{_streams(card)} (engine.streams, engine.stream_tokens, engine.context_tokens)",
        "memory": f"{_memory(card)} (engine.kv_type, engine.cache_bytes)",
        "engine": card.engine.partition(",")[0],
    }


def _sight(card: ModelCard) -> str:
    if card.sight is None:
        return ""
    return "pictures; large ones in more tokens" if card.sight.takes_any_size else "pictures, all in as many tokens"


def _hearing(card: ModelCard) -> str:
    if card.hearing is None:
        return ""
    return f"sound, at most {card.hearing.max_s:g} s of it" if card.hearing.max_s else "sound"


def _limits(card: ModelCard) -> str:
    """Said plainly, so that nobody takes a small model's answers for facts."""
    if not 0 < card.parameters < _SMALL_PARAMETERS:
        return ""
    return (
        f"{card.parameters / 1e6:.0f}M parameters answer fluently and often wrongly; {ABLE_MODEL} follows instructions "
        f"and calls tools (completionist pull {ABLE_MODEL})"
    )


def _no_model(serving: Serving, settings: Settings) -> str:
    if serving.names:
        return f"none is loaded: {settings.model} is not installed (completionist pull {settings.model})"
    return "none is installed: requests are refused until there is one"


def _others(serving: Serving) -> str:
    loaded = serving.card.name if serving.card else None
    names = [one.id if one.id == one.model else f"{one.id} → {one.model}" for one in serving.names if one.id != loaded]
    return f"{', '.join(names)} (each is loaded when it is asked for)" if names else ""


def _offers() -> list[str]:
    free = free_memory_bytes()
    offers = offered(free)
    if not offers:
        return [f"No model of the catalogue fits into the {megabytes(free)} of memory that are free.\n"]
    width = max(len(entry.name) for entry in offers)
    rows = [
        f"  completionist pull {entry.name:{width}}  {megabytes(entry.size_bytes):>10}  {entry.description}"
        for entry in offers
    ]
    return [f"These fit this machine ({megabytes(free)} of memory free); what is pulled is served at once:", *rows, ""]


def _examples(serving: Serving, model: str) -> list[str]:
    base = f"{serving.url}/v1"
    return [_curl(base, model, has_key=serving.needs_key), _sdk(base, model, has_key=serving.needs_key)]


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
