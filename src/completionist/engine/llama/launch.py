"""Settings → how to start a worker for a model file. No worker imports this, nor what it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from completionist.cache import cache_directory
from completionist.engine.frames import LoadModel
from completionist.engine.launch import Beside, Launch
from completionist.engine.llama.costs import kept
from completionist.engine.llama.library import Library, find_library
from completionist.engine.llama.quota import are_all, processors
from completionist.gently import BESIDE_ANSWERS, ON_ONE_PROCESSOR
from completionist.settings import EngineSettings

_WORKER = "completionist.engine.llama.worker"

_ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # no debugger is to be started
    "NUMPY_MADVISE_HUGEPAGE": "0",  # where huge pages have to be made first, a copy of 1,000 cells waits 60 ms for them, not 12
}
_SPIN_COUNT = "10000"
"""Idle OpenMP threads spin so many times before they sleep, some tenths of a millisecond: a step of one stream is 19 % slower
with 1,000. The default burns whole time slices, and beside another process a step takes 2 to 20 times as long."""


def launch(
    model_path: Path,
    name: str,
    settings: EngineSettings,
    *,
    projector_path: Path | None = None,
    cache_dir: Path | None = None,
    beside: Beside = "nothing",
) -> Launch:
    """How to start a worker for the GGUF file at `model_path`, known to clients as `name`. Raises `LibraryMissing`.

    `projector_path`: what lets it see. `beside`: what else goes on in this server.
    """
    library = find_library(settings.library, cache_dir=cache_dir)
    threads = settings.threads or usual_threads(model_path, library, cache_directory(cache_dir))
    return Launch(
        command=(sys.executable, "-P", "-m", *_manner(threads, beside), _WORKER),
        environment={**openmp_environment(threads), **_ENVIRONMENT},
        load=LoadModel(
            model_path=str(model_path),
            projector_path=str(projector_path) if projector_path else None,
            name=name,
            library_path=str(library.path),
            library_description=library.description,
            cache_dir=str(cache_directory(cache_dir)),
            threads=threads,
            streams=settings.streams,
            stream_tokens=settings.stream_tokens,
            context_tokens=settings.context_tokens,
            long_streams=settings.long_streams,
            short_streams=settings.short_streams,
            kv_type=settings.kv_type,
            flash_attention=settings.flash_attention,
            cache_bytes=settings.cache_bytes,
            max_waiting=settings.queue_requests,
            is_alone=beside == "nothing",
        ),
    )


def _manner(threads: int, beside: Beside) -> Iterator[str]:
    """What the worker is started with. The other models' steps have so many threads too."""
    if beside == "nothing":
        return
    yield "completionist.gently"
    if are_all(threads):
        yield ON_ONE_PROCESSOR
        if beside == "answers":
            yield BESIDE_ANSWERS


def openmp_environment(threads: int) -> dict[str, str]:
    """How the threads of a step wait and where they run: each on a processor of its own, where there is one for each.

    Else the scheduler may leave two on one processor, beside which another process has the next: each of some hundred
    barriers of a step then costs a whole spin, and a step 155 ms in place of 27.
    """
    bound = {"OMP_PROC_BIND": "true", "OMP_PLACES": "threads"} if are_all(threads) else {}
    return {"GOMP_SPINCOUNT": _SPIN_COUNT, **bound}


def usual_threads(model_path: Path, library: Library, cache_dir: Path) -> int:
    """The count that was measured to be the fastest, else what the processor quota allows."""
    measured = kept(cache_dir, model_path, library.description)
    return measured.threads if measured else processors()
