"""Encodes pictures on a thread of its own, one after the other, while decode steps go on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from completionist.engine.llama.pictures import Shown
from completionist.engine.llama.projector import Projector


class Encoder:
    """`wake` is called on that thread when a picture is done."""

    def __init__(self, projector: Projector | None) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._projector = projector
        self._thread = ThreadPoolExecutor(1, "pictures")

    def ask_for(self, picture: Shown) -> None:
        """Let its rows be there soon; once is enough."""
        if picture.rows is None and self._projector is not None:
            picture.rows = self._thread.submit(self._projector.encode, picture.chunk)
            picture.rows.add_done_callback(lambda _: self.wake())


def abandon(pictures: tuple[Shown, ...]) -> None:
    """Nobody waits for them any longer: what has not begun need not."""
    for picture in pictures:
        if picture.rows is not None:
            picture.rows.cancel()
