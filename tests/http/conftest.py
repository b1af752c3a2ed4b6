"""One server for the many tests that only refuse or ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer, running_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RunningServer]:
    """A server with the friendly script for a whole module; tests leave it as they found it."""
    with running_server() as server:
        yield server
