"""Whose pages may speak to us: a browser must not carry requests of other sites to a server on this machine.

Checked at a loopback server, where a page could otherwise reach it by its own name (DNS rebinding), and elsewhere once
the operator has listed names. Ports do not matter. There are no CORS headers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from completionist.errors import ForeignOrigin
from completionist.settings import ServerSettings


class Hosts:
    """The names that `Host` and `Origin` may carry."""

    def __init__(self, settings: ServerSettings) -> None:
        self._allowed = frozenset(name.lower() for name in settings.allowed_hosts)
        self._is_open = not is_loopback(settings.host) and not self._allowed

    def check(self, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """`hosts` and `origins` are the values of these headers, as many as came. Raises `ForeignOrigin`."""
        if self._is_open:
            return
        if len(hosts) != 1 or not self._is_ours(f"//{hosts[0]}") or not all(map(self._is_ours, origins)):
            raise ForeignOrigin

    def _is_ours(self, url: str) -> bool:
        try:
            name = urlsplit(url).hostname
        except ValueError:
            return False
        return name is not None and (is_loopback(name) or name in self._allowed)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may begin with 127. and still be anybody's
        return False
