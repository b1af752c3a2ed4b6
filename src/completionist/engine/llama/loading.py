"""From a `LoadModel` to an engine that is ready to run, with its card."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from completionist.engine.base import ModelCard
from completionist.engine.frames import LoadModel
from completionist.engine.llama.capi import Native
from completionist.engine.llama.digest import file_sha256
from completionist.engine.llama.loop import Engine
from completionist.engine.llama.model import Model
from completionist.engine.llama.runner import Context

DEFAULT_STREAMS = 16
DEFAULT_CONTEXT_TOKENS = 4096


def load(order: LoadModel) -> tuple[Engine, ModelCard]:
    """Raises `LibraryRefused`, `ModelRefused`, `ContextRefused` or `OSError`, whose text is for the operator."""
    path = Path(order.model_path)
    with ThreadPoolExecutor(1) as pool:  # reading the whole file goes on beside loading it
        digest = pool.submit(file_sha256, path, Path(order.cache_dir))
        model = Model(Native(Path(order.library_path)), path)
        context = Context(
            model,
            n_streams=order.streams or DEFAULT_STREAMS,
            stream_tokens=order.context_tokens or min(DEFAULT_CONTEXT_TOKENS, model.trained_context_tokens),
            threads=order.threads,
        )
        cell_bytes = context.warm_up()
        card = _card(order, model, context, cell_bytes, digest.result())
    return Engine(model, context, max_waiting=order.max_waiting), card


def _card(order: LoadModel, model: Model, context: Context, cell_bytes: int, digest: str) -> ModelCard:
    return ModelCard(
        name=order.name,
        description=model.description,
        context_tokens=context.stream_tokens,
        trained_context_tokens=model.trained_context_tokens,
        vocabulary_size=model.vocabulary_size,
        parameters=model.parameters,
        weights_bytes=model.weights_bytes,
        kv_bytes=context.n_streams * context.stream_tokens * cell_bytes,
        streams=context.n_streams,
        chat_template=model.chat_template,
        bos_text=model.bos_text,
        eos_text=model.eos_text,
        bos_id=model.bos_id,
        specials=model.specials(),
        memory_kind=model.memory_kind,
        fingerprint=_fingerprint(order, model, context, digest),
        engine=f"{order.library_description}, {model.native.build()}",
    )


def _fingerprint(order: LoadModel, model: Model, context: Context, digest: str) -> str:
    """Everything that can change a logit or a draw (contract 13.6), in a fixed order."""
    parts = (
        digest,
        model.chat_template or "",
        order.library_description,
        model.native.build(),
        context.arithmetic(),
    )
    return "fp_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
