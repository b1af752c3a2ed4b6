"""The servers that rows are tried on, warm, and the one context that holds every row to the invariants."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from completionist.settings import EngineSettings, FileSettings, KeySettings, ServerSettings, Settings
from tests.abuse.clients import come_and_go, fill_grammars, flood, together, unread_streams
from tests.abuse.invariants import (
    CREATE,
    FILES,
    FLOOD_CONCURRENT,
    FLOOD_KEY,
    KEY,
    OTHER_KEY,
    Abuse,
    invariants_of,
)
from tests.abuse.served import Served, serving_file, serving_model, serving_script
from tests.engine.tiny_models import write_sliding_window
from tests.support.documents import file_part
from tests.support.process import torrent

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # memory, descriptors and processes are read from /proc

CONTEXT_TOKENS = 256
N_STREAMS = 4


def _key(key: str, project: str, **limits: int) -> KeySettings:
    return KeySettings(sha256=hashlib.sha256(key.encode()).hexdigest(), project=project, **limits)


KEYS = (
    _key(KEY, "tides"),
    _key(OTHER_KEY, "others"),
    _key(FLOOD_KEY, "flood", concurrent_requests=FLOOD_CONCURRENT),
)
MODEL_SETTINGS = Settings(
    server=ServerSettings(port=0),
    engine=EngineSettings(
        threads=1,  # two that wait for each other are slow where others use the machine
        streams=N_STREAMS,
        context_tokens=CONTEXT_TOKENS,
        cache_bytes=4 * 2**20,  # well under what memory may grow by
    ),
    keys=KEYS,
    files=FileSettings(max_file_bytes=4 * 2**20),
)
TINY_CONTEXT_TOKENS = 4096
TINY_SETTINGS = MODEL_SETTINGS.model_copy(
    update={
        "engine": EngineSettings(
            threads=1,
            streams=N_STREAMS,
            stream_tokens=TINY_CONTEXT_TOKENS,
            context_tokens=TINY_CONTEXT_TOKENS,
            cache_bytes=2**20,
        )
    }
)
LIMITED_SETTINGS = Settings(
    server=ServerSettings(
        port=0, max_body_bytes=64 * 2**10, max_header_bytes=16 * 2**10, receipt_timeout_s=1.0, send_timeout_s=1.5
    ),
    keys=KEYS,
)


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Small streams and a small context, so that they fill."""
    with serving_model(MODEL_SETTINGS, tmp_path_factory.mktemp("abuse") / "model") as served:
        _warm_store(_warm(served))
        served.settle()
        yield served


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model of single bytes with random weights: it says nothing, at once, and a grammar makes it say what fits."""
    directory = tmp_path_factory.mktemp("tiny")
    file = write_sliding_window(directory / "tiny.gguf")
    with serving_file(file, TINY_SETTINGS, directory / "server") as served:
        client = Abuse(served)
        for i in range(2):
            fill_grammars(client, i)
            text = f"{i}" + "a" * (TINY_CONTEXT_TOKENS - 200)
            ask = partial(client.create, messages=[{"role": "user", "content": text}], max_completion_tokens=200)
            together(*[ask] * N_STREAMS)
        come_and_go(client, 30)
        served.settle()
        yield served


@pytest.fixture(scope="session")
def limited_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A scripted engine behind limits of a second and some kilobytes."""
    with serving_script(torrent, LIMITED_SETTINGS, tmp_path_factory.mktemp("abuse") / "limited") as served:
        client = _warm(served)
        with unread_streams(client, 50):
            pass
        served.settle()
        yield served


@pytest.fixture
def abuse(model_server: Served) -> Iterator[Abuse]:
    """A row on the server with the model. Its heap was seen to end 4.5 MB higher on a slow machine, which is 5.2 %."""
    with invariants_of(model_server, spare_bytes=8 * 2**20) as abuse:
        yield abuse


@pytest.fixture
def tiny(tiny_server: Served) -> Iterator[Abuse]:
    """A row on the server with the random model. Bodies of 100 kB leave the heaps of its small processes some MB apart."""
    with invariants_of(tiny_server, spare_bytes=32 * 2**20) as abuse:
        yield abuse


@pytest.fixture
def limited(limited_server: Served) -> Iterator[Abuse]:
    """A row on the server with small limits."""
    with invariants_of(limited_server) as abuse:
        yield abuse


def _warm_store(client: Abuse) -> None:
    """Have every thread and every connection of the store."""
    for _ in range(3):
        together(*[lambda: client.create(None, "Idempotency-Key: warm", store=True, metadata={"a": "b"})] * 8)
        together(*[lambda: client.get(f"{CREATE}?limit=100&metadata[a]=b")] * 16)


def _warm(served: Served) -> Abuse:
    """Have everything allocated once: streams to their ends, the cache, the helper process, buffers of many clients."""
    client = Abuse(served)
    text = "x" + " a" * (CONTEXT_TOKENS - 60)
    together(*[client.create] * N_STREAMS, lambda: client.create(messages=[{"role": "user", "content": text}]))
    flood(client, 20 * N_STREAMS)
    client.create(n=32, logprobs=True, top_logprobs=20, max_completion_tokens=1)
    for _ in range(3):
        together(*[lambda: client.create(stop=["x" * 2**18] * 4)] * 2)
        client.create(b"[" * 200_000)
        client.create(logit_bias={str(token): 1 for token in range(100_000)})
    client.create(logit_bias={str(token): 1 for token in range(1_000)})
    client.create(messages=[{"role": "user", "content": [file_part("a.txt", b"x", "text/plain")]}])
    client.create(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 10_000}])
    together(*[lambda: client.upload(b"x" * 2**21)] * 4)
    together(*[lambda: client.get(FILES)] * 8)
    for file in json.loads(client.get(FILES).body)["data"]:
        client.send(client.request("DELETE", f"{FILES}/{file['id']}"))
    come_and_go(client, 30)
    return client
