"""A client of the model hub: what a repository holds, the beginning of a file, and a file by its SHA-256.

The hub's own library is not used, see docs/decisions.md: what it fetches gets its final name unverified, and does not resume.

    GET /api/models/{repo}/revision/{revision}?blobs=true      commit, files with sizes and digests, licence
    GET /{repo}/resolve/{commit}/{path}                        the bytes, often by way of another host

API: https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx2
import msgspec

from completionist import __version__
from completionist.download import REQUEST_ERRORS, Unreachable, download, host_of
from completionist.errors import OperatorError
from completionist.models.places import HubPlace
from completionist.models.quantisations import RemoteFile
from completionist.models.references import HubReference, is_safe_path
from completionist.pinned import PinnedFile

_CONNECT_TIMEOUT_S = 5.0
_MAX_LISTING_BYTES = 1 << 25
_REMEDY = "look at the repository, or take another one"
_GATED = "GatedRepo"


class HubOffline(OperatorError):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it: unset it, or give a path"
        )


class NoRepository(OperatorError):
    def __init__(self, reference: HubReference, host: str, *, has_token: bool) -> None:
        who = "this token may not see it" if has_token else "it is private: set HF_TOKEN"
        super().__init__(f"{host} has no repository {reference.repository} at {reference.revision} (or {who})")


class Gated(OperatorError):
    """Its terms have to be accepted first."""

    def __init__(self, repository: str, endpoint: str, *, has_token: bool) -> None:
        then = "with the account of this token" if has_token else "and set HF_TOKEN"
        super().__init__(
            f"{repository} is gated: accept its terms at {endpoint}/{repository} {then}, then run the command again"
        )


class TokenRefused(OperatorError):
    def __init__(self, host: str) -> None:
        super().__init__(f"{host} does not take this token: correct HF_TOKEN, or run without it")


class HubRefused(OperatorError):
    def __init__(self, host: str, what: str, status: int) -> None:
        super().__init__(f"{host} answered {status} for {what}: try again later, or set HF_ENDPOINT to another hub")


class UnsafeListing(OperatorError):
    """A file would leave its directory."""

    def __init__(self, repository: str, path: str) -> None:
        super().__init__(f"{repository} lists a file whose name leads out of it ({path!r}): do not use this repository")


class BadListing(OperatorError):
    def __init__(self, host: str) -> None:
        super().__init__(f"{host} does not answer as a model hub does: correct HF_ENDPOINT")


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository holds at one commit."""

    name: str
    """`org/repo`."""
    commit: str
    licence: str | None
    """As the repository states it, an SPDX identifier in most cases."""
    files: tuple[RemoteFile, ...]
    """Those with a digest, which all large ones have."""


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    rfilename: str
    lfs: _Lfs | None = None


class _Card(msgspec.Struct):
    license: str | list[str] | None = None


class _Info(msgspec.Struct, rename={"card": "cardData"}):
    sha: str
    siblings: list[_Sibling]
    card: _Card | None = None


class Hub:
    """One HTTP client of the hub at `place`. A context manager; blocking, so not for the event loop."""

    def __init__(self, place: HubPlace, *, retry_delay_s: float = 1.0) -> None:
        self._place = place
        self._host = host_of(place.endpoint)
        self._retry_delay_s = retry_delay_s
        # The client takes the token away again where it is sent on to another host.
        token = {"authorization": f"Bearer {place.token}"} if place.token else {}
        self._client = httpx2.Client(
            headers={"user-agent": f"completionist/{__version__}", **token},
            follow_redirects=True,
            timeout=httpx2.Timeout(place.timeout_s, connect=_CONNECT_TIMEOUT_S),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def repository(self, reference: HubReference) -> Repository:
        """Raises `NoRepository`, `Gated`, `TokenRefused`, `HubRefused`, `UnsafeListing`, `BadListing`, `Unreachable`."""
        path = f"/api/models/{reference.repository}/revision/{quote(reference.revision, safe='')}?blobs=true"
        body = self._get(path, {}, reference, _MAX_LISTING_BYTES)
        try:
            info = msgspec.json.decode(body, type=_Info)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadListing(self._host) from None
        return self._read(reference.repository, info)

    def _read(self, name: str, info: _Info) -> Repository:
        if unsafe := next((one.rfilename for one in info.siblings if not is_safe_path(one.rfilename)), None):
            raise UnsafeListing(name, unsafe)
        if not is_safe_path(info.sha) or "/" in info.sha:
            raise BadListing(self._host)
        licence = info.card.license if info.card else None
        return Repository(
            name=name,
            commit=info.sha,
            licence=", ".join(licence) if isinstance(licence, list) else licence,
            files=tuple(
                RemoteFile(path=one.rfilename, size_bytes=one.lfs.size, sha256=one.lfs.sha256.lower())
                for one in info.siblings
                if one.lfs
            ),
        )

    def beginning(self, reference: HubReference, commit: str, file: str, n_bytes: int) -> bytes:
        """The first `n_bytes` of a file, fewer where it is shorter. Raises what `repository` does: also whether the file may
        be fetched shows here."""
        return self._get(self._path(reference.repository, commit, file), _range(n_bytes), reference, n_bytes)

    def fetch(self, repository: str, commit: str, file: RemoteFile, path: Path, report: Callable[[int], None]) -> None:
        """A file into `path`, verified; goes on from a part. `report` gets bytes present. Raises the errors of `download`."""
        pinned = PinnedFile(project=repository, name=file.path, sha256=file.sha256, size_bytes=file.size_bytes)
        url = self._place.endpoint + self._path(repository, commit, file.path)
        download(self._client, url, pinned, path, report, remedy=_REMEDY, retry_delay_s=self._retry_delay_s)

    def _path(self, repository: str, commit: str, file: str) -> str:
        return f"/{repository}/resolve/{quote(commit, safe='')}/{quote(file)}"

    def _get(self, path: str, headers: dict[str, str], reference: HubReference, max_bytes: int) -> bytes:
        """At most `max_bytes` of the answer, however long it is."""
        try:
            with self._client.stream("GET", self._place.endpoint + path, headers=headers) as answer:
                self._check(answer, reference)
                body = bytearray()
                for data in answer.iter_bytes():
                    body += data
                    if len(body) >= max_bytes:
                        break
                return bytes(body[:max_bytes])
        except REQUEST_ERRORS as error:
            raise Unreachable(self._host, str(error)) from None

    def _check(self, answer: httpx2.Response, reference: HubReference) -> None:
        status, code = answer.status_code, answer.headers.get("x-error-code")
        if status in (httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT):
            return
        has_token = self._place.token is not None
        if code == _GATED or (status == httpx2.codes.FORBIDDEN and code is None):
            raise Gated(reference.repository, self._place.endpoint, has_token=has_token)
        if status == httpx2.codes.UNAUTHORIZED and has_token and code is None:
            raise TokenRefused(self._host)
        if status in (
            httpx2.codes.UNAUTHORIZED,
            httpx2.codes.NOT_FOUND,
        ):  # the hub does not tell strangers what is private
            raise NoRepository(reference, self._host, has_token=has_token)
        raise HubRefused(self._host, reference.text, status)


def _range(n_bytes: int) -> dict[str, str]:
    return {"range": f"bytes=0-{n_bytes - 1}", "accept-encoding": "identity"}
