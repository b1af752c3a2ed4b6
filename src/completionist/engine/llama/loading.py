"""From a `LoadModel` to an engine that is ready to run, with its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from completionist.engine.base import ModelCard, StreamRange
from completionist.engine.frames import LoadModel
from completionist.engine.llama.blocks import LARGEST_BLOCK_ROWS, block_rows
from completionist.engine.llama.capi import Native, print_last_words
from completionist.engine.llama.costs import Costs, kept
from completionist.engine.llama.digest import model_sha256
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.measuring import costs_at_start
from completionist.engine.llama.memory import Memory
from completionist.engine.llama.model import Model
from completionist.engine.llama.prefixes import PrefixCache
from completionist.engine.llama.projector import Projector
from completionist.engine.llama.quota import free_memory_bytes, run_anywhere
from completionist.engine.llama.runner import MAX_CALL_TOKENS, Context, Footprint
from completionist.engine.llama.sizing import Shape, Shapes, Wishes, shapes
from completionist.engine.llama.streams import Streams

_PROBE_TOKENS = 256
_DEFAULT_CACHE_SHARE, _MAX_DEFAULT_CACHE_BYTES = 10, 2 << 30


def load(order: LoadModel, on_abort: Callable[[str], None] = print_last_words) -> tuple[Engine, ModelCard]:
    """Raises `LibraryRefused`, `ModelRefused`, `ContextRefused` or `OSError`, whose text is for the operator; a file may bring
    up other errors too. `on_abort`: see `Native`."""
    path, cache_dir = Path(order.model_path), Path(order.cache_dir)
    run_anywhere()  # OpenMP takes the processors of the thread that loads it for those of the process
    with ThreadPoolExecutor(1) as pool:  # reading the whole files goes on beside loading them
        digests = [pool.submit(model_sha256, one, cache_dir) for one in filter(None, (path, _projector_path(order)))]
        model = Model(Native(Path(order.library_path), on_abort), path)
        projector = _projector(model, order)
        footprint = _probe(model, order)
        chosen = _shapes(model, order, footprint)
        contexts = [_context(model, order, shape) for shape in chosen.all]
        sha256 = [digest.result() for digest in digests]
        card = _card(order, model, chosen, contexts, footprint=footprint, digests=sha256)
    if projector is not None:
        card = msgspec.structs.replace(card, sight=projector.sight, hearing=projector.hearing)
    pools = [Streams(context) for context in contexts]
    memory = Memory(
        pools[:-1] if chosen.short else pools,
        PrefixCache(card.cache_bytes),
        short=pools[-1] if chosen.short else None,
        window_tokens=model.window_tokens,
        checkpoints_only=model.memory_kind == "checkpoints_only",
        block_rows=_block_rows(contexts[0], order),
    )
    costs = _costs(contexts[0], order)
    return Engine(model, memory, costs=costs, max_waiting=order.max_waiting, projector=projector), card


def _projector_path(order: LoadModel) -> Path | None:
    return Path(order.projector_path) if order.projector_path else None


def _projector(model: Model, order: LoadModel) -> Projector | None:
    """It encodes with half of the threads: the decode steps beside it keep the others."""
    path = _projector_path(order)
    threads = max(1, order.threads // 2)
    return Projector(model, path, threads=threads, max_call_tokens=MAX_CALL_TOKENS) if path else None


def _probe(model: Model, order: LoadModel) -> Footprint:
    """What a stream takes, from the smallest context there is: formulas would have to know every architecture."""
    context = _context(model, order, Shape(1, _PROBE_TOKENS))
    footprint = context.warm_up()
    context.close()
    return footprint


def _shapes(model: Model, order: LoadModel, footprint: Footprint) -> Shapes:
    wishes = Wishes(
        streams=order.streams,
        stream_tokens=order.stream_tokens,
        context_tokens=order.context_tokens,
        long_streams=order.long_streams,
        short_streams=order.short_streams,
    )
    can_move = model.memory_kind == "trim_anywhere"
    return shapes(free_memory_bytes(), footprint, model.trained_context_tokens, wishes, can_move=can_move)


def _context(model: Model, order: LoadModel, shape: Shape) -> Context:
    return Context(
        model,
        n_streams=shape.n_streams,
        stream_tokens=shape.tokens,
        threads=order.threads,
        kv_type=order.kv_type,
        flash_attention=order.flash_attention,
    )


def _block_rows(context: Context, order: LoadModel) -> int:
    """Where prompts cannot be continued anywhere there is nothing to find out."""
    if not context.is_movable:
        return LARGEST_BLOCK_ROWS
    return block_rows(context, Path(order.cache_dir), Path(order.model_path), order.library_description)


def _cache_budget(order: LoadModel) -> int:
    if order.cache_bytes is not None:
        return order.cache_bytes
    return min(_MAX_DEFAULT_CACHE_BYTES, free_memory_bytes() // _DEFAULT_CACHE_SHARE)


def _costs(context: Context, order: LoadModel) -> Costs:
    model = Path(order.cache_dir), Path(order.model_path), order.library_description
    measured = kept(*model)
    if measured and measured.threads == order.threads:
        return measured.costs
    return costs_at_start(context, *model, may_measure=order.is_alone)


def _card(
    order: LoadModel,
    model: Model,
    chosen: Shapes,
    contexts: list[Context],
    *,
    footprint: Footprint,
    digests: Sequence[str],
) -> ModelCard:
    return ModelCard(
        name=order.name,
        description=model.description,
        context_tokens=max(context.stream_tokens for context in contexts),
        trained_context_tokens=model.trained_context_tokens,
        vocabulary_size=model.vocabulary_size,
        parameters=model.parameters,
        weights_bytes=model.weights_bytes,
        kv_bytes=sum(footprint.of(context.n_streams, context.stream_cells) for context in contexts),
        streams=sum(shape.n_streams for shape in chosen.all if shape is not chosen.short),
        ranges=tuple(StreamRange(context.n_streams, context.stream_tokens) for context in contexts),
        cache_bytes=_cache_budget(order),
        chat_template=model.chat_template,
        bos_text=model.bos_text,
        eos_text=model.eos_text,
        bos_id=model.bos_id,
        specials=model.specials(),
        memory_kind=model.memory_kind,
        fingerprint=_fingerprint(order, model, contexts, digests),
        engine=f"{order.library_description}, {model.native.build()}",
    )


def _fingerprint(order: LoadModel, model: Model, contexts: list[Context], digests: Sequence[str]) -> str:
    """Everything that can change a logit or a draw (contract 13.6), in a fixed order."""
    parts = (
        *digests,
        model.chat_template or "",
        order.library_description,
        model.native.build(),
        *(context.arithmetic() for context in contexts),
    )
    return "fp_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
