"""The mandates' part: proposals, performance beside 1/N, risk, contributions, attribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import polars as pl

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.market_monitor.evidence import kupiec_p
from wealthos_pipeline.portfolio import linking, performance
from wealthos_pipeline.reporting.lens import Lens, groups
from wealthos_pipeline.reporting.report import (
    Attribution,
    Contribution,
    Exceptions,
    MandateReport,
    Proposal,
    Risk,
    Track,
    TradeLine,
)

BENCHMARK = "equal_weight"
YEAR = 252
EFFECTS = (
    "allocation",
    "selection",
    "interaction",
    "trading",
    "cost",
    "borrow",
    "cash",
    "residual",
)
WINDOWS = (("21 sessions", 21), ("252 sessions", 252))
CRISES = (2008, 2020)


def outcomes(lens: Lens) -> pl.DataFrame:
    """VaR outcomes known by the day with their forecasts: one row a mandate and forecast date."""
    known = lens(
        "portfolio.risk_outcomes",
        "mandate",
        "run_kind",
        "date",
        "pnl_next",
        "exception_95",
        "exception_99",
        "known_at",
    )
    forecast = lens("portfolio.risk", "mandate", "run_kind", "date", "var_95", "var_99")
    return (
        known.filter(pl.col("run_kind") == "backtest")
        .join(forecast, on=["mandate", "run_kind", "date"], how="left")
        .sort("mandate", "date")
        .drop("run_kind", "known_at")
    )


def proposals(lens: Lens, mandates: Sequence[Mandate]) -> tuple[Proposal, ...]:
    """The latest decision of each mandate: the live one of the day, else the backtest's last."""
    solves = lens("portfolio.solves", sessions=160)
    trades = lens("portfolio.trades", sessions=160)
    known = {m.name: m for m in mandates}
    names = sorted((set(solves["mandate"]) | {m.name for m in mandates if m.live}) - {BENCHMARK})
    out = []
    for name in names:
        mine = solves.filter(
            (pl.col("mandate") == name)
            & (
                (pl.col("run_kind") == "backtest")
                | ((pl.col("run_kind") == "live") & (pl.col("date") == lens.day))
            )
        ).sort("date", "run_kind")
        mandate = known.get(name)
        title = mandate.title if mandate else name
        currency = mandate.base_currency if mandate else ""
        if mine.is_empty():
            out.append(
                Proposal(
                    name,
                    title,
                    currency,
                    "",
                    None,
                    "none",
                    "No decision is known yet.",
                    None,
                    None,
                    (),
                )
            )
            continue
        live = mine.filter(pl.col("run_kind") == "live")
        solve = (live if live.height else mine).row(-1, named=True)
        lines = trades.filter(
            (pl.col("mandate") == name)
            & (pl.col("run_kind") == solve["run_kind"])
            & (pl.col("date") == solve["date"])
        )
        out.append(
            Proposal(
                name,
                title,
                currency,
                solve["run_kind"],
                solve["date"],
                solve["status"],
                solve["message"] or "",
                solve["turnover"],
                solve["ic"],
                _trade_lines(lines),
            )
        )
    return tuple(out)


def _trade_lines(lines: pl.DataFrame) -> tuple[TradeLine, ...]:
    """Largest value first."""
    lines = lines.with_columns(pl.col("value").abs().alias("size")).sort(
        "size", "instrument_id", descending=[True, False]
    )
    return tuple(
        TradeLine(
            r["instrument_id"],
            r["side"],
            r["weight_before"],
            r["weight"],
            r["value"],
            r["units"],
            r["cost"],
            r["reason"],
        )
        for r in lines.iter_rows(named=True)
    )


def collect(
    lens: Lens, mandates: Sequence[Mandate], nav: pl.DataFrame, judged: pl.DataFrame
) -> tuple[MandateReport, ...]:
    """One report a mandate that has a NAV or targets, by name."""
    risk = lens("portfolio.risk", sessions=10).filter(pl.col("run_kind") == "backtest")
    targets = lens("portfolio.targets", sessions=160)
    effects = lens("portfolio.attribution", sessions=YEAR + 1).filter(
        (pl.col("run_kind") == "backtest")
        & (pl.col("benchmark") == BENCHMARK)
        & (pl.col("scheme") == "sector")
    )
    rates = performance.risk_free(
        lens("clean.series", "series", "tenor", "date", "value"), lens.calendar
    )
    navs = dict(groups(nav, "mandate", ["date"]))
    known = {m.name: m for m in mandates}
    names = sorted((set(navs) | set(targets["mandate"]) | set(known)) - {BENCHMARK})
    out = []
    for name in names:
        mandate = known.get(name)
        mine = navs.get(name)
        why = "" if mine is not None else "No net asset value is on record."
        if mine is not None and not mine["names"].to_numpy().any():
            mine, why = None, "It has held cash only since its start: there is nothing to measure."
        bench = navs.get(BENCHMARK)
        if mine is not None and bench is not None and bench["date"][0] < mine["date"][0]:
            bench = performance.since(bench, mine["date"][0])
        decided, contributions = _contributions(targets.filter(pl.col("mandate") == name), lens.day)
        out.append(
            MandateReport(
                name=name,
                title=mandate.title if mandate else name,
                note=mandate.note if mandate else "",
                track=None if mine is None else track(mine, rates),
                benchmark=None
                if mine is None or bench is None or bench.is_empty()
                else track(bench, rates),
                risk=_risk(risk.filter(pl.col("mandate") == name)),
                exceptions=_exceptions(judged.filter(pl.col("mandate") == name)),
                contributions=contributions,
                contributions_at=decided,
                attribution=_attribution(effects.filter(pl.col("mandate") == name), mine, bench),
                why=why,
                holding_assumed=mandate.holding_period_days if mandate else None,
            )
        )
    return tuple(out)


def track(nav: pl.DataFrame, rates: pl.DataFrame | None = None) -> Track:
    """Performance of one mandate (its ``portfolio.nav`` rows) as ``portfolio.performance`` has it.

    rates: ``date, rf`` or None. Returns over calendar windows are simple up to a year and a year's
    geometrically beyond; None where the series is shorter. Numbers a year need 252 sessions.
    """
    row = performance.summary(nav, rates).row(0, named=True)
    falls = performance.drawdowns(nav)
    deepest = falls.sort("drawdown", "date").row(0, named=True)
    first, end = row["start"], row["end"]
    yearly = row["sessions"] >= YEAR
    known = None if rates is None else rates.filter(pl.col("date").is_between(first, end))
    windows = {
        "1 month": (_back(end, 1), False),
        "year to date": (date(end.year - 1, 12, 31), False),
        "1 year": (_back(end, 12), False),
        "3 years p.a.": (_back(end, 36), True),
        "10 years p.a.": (_back(end, 120), True),
    }
    return Track(
        start=first,
        end=end,
        nav=float(nav["nav"][-1]),
        returns={
            name: performance.window_return(nav, start, annual=annual)
            for name, (start, annual) in windows.items()
        },
        annual_return=row["annual_return"] if yearly else None,
        volatility=row["annual_volatility"],
        sharpe=row["sharpe"],
        sharpe_excess=row["sharpe_excess"],
        risk_free_share=row["risk_free_coverage"],
        risk_free_until=None if known is None else known.select(pl.col("date").max()).item(),
        max_drawdown=0.0 - deepest["drawdown"],
        max_drawdown_at=deepest["date"],
        drawdown=0.0 - falls["drawdown"][-1],
        turnover=row["annual_turnover"] if yearly else None,
        holding=row["holding_period_days"] if yearly else None,
        cost=row["annual_cost"] if yearly else None,
        names=int(nav["names"][-1]),
    )


def _back(day: date, months: int) -> date:
    return pl.Series([day]).dt.offset_by(f"-{months}mo").item()


def _risk(rows: pl.DataFrame) -> Risk | None:
    rows = rows.sort("date").drop_nulls("var_99")
    if rows.is_empty():
        return None
    r = rows.row(-1, named=True)
    return Risk(r["date"], r["volatility"], r["var_95"], r["var_99"], r["cvar_95"], r["cvar_99"])


def _exceptions(rows: pl.DataFrame) -> tuple[Exceptions, ...]:
    """Whole history, the last 252 outcomes, and the crises that lie in the history."""
    out = []
    windows = [("since start", rows), ("last 252", rows.tail(YEAR))]
    for year in CRISES:
        inside = rows.filter(pl.col("date").dt.year() == year)
        if inside.height:
            windows.append((str(year), inside))
    for level in (0.99, 0.95):
        column = f"exception_{round(100 * level)}"
        for window, part in windows:
            judged = part.drop_nulls(column)
            n, seen = judged.height, int(judged[column].sum() or 0)
            if n:
                out.append(
                    Exceptions(window, level, n, seen, n * (1 - level), kupiec_p(seen, n, level))
                )
    return tuple(out)


def _contributions(rows: pl.DataFrame, day: date) -> tuple[date | None, tuple[Contribution, ...]]:
    """Names of the latest target portfolio, by share of variance."""
    live = rows.filter((pl.col("run_kind") == "live") & (pl.col("date") == day))
    rows = live if live.height else rows.filter(pl.col("run_kind") == "backtest")
    if rows.is_empty():
        return None, ()
    last = rows.select(pl.col("date").max()).item()
    rows = rows.filter(pl.col("date") == last).sort(
        "risk_contribution", "instrument_id", descending=[True, False]
    )
    return last, tuple(
        Contribution(r["instrument_id"], r["weight"], r["weight_benchmark"], r["risk_contribution"])
        for r in rows.iter_rows(named=True)
    )


def _attribution(
    effects: pl.DataFrame, nav: pl.DataFrame | None, bench: pl.DataFrame | None
) -> tuple[Attribution, ...]:
    """Effects linked by window, beside the difference of the compounded returns of the NAVs."""
    days = effects["date"].unique().sort()
    if nav is None or bench is None or days.is_empty():
        return ()
    out = []
    for window, length in WINDOWS:
        if len(days) < length:
            continue
        part = effects.filter(pl.col("date") >= days[-length])
        linked = linking.linked(part, pl.concat([nav, bench]))
        by_effect: dict[str, list[float]] = {}
        by_sector: dict[str, list[list[float]]] = {}
        for effect, group, value in linked.select("effect", "group", "value").iter_rows():
            by_effect.setdefault(effect, []).append(value)
            if effect in EFFECTS[:3]:
                pair = by_sector.setdefault(group, [[], []])
                pair[0 if effect == "allocation" else 1].append(value)
        order = [*EFFECTS, *sorted(set(by_effect) - set(EFFECTS))]
        mine, theirs = (_compounded(rows, days.tail(length)) for rows in (nav, bench))
        out.append(
            Attribution(
                window=window,
                sessions=length,
                effects=tuple((e, math.fsum(by_effect[e])) for e in order if e in by_effect),
                sectors=tuple(
                    (s, math.fsum(a), math.fsum(b)) for s, (a, b) in sorted(by_sector.items())
                ),
                active=mine - theirs,
            )
        )
    return tuple(out)


def _compounded(nav: pl.DataFrame, days: pl.Series) -> float:
    """Compounded net return over ``days``."""
    rows = nav.filter(pl.col("date").is_in(days.implode())).sort("date")
    return math.prod(1.0 + r for r in rows["return_net"].to_list()) - 1.0
