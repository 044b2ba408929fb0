"""A caller of an ASGI application, without a socket: httpx over the application itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import FastAPI


class Client:
    """Sends one request at a time as ``caller`` (address) to ``base`` (scheme, host, port)."""

    def __init__(
        self, app: FastAPI, base: str = "http://127.0.0.1:8000", caller: str = "127.0.0.1"
    ) -> None:
        self.app = app
        self.base = base
        self.caller = caller

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return self._send("GET", path, params, headers)

    def post(self, path: str) -> httpx.Response:
        return self._send("POST", path, None, None)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(
                app=self.app, client=(self.caller, 50000), raise_app_exceptions=False
            )
            async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, params=params, headers=headers)

        return asyncio.run(send())
