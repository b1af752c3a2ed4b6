"""`serve` and `run` as a user meets them: a process, its words, its end."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from completionist.cache import cache_directory
from completionist.models.catalog import catalog
from completionist.models.installed import model_path
from completionist.settings import DEFAULT_MODEL, ModelSettings
from tests.cli.conftest import Cli, one_line
from tests.support.real import ONE_THREAD
from tests.support.server import eventually

NO_INDEX = {"COMPLETIONIST_MODELS__INDEX_URL": "http://127.0.0.1:9/simple"}
WITH_MODELS = {"COMPLETIONIST_MODELS__CACHE_DIR": str(cache_directory()), **ONE_THREAD}


class Served:
    """A running `completionist serve` and the banner it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.banner = ""
        assert process.stdout
        for line in process.stdout:
            self.banner += line
            if line.startswith("Ready in "):
                return
        raise AssertionError(f"it did not get ready: {self.banner}{process.communicate()[1]}")

    @property
    def url(self) -> str:
        """Without `/v1`."""
        (address,) = re.findall(r"^  address +(\S+)/v1$", self.banner, re.MULTILINE)
        return str(address)

    @property
    def curl(self) -> list[str]:
        (example,) = re.findall(r"^curl (?:.*\\\n)+.*", self.banner, re.MULTILINE)
        return shlex.split(example.replace("\\\n", " "))

    @property
    def python(self) -> str:
        (example,) = re.findall(r"^(?:import os\n)?from openai .*\n(?:.+\n)+", self.banner, re.MULTILINE)
        return str(example)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


Start = Callable[..., Served]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """`start("--scripted")` runs the server on a free port until the test ends."""
    processes: list[subprocess.Popen[str]] = []

    def call(*arguments: str, **variables: str) -> Served:
        command = [sys.executable, "-m", "completionist", "serve", "--port", "0", *arguments]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment | variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return Served(process)

    yield call
    for process in processes:
        with process:
            process.kill()


def ask(curl: list[str], **headers: str) -> httpx2.Response:
    """What the pasted curl line sends, by a client that is here."""
    sent = dict(word.split(": ") for word in curl if ": " in word and not word.startswith("{"))
    return httpx2.post(curl[1], headers=sent | headers, content=curl[-1], timeout=50)


def test_the_banner_can_be_pasted(start: Start) -> None:
    served = start("--scripted")
    assert ask(served.curl).json()["choices"][0]["message"]["content"].startswith("Hello!")
    done = subprocess.run([sys.executable, "-c", served.python], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Hello!")
    assert re.search(r"Ready in [0-9.]+ s, KV cache ", served.banner)
    assert served.stop() == 0, "a signal ends it cleanly"


def test_nothing_is_left_of_a_server_that_was_killed(start: Start) -> None:
    served = start("--scripted")
    large = {"model": "scripted", "messages": [{"role": "user", "content": "word " * 50_000}]}
    httpx2.post(served.curl[1], json=large, timeout=50)  # a helper process reads it
    helpers = psutil.Process(served.process.pid).children(recursive=True)
    assert len(helpers) >= 2
    served.process.kill()
    assert psutil.wait_procs(helpers, timeout=20)[1] == []


def test_with_keys_the_examples_name_one(start: Start, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"sk-mine").hexdigest()
    (tmp_path / "completionist.toml").write_text(f'[[keys]]\nsha256 = "{digest}"\nproject = "mine"\n')
    served = start("--scripted")
    assert ask(served.curl).status_code == 401
    assert ask(served.curl, Authorization="Bearer sk-mine").status_code == 200
    done = subprocess.run(
        [sys.executable, "-c", served.python], capture_output=True, text=True, check=True,
        env=os.environ | {"API_KEY": "sk-mine"},
    )  # fmt: skip
    assert done.stdout.startswith("Hello!")


def test_a_taken_port(quick: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = quick("serve", "--scripted", "--port", str(port))
    assert refused.returncode == 1
    assert one_line(refused) == (
        f"completionist: cannot listen on 127.0.0.1:{port}: "
        "the port is in use: stop what uses it or choose another one with --port"
    )


def test_a_public_bind_without_a_key(quick: Cli) -> None:
    refused = quick("serve", "--scripted", "--host", "0.0.0.0")  # noqa: S104 - it must be refused
    assert refused.returncode == 2
    assert "refusing to listen on 0.0.0.0 without an API key" in one_line(refused)


def test_an_unknown_model(quick: Cli) -> None:
    refused = quick("serve", "--model", "smollm2")
    assert refused.returncode == 1
    assert "no model smollm2: did you mean smollm2-135m-instruct" in one_line(refused)


def test_a_file_that_is_no_model(quick: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    refused = quick("serve", "--model", "x.gguf")
    assert refused.returncode == 1
    assert "x.gguf is not a whole GGUF model" in one_line(refused)


def test_a_first_run_without_a_model(start: Start) -> None:
    served = start(**NO_INDEX, COMPLETIONIST_SERVED=json.dumps({"small": {"model": DEFAULT_MODEL}}))
    assert re.search(
        r"^  model +none is installed: requests are refused until there is one$", served.banner, re.MULTILINE
    )
    offers = re.findall(r"^  completionist pull (\S+) +[0-9,.]+ MB  ", served.banner, re.MULTILINE)
    assert offers == [name for name in catalog() if name in offers]  # as many as fit here, the smallest first
    assert "These fit this machine" in served.banner
    assert httpx2.get(f"{served.url}/v1/models").json() == {"object": "list", "data": []}
    health = httpx2.get(f"{served.url}/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    refused = httpx2.post(f"{served.url}/v1/chat/completions", json={"model": "gpt-4o", "messages": []})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    for said in (health.json()["advice"], refused.json()["error"]["message"]):
        assert said.endswith(f"Its operator can fetch one: completionist pull {DEFAULT_MODEL}")
    known = httpx2.post(f"{served.url}/v1/chat/completions", json={"model": DEFAULT_MODEL, "messages": []})
    assert known.json()["error"]["message"].endswith(f"fetch it: completionist pull {DEFAULT_MODEL}")
    alias = httpx2.post(f"{served.url}/v1/chat/completions", json={"model": "small", "messages": []})
    assert f"It stands for {DEFAULT_MODEL}. It is not installed" in alias.json()["error"]["message"]
    assert served.stop() == 0


@pytest.mark.model
def test_what_is_pulled_is_served_at_once(start: Start, tmp_path: Path) -> None:
    served = start(COMPLETIONIST_MODELS__CACHE_DIR=str(tmp_path / "cache"), COMPLETIONIST_ENGINE__STREAMS="1")
    assert "none is installed" in served.banner
    entry = catalog()[DEFAULT_MODEL]
    ours, theirs = (
        model_path(entry, ModelSettings(cache_dir=place)) for place in (tmp_path / "cache", cache_directory())
    )
    ours.parent.mkdir(parents=True)
    shutil.copyfile(theirs, ours)
    eventually(lambda: DEFAULT_MODEL in httpx2.get(f"{served.url}/v1/models").text)
    body = {"model": DEFAULT_MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 4}
    answer = httpx2.post(f"{served.url}/v1/chat/completions", json=body, timeout=50)
    assert answer.json()["usage"]["completion_tokens"] == 4
    ours.unlink()
    eventually(lambda: httpx2.post(f"{served.url}/v1/chat/completions", json=body, timeout=50).status_code == 404)
    assert served.stop() == 0


@pytest.mark.parametrize("command", ["serve --model {}", "pull {}", "run {} hi"])
def test_no_network(quick: Cli, command: str) -> None:
    refused = quick(*command.format(DEFAULT_MODEL).split(), HF_ENDPOINT="http://127.0.0.1:9", **NO_INDEX)
    assert (refused.returncode, refused.stdout) == (1, "")
    *shown, reason = refused.stderr.splitlines()
    assert "check the network" in reason
    assert any("going on with the package index" in line for line in shown)


def test_a_run_that_asks_nothing(cli: Cli) -> None:
    refused = cli("run", DEFAULT_MODEL)
    assert refused.returncode == 2
    assert "no prompt" in one_line(refused)


@pytest.mark.model
def test_run_answers_from_argument_and_pipe(cli: Cli) -> None:
    options = ("--system", "You answer in one short sentence.", "--temperature", "0", "--max-tokens", "12")
    asked = cli("run", DEFAULT_MODEL, "What is the capital of France?", *options, **WITH_MODELS)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.strip()
    piped = cli("run", DEFAULT_MODEL, *options, stdin="What is the capital of France?\n", **WITH_MODELS)
    assert piped.stdout == asked.stdout


@pytest.mark.model
def test_run_reports_a_prompt_that_does_not_fit(cli: Cli) -> None:
    refused = cli("run", DEFAULT_MODEL, stdin="far too long " * 20_000, **WITH_MODELS)
    assert refused.returncode == 1
    assert "This model's maximum context length is" in one_line(refused)


@pytest.mark.model
def test_serve_answers_with_the_model(start: Start) -> None:
    served = start("--streams", "2", "--context-tokens", "128", **WITH_MODELS)
    assert "2 streams of 128 tokens" in served.banner
    assert re.search(
        r"memory    [0-9,.]+ MB: weights [0-9,.]+ MB, KV cache [0-9,.]+ MB, kept prompts up to [0-9,.]+ MB",
        served.banner,
    )
    assert re.search(
        r"limits    1[0-9]{2}M parameters answer fluently and often wrongly; qwen2\.5-coder-1\.5b", served.banner
    )
    answer = ask(served.curl).json()
    assert answer["model"] == DEFAULT_MODEL
    assert answer["choices"][0]["message"]["content"]
    assert served.stop() == 0
