"""One file of known size and SHA-256 over HTTP, into its final name only when both are right.

<name>.part   what has arrived, in order; the next run asks for the rest by range
<name>        verified
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from completionist.cache import writing
from completionist.errors import OperatorError
from completionist.pinned import PinnedFile

MAX_FRUITLESS_TRIES = 5
REQUEST_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError)  # the last: host names that no resolver takes
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")
_RANGE_BEYOND_END = 416
_HEALING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unreachable(OperatorError):
    """`fault`: what happened, without what to do about it."""

    def __init__(self, host: str, reason: str) -> None:
        self.fault = f"cannot fetch from {host} ({reason or 'connection lost'})"
        super().__init__(f"{self.fault}: check the network or proxy and run the command again; what arrived is kept")


class DownloadRefused(OperatorError):
    """`remedy`: what to check, or to use instead."""

    def __init__(self, host: str, name: str, status: int, remedy: str) -> None:
        super().__init__(f"{host} answered {status} for {name}: {remedy}")


class WrongDigest(OperatorError):
    """Not the bytes that were pinned; they are gone again."""

    def __init__(self, name: str, check: str, remedy: str) -> None:
        super().__init__(
            f"{name} is not the published file ({check} differs) and was removed: run the command again; "
            f"if it stays so, it comes altered from there: {remedy}"
        )


def host_of(url: str) -> str:
    """For messages: addresses of indexes may carry credentials."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


class _Interrupted(Exception):
    """The transfer broke off in a way that time may heal."""


def download(
    client: httpx2.Client,
    url: str,
    file: PinnedFile,
    path: Path,
    report: Callable[[int], None],
    *,
    remedy: str,
    retry_delay_s: float,
) -> None:
    """Fetch `url` into `path`, going on from what arrived earlier. `report` gets the bytes present; `remedy` is what to do
    where the server refuses the file or has another one.

    Gives up after `MAX_FRUITLESS_TRIES` tries in a row that brought nothing, waiting `retry_delay_s`, twice that, … between.
    Raises `Unreachable`, `DownloadRefused`, `WrongDigest`, `DiskFull`, `NotWritable`.
    """
    with writing(path.parent):
        _Download(client, url, file, path=path, report=report, remedy=remedy, retry_delay_s=retry_delay_s).run()


def promote(part: Path, path: Path) -> None:
    """Give a verified file its final name, once its bytes are on the disk."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Download:
    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        file: PinnedFile,
        *,
        path: Path,
        report: Callable[[int], None],
        remedy: str,
        retry_delay_s: float,
    ) -> None:
        self._client = client
        self._url = url
        self._file = file
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._report = report
        self._remedy = remedy
        self._retry_delay_s = retry_delay_s

    def run(self) -> None:
        resumed = self._have() > 0
        self._complete()
        if resumed and not self._is_right():  # what lay there may have been damaged: once more from the start
            self._part.unlink()
            self._complete()
        if not self._is_right():
            self._part.unlink()
            raise WrongDigest(self._file.name, "SHA-256", self._remedy)
        promote(self._part, self._path)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _is_right(self) -> bool:
        return sha256_of(self._part) == self._file.sha256

    def _complete(self) -> None:
        """Until the part has its size. Only new bytes are progress: a server that starts over cannot go on for ever."""
        furthest, n_fruitless, reason = self._have(), 0, ""
        while self._have() != self._file.size_bytes:
            if n_fruitless == MAX_FRUITLESS_TRIES:
                raise Unreachable(host_of(self._url), reason)
            if n_fruitless:
                time.sleep(self._retry_delay_s * 2 ** (n_fruitless - 1))
            try:
                self._append()
                reason = "the answer ends early"
            except (*REQUEST_ERRORS, _Interrupted) as error:
                reason = str(error)
            n_fruitless = 0 if self._have() > furthest else n_fruitless + 1
            furthest = max(furthest, self._have())

    def _append(self) -> None:
        """One request for the bytes that are missing."""
        have = self._have()
        # identity: a length counted in compressed bytes would resume at the wrong place
        headers = {"accept-encoding": "identity", **({"range": f"bytes={have}-"} if have else {})}
        with self._client.stream("GET", self._url, headers=headers) as answer:
            have = self._start(answer, have)
            with self._part.open("ab") as output:
                for data in answer.iter_raw():
                    have += len(data)
                    if have > self._file.size_bytes:
                        break
                    output.write(data)
                    self._report(have)
        if have > self._file.size_bytes:
            self._part.unlink()
            raise WrongDigest(self._file.name, "size", self._remedy)

    def _start(self, answer: httpx2.Response, have: int) -> int:
        """Where in the file this answer begins, with the part cut to it."""
        status = answer.status_code
        if status == httpx2.codes.PARTIAL_CONTENT and have:
            begins = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
            if begins and int(begins[1]) == have:
                return have
            self._part.unlink()
            raise _Interrupted("another range came than was asked for")
        if status == httpx2.codes.OK:  # the first request, or a server that knows no ranges
            self._part.unlink(missing_ok=True)
            return 0
        if status == _RANGE_BEYOND_END:
            self._part.unlink(missing_ok=True)
            raise _Interrupted("the server has fewer bytes than arrived earlier")
        if status in _HEALING:
            raise _Interrupted(f"status {status}")
        raise DownloadRefused(host_of(self._url), self._file.name, status, self._remedy)
