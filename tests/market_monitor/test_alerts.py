"""Alerts: every rule fires on what it is for, says so in a sentence, and sees no later row."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor import alerts
from wealthos_pipeline.market_monitor.rules import RULES

DAY = date(2019, 6, 28)
Frames = dict[str, pl.DataFrame]


def frame(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows with the columns that the alerts read of ``table``."""
    columns = alerts.INPUTS[table].columns
    schema = {c: t for c, t in contract(table).schema().items() if c in columns}
    return pl.DataFrame(rows, schema=schema, orient="row")


def nav(calendar: TradingCalendar, values: list[float], mandate: str = "core") -> pl.DataFrame:
    days = calendar.sessions(calendar.offset(DAY, 1 - len(values)), DAY)
    return frame(
        "portfolio.nav",
        [
            {"mandate": mandate, "run_kind": "backtest", "date": d, "nav": v}
            for d, v in zip(days, values, strict=True)
        ],
    )


def outcomes(calendar: TradingCalendar, hits: list[bool]) -> pl.DataFrame:
    """Outcomes of forecasts up to the session before ``DAY``."""
    days = calendar.sessions(calendar.offset(DAY, -len(hits)), calendar.offset(DAY, -1))
    return frame(
        "portfolio.risk_outcomes",
        [
            {
                "mandate": "core",
                "run_kind": "backtest",
                "date": d,
                "pnl_next": -0.042 if hit else 0.001,
                "exception_95": hit,
                "exception_99": hit,
                "known_at": calendar.known_at(calendar.offset(d, 1)),
            }
            for d, hit in zip(days, hits, strict=True)
        ],
    )


def ics(calendar: TradingCalendar, before: float, recent: float) -> pl.DataFrame:
    """1,500 daily ICs of one factor around ``before``, the last 252 around ``recent``."""
    rng = np.random.default_rng(8)
    n, h = 1500, 5
    days = calendar.sessions(calendar.offset(DAY, -n - h), calendar.offset(DAY, -h - 1))
    mean = np.where(np.arange(n) >= n - 252, recent, before)
    values = mean + 0.05 * rng.standard_normal(n)
    return frame(
        "factors.performance",
        [
            {
                "factor": "momentum",
                "universe": "all",
                "horizon": h,
                "date": d,
                "rank_ic": v,
                "known_at": calendar.known_at(calendar.offset(d, h + 1)),
            }
            for d, v in zip(days, values, strict=True)
        ],
    )


def coverage(calendar: TradingCalendar, today: int) -> pl.DataFrame:
    days = calendar.sessions(calendar.offset(DAY, -25), DAY)
    return frame(
        "meta.coverage",
        [{"date": d, "table": "clean.prices", "rows": 100 if d < DAY else today} for d in days],
    )


def bars(calendar: TradingCalendar, ages: dict[str, int]) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    for name, age in ages.items():
        for d in calendar.sessions(calendar.offset(DAY, -40), calendar.offset(DAY, -age)):
            rows.append(
                {
                    "instrument_id": name,
                    "date": d,
                    "slot": calendar.slot(d),
                    "known_at": calendar.known_at(d),
                }
            )
    return frame("clean.prices", rows)


def judge(
    calendar: TradingCalendar, frames: Frames, **options: object
) -> dict[tuple[str, str], dict[str, object]]:
    found = alerts.evaluate(frames, dates=[DAY], calendar=calendar, **options)  # type: ignore[arg-type]
    assert found.columns == list(contract("monitor.alerts").column_names)
    return {(r["alert"], r["subject"]): r for r in found.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("last", "severity"), [(0.95, None), (0.89, "warning"), (0.78, "critical")]
)
def test_drawdown_by_depth(calendar: TradingCalendar, last: float, severity: str | None) -> None:
    found = judge(calendar, {"portfolio.nav": nav(calendar, [0.9, 1.0, 0.97, last])})
    assert (found.get(("drawdown", "core")) or {}).get("severity") == severity
    if severity:
        text = str(found["drawdown", "core"]["text"])
        assert f"{100 * (1 - last):.1f} % below its peak of {calendar.offset(DAY, -2)}" in text


def test_a_loss_beyond_var_is_told_the_day_it_happens(calendar: TradingCalendar) -> None:
    risk = frame(
        "portfolio.risk",
        [
            {
                "mandate": "core",
                "run_kind": "backtest",
                "date": calendar.offset(DAY, -1),
                "var_95": 0.02,
                "var_99": 0.031,
            }
        ],
    )
    hits = [False] * 9 + [True]
    frames = {"portfolio.risk_outcomes": outcomes(calendar, hits), "portfolio.risk": risk}
    row = judge(calendar, frames)["var_exception", "core"]
    assert row["severity"] == "warning"
    assert row["value"] == -0.042
    assert "lost 4.2 % on 2019-06-28, beyond the 99 % VaR of 3.1 %" in str(row["text"])
    yesterday = {"portfolio.risk_outcomes": outcomes(calendar, [*hits, False])}
    assert ("var_exception", "core") not in judge(calendar, yesterday)


@pytest.mark.parametrize(("seen", "severity"), [(4, None), (12, "warning"), (25, "critical")])
def test_too_many_exceptions_by_kupiec(
    calendar: TradingCalendar, seen: int, severity: str | None
) -> None:
    hits = [k % 20 == 0 and k < 20 * seen for k in range(500)] + [False] * 4
    found = judge(calendar, {"portfolio.risk_outcomes": outcomes(calendar, hits)})
    row = found.get(("var_count_99", "core"))
    assert (row or {}).get("severity") == severity
    if row is not None:
        assert row["value"] == seen
        assert "99 % VaR in 504 sessions where 5.0 were expected" in str(row["text"])


def test_an_impossible_mandate_is_critical_and_answered_in_words(
    calendar: TradingCalendar,
) -> None:
    rows = [
        {
            "mandate": m,
            "run_kind": k,
            "date": d,
            "status": s,
            "message": "least change that is enough: 12 %" if s == "infeasible" else None,
        }
        for m, k, d, s in (
            ("impossible", "live", DAY, "infeasible"),
            ("core", "backtest", calendar.offset(DAY, -20), "infeasible"),
            ("core", "live", DAY, "optimal"),
        )
    ]
    found = judge(calendar, {"portfolio.solves": frame("portfolio.solves", rows)})
    assert set(found) == {("mandate_infeasible", "impossible")}
    row = found["mandate_infeasible", "impossible"]
    assert row["severity"] == "critical"
    assert "least change that is enough: 12 %" in str(row["text"])


def test_risk_in_one_name(calendar: TradingCalendar) -> None:
    rows = [
        {
            "mandate": m,
            "run_kind": "live",
            "date": DAY,
            "instrument_id": f"I{i}",
            "weight": 0.25,
            "risk_contribution": share,
        }
        for m in ("core", "equal_weight")
        for i, share in enumerate((0.1, 0.2, 0.6, 0.1))
    ]
    found = judge(calendar, {"portfolio.targets": frame("portfolio.targets", rows)})
    assert set(found) == {("concentration", "core")}
    assert found["concentration", "core"]["severity"] == "critical"
    assert "I2 carries 60.0 %" in str(found["concentration", "core"]["text"])


def test_a_factor_that_turns_and_one_that_decays(calendar: TradingCalendar) -> None:
    turned = judge(calendar, {"factors.performance": ics(calendar, 0.03, -0.03)})
    assert set(turned) == {("factor_flip", "momentum")}
    assert turned["factor_flip", "momentum"]["severity"] == "warning"
    faded = judge(calendar, {"factors.performance": ics(calendar, 0.03, 0.002)})
    assert set(faded) == {("factor_decay", "momentum")}
    assert faded["factor_decay", "momentum"]["severity"] == "info"
    assert judge(calendar, {"factors.performance": ics(calendar, 0.03, 0.028)}) == {}
    assert judge(calendar, {"factors.performance": ics(calendar, -0.03, 0.03)}) == {}


def test_a_factor_is_judged_with_its_direction(calendar: TradingCalendar) -> None:
    factor = Factor("momentum", AssetClass.EQUITY, "f", -1, "t", "r", expression="$close")
    frames = {"factors.performance": ics(calendar, -0.03, 0.03)}
    assert set(judge(calendar, frames, factors=[factor])) == {("factor_flip", "momentum")}


@pytest.mark.parametrize(
    ("old", "new", "severity"),
    [
        ("calm", "turbulent", "warning"),
        ("turbulent", "calm", "info"),
        ("calm", "calm", None),
        ("unknown", "calm", None),
    ],
)
def test_regime_change(calendar: TradingCalendar, old: str, new: str, severity: str | None) -> None:
    rows = [
        {"date": calendar.offset(DAY, -1), "p_turbulent": 0.4, "regime": old},
        {"date": DAY, "p_turbulent": 0.6, "regime": new},
    ]
    found = judge(calendar, {"monitor.regime": frame("monitor.regime", rows)})
    assert (found.get(("regime_change", "market")) or {}).get("severity") == severity


def test_an_instrument_without_bars_is_told_until_it_counts_as_delisted(
    calendar: TradingCalendar,
) -> None:
    ages = {"fresh": 0, "late": 4, "stale": 7, "gone": 30}
    found = judge(calendar, {"clean.prices": bars(calendar, ages)})
    assert set(found) == {("stale_instrument", "stale")}
    assert "7 sessions" in str(found["stale_instrument", "stale"]["text"])


def test_series_that_stop_are_told_until_they_have_ended(calendar: TradingCalendar) -> None:
    rows = [
        {
            "series": name,
            "tenor": "",
            "date": calendar.offset(DAY, -age),
            "frequency": every,
            "known_at": calendar.known_at(calendar.offset(DAY, -age)),
        }
        for name, age, every in (
            ("vix", 1, "day"),
            ("curve", 9, "day"),
            ("aaa", 20, "month"),
            ("old", 900, "day"),
        )
    ]
    found = judge(calendar, {"clean.series": frame("clean.series", rows)})
    assert {k: r["severity"] for k, r in found.items()} == {
        ("stale_series", "curve"): "warning",
    }


@pytest.mark.parametrize(("rows", "severity"), [(98, None), (90, "warning"), (0, "critical")])
def test_coverage_drop(calendar: TradingCalendar, rows: int, severity: str | None) -> None:
    found = judge(calendar, {"meta.coverage": coverage(calendar, rows)})
    assert (found.get(("coverage_drop", "clean.prices")) or {}).get("severity") == severity


def test_quarantined_rows_of_the_day(calendar: TradingCalendar) -> None:
    rows = [
        {
            "table": "raw.prices",
            "symbol": f"S{i}",
            "date": DAY if i < 12 else calendar.offset(DAY, -1),
            "rule": "negative_price",
            "known_at": calendar.known_at(DAY),
        }
        for i in range(20)
    ]
    found = judge(calendar, {"clean.quarantine": frame("clean.quarantine", rows)})
    row = found["quarantine", "raw.prices"]
    assert row["severity"] == "warning"
    assert row["value"] == 12
    assert "negative_price" in str(row["text"])


def test_failed_checks_of_this_run_only(calendar: TradingCalendar) -> None:
    rows = [
        {
            "run_id": run,
            "table": "clean.prices",
            "check": "positive",
            "column": column,
            "severity": severity,
            "success": ok,
            "unexpected": 3,
            "rows": 100,
        }
        for run, column, severity, ok in (
            ("this", "close", "error", False),
            ("this", "open", "warn", False),
            ("this", "volume", "error", True),
            ("other", "low", "error", False),
        )
    ]
    found = judge(calendar, {"meta.checks": frame("meta.checks", rows)}, run_id="this")
    assert {k[1]: r["severity"] for k, r in found.items()} == {
        "clean.prices: positive of close": "critical",
        "clean.prices: positive of open": "warning",
    }


@pytest.fixture(scope="module")
def everything(calendar: TradingCalendar) -> Frames:
    """Something for most rules, over many days."""
    rng = np.random.default_rng(4)
    values = np.cumprod(1 + 0.02 * rng.standard_normal(600)).tolist()
    return {
        "portfolio.nav": nav(calendar, values),
        "portfolio.risk_outcomes": outcomes(calendar, (rng.random(600) < 0.03).tolist()),
        "factors.performance": ics(calendar, 0.03, -0.02),
        "clean.prices": bars(calendar, {"a": 0, "b": 8}),
        "meta.coverage": coverage(calendar, 70),
    }


def test_later_rows_change_no_earlier_alert(calendar: TradingCalendar, everything: Frames) -> None:
    for back in (3, 40, 200):
        day = calendar.offset(DAY, -back)
        at = calendar.known_at(day)
        known = {
            t: f.filter(
                pl.col("known_at") <= at if "known_at" in f.columns else pl.col("date") <= day
            )
            for t, f in everything.items()
        }
        whole = alerts.evaluate(everything, dates=[day], calendar=calendar)
        assert alerts.evaluate(known, dates=[day], calendar=calendar).equals(whole)


def test_several_dates_are_the_dates_one_by_one(
    calendar: TradingCalendar, everything: Frames
) -> None:
    days = [calendar.offset(DAY, -k) for k in (0, 5, 60)]
    together = alerts.evaluate(everything, dates=days, calendar=calendar)
    single = [alerts.evaluate(everything, dates=[d], calendar=calendar) for d in days]
    assert together.height > 4
    assert together.equals(contract("monitor.alerts").conform(pl.concat(single)))


def test_gather_asks_for_no_more_than_the_rules_use(
    calendar: TradingCalendar, everything: Frames
) -> None:
    asked: dict[str, date | None] = {}

    def read(table: str, *, start: date | None = None, columns: object = None) -> pl.DataFrame:
        asked[table] = start
        empty = contract(table).empty().select(columns)  # type: ignore[arg-type]
        got = everything.get(table, empty)
        return got if start is None else got.filter(pl.col("date") >= start)

    frames = alerts.gather(read, dates=[DAY], calendar=calendar)
    assert asked.keys() == alerts.INPUTS.keys()
    assert asked["clean.prices"] == calendar.offset(DAY, -40)
    assert asked["portfolio.nav"] is None
    light = alerts.evaluate(frames, dates=[DAY], calendar=calendar)
    assert light.equals(alerts.evaluate(everything, dates=[DAY], calendar=calendar))


def test_rules_are_unique_and_their_levels_rise() -> None:
    assert len({r.name for r in RULES}) == len(RULES)
    for rule in RULES:
        assert [least for least, _ in rule.levels] == sorted(least for least, _ in rule.levels)
        assert rule.severity(-1e9) is None
        assert rule.severity(1e9) == rule.levels[-1][1]


def test_nothing_to_judge_gives_no_alert(calendar: TradingCalendar) -> None:
    empty = {t: frame(t, []) for t in alerts.INPUTS}
    assert alerts.evaluate(empty, dates=[DAY], calendar=calendar).is_empty()
    assert alerts.evaluate({}, dates=[DAY], calendar=calendar).is_empty()
