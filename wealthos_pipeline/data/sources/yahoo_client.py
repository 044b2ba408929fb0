"""Yahoo's addresses through yfinance: its session, cookies, crumb and consent; our errors.

yfinance is one client for a whole process: ``YfData`` is a singleton, its hosts are constants that
many of its modules copied, and cookies and time zones live in SQLite files of the user's folder. None
of that is touched here. A client is an own instance of a subclass of ``YfData`` over an own session:

- the session (:func:`_session`) is the one place through which every request passes, also those whose
  host yfinance has written into the code. It sends them to ``fetch.base_url`` when that is set, gives
  each the time limit of the settings, and hands back at once what a second try with another cookie
  cannot cure: yfinance makes one after any refusal, which is right for 401, 403 and a bare 429,
  and costs four requests for nothing when a symbol is unknown, the server is in trouble or 429
  names its ``Retry-After``.
- cookies stay in memory (:func:`_data`): a home folder that cannot be written is no hindrance, and
  two processes do not share a file.

yfinance's own log has a handler that says nothing; what failed is said by the errors.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from wealthos_pipeline.core.errors import (
    AccessError,
    SourceError,
    TransientError,
    UnknownSymbolError,
)
from wealthos_pipeline.data.sources.fetching import retry_after

QUERY = "https://query2.finance.yahoo.com"
CURABLE = (401, 403, 429)
"""Refusals after which yfinance's second try with another cookie may succeed."""
SHOWN = 200
"""Characters of an answer that a message quotes."""

_UNKNOWN = ("no data found", "may be delisted", "not found", "quote not found")
_NOTHING = ("data doesn't exist", "no fundamentals data", "no timeseries")


class NothingThereError(SourceError):
    """Yahoo knows the symbol, or does not say otherwise, and has nothing of what was asked for."""


class _RefusedError(Exception):
    """Carries an answer past yfinance's second try. No OSError: yfinance would take it for silence."""

    def __init__(self, response: Any) -> None:
        super().__init__(response.status_code)
        self.response = response


class YahooClient:
    """Asks Yahoo and reads JSON. Thread-safe; one cookie and crumb for all threads.

    base_url: another address for all of Yahoo's hosts. timeout: seconds of one request.
    """

    def __init__(self, base_url: str | None = None, timeout: float = 30.0) -> None:
        self.base_url = None if base_url is None else base_url.rstrip("/")
        self.timeout = timeout
        self._lock = threading.Lock()
        self._data: Any = None

    def json(self, path: str, symbol: str, params: Mapping[str, str | int]) -> dict[str, Any]:
        """The answer to ``path`` with ``{symbol}`` filled in.

        Raises what :func:`_error` says, and TransientError where no whole answer came.
        """
        url = QUERY + path.format(symbol=quote(symbol, safe="=^.-"))
        url += f"?{urlencode(dict(params), safe=',')}"
        response = self._get(url, symbol)
        if response.status_code >= 400:
            raise _error(response, symbol)
        try:
            body = json.loads(response.content)
        except ValueError:
            raise TransientError(f"{symbol}: {_unreadable(response)}") from None
        if not isinstance(body, dict):
            raise TransientError(f"{symbol}: {_unreadable(response)}")
        return body

    def close(self) -> None:
        """Let go of the connections and the cookie; the next question makes new ones."""
        with self._lock:
            data, self._data = self._data, None
        if data is not None:
            data._session.close()

    def _get(self, url: str, symbol: str) -> Any:
        data = self._client()
        from curl_cffi.requests.exceptions import RequestException
        from yfinance.exceptions import YFException, YFRateLimitError

        try:
            return data.get(url, timeout=self.timeout)
        except _RefusedError as refused:
            return refused.response
        except YFRateLimitError as error:
            raise TransientError(f"{symbol}: Yahoo: {error} (HTTP 429)") from error
        except RequestException as error:
            raise TransientError(f"{symbol}: Yahoo: {_silence(error, self.timeout)}") from error
        except (YFException, OSError) as error:
            raise TransientError(f"{symbol}: Yahoo: {_one_line(str(error))}") from error

    def _client(self) -> Any:
        with self._lock:
            if self._data is None:
                self._data = _data(_session(self.base_url, self.timeout))
            return self._data


def _session(base_url: str | None, timeout: float) -> Any:
    """A session of curl_cffi, as yfinance makes it, that knows where to go and when to come back."""
    from curl_cffi import requests

    class Session(requests.Session):  # type: ignore[misc]
        def request(self, method: str, url: str, **options: Any) -> Any:
            place = urlsplit(url)
            if base_url is not None:
                url = f"{base_url}{place.path or '/'}" + (f"?{place.query}" if place.query else "")
            options["timeout"] = timeout
            response = super().request(method, url, **options)
            ours = f"{place.scheme}://{place.netloc}" == QUERY and "getcrumb" not in place.path
            if ours and response.status_code >= 400:
                curable = response.status_code in CURABLE
                if not curable or retry_after(response.headers) is not None:
                    raise _RefusedError(response)
            return response

    return Session(impersonate="chrome")


def _data(session: Any) -> Any:
    """yfinance's ``YfData`` over ``session``, not the one that the process shares."""
    from yfinance.data import YfData

    logging.getLogger("yfinance").addHandler(logging.NullHandler())

    class Data(YfData):  # type: ignore[misc]
        def _load_cookie_curlCffi(self) -> bool:  # noqa: N802
            return False

        def _save_cookie_curlCffi(self) -> bool:  # noqa: N802
            self._cookie = True  # it is in the session's jar
            return True

    made: Any = object.__new__(Data)  # calling the class would give every vendor the same one
    made.__init__(session)
    return made


def _error(response: Any, symbol: str) -> SourceError:
    """What a refusal means. 401 and 403: AccessError. 429 and 5xx: TransientError. Words that say that
    there is no such symbol: UnknownSymbolError; that there is nothing in this range or of this kind:
    NothingThereError."""
    status, words = response.status_code, _words(response)
    said = f"{symbol}: Yahoo: {words} (HTTP {status})"
    if status == 429 or status >= 500:
        return TransientError(said, retry_after(response.headers))
    if status in (401, 403):
        return AccessError(
            f"{said}. Yahoo refuses this address or its cookie; wait, or ask from another network."
        )
    lower = words.lower()
    if any(w in lower for w in _NOTHING):
        return NothingThereError(said)
    if status == 404 or any(w in lower for w in _UNKNOWN):
        return UnknownSymbolError(
            f"{said}. See finance.yahoo.com for the symbol as Yahoo writes it."
        )
    return SourceError(said)


def _words(response: Any) -> str:
    """Yahoo's own description of what is wrong."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return _page(response)
    for part in body.values() if isinstance(body, dict) else ():
        error = part.get("error") if isinstance(part, dict) else None
        if isinstance(error, dict) and (found := error.get("description") or error.get("code")):
            return _one_line(str(found))
    return _page(response)


def _page(response: Any) -> str:
    text = response.text
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    return _one_line(title.group(1) if title else text) or "no words"


def _unreadable(response: Any) -> str:
    text = response.text.lstrip()
    if text.startswith("<"):
        return f"Yahoo sent a web page instead of data: {_page(response)!r}"
    if not text:
        return "Yahoo sent an empty answer"
    return f"Yahoo's answer is cut off or no JSON: it ends with {_one_line(text[-40:])!r}"


def _silence(error: Exception, timeout: float) -> str:
    """curl's words without its number and its address of a manual page."""
    words = _one_line(str(error)).split(" See https://")[0]
    words = re.sub(r"^Failed to perform, curl: \(\d+\) ", "", words)
    return f"{words} (timeout {timeout:g} s)" if "timed out" in words.lower() else words


def _one_line(text: str) -> str:
    return " ".join(text.split())[:SHOWN]
