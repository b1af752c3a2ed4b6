"""From what a user names to a file that is here: what is missing is fetched, after it is said what that brings.

The HTTP client and the progress bar take long to import, so the modules that need them are imported where something is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from completionist.cli.terminal import megabytes
from completionist.models.catalog import CatalogEntry, catalog
from completionist.models.fit import Shape, need_of
from completionist.models.installed import ModelFile, NotPulled, resolve, resolve_reference
from completionist.models.references import HubReference, hub_reference
from completionist.settings import ModelSettings

if TYPE_CHECKING:
    from completionist.models.hub_pull import HubPlan
    from completionist.models.progress import Progress


def fetch(name: str, settings: ModelSettings) -> ModelFile:
    """The model file behind a name of the catalogue, a path or a reference to the hub; pulled, with visible progress, where it
    is not here."""
    try:
        return resolve(name, settings)
    except NotPulled:
        return pull(name, settings)


def pull(name: str, settings: ModelSettings) -> ModelFile:
    """As `fetch`, but what a repository of the hub holds is asked again. Raises what `resolve` and the pulls raise."""
    if entry := catalog().get(name):
        return _pull_entry(entry, settings)
    reference = None if Path(name).expanduser().is_file() else hub_reference(name)
    if reference:
        return _pull_reference(reference)
    return resolve(name, settings)


def plan_of(reference: HubReference) -> HubPlan:
    """What a pull would bring. Raises `HubOffline` and what `hub_pull.plan` raises."""
    from completionist.models import hub_pull  # noqa: PLC0415 - see the module
    from completionist.models.hub import Hub, HubOffline  # noqa: PLC0415 - see the module
    from completionist.models.places import hub_place  # noqa: PLC0415 - see the module

    place = hub_place()
    if place.is_offline:
        raise HubOffline(reference.text)
    with Hub(place) as hub:
        return hub_pull.plan(hub, place, reference)


def describe(size_bytes: int, licence: str | None, shape: Shape | None) -> Iterator[str]:
    """What a model brings and takes, a line each."""
    yield f"size     {megabytes(size_bytes)}; licence {licence or 'not stated'}"
    if shape is None:
        yield "memory   not known before it is here"
        return
    from completionist.engine.llama.quota import free_memory_bytes  # noqa: PLC0415 - see the module

    need, free = need_of(size_bytes, shape), free_memory_bytes()
    fits = "it fits" if need.total_bytes <= free else "it does NOT FIT into this machine"
    parts = {"weights": need.weights_bytes, "KV cache": need.kv_bytes, "buffers": need.buffer_bytes}
    said = ", ".join(f"{part} {megabytes(n_bytes)}" for part, n_bytes in parts.items())
    yield (
        f"memory   about {megabytes(need.total_bytes)} with a conversation of {need.tokens:,} tokens ({said}); "
        f"{megabytes(free)} free: {fits}"
    )


def _pull_entry(entry: CatalogEntry, settings: ModelSettings) -> ModelFile:
    try:
        return resolve(entry.name, settings)
    except NotPulled:
        pass
    from completionist.models import pull as pulling  # noqa: PLC0415 - see the module

    _say(entry.name, *describe(entry.size_bytes, f"{entry.licence} ({entry.publisher})", entry.shape))
    with _drawn(entry.name) as draw:
        return pulling.pull(entry, settings, draw, say=_say)


def _pull_reference(reference: HubReference) -> ModelFile:
    """Where the hub cannot be asked, what is here will do, and the user is told."""
    from completionist.download import Unreachable  # noqa: PLC0415 - see the module
    from completionist.models import hub_pull  # noqa: PLC0415 - see the module
    from completionist.models.hub import Hub, HubOffline  # noqa: PLC0415 - see the module
    from completionist.models.places import hub_place  # noqa: PLC0415 - see the module

    try:
        planned = plan_of(reference)
    except (HubOffline, Unreachable) as error:
        model = _cached(reference)
        if model is None:
            raise
        why = error.fault if isinstance(error, Unreachable) else "HF_HUB_OFFLINE is set"
        _say(f"{model.name}: it is here; whether the hub has a newer one was not asked ({why})")
        return model
    name, place = planned.reference.text, hub_place()
    if not planned.missing_bytes:
        with Hub(place) as hub:
            model = hub_pull.fetch(hub, place, planned, lambda _: None)
        _say(f"{name}: it is here, and the hub has no newer one")
        return model
    _say(name, *_describe_plan(planned))
    with Hub(place) as hub, _drawn(name) as draw:
        return hub_pull.fetch(hub, place, planned, draw)


def _describe_plan(planned: HubPlan) -> Iterator[str]:
    yield from describe(planned.size_bytes, planned.repository.licence, planned.shape)
    if planned.projector:
        yield f"beside   {planned.projector.path}, a projector for images or sound"
    if planned.others:
        others = ", ".join(f"{one.label or one.first} ({megabytes(one.size_bytes)})" for one in planned.others)
        yield f"others   {others}"


def _cached(reference: HubReference) -> ModelFile | None:
    try:
        return resolve_reference(reference)
    except NotPulled:
        return None


@contextmanager
def _drawn(name: str) -> Iterator[Callable[[Progress], None]]:
    """Progress on standard error, and at its end how long it took."""
    from completionist.cli.progress import byte_progress  # noqa: PLC0415 - see the module

    started_s = time.monotonic()
    with byte_progress() as draw:
        yield lambda at: draw(_title(name, at), at.done_bytes, at.total_bytes)
    _say(f"{name}: fetched and verified in {time.monotonic() - started_s:.1f} s")


def _title(name: str, at: Progress) -> str:
    size = megabytes(at.total_bytes)
    if at.stage == "waiting":
        return f"{name}: another process is fetching it, waiting"
    if at.stage == "fetching" and at.n_parts > 1:
        return f"{name}: fetching {size}, part {at.part} of {at.n_parts}"
    return f"{name}: {at.stage} {size}"


def _say(*lines: str) -> None:
    for line in lines:
        typer.echo(line, err=True)
