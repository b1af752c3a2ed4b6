"""What is done again and again beside the requests, for as long as the server runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from completionist.errors import StorageUnavailable
from completionist.log import emit_exception


@contextmanager
def survived(logger: logging.Logger, chore: str) -> Iterator[None]:
    """One round of a chore: what stops it is logged and stops no later one. Storage that is gone is logged where it fails."""
    try:
        yield
    except StorageUnavailable:
        pass
    except Exception as error:  # noqa: BLE001 (a chore that ended would be missed by nobody until it hurts)
        emit_exception(logger, "a chore failed", error, chore=chore)
