"""GET over HTTP for vendors without a client library; what goes wrong speaks the vendor's words.

No message ever shows a key: the values of secret parameters are masked wherever they appear, also
where the vendor repeats them.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from wealthos_pipeline.core.errors import (
    AccessError,
    SourceError,
    TransientError,
    UnknownSymbolError,
)
from wealthos_pipeline.data.sources.fetching import retry_after

if TYPE_CHECKING:
    import httpx

AGENT = "wealthos-pipeline (research; daily)"
SECRET = ("apikey", "api_key", "key", "token", "access_token")
SHOWN = 200
"""Characters of a vendor's answer that a message quotes."""

Params = Mapping[str, str | int | float]


class Http:
    """One vendor's address. Thread-safe; connections are kept open.

    timeout: seconds for the whole answer, head and body.
    """

    def __init__(self, base_url: str, timeout: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.host = urlsplit(self.base_url).netloc or self.base_url
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def json(self, path: str, params: Params | None = None) -> object:
        """The answer as JSON. TransientError where it is cut off or no JSON at all."""
        text, kind = self._get(path, params or {})
        if _is_page(text, kind):
            raise TransientError(
                self._say(path, params, f"a web page came instead of JSON: {title(text)!r}")
            )
        try:
            found: object = json.loads(text)
        except ValueError as error:
            shown = text[:SHOWN] if text.strip() else "nothing"
            what = "the answer is cut off or no JSON" if text.strip() else "the answer is empty"
            raise TransientError(self._say(path, params, f"{what}: {shown!r}")) from error
        return found

    def text(self, path: str, params: Params | None = None) -> str:
        """The answer as text (CSV, XML). TransientError where a web page came instead."""
        text, kind = self._get(path, params or {})
        if _is_page(text, kind):
            raise TransientError(
                self._say(path, params, f"a web page came instead of data: {title(text)!r}")
            )
        return text

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _get(self, path: str, params: Params) -> tuple[str, str]:
        import httpx

        until = time.monotonic() + self.timeout
        url = self.base_url + "/" + path.lstrip("/") if path else self.base_url
        try:
            with self._open().stream("GET", url, params=dict(params)) as response:
                body = b""
                for part in response.iter_bytes():
                    body += part
                    if time.monotonic() > until:
                        raise httpx.ReadTimeout("the body took too long")
                text = body.decode(response.encoding or "utf-8", errors="replace")
        except httpx.TimeoutException as error:
            raise TransientError(
                self._say(path, params, f"no complete answer within {self.timeout:g} s")
            ) from error
        except httpx.ConnectError as error:
            raise TransientError(self._say(path, params, f"cannot be reached: {error}")) from error
        except httpx.RemoteProtocolError as error:
            raise TransientError(
                self._say(path, params, f"the answer broke off: {error}")
            ) from error
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            raise TransientError(self._say(path, params, words)) from error
        kind = response.headers.get("content-type", "")
        if response.is_success:
            return text, kind
        raise self._refusal(path, params, response.status_code, text, kind, response.headers)

    def _refusal(
        self,
        path: str,
        params: Params,
        status: int,
        text: str,
        kind: str,
        headers: Mapping[str, str],
    ) -> SourceError:
        words = title(text) if _is_page(text, kind) else vendor_words(text)
        message = self._say(path, params, f"HTTP {status}: {words}" if words else f"HTTP {status}")
        return refusal(status, words, message, retry_after(headers))

    def _say(self, path: str, params: Params | None, what: str) -> str:
        shown = "/".join(p for p in path.split("?")[0].split("/") if p)
        return masked(f"{self.host}/{shown}: {what}", params or {})

    def _open(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                _hush()
                self._client = httpx.Client(
                    timeout=self.timeout,
                    headers={"user-agent": AGENT},
                    follow_redirects=True,
                    trust_env=not loopback(self.base_url),
                )
            return self._client


class _Mask(logging.Filter):
    """httpx logs whole addresses, keys included; these leave without them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            plain = (int, float, str)
            record.args = tuple(
                a if isinstance(a, plain) else masked(str(a), {}) for a in record.args
            )
        return True


def _hush() -> None:
    logger = logging.getLogger("httpx")
    if not any(isinstance(f, _Mask) for f in logger.filters):
        logger.addFilter(_Mask())


def refusal(status: int, words: str, message: str, wait: float | None = None) -> SourceError:
    """The error that an HTTP status means; ``message`` is what it says, ``wait`` its Retry-After."""
    said = words.lower()
    if status in (408, 425, 429) or status >= 500:
        return TransientError(message, wait)
    if status in (401, 402, 403) or (status == 400 and re.search(r"api[_ -]?key|token", said)):
        return AccessError(message)
    if status == 404 or (status == 400 and "does not exist" in said):
        return UnknownSymbolError(message)
    return SourceError(message)


def loopback(url: str) -> bool:
    """Whether ``url`` is on this machine."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def masked(text: str, params: Params) -> str:
    """``text`` without the values of secret parameters, however they are written."""
    for name, value in params.items():
        if name.lower() in SECRET and str(value):
            for form in {str(value), quote(str(value))}:
                text = text.replace(form, "***")
    return re.sub(rf"(?i)\b({'|'.join(SECRET)})=[^&\s'\"]+", r"\1=***", text)


def vendor_words(text: str) -> str:
    """What a vendor says in an answer that is no success: a message in JSON, or its first words."""
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:SHOWN]
    return " ".join((_message(body) or text).split())[:SHOWN]


def _message(body: object) -> str | None:
    if isinstance(body, str):
        return body
    if isinstance(body, dict):
        for name in (
            "error_message", "Error Message", "message", "description", "error", "detail",
            "Information", "Note", "errors", "finance", "chart", "quoteSummary",
        ):  # fmt: skip
            found = _message(body[name]) if body.get(name) else None
            if found:
                return found
    return None


def title(text: str) -> str:
    """The title of a web page, or its first words."""
    found = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    words = found.group(1) if found else re.sub(r"(?s)<[^>]*>", " ", text)
    return " ".join(words.split())[:SHOWN]


def _is_page(text: str, kind: str) -> bool:
    head = text.lstrip()[:200].lower()
    return "text/html" in kind.lower() or head.startswith(("<!doctype html", "<html"))
