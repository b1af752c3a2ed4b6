"""The pipeline that every request passes, in the order of the contract's section 0.

request id → Host, Origin → path, method → key → header forms → handler → access log
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from completionist.api import problems
from completionist.api.attend import ClientGone
from completionist.api.auth import authenticate
from completionist.api.exchange import Exchange, Outcome
from completionist.api.limits import client_request_id
from completionist.api.routes import ROUTES, Route, Table
from completionist.api.services import Services
from completionist.api.traced import traced
from completionist.errors import APIError, ShuttingDown


class Application:
    """The ASGI application; one per server."""

    def __init__(self, services: Services, routes: Sequence[Route] = ROUTES) -> None:
        self._services = services
        self._table = Table(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            await self._handle(exchange)
        except ClientGone:
            exchange.outcome = "cancelled"
            self._services.metrics.cancelled.inc()
        except Exception as exception:  # noqa: BLE001 (every exception becomes an answer)
            await self._fail(exchange, problems.to_api_error(exception, exchange.request_id))
        finally:
            self._services.metrics.requests.labels(exchange.status or "none").inc()
            if self._services.tracer is not None and exchange.meter is not None:
                exchange.trace_id = self._services.tracer.record(traced(exchange))
            exchange.log()

    async def _handle(self, exchange: Exchange) -> None:
        services, headers = self._services, exchange.headers
        services.hosts.check(headers.getlist("host"), headers.getlist("origin"))
        route, exchange.params = self._table.find(exchange.method, exchange.path)
        exchange.route = route.path
        if route.scope != "public":
            exchange.caller = authenticate(headers, exchange.client_host, route.scope, services.keyring)
            exchange.is_authenticated = True
        exchange.client_request_id = client_request_id(headers)
        if services.drain.is_draining and route.scope != "public":
            raise ShuttingDown
        await route.handler(exchange, services)

    async def _fail(self, exchange: Exchange, error: APIError) -> None:
        exchange.error_code = error.error_code
        exchange.outcome = _outcome(error, has_begun=exchange.status is not None)
        if exchange.outcome == "failed":
            self._services.metrics.failed.inc()
        else:
            self._services.metrics.refused.labels(error.error_code or error.status).inc()
        if exchange.events is not None:
            await exchange.events.fail(problems.body(error))
        elif exchange.status is None:
            await exchange.respond(error.status, problems.body(error), problems.headers(error))


def _outcome(error: APIError, *, has_begun: bool) -> Outcome:
    return "failed" if has_begun or error.status == 500 else "refused"
