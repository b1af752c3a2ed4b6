"""Encodes pictures and sounds on a thread of its own, one after the other, while decode steps go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from completionist.engine.llama.insets import Inset, Rows
from completionist.engine.llama.projector import Projector


class Encoder:
    """`wake` is called on that thread when an inset is done."""

    def __init__(self, projector: Projector | None) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._projector = projector
        self._thread = ThreadPoolExecutor(1, "encoding")

    def ask_for(self, inset: Inset) -> None:
        """Let its rows be there soon; once is enough."""
        if inset.rows is None and self._projector is not None:
            inset.rows = self._thread.submit(_encode, self._projector, inset)
            inset.rows.add_done_callback(lambda _: self.wake())


def _encode(projector: Projector, inset: Inset) -> Rows:
    start_s = time.monotonic()
    try:
        return projector.encode(inset.chunk)
    finally:
        inset.encode_s = time.monotonic() - start_s


def abandon(insets: tuple[Inset, ...]) -> None:
    """Nobody waits for them any longer: what has not begun need not."""
    for inset in insets:
        if inset.rows is not None:
            inset.rows.cancel()
