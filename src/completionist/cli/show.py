"""`completionist show`: what a model on this machine is, by its file. `doctor MODEL` tries it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import typer

from completionist.cli.configure import read_settings
from completionist.cli.naming import behind
from completionist.cli.options import Config, Json, Model
from completionist.cli.terminal import json_text, megabytes
from completionist.dialects.base import Dialect
from completionist.dialects.choose import choose
from completionist.engine.base import MemoryKind, ModelCard
from completionist.engine.llama.quota import free_memory_bytes
from completionist.local.card import card_as_served
from completionist.local.markers import forgeable_markers, template_kind
from completionist.models.card import stated_card
from completionist.models.catalog import catalog
from completionist.models.fit import Need, need_of, shape_of
from completionist.models.gguf import read_facts
from completionist.models.installed import ModelFile, resolve
from completionist.models.projectors import senses_of, with_projector
from completionist.settings import ImageSettings, Settings

app = typer.Typer()

_MEMORY = {
    "trim_anywhere": "can be cut anywhere: what two prompts have in common is computed once",
    "trim_within_window": "sees a window: what two prompts have in common is computed once within it",
    "checkpoints_only": "keeps a state: a prompt can only go on where an earlier one ended",
}
_MAX_SHOWN = 8

Capability = Literal["chat", "tools", "thinking", "vision", "hearing", "text in pictures"]
"""The last one: this server reads it for a model that does not see (`images.reads_text`)."""


class ShownModel(msgspec.Struct, frozen=True, kw_only=True):
    """`show --json`."""

    name: str
    description: str
    path: Path
    projector: Path | None
    size_bytes: int
    licence: str | None
    """As the file states it."""
    context_tokens: int
    """What it was trained for."""
    need: Need | None
    """Memory for one conversation, estimated."""
    template: str
    """Its form."""
    dialect: str
    memory_kind: MemoryKind
    capabilities: tuple[Capability, ...]
    n_control_tokens: int
    """Kept apart from what clients write."""
    forgeable_markers: tuple[str, ...]
    """Of its template; clients can write them."""


@app.command()
def show(name: Model, as_json: Json = False, config: Config = None) -> None:
    """Show what a model is: template, context, memory, dialect, capabilities, dangerous tokens."""
    settings = read_settings({}, config)
    shown = shown_model(resolve(behind(name, settings), settings.models), settings)
    typer.echo(json_text(shown) if as_json else _text(shown))


def shown_model(model: ModelFile, settings: Settings) -> ShownModel:
    """Raises `BrokenModelFile`, and what the operator's choice of dialect and template raises."""
    facts, said = read_facts(model.path), settings.served_as(model.name, dialect=model.dialect)
    model = with_projector(model, settings.projector or said.projector)
    card = card_as_served(stated_card(model), said)
    dialect = choose(card, said.dialect)
    shape = shape_of(facts)
    return ShownModel(
        name=model.name,
        description=card.description,
        path=model.path,
        projector=model.projector_path,
        size_bytes=model.size_bytes,
        licence=facts.text("general.license") or (entry.licence if (entry := catalog().get(model.name)) else None),
        context_tokens=card.trained_context_tokens,
        need=need_of(model.size_bytes, shape) if shape else None,
        template=template_kind(card.chat_template),
        dialect=dialect.name,
        memory_kind=card.memory_kind,
        capabilities=capabilities(dialect, model, settings.images),
        n_control_tokens=sum(token.kind == "control" for token in card.specials),
        forgeable_markers=dangerous(card),
    )


def capabilities(dialect: Dialect, model: ModelFile, images: ImageSettings) -> tuple[Capability, ...]:
    """Every model chats and calls tools, if need be in words."""
    found: list[Capability] = ["chat", "tools"]
    if dialect.layout.thinking:
        found.append("thinking")
    senses = senses_of(model.projector_path) if model.projector_path and model.projector_path.is_file() else ()
    found += senses
    if images.reads_text and "vision" not in senses:
        found.append("text in pictures")
    return tuple(found)


def dangerous(card: ModelCard) -> tuple[str, ...]:
    return forgeable_markers(card.chat_template or "", (token.text for token in card.specials))


def _text(shown: ShownModel) -> str:
    rows = {
        "model": f"{shown.name} ({shown.description})",
        "file": f"{shown.path}, {megabytes(shown.size_bytes)}",
        "licence": shown.licence or "not stated in the file",
        "context": f"{shown.context_tokens:,} tokens, as it was trained",
        "needs": _need(shown.need),
        "template": shown.template,
        "dialect": shown.dialect + (" (tools are explained in words)" if shown.dialect == "plain" else ""),
        "memory": _MEMORY[shown.memory_kind],
        "can": ", ".join(shown.capabilities),
        "tokens": f"{shown.n_control_tokens} control tokens, kept apart from what clients write",
        "danger": _danger(shown.forgeable_markers),
    }
    if shown.projector:
        rows["projector"] = str(shown.projector)
    return "\n".join(f"{name:9} {value}" for name, value in rows.items())


def _need(need: Need | None) -> str:
    if need is None:
        return "not known: the file does not tell"
    free = free_memory_bytes()
    fits = "fits" if need.total_bytes <= free else "does NOT FIT"
    return (
        f"about {megabytes(need.total_bytes)} of memory with a conversation of {need.tokens:,} tokens; "
        f"{megabytes(free)} are free: {fits}"
    )


def _danger(markers: tuple[str, ...]) -> str:
    if not markers:
        return "none: every marker of the template is a token of its own"
    more = f" and {len(markers) - _MAX_SHOWN} more" if len(markers) > _MAX_SHOWN else ""
    return f"clients can write these markers, which are plain text to the model: {' '.join(markers[:_MAX_SHOWN])}{more}"
