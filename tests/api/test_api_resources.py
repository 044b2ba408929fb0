"""What the service answers: every resource against the tables that it was published from."""

from __future__ import annotations

import polars as pl
import pytest
import small_root
from asgi_client import Client
from small_root import SmallRoot

from wealthos_pipeline.data.storage.manifest import Snapshot


def pages(client: Client, path: str, **params: object) -> list[list[dict]]:
    """All pages of a list, following the cursor."""
    out, cursor = [], None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        body = client.get(path, params=asked).raise_for_status().json()
        out.append(body["items"])
        cursor = body["next_cursor"]
        if cursor is None:
            return out


def test_alive_without_anything_published(empty: Client) -> None:
    assert empty.get("/livez").json() == {"status": "alive"}


def test_ready_names_the_published_run(client: Client, published: SmallRoot) -> None:
    body = client.get("/readyz").json()
    assert body["run_id"] == published.runs[-1].run_id
    assert body["as_of"] == published.runs[-1].as_of.isoformat()


def test_catalog_pages_cover_every_entry_once_in_order(client: Client) -> None:
    found = pages(client, "/v1/catalog", limit=4)
    assert [len(p) for p in found] == [4, 4, 4, 3]
    names = [(e["kind"], e["name"]) for p in found for e in p]
    assert names == sorted(small_root.catalog().select("kind", "name").rows())


def test_catalog_of_one_kind(client: Client) -> None:
    items = client.get("/v1/catalog", params={"kind": "factor"}).json()["items"]
    assert [e["name"] for e in items] == ["demo_down", "demo_missing", "demo_up"]
    assert items[1]["reason_missing"] == "the sample has closes only"


def test_factors_carry_table_and_performance_and_nan_is_null(client: Client) -> None:
    items = {f["name"]: f for f in client.get("/v1/factors").json()["items"]}
    assert items["demo_up"]["table"] == "factors.equity_demo"
    assert items["demo_missing"]["table"] is None
    (performance,) = items["demo_up"]["performance"]
    assert performance["mean_rank_ic"] == pytest.approx(0.012)
    assert items["demo_down"]["performance"][0]["mean_rank_ic"] is None


def test_factor_values_equal_the_lake_whatever_the_page_size(
    client: Client, published: SmallRoot
) -> None:
    run = Snapshot(published.lake, published.runs[-1])
    wanted = run.read("factors.equity_demo").select("date", "instrument_id", "demo_down")
    for limit in (7, 1000):
        items = [i for p in pages(client, "/v1/factors/demo_down", limit=limit) for i in p]
        got = pl.DataFrame(items, infer_schema_length=None).select(
            pl.col("date").str.to_date(), "instrument_id", pl.col("value").cast(pl.Float32)
        )
        assert got.rows() == wanted.rows()


def test_factor_values_by_range_and_symbol(client: Client, published: SmallRoot) -> None:
    days = published.days
    asked = {"start": days[3].isoformat(), "end": days[5].isoformat(), "symbol": "GE"}
    items = client.get("/v1/factors/demo_up", params=asked).json()["items"]
    assert [i["date"] for i in items] == [d.isoformat() for d in days[3:6]]
    assert {i["symbol"] for i in items} == {"GE"}


def test_mandates_are_listed_with_their_last_decision(client: Client) -> None:
    items = {m["mandate"]: m for m in client.get("/v1/portfolio").json()["items"]}
    assert items["balanced"]["status"] == "optimal"
    assert items["balanced"]["run_kinds"] == ["backtest", "live"]
    assert items["impossible"]["status"] == "infeasible"
    assert items["equal_weight"]["last_decision"] is None


def test_a_portfolio_shows_its_decision(client: Client, published: SmallRoot) -> None:
    body = client.get("/v1/portfolio/balanced").json()
    assert body["solve"]["date"] == published.days[-1].isoformat()
    assert sum(t["weight"] for t in body["targets"]) == pytest.approx(1.0)
    assert body["targets"][0]["symbol"] == "AAPL"
    assert body["trades"][0]["reason"] == "reason 5"
    assert body["nav"] is None
    back = client.get("/v1/portfolio/balanced", params={"kind": "backtest"}).json()
    assert back["risk"]["var_99"] == 0.025
    assert back["nav"]["date"] == published.days[-1].isoformat()


def test_an_impossible_mandate_is_answered_in_words(client: Client) -> None:
    body = client.get("/v1/portfolio/impossible").json()
    assert body["targets"] == []
    assert "cannot add up" in body["solve"]["message"]


def test_nav_series_comes_in_pages(client: Client, published: SmallRoot) -> None:
    found = pages(client, "/v1/portfolio/equal_weight/nav", limit=15)
    points = [p for page in found for p in page]
    assert [p["date"] for p in points] == [d.isoformat() for d in published.days]
    assert points[0]["return_net"] is None


def test_the_latest_report_is_served_without_scripts(client: Client) -> None:
    answer = client.get("/v1/reports/latest")
    assert answer.text == "<html><body>Morning</body></html>"
    policy = answer.headers["content-security-policy"]
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'")
    again = client.get("/v1/reports/latest", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_the_reports_charts_are_served_and_nothing_else(client: Client) -> None:
    answer = client.get("/v1/reports/charts/nav.png")
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")
    tag = {"If-None-Match": answer.headers["etag"]}
    assert client.get("/v1/reports/charts/nav.png", headers=tag).status_code == 304
    for other in ("notes.txt", "..%2Freport.html", "../report.html", "%2Fetc%2Fpasswd"):
        assert client.get(f"/v1/reports/charts/{other}").status_code == 404


def test_the_description_names_every_path_and_the_problem_documents(client: Client) -> None:
    body = client.get("/openapi.json").json()
    paths = {
        "/livez", "/readyz", "/v1/catalog", "/v1/factors", "/v1/factors/{name}", "/v1/portfolio",
        "/v1/data/{table}", "/v1/portfolio/{mandate}", "/v1/portfolio/{mandate}/nav", "/v1/reports/latest",
        "/v1/reports/charts/{name}",
    }  # fmt: skip
    assert set(body["paths"]) == paths
    for path in paths - {"/livez"}:
        said = body["paths"][path]["get"]["responses"]["503"]["content"]
        assert list(said) == ["application/problem+json"]
