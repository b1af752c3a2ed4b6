"""What handlers work with."""

from __future__ import annotations

from typing import Protocol

import msgspec

from completionist.api.attend import Drain
from completionist.api.decoder import Decoder
from completionist.api.hosts import Hosts
from completionist.api.keyring import Keyring
from completionist.api.ledger import Ledger
from completionist.api.limiter import Limiter
from completionist.chat.service import ChatService
from completionist.metrics import Metrics
from completionist.settings import FileSettings, ServerSettings
from completionist.store.base import CompletionStore
from completionist.store.files import Files
from completionist.store.usage import UsageBook
from completionist.tracing import Tracer


class Closable(Protocol):
    """What ends with the server."""

    async def close(self) -> None: ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """One per server; handlers get it beside their exchange."""

    chat: ChatService
    decoder: Decoder
    drain: Drain
    files: Files
    hosts: Hosts
    keyring: Keyring
    ledger: Ledger
    limiter: Limiter
    media: Closable
    metrics: Metrics
    moderator: Closable | None
    settings: ServerSettings
    file_settings: FileSettings
    store: CompletionStore
    tracer: Tracer | None
    """None: nobody keeps traces."""
    usage: UsageBook
