"""Files come from the index that pip is configured with, whole and right or not at all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from completionist.download import MAX_FRUITLESS_TRIES, DownloadRefused, Unreachable, WrongDigest
from completionist.package_index import (
    IndexConfig,
    IndexRefused,
    NoIndex,
    NotListed,
    PackageIndex,
    UnreadableCertificates,
    index_config,
)
from completionist.pinned import PinnedFile

from .simple_index import SimpleIndex, Style

CONTENT = bytes(range(256)) * 2000
NAME = "thing-1.0-py3-none-any.whl"


@pytest.fixture
def file(index: SimpleIndex) -> PinnedFile:
    return index.add("thing", NAME, CONTENT)


def fetch(config: IndexConfig, file: PinnedFile, directory: Path) -> tuple[Path, list[int]]:
    reports: list[int] = []
    with PackageIndex(config, retry_delay_s=0) as client:
        return client.fetch(file, directory, reports.append), reports


@pytest.mark.parametrize("style", ["json", "html"])
def test_a_file_is_found_in_either_form_of_listing(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path, style: Style
) -> None:
    index.style = style
    path, reports = fetch(index.config, file, tmp_path / "new")
    assert path == tmp_path / "new" / NAME
    assert path.read_bytes() == CONTENT
    assert reports == sorted(reports)
    assert reports[-1] == len(CONTENT)
    assert [item.name for item in path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("style", ["json", "html"])
def test_a_listing_with_another_digest_is_refused_before_any_byte(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path, style: Style
) -> None:
    index.style = style
    index.listed_sha256[NAME] = "0" * 64
    with pytest.raises(NotListed, match="lists other bytes under the name thing-1"):
        fetch(index.config, file, tmp_path)
    assert index.requests == []


def test_a_later_index_has_what_the_first_lacks(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    config = IndexConfig(urls=(index.url.replace("/simple/", "/other"), index.url.rstrip("/")))
    path, _ = fetch(config, file, tmp_path)
    assert path.read_bytes() == CONTENT


def test_what_is_verified_is_not_fetched_again(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    fetch(index.config, file, tmp_path)
    _, reports = fetch(index.config, file, tmp_path)
    assert reports == [len(CONTENT)]
    assert len(index.requests) == 1


def test_a_part_is_completed_by_range(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    path, reports = fetch(index.config, file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert index.requests == [(NAME, "bytes=1000-")]
    assert reports[0] > 1000


def test_a_server_without_ranges_starts_over(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    index.knows_ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    path, _ = fetch(index.config, file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(index.requests) == 1


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * (len(CONTENT) + 5), b"x" * len(CONTENT)])
def test_a_damaged_part_is_replaced(index: SimpleIndex, file: PinnedFile, tmp_path: Path, left: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(left)
    path, _ = fetch(index.config, file, tmp_path)
    assert path.read_bytes() == CONTENT


def test_connections_that_die_are_taken_up_where_they_broke(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path
) -> None:
    index.deaths = [100, 5000, 0, 100_000]
    path, _ = fetch(index.config, file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert index.requests == [
        (NAME, None), (NAME, "bytes=100-"), (NAME, "bytes=5100-"), (NAME, "bytes=5100-"), (NAME, "bytes=105100-"),
    ]  # fmt: skip


def test_a_server_that_always_dies_ends_in_a_line_and_keeps_the_part(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path
) -> None:
    index.deaths = [100] + [0] * MAX_FRUITLESS_TRIES
    with pytest.raises(Unreachable, match=r"cannot fetch from 127\.0\.0\.1:\d+ \(.+\): check the network"):
        fetch(index.config, file, tmp_path)
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:100]
    assert not (tmp_path / NAME).exists()
    fetch(index.config, file, tmp_path)
    assert index.requests[-1] == (NAME, "bytes=100-")


def test_a_server_that_starts_over_and_dies_is_left_in_the_end(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path
) -> None:
    index.knows_ranges = False
    index.deaths = [600, 400] * 20
    with pytest.raises(Unreachable):
        fetch(index.config, file, tmp_path)
    assert len(index.requests) == 1 + MAX_FRUITLESS_TRIES


def test_an_answer_that_is_too_short_ends_in_a_line(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    index.files["thing"][NAME] = CONTENT[:1000]
    index.listed_sha256[NAME] = file.sha256
    with pytest.raises(Unreachable):
        fetch(index.config, file, tmp_path)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("served", "check"), [(CONTENT + b"more", "size"), (b"x" + CONTENT[1:], "SHA-256")], ids=["longer", "altered"]
)
def test_other_bytes_never_stay(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path, served: bytes, check: str
) -> None:
    index.files["thing"][NAME] = served
    index.listed_sha256[NAME] = file.sha256
    with pytest.raises(WrongDigest, match=rf"{check} differs"):
        fetch(index.config, file, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_heals_is_asked_again(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    index.statuses = [503, 429]
    path, _ = fetch(index.config, file, tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(index.requests) == 3


def test_a_refused_file_says_its_status(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    index.statuses = [403]
    with pytest.raises(DownloadRefused, match="answered 403 for thing-1"):
        fetch(index.config, file, tmp_path)
    assert len(index.requests) == 1


def test_an_unlisted_project_and_an_unlisted_file(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    for project, name in (("nothing", NAME), ("thing", "thing-2.0-py3-none-any.whl")):
        wanted = PinnedFile(project=project, name=name, sha256=file.sha256, size_bytes=1)
        with pytest.raises(NotListed, match=f"does not list {name}"):
            fetch(index.config, wanted, tmp_path)


def test_credentials_are_sent_and_never_shown(index: SimpleIndex, file: PinnedFile, tmp_path: Path) -> None:
    index.listing_status = 401
    config = IndexConfig(urls=(index.url.replace("://", "://someone:hush@"),))
    with pytest.raises(IndexRefused, match="answered 401") as refused:
        fetch(config, file, tmp_path)
    assert "hush" not in str(refused.value)
    assert index.authorizations[0] is not None


@pytest.mark.parametrize("address", ["file:///etc/passwd", "gopher://x/", "http://[/", "http://" + "x" * 300])
def test_a_listed_address_that_is_none_ends_in_a_line(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path, address: str
) -> None:
    index.page = json.dumps({"files": [{"filename": NAME, "url": address, "hashes": {}}]}).encode()
    with pytest.raises((Unreachable, NotListed)):
        fetch(index.config, file, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_index_address_that_is_none_ends_in_a_line(file: PinnedFile, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        fetch(IndexConfig(urls=("http://[",)), file, tmp_path)


def test_no_network_names_the_host(file: PinnedFile, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f"cannot fetch from {host}"):
            fetch(IndexConfig(urls=(f"http://{host}/simple",)), file, tmp_path)


@pytest.mark.parametrize(
    "page", [b"[1, 2", b"\xff", b'{"files": [{"filename": "x", "url": "http://[", "hashes": {}}]}']
)
def test_a_page_that_is_no_listing_lists_nothing(
    index: SimpleIndex, file: PinnedFile, tmp_path: Path, page: bytes
) -> None:
    index.page = page
    with pytest.raises(NotListed):
        fetch(index.config, file, tmp_path)


@pytest.fixture
def pip_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that has the last word on pip's configuration."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    path.write_text("[global]\n")
    return path


def test_the_index_of_a_bare_pip_is_pips_own(pip_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # pip then reads no file at all
    command = "from pip._internal.models.index import PyPI; print(PyPI.simple_url, end='')"
    own = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert index_config() == IndexConfig(urls=(own,))


def test_pips_file_is_read_and_its_environment_wins(pip_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_settings.write_text(
        "[global]\nindex-url = https://first.example/simple\n"
        "cert = /from/file.pem\nproxy = http://proxy.example:1\ntimeout = 7\n"
    )
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///somewhere/simple https://second.example/simple")
    monkeypatch.setenv("PIP_CERT", "/from/environment.pem")
    assert index_config() == IndexConfig(
        urls=("https://first.example/simple", "https://second.example/simple"),
        certificates="/from/environment.pem",
        proxy="http://proxy.example:1",
        timeout_s=7,
    )
    monkeypatch.setenv("PIP_INDEX_URL", "https://third.example/simple")
    assert index_config().urls[0] == "https://third.example/simple"


def test_a_setting_replaces_the_indexes_alone(pip_settings: Path) -> None:
    pip_settings.write_text("[global]\nextra-index-url = https://extra.example/simple\ntimeout = 9\n")
    config = index_config("https://mine.example/simple")
    assert config.urls == ("https://mine.example/simple",)
    assert config.timeout_s == 9


def test_a_pip_without_an_index_says_what_to_set(pip_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(NoIndex, match=r"models\.index_url"):
        index_config()


def test_where_pip_is_not_installed_its_environment_counts(
    pip_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(NoIndex):
        index_config()
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment.example/simple")
    assert index_config() == IndexConfig(urls=("https://environment.example/simple",))


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(UnreadableCertificates, match=r"/no/such\.pem"):
        PackageIndex(IndexConfig(urls=("https://index.example",), certificates="/no/such.pem"))
