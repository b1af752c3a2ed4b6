"""What becomes of an answer once it is complete, before its client sees the end."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET

from completionist.chat.speech import is_spoken
from completionist.store.base import Attempt, CompletionStore, NewCompletion, Settled, Transcript
from completionist.types.caller import Caller
from completionist.types.completion import ChatCompletion
from completionist.types.request import ChatRequest


class Keeper:
    """Commits one answer: as a stored completion, as what settles its attempt, or as both at once."""

    def __init__(
        self,
        store: CompletionStore,
        request: ChatRequest,
        caller: Caller,
        request_id: str,
        attempt: Attempt | None,
        *,
        is_stored: bool,
    ) -> None:
        self._store = store
        self._request = request
        self._caller = caller
        self._request_id = request_id
        self._is_stored = is_stored
        self.attempt = attempt
        """The attempt that the answer settles, where its request carried an idempotency key."""

    async def check(self) -> None:
        """Raises `StorageUnavailable` where the answer could not be stored."""
        if self._is_stored or is_spoken(self._request):
            await self._store.check()

    async def keep(self, completion: ChatCompletion, sent: Callable[[], bytes]) -> None:
        """`sent`: what the client gets of it, as it would be given again. Raises `StorageUnavailable`."""
        if spoken := _transcripts(completion):
            await self._store.keep_transcripts(self._caller.project, spoken)
        settled = Settled(self.attempt, sent()) if self.attempt else None
        if self._is_stored:
            await self._store.add(self._new(completion), settled)
        elif settled is not None:
            await self._store.settle(settled)

    def _new(self, completion: ChatCompletion) -> NewCompletion:
        return NewCompletion(
            project=self._caller.project, request_id=self._request_id, request=self._request, completion=completion
        )


def _transcripts(completion: ChatCompletion) -> list[Transcript]:
    speeches = (choice.message.audio for choice in completion.choices)
    return [Transcript(it.id, it.transcript, it.expires_at) for it in speeches if it is not UNSET]
