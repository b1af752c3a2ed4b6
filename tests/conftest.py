"""Fixtures for everybody: servers on real ports and official clients for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import openai
import pytest

from completionist.models.catalog import catalog
from completionist.models.pull import pull
from completionist.settings import DEFAULT_MODEL, ModelSettings
from tests.engine.shortened import write_shortened
from tests.support.ask import official
from tests.support.examples import examples
from tests.support.postgres import Postgres, running_postgres
from tests.support.real import running_file, running_model
from tests.support.server import RunningServer, running_server
from tests.support.sharing import BySharedServer

# Servers of tests that name no database have one that goes with the tests; processes that they start inherit it.
_DATA = tempfile.TemporaryDirectory(prefix="data-")
os.environ["XDG_DATA_HOME"] = _DATA.name

# How long an example takes by the clock says more of the machine than of us; new examples are for `make fuzz`.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("ours", _PATIENT, derandomize=True)
hypothesis.settings.register_profile("fuzz", _PATIENT, max_examples=examples(100), derandomize=False)
hypothesis.settings.load_profile("ours")

Serve = Callable[..., RunningServer]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedServer:
    """Who runs what, where the tests run in several processes."""
    return BySharedServer(config, log)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test: `serve(script, settings=…, backend=…, step_s=…)`, see `running_server`."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(running_server(*args, **kwargs))


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The 135M model: a file of your own, or the one in the user's cache, fetched where it is missing."""
    if configured := os.environ.get("COMPLETIONIST_TEST_MODEL"):
        return Path(configured)
    return pull(catalog()[DEFAULT_MODEL], ModelSettings(), lambda _: None).path


@pytest.fixture(scope="session")
def short_model_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of its layers, for tests that hold whatever a model says."""
    return write_shortened(model_path, tmp_path_factory.mktemp("short") / f"{DEFAULT_MODEL}.gguf")


@pytest.fixture(scope="session")
def real_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the one server with the 135M model is, for all tests that ask it."""
    judge = f'[moderation]\nmodel = "{DEFAULT_MODEL}"\ntimeout_s = 50\n'
    with running_model(tmp_path_factory.mktemp("real") / "log", options=judge) as url:
        yield url


@pytest.fixture(scope="session")
def short_url(short_model_path: Path) -> Iterator[str]:
    """Where the one server with the shortened model is, under the name of the whole one."""
    with running_file(short_model_path.with_name("log"), short_model_path) as url:
        yield url


@pytest.fixture
def server(serve: Serve) -> RunningServer:
    """A server with the friendly script, as `completionist serve --scripted`."""
    return serve()


@pytest.fixture
def client_of() -> Iterator[Callable[..., openai.OpenAI]]:
    """Official clients, without retries: `client_of(server, api_key=…)`."""
    with ExitStack() as stack:

        def make(server: RunningServer, **options: Any) -> openai.OpenAI:
            options = {"api_key": "no-key", "max_retries": 0, "timeout": 60, **options}
            return stack.enter_context(official(server.base_url, **options))

        yield make


@pytest.fixture
def client(server: RunningServer, client_of: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """The official client of `server`."""
    return client_of(server)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL; who stops it starts it again."""
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """An empty database of a real PostgreSQL."""
    return postgres.new_database()
