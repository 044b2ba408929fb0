"""What must be true of every portfolio before anybody looks at it, as lists of what is not, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import accounts
from wealthos_pipeline.portfolio.certificate import MAX_VIOLATION
from wealthos_pipeline.portfolio.panel import Panel, build

SOLVED = ("optimal", "rule")
"""Statuses whose weights keep the mandate's budget as it is written."""
KEYS = ("mandate", "run_kind", "date")


def weights_sum(
    targets: pl.DataFrame, solves: pl.DataFrame, mandates: Iterable[Mandate]
) -> list[str]:
    """Decisions whose weights do not sum to ``budget − cash_buffer``, to 1e-8.

    In whole lots they may sum to less, by one lot at most, which is no larger than the largest weight;
    ``limits_hold`` knows what the lot was.
    """
    wanted = pl.DataFrame(
        [(m.name, m.budget - m.cash_buffer, m.max_weight if m.lots else 0.0) for m in mandates],
        schema={"mandate": pl.String, "wanted": pl.Float64, "lot": pl.Float64},
        orient="row",
    )
    sums = (
        targets.group_by(KEYS)
        .agg(pl.col("weight").sum())
        .join(solves.filter(pl.col("status").is_in(SOLVED)).select(KEYS), on=KEYS, how="semi")
        .join(wanted, on="mandate", how="inner")
        .with_columns(missing=pl.col("wanted") - pl.col("weight"))
        .filter(
            (pl.col("missing") < -MAX_VIOLATION)
            | (pl.col("missing") > pl.col("lot") + MAX_VIOLATION)
        )
        .sort(KEYS)
    )
    return [
        f"{mandate} ({kind}) on {day}: weights sum to {total:.10f}, expected {goal:g}"
        for mandate, kind, day, total, goal in sums.select(*KEYS, "weight", "wanted").iter_rows()
    ]


def limits_hold(solves: pl.DataFrame) -> list[str]:
    """Answers that miss a limit by more than 1e-8, or have no certificate."""
    bad = solves.filter(
        (pl.col("violation") > MAX_VIOLATION)
        | (pl.col("status").is_in(["optimal", "softened"]) & pl.col("violation").is_null())
    ).sort(KEYS)
    return [
        f"{mandate} ({kind}) on {day}: largest violation "
        + ("unknown" if violation is None else f"{violation:.1e}")
        for mandate, kind, day, violation in bad.select(*KEYS, "violation").iter_rows()
    ]


def accounts_add_up(
    frames: Mapping[str, pl.DataFrame],
    state: Mapping[str, pl.DataFrame] | None,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar,
) -> list[str]:
    """Sessions without a value, or on which some money has no event, or an event no money.

    frames: rows of the backtests made now: ``nav``, ``positions``, ``events``. state: stored ``nav`` and ``positions``
    of earlier dates, of which the last of each portfolio is where the new ones begin.
    """
    nav = frames["nav"]
    if not nav.height:
        return []
    first = nav["date"].min()
    positions = frames["positions"]
    if state is not None:
        keys = ["mandate", "run_kind"]
        old = state["nav"].filter(pl.col("date") < first)
        old = old.filter(pl.col("date") == pl.col("date").max().over(keys))
        nav = pl.concat([old.select(nav.columns), nav])
        shots = state["positions"].filter(pl.col("date") < first)
        shots = shots.filter(pl.col("date") == pl.col("date").max().over(keys))
        positions = pl.concat([shots.select(positions.columns), positions])
    panel = build(prices, calendar)
    rest = accounts.reconcile(frames["events"], positions, nav, panel)
    days = nav["date"].sort()
    return accounts.faults(rest, nav, calendar.sessions(days[0], days[-1]))
