"""The real ``finnhub.Client``, made safe: another address if wanted, no key in any address or message,
refusals in Finnhub's words.

The client of the package puts the key into the query string, where logs, proxies and exceptions
repeat it. Finnhub takes it as a header just as well, so that is where it goes here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import AccessError, SourceError, TransientError
from wealthos_pipeline.data.sources import http
from wealthos_pipeline.data.sources.fetching import retry_after

if TYPE_CHECKING:
    import finnhub

SHOWN = 60
"""Characters of an unreadable answer that a message quotes."""
NEXT = "see the plans on finnhub.io, or leave it out with source.gives"


class FinnhubDoor:
    """Opens one ``finnhub.Client`` and asks it. Thread-safe; close it when done.

    key: never shown. base_url: instead of Finnhub's own address. timeout: seconds of one request.
    """

    def __init__(self, key: str, base_url: str | None, timeout: float) -> None:
        self._key = key
        self._base_url = base_url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: finnhub.Client | None = None

    def ask(self, what: str, call: Callable[[finnhub.Client], Any]) -> Any:
        """What ``call`` gets from the client; ``what`` names it in messages.

        TransientError: 429, 5xx, no answer, an answer that is cut off or no JSON. AccessError: 401
        and 403. UnknownSymbolError: 404. SourceError: any other refusal.
        """
        import finnhub
        import requests

        # the vendor's exceptions carry the whole request: they are not chained
        failed: SourceError
        try:
            return call(self._open())
        except finnhub.FinnhubAPIException as error:
            failed = self._refused(what, error.response, error.message)
        except TypeError:  # the package expects an object in a refusal
            failed = TransientError(self._say(what, "refused, without words"))
        except finnhub.FinnhubRequestException as error:
            failed = TransientError(self._say(what, _unreadable(error.message)))
        except requests.Timeout:
            failed = TransientError(
                self._say(what, f"no complete answer within {self._timeout:g} s")
            )
        except requests.TooManyRedirects:
            failed = SourceError(self._say(what, "Finnhub sends the request to another address"))
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            failed = TransientError(self._say(what, "the answer broke off"))
        except requests.ConnectionError as error:
            failed = TransientError(self._say(what, self._lost(str(error))))
        except (
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL,
        ):
            words = f"{self._base_url!r} is no address; check fetch.base_url"
            failed = SourceError(self._say(what, words))
        except requests.RequestException as error:
            failed = TransientError(self._say(what, type(error).__name__))
        raise failed

    def close(self) -> None:
        """Close the client's connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> finnhub.Client:
        import finnhub

        with self._lock:
            if self._client is None:
                client = finnhub.Client(api_key=None)
                session = client._session
                session.params.pop("token", None)
                session.headers["X-Finnhub-Token"] = self._key
                session.max_redirects = 0  # the key goes to nobody else
                client.DEFAULT_TIMEOUT = self._timeout
                if self._base_url is not None:
                    client.API_URL = self._base_url.rstrip("/")
                    session.trust_env = not http.loopback(self._base_url)
                self._client = client
            return self._client

    def _refused(self, what: str, response: Any, message: object) -> SourceError:
        status: int = response.status_code
        headers: Mapping[str, str] = response.headers
        text = str(response.text)
        page = "<html" in text[:500].lower() or "text/html" in headers.get("content-type", "")
        words = http.title(text) if page else http.vendor_words(text) or str(message)
        said = self._say(what, f"HTTP {status}: {words}" if words else f"HTTP {status}")
        if status == 401:
            return AccessError(f"{said}; check the key in WEALTHOS_KEYS__FINNHUB")
        if status == 403:
            return AccessError(f"{said}; {NEXT}")
        wait = retry_after(headers)
        return http.refusal(status, words, said, _reset(headers) if wait is None else wait)

    def _lost(self, text: str) -> str:
        if "Read timed out" in text:
            return f"no complete answer within {self._timeout:g} s"
        broken = ("IncompleteRead", "RemoteDisconnected", "Connection reset", "Connection aborted")
        return "the answer broke off" if any(b in text for b in broken) else "cannot be reached"

    def _say(self, what: str, words: str) -> str:
        return f"finnhub {what}: {words}".replace(self._key, "***")


def _reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until ``X-Ratelimit-Reset`` (seconds since 1970), counted from the answer's own date."""
    named = {k.lower(): v for k, v in headers.items()}
    reset = named.get("x-ratelimit-reset", "").strip()
    try:
        now = parsedate_to_datetime(named.get("date", "")).timestamp()
    except ValueError:
        return None
    wait = float(reset) - now if reset.isdecimal() else 0.0
    return wait if wait > 0 else None


def _unreadable(message: str) -> str:
    text = message.removeprefix("Invalid Response:").strip()
    if not text:
        return "the answer is empty"
    if text[:500].lower().lstrip().startswith(("<!doctype html", "<html")):
        return f"a web page came instead of JSON: {http.title(text)!r}"
    return f"the answer is cut off or no JSON: {text[:SHOWN]!r}"


def need(payload: object, kind: type, what: str) -> Any:
    """``payload`` if it is a ``kind`` (dict or list); TransientError says what came instead."""
    if isinstance(payload, kind):
        return payload
    shown = repr(payload)[:80]
    raise TransientError(
        f"finnhub {what}: expected {'an object' if kind is dict else 'a list'}, got {shown}"
    )
