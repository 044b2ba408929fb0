"""How the service refuses, protects itself, and follows the published run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import small_root
from asgi_client import Client
from small_root import SmallRoot

from wealthos_pipeline.api import create_app
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import warehouse

PROBLEM = "application/problem+json"


def problem(answer: object, status: int) -> dict:
    assert answer.status_code == status  # type: ignore[attr-defined]
    assert answer.headers["content-type"] == PROBLEM  # type: ignore[attr-defined]
    body: dict = answer.json()  # type: ignore[attr-defined]
    assert body["status"] == status
    return body


@pytest.mark.parametrize(
    "path",
    [
        "/readyz",
        "/v1/catalog",
        "/v1/factors",
        "/v1/factors/x",
        "/v1/portfolio/x",
        "/v1/reports/latest",
    ],
)
def test_nothing_published_is_503_with_the_next_step(empty: Client, path: str) -> None:
    answer = empty.get(path)
    body = problem(answer, 503)
    assert "wealthos run" in body["detail"]
    assert body["instance"] == path
    assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize(
    ("path", "close"),
    [
        ("/v1/factors/demo_upp", "demo_up"),
        ("/v1/portfolio/balancd", "balanced"),
        ("/v1/catalog?kind=factr", "factor"),
        ("/v1/factors/demo_up?symbol=XO", "XOM"),
    ],
)
def test_an_unknown_name_is_404_with_close_matches(client: Client, path: str, close: str) -> None:
    body = problem(client.get(path), 404)
    assert close in body["close_matches"]
    assert body["type"].startswith("urn:wealthos:problem:unknown-")


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "query.limit"),
        ("limit=10001", "query.limit"),
        ("start=yesterday", "query.start"),
        ("cursor=" + "x" * 2001, "query.cursor"),
    ],
)
def test_a_bad_parameter_is_422_and_named(client: Client, query: str, where: str) -> None:
    body = problem(client.get(f"/v1/factors/demo_up?{query}"), 422)
    assert [e["where"] for e in body["errors"]] == [where]


def test_a_parameter_that_is_not_there_is_refused(client: Client) -> None:
    body = problem(client.get("/v1/data/prices?symbols=AMD"), 422)
    assert "no parameter 'symbols' here. Did you mean symbol?" in body["detail"]
    assert problem(client.get("/v1/catalog?nonsense=1"), 422)["close_matches"] == []
    assert client.get("/v1/data/prices?symbol=AMD").status_code == 200


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "WzEsMiwzXQ", "é"])
def test_a_forged_cursor_is_422(client: Client, cursor: str) -> None:
    body = problem(client.get("/v1/factors/demo_up", params={"cursor": cursor}), 422)
    assert "cursor" in body["detail"]


def test_a_forged_key_in_a_cursor_is_422(client: Client, published: SmallRoot) -> None:
    from wealthos_pipeline.api.pages import encode

    cursor = encode(published.runs[-1].run_id, ["not a date", "id0"])
    problem(client.get("/v1/factors/demo_up", params={"cursor": cursor}), 422)


def test_sql_in_a_name_is_only_a_name(client: Client) -> None:
    problem(client.get('/v1/factors/demo_up" FROM x; DROP TABLE y --'), 404)
    problem(client.get("/v1/portfolio/x' OR '1'='1"), 404)
    answer = client.get("/v1/factors/demo_up", params={"symbol": "' OR 1=1 --"})
    problem(answer, 404)


def test_elsewhere_and_other_verbs_are_problems_too(client: Client) -> None:
    assert "/openapi.json" in problem(client.get("/v2/nothing"), 404)["detail"]
    body = problem(client.post("/v1/catalog"), 405)
    assert "only reads" in body["detail"]


def test_a_run_without_a_report_is_404(tmp_path: Path, calendar: TradingCalendar) -> None:
    root = small_root.build(tmp_path, calendar, sessions=30)
    body = problem(Client(create_app(root.settings)).get("/v1/reports/latest"), 404)
    assert "wealthos run --job report" in body["detail"]


def test_an_unforeseen_error_tells_nothing_but_that(published: SmallRoot) -> None:
    app = create_app(published.settings)

    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("secret detail")

    body = problem(Client(app).get("/boom"), 500)
    assert "secret" not in str(body)


@pytest.mark.parametrize("path", ["/livez", "/v1/catalog", "/v1/nothing", "/v1/reports/latest"])
def test_security_headers_are_on_every_answer(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("base", "caller"),
    [
        ("http://evil.example", "127.0.0.1"),
        ("http://evil.example:8000", "127.0.0.1"),
        ("http://127.0.0.1:8000", "192.0.2.7"),
        ("http://127.0.0.1:8000", "not-an-address"),
    ],
)
def test_only_this_machine_under_its_own_name(published: SmallRoot, base: str, caller: str) -> None:
    client = Client(create_app(published.settings), base, caller)
    body = problem(client.get("/v1/catalog"), 403)
    assert body["type"] == "urn:wealthos:problem:not-local"
    assert client.get("/livez").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("base", ["http://localhost", "http://localhost:9", "http://[::1]:8000"])
def test_this_machine_has_several_names(published: SmallRoot, base: str) -> None:
    client = Client(create_app(published.settings), base, "::1")
    assert client.get("/readyz").status_code == 200


def test_an_answer_is_not_sent_twice_while_the_run_is_the_same(
    client: Client, published: SmallRoot
) -> None:
    first = client.get("/v1/catalog")
    assert first.headers["x-run-id"] == published.runs[-1].run_id
    for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = client.get("/v1/catalog", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = client.get("/v1/catalog", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_a_new_run_is_seen_and_old_cursors_are_refused(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    root = small_root.build(tmp_path, calendar, sessions=30)
    more = calendar.sessions(root.days[0], calendar.offset(root.days[-1], 1))
    client = Client(create_app(root.settings))
    before = client.get("/v1/factors/demo_up", params={"limit": 5})
    cursor = before.json()["next_cursor"]
    small_root.publish(root.lake, root.settings, calendar, more, restated=False, number=1)
    after = client.get("/readyz")
    assert after.json()["run_id"] == "run-1"
    assert after.headers["etag"] != before.headers["etag"]
    late = client.get("/v1/factors/demo_up", params={"limit": 5, "cursor": cursor})
    assert "Begin again" in problem(late, 409)["detail"]


def test_readers_neither_wait_for_nor_hold_up_a_publication(
    published: SmallRoot, tmp_path: Path
) -> None:
    """A request that is being answered keeps its run while the warehouse is replaced under it."""
    from wealthos_pipeline.api.store import Store

    store = Store(published.settings.root)
    with store.reader() as reader:
        count: Callable[[], list[int]] = lambda: reader.column("SELECT count(*) FROM clean.prices")  # noqa: E731
        before = count()
        warehouse.publish(published.lake, published.runs[-1], full=True)
        assert count() == before
    store.close()
