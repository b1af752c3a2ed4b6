"""Every test here runs on both databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.store.databases import KINDS, KindOfDatabase
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
