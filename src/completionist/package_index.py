"""A client of the simple package index that pip is configured with: finds files by name, fetches them by digest.

Nothing of a package runs: a file is bytes with a known SHA-256. Which index that is, its certificates, proxy and patience
come from pip itself, so a machine whose pip works needs no setting of ours. Simple repository API: PEP 503, PEP 691.
"""

from __future__ import annotations

import html.parser
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx2
import msgspec

from completionist import __version__
from completionist.download import REQUEST_ERRORS, Unreachable, download, host_of
from completionist.errors import OperatorError
from completionist.pinned import PinnedFile

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

_NPM_REGISTRY = "https://registry.npmjs.org"

_ASK_PIP = """
import json
from pip._internal.commands import create_command
pip, _ = create_command("download").parse_args(["a-project"])
urls = [] if pip.no_index else [pip.index_url, *pip.extra_index_urls]
print(json.dumps({"urls": urls, "certificates": pip.cert, "proxy": pip.proxy or None, "timeout_s": pip.timeout}))
"""


REMEDY = "check the index that pip is configured with, or set models.index_url to another"


class NoIndex(OperatorError):
    def __init__(self) -> None:
        super().__init__(
            "no package index to fetch from: pip is not installed here or is configured without one; "
            "set models.index_url or PIP_INDEX_URL to a simple index"
        )


class NotListed(OperatorError):
    """`listed`: a file of that name is there, but its digest is another."""

    def __init__(self, file: PinnedFile, indexes: tuple[str, ...], *, listed: bool) -> None:
        what = "lists other bytes under the name" if listed else "does not list"
        super().__init__(
            f"{' / '.join(map(host_of, indexes))} {what} {file.name}: "
            "set models.index_url to an index that has it, or give the path of a file you have"
        )


class IndexRefused(OperatorError):
    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            f"{host_of(url)} answered {status}: check the address and credentials of the index that pip is configured with, "
            "or set models.index_url"
        )


class UnreadableCertificates(OperatorError):
    def __init__(self, path: str) -> None:
        super().__init__(f"pip's certificate file {path} cannot be read: correct pip's `cert` setting")


class IndexConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where packages come from. `urls`: simple indexes, http(s), asked in this order."""

    urls: tuple[str, ...]
    certificates: str | None = None
    """A PEM file or a directory of them; None: the system's."""
    proxy: str | None = None
    timeout_s: float = 15.0
    """Patience with a silent server."""


class _Link(msgspec.Struct, frozen=True):
    name: str
    url: str
    sha256: str | None


def index_config(override_url: str | None = None) -> IndexConfig:
    """What pip would use, read from pip in a process of its own; `override_url` replaces the indexes. Raises `NoIndex`."""
    config = _ask_pip() or _from_environment()
    urls = (override_url,) if override_url else config.urls
    usable = tuple(url for url in urls if url.startswith(("http://", "https://")))
    if not usable:
        raise NoIndex
    return msgspec.structs.replace(config, urls=usable)


def _ask_pip() -> IndexConfig | None:
    # -P: a file in the working directory must not pass for a module
    asked = subprocess.run([sys.executable, "-P", "-c", _ASK_PIP], capture_output=True, check=False)  # noqa: S603 - fixed command
    try:
        return msgspec.json.decode(asked.stdout, type=IndexConfig)
    except msgspec.DecodeError:  # not installed, or not a pip we know
        return None


def _from_environment() -> IndexConfig:
    """Environments without pip: its variables alone."""
    urls = (os.environ.get("PIP_INDEX_URL", ""), *os.environ.get("PIP_EXTRA_INDEX_URL", "").split())
    return IndexConfig(urls=urls, certificates=os.environ.get("PIP_CERT"), proxy=os.environ.get("PIP_PROXY"))


def npm_address(file: PinnedFile) -> str:
    """Of a tarball on the npm registry, or the one that npm is told to use."""
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or _NPM_REGISTRY
    return f"{registry.rstrip('/')}/{file.project}/-/{file.name}"


class PackageIndex:
    """One HTTP client over the configured indexes. A context manager; blocking, so not for the event loop."""

    def __init__(self, config: IndexConfig, *, retry_delay_s: float = 1.0) -> None:
        self._config = config
        self._retry_delay_s = retry_delay_s
        self._client = httpx2.Client(
            headers={"user-agent": f"completionist/{__version__}"},
            follow_redirects=True,
            proxy=config.proxy,
            timeout=config.timeout_s,
            verify=_tls_context(config.certificates),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self, file: PinnedFile, directory: Path, report: Callable[[int], None]) -> Path:
        """The verified file in `directory`, fetched unless it is there; goes on from a part. `report` gets bytes present.

        Raises the errors of `locate` and of `download`.
        """
        return self._fetched(lambda: self.locate(file), file, directory, report)

    def fetch_at(self, url: str, file: PinnedFile, directory: Path, report: Callable[[int], None]) -> Path:
        """Likewise, of a file that is not on a package index of Python."""
        return self._fetched(lambda: url, file, directory, report)

    def _fetched(
        self, locate: Callable[[], str], file: PinnedFile, directory: Path, report: Callable[[int], None]
    ) -> Path:
        path = directory / file.name
        if not path.is_file():
            download(self._client, locate(), file, path, report, remedy=REMEDY, retry_delay_s=self._retry_delay_s)
        report(file.size_bytes)
        return path

    def locate(self, file: PinnedFile) -> str:
        """Its address on the first index that lists it. Raises `NotListed`, `IndexRefused`, `Unreachable`."""
        links = [link for url in self._config.urls for link in self._links(url, file.project) if link.name == file.name]
        for link in links:
            if link.sha256 in (None, file.sha256):
                return link.url
        raise NotListed(file, self._config.urls, listed=bool(links))

    def _links(self, index: str, project: str) -> list[_Link]:
        url = f"{index.rstrip('/')}/{project}/"
        try:
            answer = self._client.get(url, headers={"accept": _ACCEPT})
        except REQUEST_ERRORS as error:
            raise Unreachable(host_of(url), str(error)) from None
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return []
        if answer.status_code != httpx2.codes.OK:
            raise IndexRefused(url, answer.status_code)
        read = _links_of_json if "json" in answer.headers.get("content-type", "") else _links_of_html
        try:
            return read(answer.text, str(answer.url))
        except (ValueError, msgspec.DecodeError):  # no listing, or addresses that are none
            return []


def _tls_context(certificates: str | None) -> ssl.SSLContext | bool:
    if certificates is None:
        return True
    is_directory = Path(certificates).is_dir()
    try:
        return ssl.create_default_context(
            cafile=None if is_directory else certificates, capath=certificates if is_directory else None
        )
    except OSError:
        raise UnreadableCertificates(certificates) from None


class _ListedHashes(msgspec.Struct):
    sha256: str | None = None


class _ListedFile(msgspec.Struct):
    filename: str
    url: str
    hashes: _ListedHashes


class _Listing(msgspec.Struct):
    files: list[_ListedFile]


def _links_of_json(text: str, base: str) -> list[_Link]:
    listing = msgspec.json.decode(text, type=_Listing)
    return [_Link(file.filename, urljoin(base, file.url), file.hashes.sha256) for file in listing.files]


def _links_of_html(text: str, base: str) -> list[_Link]:
    page = _LinkParser(base)
    page.feed(text)
    page.close()
    return page.links


class _LinkParser(html.parser.HTMLParser):
    """`<a href="….whl#sha256=…">name</a>`, relative to the page or to its `<base>`."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.links: list[_Link] = []
        self._base = base

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href is None:
            return
        if tag == "base":
            self._base = urljoin(self._base, href)
        elif tag == "a":
            url, fragment = urldefrag(urljoin(self._base, href))
            algorithm, _, digest = fragment.partition("=")
            name = urlsplit(url).path.rpartition("/")[2]
            self.links.append(_Link(name, url, digest if algorithm == "sha256" else None))
