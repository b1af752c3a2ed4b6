"""One model's life: absent, being loaded, loaded, being let go, absent again.

A model that somebody uses is never let go of. Who comes while it is being let go of waits, and has it loaded anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from completionist import ids
from completionist.errors import APIError, ModelLoadFailed, ModelNotFound, OperatorError
from completionist.log import emit, emit_exception
from completionist.registry.model import Model, Running

_log = logging.getLogger(__name__)

_FIRST_COOL_DOWN_S = 5.0
_LONGEST_COOL_DOWN_S = 120.0

Reason = Literal["idle", "memory", "asked", "replaced"]
"""Why a model is let go of; `replaced`: its file is another one now, or none."""
State = Literal["absent", "loading", "loaded", "leaving"]


class Slot:
    """The place of one model. All on the event loop; nothing here blocks."""

    def __init__(
        self, model: Model, load: Callable[[Model], Awaitable[Running]], unloaded: Callable[[Model, Reason], None]
    ) -> None:
        """`unloaded` is told when the model has been let go of."""
        self.model = model
        self.is_gone = False
        """There is no such model any more."""
        self.running: Running | None = None
        self.loaded_at_s = 0
        """Unix seconds."""
        self.used_s = -math.inf
        """When it was last used, on the loop's clock."""
        self.n_users = 0
        """Requests that are answered by it or wait for it."""
        self._load = load
        self._unloaded = unloaded
        self._loading: asyncio.Task[APIError | None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: APIError | None = None
        self._refused_until_s = -math.inf
        self._cool_down_s = 0.0

    @property
    def state(self) -> State:
        if self._leaving is not None:
            return "leaving"
        if self._loading is not None:
            return "loading"
        return "absent" if self.running is None else "loaded"

    @property
    def can_go(self) -> bool:
        return self.state == "loaded" and not self.n_users

    @property
    def goes_at_s(self) -> float | None:
        """When it will be let go of if nobody comes, on the loop's clock; None: nothing is planned."""
        return self._timer.when() if self._timer else None

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Running]:
        """The model, loaded for it if need be, and kept meanwhile. Raises the `APIError` of why it cannot be had."""
        while self._leaving is not None:
            await asyncio.shield(self._leaving)
        if self.is_gone:
            raise ModelNotFound(self.model.name)
        self.n_users += 1
        self._is_idle.clear()
        self._forget_timer()
        try:
            yield await self._ready()
        finally:
            self.n_users -= 1
            self.used_s = asyncio.get_running_loop().time()
            self._rest()

    async def start(self) -> None:
        """Load it. Raises what loading raises, and it is not held against the next try."""
        self.running = await self._load(self.model)
        self.loaded_at_s = ids.now_s()
        self.used_s = asyncio.get_running_loop().time()
        self._refusal = None
        self._cool_down_s = 0.0
        self._rest()

    async def let_go(self, reason: Reason) -> None:
        """Unload it as soon as nobody uses it, and wait for that. Who leaves before does not stop it."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(reason))
        await asyncio.shield(self._leaving)

    def begin_to_go(self, reason: Reason) -> None:
        """Likewise, without waiting."""
        if self._leaving is None and self.state != "absent":
            self._leaving = asyncio.create_task(self._leave(reason))

    def replace(self, model: Model) -> None:
        """The name stands for this model from now on."""
        is_another = model.version != self.model.version
        self.model, self.is_gone = model, False
        if is_another:
            self._refusal = None
            self._cool_down_s = 0.0
            self.begin_to_go("replaced")

    def remove(self) -> None:
        """The name stands for nothing any more."""
        self.is_gone = True
        self.begin_to_go("replaced")

    async def close(self) -> None:
        """At the end of the server, when nobody is answered any more."""
        self._forget_timer()
        tasks = [task for task in (self._loading, self._leaving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.running is not None:
            await self.running.close()
            self.running = None

    async def _ready(self) -> Running:
        if self.running is None:
            self._check_refusal()
            if self._loading is None:
                self._loading = asyncio.create_task(self._try())
            if (refusal := await asyncio.shield(self._loading)) is not None:
                raise refusal.with_traceback(None)
        if self.running is None:
            raise ModelLoadFailed(self.model.name, "the server is ending")
        return self.running

    async def _try(self) -> APIError | None:
        """Load it; all who wait for it get the same refusal."""
        try:
            await self.start()
        except APIError as error:
            return error  # of the moment: the next one may try at once
        except (OperatorError, OSError) as error:
            emit(_log, logging.ERROR, "a model could not be loaded", model=self.model.name, reason=str(error))
            return self._refused(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            emit_exception(_log, "error", error, model=self.model.name)
            return self._refused("an error of the server")
        finally:
            self._loading = None
        return None

    def _refused(self, reason: str) -> APIError:
        self._cool_down_s = min(_LONGEST_COOL_DOWN_S, max(_FIRST_COOL_DOWN_S, 2 * self._cool_down_s))
        self._refused_until_s = asyncio.get_running_loop().time() + self._cool_down_s
        shown = reason.replace(f"{self.model.directory}/", "") if self.model.directory else reason
        self._refusal = ModelLoadFailed(self.model.name, shown, retry_after_s=self._cool_down_s)
        return self._refusal

    def _check_refusal(self) -> None:
        left_s = self._refused_until_s - asyncio.get_running_loop().time()
        if isinstance(self._refusal, ModelLoadFailed) and left_s > 0:
            raise ModelLoadFailed(self.model.name, self._refusal.reason, retry_after_s=left_s)

    def _rest(self) -> None:
        """Nobody uses it now: its time runs."""
        if self.n_users:
            return
        self._is_idle.set()
        if self.running is not None and self.model.keep_alive_s < math.inf and self._leaving is None:
            self._forget_timer()
            self._timer = asyncio.get_running_loop().call_later(self.model.keep_alive_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self.can_go:
            self.begin_to_go("idle")

    async def _leave(self, reason: Reason) -> None:
        try:
            self._forget_timer()
            if self._loading is not None:
                await asyncio.wait({self._loading})
            await self._is_idle.wait()
            running, self.running = self.running, None
            if running is not None:
                await running.close()
                self._unloaded(self.model, reason)
        finally:
            self._leaving = None

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
