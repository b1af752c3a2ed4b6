"""Rows 54 and 55 of the abuse catalogue, as far as they touch what is stored: a database that is gone, slow, locked or full."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import openai
import psutil
import pysqlite3
import pytest

from completionist.settings import Settings, StoreSettings
from completionist.store.sql import store as store_module
from tests.store.cut import cut_way
from tests.store.databases import KindOfDatabase, Loss
from tests.store.tenants import COMPLETIONS, KEY, Tenants, tenants_of
from tests.support import raw
from tests.support.ask import official
from tests.support.postgres import Postgres
from tests.support.process import server_process, short
from tests.support.server import eventually

AUTHORIZATION = f"Authorization: Bearer {KEY}"


def create(tenants: Tenants, **fields: object) -> raw.Reply:
    with raw.connection(tenants.server.port) as connection:
        connection.sendall(
            raw.request("POST", COMPLETIONS, AUTHORIZATION, "Connection: close", body=raw.chat(**fields))
        )
        return raw.Reply(*raw.parsed(raw.read_to_end(connection)))


def is_stored(tenants: Tenants) -> bool:
    return create(tenants, store=True).status == 200


def check_unavailable(reply: raw.Reply) -> None:
    assert (reply.status, reply.error["code"], reply.error["type"]) == (
        503, "storage_unavailable", "service_unavailable_error",
    )  # fmt: skip
    assert 1 <= int(reply.headers["retry-after"]) <= 120


def readiness(tenants: Tenants) -> str:
    return str(raw.json_of(raw.send(tenants.server.port, raw.request("GET", "/health/ready")))["storage"])


def check_while_gone(tenants: Tenants, known: str) -> None:
    """What needs the database says so, what does not is answered."""
    check_unavailable(create(tenants, store=True))
    n_generated = tenants.server.metric("generation_tokens_total")
    for fields in ({"store": True}, {"store": True, "stream": True}):
        check_unavailable(create(tenants, **fields))  # before anything is generated
    for method, path in (("GET", COMPLETIONS), ("GET", f"{COMPLETIONS}/{known}"), ("DELETE", f"{COMPLETIONS}/{known}")):
        check_unavailable(raw.send(tenants.server.port, raw.request(method, path, AUTHORIZATION)))
    assert tenants.server.metric("generation_tokens_total") == n_generated
    assert (readiness(tenants), tenants.server.metric("storage_available")) == ("unavailable", 0)
    assert create(tenants).status == create(tenants, stream=True, store=False).status == 200


@pytest.mark.parametrize("gone_s", [1, pytest.param(10, marks=pytest.mark.large)])
def test_row_54_a_database_that_goes_and_comes_back(kind: KindOfDatabase, lost: Loss, gone_s: float) -> None:
    url = kind.new_url()
    with tenants_of(url) as tenants:
        before = [completion.id for completion in tenants.store(3)]
        with lost(url):
            deadline_s = time.monotonic() + gone_s
            check_while_gone(tenants, before[0])
            while time.monotonic() < deadline_s:
                check_unavailable(create(tenants, store=True))
                assert create(tenants).status == 200
        eventually(lambda: is_stored(tenants))
        assert readiness(tenants) == "ok"
        assert tenants.listed()[:3] == before
        assert len(tenants.listed()) == 4
        (line,) = tenants.server.log_lines(event="storage unavailable")
        assert line["level"] == "error"
        assert tenants.server.log_lines(event="storage available again")


def test_row_54_a_database_that_is_gone_at_the_start(postgres: Postgres, tmp_path: Path) -> None:
    postgres_url = postgres.new_database()
    with file_in_the_way(tmp_path / "data") as mend, tenants_of(f"sqlite:///{tmp_path}/data/x.db") as tenants:
        check_while_gone(tenants, "chatcmpl-x")
        mend()
        eventually(lambda: is_stored(tenants))
    assert (tmp_path / "data" / "x.db").stat().st_mode & 0o077 == 0
    with ExitStack() as back:
        postgres.stop()
        back.callback(postgres.start)
        with tenants_of(postgres_url) as tenants:
            check_while_gone(tenants, "chatcmpl-x")
            back.close()
            eventually(lambda: is_stored(tenants))


@contextmanager
def file_in_the_way(path: Path) -> Iterator[Callable[[], None]]:
    """No directory can be made here until it is mended."""
    path.touch()
    yield path.unlink


def test_row_54_a_database_that_another_process_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with tenants_of(url) as tenants, closing(pysqlite3.connect(tmp_path / "x.db")) as holder:
        tenants.store()
        holder.execute("BEGIN IMMEDIATE")
        check_unavailable(create(tenants, store=True))
        assert len(tenants.listed()) == 1  # reading goes on
        assert create(tenants, store=False).status == 200
        holder.rollback()
        eventually(lambda: is_stored(tenants))


def test_row_54_a_slow_database_is_waited_for(postgres: Postgres) -> None:
    url = postgres.new_database()
    with tenants_of(url) as tenants, ThreadPoolExecutor(20) as pool:
        tenants.store()
        postgres.query(url, SLOW_INSERTS)
        replies = list(pool.map(lambda _: create(tenants, store=True).status, range(20)))
        assert replies == [200] * 20
        assert len(tenants.listed(limit=100)) == 21


SLOW_INSERTS = """
CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END' LANGUAGE plpgsql;
CREATE TRIGGER slow BEFORE INSERT ON completions FOR EACH ROW EXECUTE FUNCTION slow()
"""


def test_row_54_tables_that_are_taken_away(kind: KindOfDatabase) -> None:
    """By a restore that is under way, say. It is nobody's mistake here, and mends itself."""
    url = kind.new_url()
    with tenants_of(url) as tenants:
        tenants.store()
        kind.query(url, "ALTER TABLE completions RENAME TO elsewhere")
        check_unavailable(create(tenants, store=True))
        check_unavailable(raw.send(tenants.server.port, raw.request("GET", COMPLETIONS, AUTHORIZATION)))
        assert create(tenants).status == 200
        kind.query(url, "ALTER TABLE elsewhere RENAME TO completions")
        eventually(lambda: is_stored(tenants))
        assert len(tenants.listed()) == 2


def test_row_54_a_database_that_only_reads(postgres: Postgres) -> None:
    url, elsewhere = postgres.new_database(), postgres.new_database()
    name = url.partition("?")[0].rpartition("/")[2]

    def set_read_only(mode: str) -> None:
        """For connections from now on; those that there are end."""
        postgres.query(elsewhere, f"ALTER DATABASE {name} SET default_transaction_read_only = {mode}")
        ours = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 (a name of ours)
        postgres.query(elsewhere, f"SELECT pg_terminate_backend(pid) FROM ({ours})")  # noqa: S608 (as above)

    with tenants_of(url) as tenants:
        (known,) = tenants.store()
        set_read_only("on")
        assert tenants.listed() == [known.id]
        check_unavailable(create(tenants, store=True))
        assert readiness(tenants) == "unavailable"
        set_read_only("off")
        eventually(lambda: is_stored(tenants))


def test_row_54_a_database_that_hangs(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are stopped, so that none of its own time limits are kept."""
    with tenants_of(postgres.new_database()) as tenants:
        tenants.store()
        with postgres.frozen(), monkeypatch.context() as limits:
            limits.setattr(store_module, "_MAX_WAIT_S", 0.3)
            limits.setattr(store_module, "_MAX_CALL_S", 0.3)
            for _ in range(6):  # there are four threads
                check_unavailable(create(tenants, store=True))
            assert create(tenants).status == 200
        eventually(lambda: is_stored(tenants))


@pytest.mark.parametrize("table", ["completions", "completion_messages", "completion_metadata", "idempotency_keys"])
def test_row_55_a_database_whose_disk_is_full_at_every_table(postgres: Postgres, table: str) -> None:
    url = postgres.new_database()
    with tenants_of(url) as tenants:
        tenants.store(metadata={"a": "1"}, extra_headers={"Idempotency-Key": "first"})
        postgres.query(url, FULL.format(table=table))
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as caught:
                tenants.store(metadata={"a": "1"}, extra_headers={"Idempotency-Key": "second"})
            assert (caught.value.status_code, caught.value.code) == (503, "storage_unavailable")
        for each in ("completions", "completion_messages", "completion_metadata"):
            assert postgres.query(url, f"SELECT count(*) FROM {each}") == "1"  # noqa: S608 (tables of ours)
        postgres.query(url, f"DROP TRIGGER full_disk ON {table}")
        tenants.store(metadata={"a": "1"}, extra_headers={"Idempotency-Key": "second"})
        assert len(tenants.listed(metadata={"a": "1"})) == 2


FULL = """
CREATE FUNCTION refuse() RETURNS trigger AS
  'BEGIN RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''disk_full''; END' LANGUAGE plpgsql;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def check_whole(kind_count: Callable[[str], int], client: openai.OpenAI, acknowledged: list[str]) -> None:
    for id_ in acknowledged:
        assert client.chat.completions.retrieve(id_).choices[0].message.content == "High water"
        assert client.chat.completions.messages.list(id_).data[0].content == "Hello"
    n_rows = kind_count("completions")
    assert len(acknowledged) <= n_rows
    assert kind_count("completion_messages") == kind_count("completion_metadata") == n_rows


def test_a_connection_that_is_cut_at_every_message(postgres: Postgres) -> None:
    """Whatever is said of an answer is true of the database."""
    url, acknowledged = postgres.new_database(), []
    with (
        tempfile.TemporaryDirectory(prefix="cut-") as directory,
        cut_way(url, Path(directory)) as (cut, cut_url),
        tenants_of(cut_url) as tenants,
    ):
        tenants.store(metadata={"a": "1"})
        for n_messages in range(60):
            cut.n_left = n_messages
            reply = create(tenants, store=True, metadata={"a": "1"})
            cut.n_left = None
            if reply.status == 200:
                acknowledged.append(raw.json_of(reply)["id"])
                if len(acknowledged) == 3:
                    break
            else:
                check_unavailable(reply)
                eventually(lambda: create(tenants, store=True, metadata={"a": "1"}).status == 200)
        assert n_messages > 3, "it was cut nowhere"
        assert len(acknowledged) == 3
        check_whole(lambda table: int(postgres.query(url, f"SELECT count(*) FROM {table}")), tenants.mine, acknowledged)  # noqa: S608 (tables of ours)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set through Linux")
def test_row_55_a_disk_that_is_full_at_every_page(tmp_path: Path) -> None:
    """A limit on the size of files, one page of the write-ahead log further each time."""
    file, acknowledged = tmp_path / "x.db", []
    settings = Settings(store=StoreSettings(url=f"sqlite:///{file}"))
    body = raw.chat(store=True, metadata={"a": "1"})
    with server_process(short, settings) as server, official(f"{server.url}/v1", api_key="-") as client:

        def stored() -> raw.Reply:
            return raw.send(server.port, raw.request("POST", COMPLETIONS, body=body))

        acknowledged.append(raw.json_of(stored())["id"])
        log = file.with_name("x.db-wal")
        for n_pages in range(40):
            limit = log.stat().st_size + n_pages * WAL_PAGE_BYTES
            server.facts.rlimit(psutil.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            reply = stored()
            server.facts.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if reply.status == 200:
                acknowledged.append(raw.json_of(reply)["id"])
                if len(acknowledged) == 4:
                    break
            else:
                check_unavailable(reply)
                eventually(lambda: stored().status == 200)
        assert n_pages > 3, "it was full nowhere"
        assert len(acknowledged) == 4
        with closing(pysqlite3.connect(file)) as connection:
            check_whole(
                lambda table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0],  # noqa: S608 (tables of ours)
                client,
                acknowledged,
            )
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


WAL_PAGE_BYTES = 4096 + 24
