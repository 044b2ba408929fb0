"""The alert rules. Thresholds stand in ``RULES``; a rule's function only measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from wealthos_pipeline.market_monitor import model_health
from wealthos_pipeline.market_monitor.alerts import Finding, Rule, State
from wealthos_pipeline.market_monitor.evidence import kupiec_p, mean_with_overlap, signed

RECENT: Final = 252
"""Dates with an IC that count as recent."""

STALE_SERIES: Final = {"day": 5, "month": 45}
"""Sessions without a new value after which a series is stale, by frequency."""

GONE: Final = 25
"""An instrument without a bar for longer is taken as delisted and no longer reported."""

ENDED: Final = 252
"""A series without a value for longer has ended at its source: no news, the report lists it."""


def drawdown(state: State, rule: Rule) -> Iterator[Finding]:
    for mandate, rows in state.backtest("portfolio.nav"):
        peak = rows.row(int(rows["nav"].arg_max() or 0), named=True)
        now = rows["nav"][-1]
        if rows["date"][-1] != state.day or peak["nav"] <= 0:
            continue
        depth = 1.0 - now / peak["nav"]
        yield Finding(
            mandate,
            depth,
            depth,
            f"{mandate} stands {_pct(depth)} below its peak of {peak['date']}.",
        )


def var_exception(state: State, rule: Rule) -> Iterator[Finding]:
    before = state.calendar.offset(state.day, -1)
    forecasts = dict(state.backtest("portfolio.risk"))
    for mandate, rows in state.backtest("portfolio.risk_outcomes"):
        last = rows.row(-1, named=True)
        if last["date"] != before:
            continue
        level = 99 if last["exception_99"] else 95 if last["exception_95"] else 0
        if not level:
            continue
        forecast = ""
        if mandate in forecasts:
            mine = forecasts[mandate].filter(pl.col("date") == before)
            if mine.height and mine[f"var_{level}"][0] is not None:
                forecast = f" of {_pct(mine[f'var_{level}'][0])}"
        yield Finding(
            mandate,
            level / 100,
            last["pnl_next"],
            f"{mandate} lost {_pct(-last['pnl_next'])} on {state.day}, beyond the {level} % VaR"
            f"{forecast} forecast at the close of {before}.",
        )


def var_count(state: State, rule: Rule) -> Iterator[Finding]:
    level = rule.parameter
    column = f"exception_{round(100 * level)}"
    for mandate, rows in state.backtest("portfolio.risk_outcomes"):
        judged = rows.drop_nulls(column).tail(504)
        n, seen = judged.height, int(judged[column].sum() or 0)
        p = kupiec_p(seen, n, level)
        if p is None or n < 250:
            continue
        yield Finding(
            mandate,
            1.0 - p,
            float(seen),
            f"{mandate}: {seen} exceptions of the {level:.0%} VaR in {n} sessions where "
            f"{n * (1 - level):.1f} were expected (Kupiec p {p:.3f}).".replace("%", " %"),
        )


def mandate_infeasible(state: State, rule: Rule) -> Iterator[Finding]:
    for mandate, rows in state.decided("portfolio.solves"):
        solve = rows.row(-1, named=True)
        if solve["status"] not in ("infeasible", "failed"):
            continue
        words = " ".join((solve["message"] or "no explanation was stored").split())
        yield Finding(
            mandate, 1.0, None, f"{mandate}: {solve['status']} on {solve['date']}: {words}"
        )


def concentration(state: State, rule: Rule) -> Iterator[Finding]:
    for mandate, rows in state.decided("portfolio.targets"):
        if mandate == "equal_weight":
            continue
        top = rows.sort("risk_contribution", "instrument_id", descending=[True, False]).row(
            0, named=True
        )
        share = top["risk_contribution"]
        yield Finding(
            mandate,
            share,
            share,
            f"{top['instrument_id']} carries {_pct(share)} of {mandate}'s variance at a weight of "
            f"{_pct(top['weight'])}.",
        )


def factor_flip(state: State, rule: Rule) -> Iterator[Finding]:
    for name, before, recent, t in _factor_changes(state):
        if t <= -1.0:
            yield Finding(
                name,
                -t,
                recent,
                f"{name}: rank IC over the last {RECENT} known dates {signed(recent, 3)} "
                f"(t {signed(t, 1)}) against {signed(before, 3)} before: the sign has turned.",
            )


def factor_decay(state: State, rule: Rule) -> Iterator[Finding]:
    for name, before, recent, t in _factor_changes(state):
        lost = 1.0 - recent / before
        if t > -1.0:
            yield Finding(
                name,
                lost,
                recent,
                f"{name}: rank IC over the last {RECENT} known dates {signed(recent, 3)} against "
                f"{signed(before, 3)} before.",
            )


def regime_change(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("monitor.regime")
    if rows is None or rows.height < 2:
        return
    old, new = rows.sort("date").tail(2).iter_rows(named=True)
    if new["date"] != state.day or "unknown" in (old["regime"], new["regime"]):
        return
    if old["regime"] != new["regime"]:
        yield Finding(
            "market",
            2.0 if new["regime"] == "turbulent" else 1.0,
            new["p_turbulent"],
            f"The market's regime went from {old['regime']} to {new['regime']}: filtered "
            f"probability of turbulence {_pct(new['p_turbulent'])} after "
            f"{_pct(old['p_turbulent'])} the session before.",
        )


def stale_instrument(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("clean.prices")
    if rows is None:
        return
    now = state.calendar.slot(state.day)
    last = rows.sort("instrument_id", "slot").unique("instrument_id", keep="last")
    late = last.filter((now - pl.col("slot")).is_between(int(rule.parameter), GONE))
    for name, day, slot in (
        late.sort("instrument_id").select("instrument_id", "date", "slot").iter_rows()
    ):
        yield Finding(
            name,
            now - slot,
            float(now - slot),
            f"{name}: no bar since {day}, {now - slot} sessions.",
        )


def stale_series(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("clean.series")
    if rows is None:
        return
    now = state.calendar.slot(state.day)
    rows = rows.sort("series", "date").unique("series", keep="last").sort("series")
    for name, day, frequency in rows.select("series", "date", "frequency").iter_rows():
        age = now - state.calendar.slot(day)
        if STALE_SERIES.get(frequency, 5) < age <= ENDED:
            words = f"{name}: no new value since {day}, {age} sessions."
            yield Finding(name, float(age), float(age), words)


def coverage_drop(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("meta.coverage")
    if rows is None:
        return
    for (table,), mine in rows.sort("table", "date").group_by("table", maintain_order=True):
        today = int(mine.filter(pl.col("date") == state.day)["rows"].sum())
        before = mine.filter(pl.col("date") < state.day).tail(20)["rows"]
        usual = float(before.median() or 0.0)  # type: ignore[arg-type]
        if usual <= 0:
            continue
        drop = 1.0 - today / usual
        yield Finding(
            str(table),
            drop,
            drop,
            f"{table}: {today:,} rows on {state.day} against {usual:,.0f}, the median of the "
            f"{before.len()} sessions before.",
        )


def quarantine(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("clean.quarantine")
    if rows is None:
        return
    rows = rows.filter(pl.col("date") == state.day).sort("table", "rule", "symbol")
    for (table,), mine in rows.group_by("table", maintain_order=True):
        names = mine["rule"].unique().sort().to_list()
        yield Finding(
            str(table),
            mine.height,
            float(mine.height),
            f"{table}: {mine.height} {'row' if mine.height == 1 else 'rows'} of {state.day} in "
            f"quarantine by {', '.join(names)}.",
        )


def check_failed(state: State, rule: Rule) -> Iterator[Finding]:
    rows = state.table("meta.checks")
    if rows is None or not state.last:
        return
    failed = rows.filter((pl.col("run_id") == state.run_id) & ~pl.col("success"))
    for row in failed.sort("table", "check", "column").iter_rows(named=True):
        column = f" of {row['column']}" if row["column"] else ""
        yield Finding(
            f"{row['table']}: {row['check']}{column}",
            2.0 if row["severity"] == "error" else 1.0,
            float(row["unexpected"]),
            f"{row['table']}: check {row['check']}{column} failed for {row['unexpected']:,} of "
            f"{row['rows']:,} rows.",
        )


def _factor_changes(state: State) -> Iterator[tuple[str, float, float, float]]:
    """(factor, directed mean rank IC before, recent mean, recent t) of factors that once worked.

    Members' ICs where there are some, at the longest horizon. "Worked": a conservative t of 2 or
    more before the last ``RECENT`` known dates.
    """
    rows = state.table("factors.performance")
    if rows is None:
        return
    rows = rows.drop_nulls("rank_ic").sort("factor", "date")
    for (name,), every in rows.group_by("factor", maintain_order=True):
        universes = set(every["universe"])
        universe = "members" if "members" in universes else min(universes)
        horizon = int(every.select(pl.col("horizon").max()).item())
        mine = every.filter((pl.col("universe") == universe) & (pl.col("horizon") == horizon))
        if mine.height < 4 * RECENT:
            continue
        factor = state.factors.get(str(name))
        ic = mine["rank_ic"].to_numpy() * (factor.direction if factor else 1)
        old = mean_with_overlap(ic[:-RECENT], horizon)
        new = mean_with_overlap(ic[-RECENT:], horizon)
        if old.t is None or old.mean is None or old.t < 2.0:
            continue
        if new.t is not None and new.mean is not None:
            yield str(name), old.mean, new.mean, new.t


def _pct(value: float) -> str:
    return f"{100 * value:.1f} %".replace("-", "−")


RULES: Final[tuple[Rule, ...]] = (
    Rule("drawdown", "Drawdown", ((0.10, "warning"), (0.20, "critical")), drawdown),
    Rule("var_exception", "VaR exception", ((0.95, "info"), (0.99, "warning")), var_exception),
    Rule(
        "var_count_95",
        "Number of 95 % VaR exceptions",
        ((0.95, "warning"), (0.999, "critical")),
        var_count,
        0.95,
    ),
    Rule(
        "var_count_99",
        "Number of 99 % VaR exceptions",
        ((0.95, "warning"), (0.999, "critical")),
        var_count,
        0.99,
    ),
    Rule("mandate_infeasible", "Impossible mandate", ((1.0, "critical"),), mandate_infeasible),
    Rule(
        "concentration", "Risk in one name", ((0.30, "warning"), (0.50, "critical")), concentration
    ),
    Rule("factor_flip", "Factor's sign has turned", ((1.65, "warning"),), factor_flip),
    Rule("factor_decay", "Factor has decayed", ((0.75, "info"),), factor_decay),
    Rule(
        "feature_drift",
        "Features drift",
        ((0.1, "info"), (0.25, "warning")),
        model_health.feature_drift,
    ),
    Rule(
        "prediction_drift",
        "Predictions drift",
        ((0.1, "info"), (0.25, "warning")),
        model_health.prediction_drift,
    ),
    Rule(
        "live_ic_decay",
        "Live predictions fall short",
        ((1.65, "info"), (2.33, "warning")),
        model_health.live_ic_decay,
    ),
    Rule("regime_change", "Regime change", ((1.0, "info"), (2.0, "warning")), regime_change),
    Rule("stale_instrument", "Instrument without bars", ((5.0, "warning"),), stale_instrument, 5.0),
    Rule("stale_series", "Series without new values", ((1.0, "warning"),), stale_series),
    Rule(
        "coverage_drop",
        "Fewer rows than usual",
        ((0.05, "warning"), (0.20, "critical")),
        coverage_drop,
    ),
    Rule("quarantine", "Rows in quarantine", ((1.0, "info"), (10.0, "warning")), quarantine),
    Rule("check_failed", "Data check failed", ((1.0, "warning"), (2.0, "critical")), check_failed),
)
"""Every rule, with the measure from which each severity holds."""
