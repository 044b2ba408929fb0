"""Only this machine may ask: the service has no authentication yet."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from wealthos_pipeline.api.models import Problem
from wealthos_pipeline.api.problems import respond

NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names under which the service answers: a page elsewhere that points its own name at this
machine (DNS rebinding) is refused."""


class LoopbackOnly:
    """ASGI middleware that refuses callers from elsewhere and names that are not this machine's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            fault = _fault(request)
            if fault is not None:
                problem = Problem(
                    type="urn:wealthos:problem:not-local",
                    title="Only for this machine",
                    status=403,
                    detail=fault,
                )
                await respond(request, problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _fault(request: Request) -> str | None:
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name not in NAMES:
        return f"the service answers to {', '.join(sorted(NAMES))}, not to {host!r}."
    if request.client is not None and not _loopback(request.client.host):
        return f"requests come from this machine only, not from {request.client.host}."
    return None


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
