"""Every test here runs on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.store.databases import KINDS, KindOfDatabase, Loss
from tests.store.tenants import Tenants, tenants_of
from tests.support.postgres import Postgres


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KindOfDatabase:
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        return KindOfDatabase(postgres.new_database, postgres)
    directory, numbers = tmp_path_factory.mktemp("sqlite"), itertools.count()
    return KindOfDatabase(lambda: f"sqlite:///{directory}/{next(numbers)}.db", None)


@pytest.fixture(scope="module")
def shared_tenants(kind: KindOfDatabase) -> Iterator[Tenants]:
    with tenants_of(kind.new_url()) as tenants:
        yield tenants


@pytest.fixture
def tenants(shared_tenants: Tenants) -> Tenants:
    """A server of the module with nothing stored."""
    shared_tenants.clear()
    return shared_tenants


@contextmanager
def moved_away(url: str) -> Iterator[None]:
    file = Path(url.removeprefix("sqlite:///"))
    elsewhere = file.rename(file.with_suffix(".elsewhere"))
    yield
    assert not file.exists()
    elsewhere.rename(file)


@pytest.fixture
def lost(kind: KindOfDatabase, request: pytest.FixtureRequest) -> Loss:
    """Takes a database away and brings it back."""
    if not kind.is_postgres:
        return moved_away
    postgres: Postgres = request.getfixturevalue("postgres")

    @contextmanager
    def stopped(_: str) -> Iterator[None]:
        postgres.stop()
        try:
            yield
        finally:
            postgres.start()

    return stopped
