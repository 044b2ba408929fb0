"""The commands that read: what they print is what the published run holds."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest
import small_root
from small_root import SmallRoot


def test_runs_newest_first(wealthos, root: SmallRoot) -> None:
    rows = wealthos("runs", "--json").json
    assert [r["run"] for r in rows] == ["run-1", "run-0"]
    assert [r["as_of"] for r in rows] == [d.isoformat() for d in reversed(root.days[-2:])]
    text = wealthos("runs", "--limit", 1)
    assert "run-1" in text.out
    assert "run-0" not in text.out


def test_plain_output_has_one_line_a_row_and_no_colour(wealthos) -> None:
    said = wealthos("runs")
    assert len(said.out.splitlines()) == 3
    assert "\x1b" not in said.out + said.err


def test_data_status_counts_rows(wealthos, root: SmallRoot) -> None:
    body = wealthos("data", "status", "--json").json
    rows = {t["table"]: t for t in body["tables"]}
    assert rows["clean.prices"]["rows"] == len(root.days) * 6
    assert rows["clean.prices"]["last"] == root.days[-1].isoformat()
    assert [c["check"] for c in body["failed_checks"]] == ["fresh"]
    said = wealthos("data", "status").out
    assert "Checks that did not pass" in said
    assert "Health by month" in said
    assert {m["month"][:7] for m in body["health_by_month"]} == {f"{d:%Y-%m}" for d in root.days}


def test_quarantine_by_rule_and_symbol(wealthos) -> None:
    assert "close is -1.0" in wealthos("data", "quarantine").out
    rows = wealthos("data", "quarantine", "--symbol", "ge", "--json").json
    assert [r["rule"] for r in rows] == ["negative_price"]


def test_history_shows_both_versions_of_a_restated_bar(wealthos, root: SmallRoot) -> None:
    rows = wealthos("data", "history", "bac", "--json").json
    assert [r["close"] for r in rows] == [small_root.close(10, 2), small_root.close(10, 2) + 1]
    assert rows[0]["known_to"] == rows[1]["known_from"]
    assert "was ever restated" in wealthos("data", "history", "GE").err
    one = wealthos("data", "history", "GE", "--date", root.days[4].isoformat(), "--json").json
    assert [r["close"] for r in one] == [small_root.close(4, 4)]


def test_models_list(wealthos) -> None:
    rows = {r["kind"]: r for r in wealthos("models", "list", "--json").json}
    assert rows["walk_forward"]["mean_rank_ic"] == pytest.approx(0.03)
    assert rows["live"]["newest"].startswith("ridge.live.")
    assert "ridge" in wealthos("models", "list").out


def test_portfolio_show(wealthos) -> None:
    body = wealthos("portfolio", "show", "balanced", "--json").json
    assert body["solve"]["status"] == "optimal"
    assert sum(t["weight"] for t in body["targets"]) == pytest.approx(1.0)
    text = wealthos("portfolio", "show", "Balanced").out
    assert "reason 5" in text
    impossible = wealthos("portfolio", "show", "impossible")
    assert impossible.code == 0
    assert "raise max_weight" in impossible.out


def test_backtest_gives_returns_of_the_sessions_of_each_year(wealthos) -> None:
    """A year of a few sessions is not blown up to 252 of them."""
    rows = wealthos("backtest", "balanced", "--json").json
    assert rows
    assert rows[-1]["sessions"] < 252
    said = wealthos("backtest", "balanced")
    line = next(x for x in said.out.splitlines() if x.startswith(str(rows[-1]["year"])))
    assert f"{rows[-1]['total_return']:+.1%}" in line
    assert f"{rows[-1]['annual_return']:+.1%}" not in line
    assert "return: of the sessions of the calendar year" in said.out + said.err


def test_portfolio_explain(wealthos) -> None:
    body = wealthos("portfolio", "explain", "xom", "--json").json
    assert body["instrument"]["instrument_id"] == "id5"
    assert [s["factor"] for s in body["scores"]] == ["demo_up"], "missing scores are left out"
    assert body["targets"][0]["reason"] == "reason 5"
    assert body["predictions"][0]["rank"].endswith("of 6")
    assert "reason 5" in wealthos("portfolio", "explain", "XOM").out


def test_factors_list_and_show_without_a_run(call, nowhere) -> None:
    rows = call("factors", "list", "--json", "--root", nowhere).json
    assert len(rows) > 10
    assert {"name", "expression", "reference"} <= set(
        call("factors", "show", rows[0]["name"], "--json", "--root", nowhere).json
    )
    said = call("factors", "show", "momentun_12_1", "--root", nowhere)
    assert said.code == 2
    assert "momentum_12_1" in said.err


def test_warehouse_status_export_rebuild(wealthos, root: SmallRoot, tmp_path) -> None:
    body = wealthos("warehouse", "status", "--json").json
    assert (body["run_id"], body["current"]) == ("run-1", True)
    path = tmp_path / "all.duckdb"
    assert wealthos("warehouse", "export", path).code == 0
    with duckdb.connect(str(path), read_only=True) as file:
        found = file.sql("SELECT count(*), count(demo_up) FROM factors.equity_demo").fetchone()
    assert found == (len(root.days) * 6,) * 2
    refused = wealthos("warehouse", "export", path)
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert wealthos("warehouse", "rebuild", "--json").json["run_id"] == "run-1"


def test_sql_formats_hold_the_same_rows(wealthos, tmp_path) -> None:
    query = "select symbol, valid_from from clean.instruments order by symbol"
    rows = wealthos("sql", query, "--json").json
    assert [r["symbol"] for r in rows] == list(small_root.SYMBOLS)
    assert wealthos("sql", query, "-f", "csv").out.splitlines()[1] == "AAPL,2020-01-02"
    for form in ("csv", "json", "parquet"):
        path = tmp_path / f"rows.{form}"
        said = wealthos("sql", query, "-f", form, "-o", path)
        assert (said.code, said.out) == (0, "")
        read = {"csv": pl.read_csv, "json": pl.read_json, "parquet": pl.read_parquet}[form]
        assert read(path)["symbol"].to_list() == list(small_root.SYMBOLS)
    assert "AAPL" in wealthos("sql", query).out
    assert len(wealthos("sql", query, "--limit", 2, "--json").json) == 2


def test_sql_reads_only_and_explains_itself(wealthos) -> None:
    assert wealthos("sql", "drop table portfolio.nav").code == 5
    said = wealthos("sql", "from portfolio.nva")
    assert said.code == 5
    assert "portfolio.nav" in said.err


def test_sql_as_of_sees_what_was_known_then(wealthos, root: SmallRoot) -> None:
    query = "select date, close from clean.prices where instrument_id = 'id2' order by date"
    then = wealthos("sql", query, "--as-of", root.days[20].isoformat(), "--json").json
    assert len(then) == 21
    assert then[10]["close"] == small_root.close(10, 2)
    now = wealthos("sql", query, "--as-of", "2099-01-01", "--json").json
    assert len(now) == len(root.days)
    assert now[10]["close"] == small_root.close(10, 2) + 1
    early = root.lake.calendar.known_at(root.days[20]).replace(hour=12).isoformat()
    assert len(wealthos("sql", query, "--as-of", early, "--json").json) == 20


def test_sql_as_of_refuses_what_it_cannot_read(wealthos) -> None:
    said = wealthos("sql", "from clean.price", "--as-of", "2020-01-31")
    assert (said.code, "clean.prices" in said.err) == (2, True)
    assert wealthos("sql", "selec 1", "--as-of", "2020-01-31").code == 2
    assert wealthos("sql", "select 1", "--as-of", "then").code == 2


def test_the_report_is_found(call, root: SmallRoot, monkeypatch, tmp_path) -> None:
    page = tmp_path / "reports" / "2020-02-28" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html></html>")
    (tmp_path / "reports" / "notes").mkdir()
    monkeypatch.setenv("WEALTHOS_REPORTS", str(tmp_path / "reports"))
    said = call("report", "--root", root.settings.root)
    assert said.out.strip() == str(page)
    body = call("report", "--json", "--root", root.settings.root).json
    assert body == {"report": str(page), "as_of": "2020-02-28"}
