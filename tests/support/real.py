"""The whole server with a real model, as a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from completionist.models.catalog import catalog
from completionist.models.pull import pull
from completionist.settings import DEFAULT_MODEL, ModelSettings

SMALL = {"COMPLETIONIST_ENGINE__STREAMS": "4", "COMPLETIONIST_ENGINE__CONTEXT_TOKENS": "1024"}
ONE_THREAD = {"COMPLETIONIST_ENGINE__THREADS": "1"}
"""The tests run in several processes: threads that wait for each other lose their turns to those of others."""


@contextmanager
def running_model(
    log: Path, model: str = DEFAULT_MODEL, *, options: str = "", sizes: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serves meanwhile at the address that is given, as the official client wants it; what it says to `log` is kept.

    `options` is the text of a configuration file; `sizes` are variables, in place of those for small sizes.
    """
    pull(catalog()[model], ModelSettings(), lambda _: None)
    if sizes is None:
        sizes = {**SMALL, **(ONE_THREAD if model == DEFAULT_MODEL else {})}
    with _running(log, model, options, sizes) as url:
        yield url


@contextmanager
def running_file(log: Path, file: Path, *, options: str = "") -> Iterator[str]:
    """The same with a model file of the tests' own; no other model is there."""
    nowhere = {"COMPLETIONIST_MODELS__CACHE_DIR": str(log.with_name("cache"))}
    with _running(log, str(file), options, {**SMALL, **ONE_THREAD, **nowhere}) as url:
        yield url


@contextmanager
def _running(log: Path, model: str, options: str, variables: Mapping[str, str]) -> Iterator[str]:
    config = log.with_name("completionist.toml")
    config.write_text(options)
    own = {name: value for name, value in os.environ.items() if not name.startswith("COMPLETIONIST_")}
    environment = {**own, **variables}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "completionist", "serve", "--model", model, "--port", "0", "--config", str(config)],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    with process:
        assert process.stdout
        try:
            banner = ""
            for line in process.stdout:
                banner += line
                if line.startswith("Ready in "):
                    break
            address = re.search(r"http://\S+/v1", banner)
            assert address, banner + log.read_text()
            yield address[0]
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
