"""What a mandate should do on the latest date: targets, a certificate, trades with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - ``date`` is an argument's name here
from functools import partial

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import decision
from wealthos_pipeline.portfolio.accounts import Marks
from wealthos_pipeline.portfolio.backtest import CASH, State, views
from wealthos_pipeline.portfolio.panel import Panel, build, returns_before, volume_on
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.utils.config import PortfolioSettings

RUN_KIND = "live"
DECIDED = ("targets", "solves", "trades", "binding")
"""Tables that a decision leaves."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Rows of ``portfolio.targets, solves, trades, binding`` with ``run_kind = 'live'``.

    seconds: wall time of the solve, None where there was none.
    """

    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame
    binding: pl.DataFrame
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class _Book:
    """Value of what is held at the close of the date, by name, and cash; where it came from."""

    values: dict[str, float]
    cash: float
    origin: str
    faults: tuple[str, ...] = ()

    @property
    def nav(self) -> float:
        return self.cash + float(np.array([v for _, v in sorted(self.values.items())]).sum())


def propose(
    mandate: Mandate,
    *,
    date: Date,
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    risk_model: RiskModel | None,
    holdings: pl.DataFrame | None,
    paper: State | None,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    late: int = 0,
    lots: pl.DataFrame | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    warning: str = "",
) -> Proposal:
    """Targets and trades for the close of ``date``; no rows at all for a mandate with ``live: false``.

    The arguments are those of ``situate``. Nothing is traded where it says why.
    """
    if not mandate.live:
        return _proposal({t: contract(f"portfolio.{t}").empty() for t in DECIDED})
    situation, obstacle = situate(
        mandate,
        date=date,
        prices=prices,
        universe=universe,
        predictions=predictions,
        evaluation=evaluation,
        instruments=instruments,
        risk_model=risk_model,
        holdings=holdings,
        paper=paper,
        calendar=calendar,
        settings=settings,
        late=late,
        lots=lots,
        scores=scores,
        warning=warning,
    )
    if obstacle is not None:
        made = decision.held(mandate, situation, RUN_KIND, obstacle)
    else:
        made = decision.decide(mandate, situation, run_kind=RUN_KIND)
    return _proposal({t: _conformed(t, getattr(made, t)) for t in DECIDED}, made.seconds)


def _proposal(rows: Mapping[str, pl.DataFrame], seconds: float | None = None) -> Proposal:
    return Proposal(rows["targets"], rows["solves"], rows["trades"], rows["binding"], seconds)


def situate(
    mandate: Mandate,
    *,
    date: Date,
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    instruments: pl.DataFrame,
    risk_model: RiskModel | None,
    holdings: pl.DataFrame | None,
    paper: State | None,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    late: int = 0,
    lots: pl.DataFrame | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    warning: str = "",
) -> tuple[decision.Situation, str | None]:
    """What a live decision at the close of ``date`` looks at; and why none may be made, or None.

    prices: ``clean.prices`` rows of the last ``backtest.LOOKBACK`` sessions at least (and back to the
    date of the holdings, so that splits since then are applied: needs ``split_index``).
    predictions: kind ``live`` is used. risk_model: that of ``date``.
    holdings: ``clean.holdings``; the mandate's rows of its latest date ≤ ``date`` are the book. None,
    or no such rows: the paper portfolio of the backtest (``paper``), drifted to ``date``; without
    that, cash of ``initial_nav``. ``solves.message`` says which. A name without a bar on ``date``, or
    with a stale one, is frozen at its last price; one that never had a price makes the decision
    ``held``, with its name. lots: ``clean.lots`` of those holdings, for a mandate with a tax policy.
    scores: standardised scores by factor and name, on ``date``. warning: what a person should know of
    the holdings supplied, told in the decision's message.
    Where the price of something held is in doubt (``Panel.doubtful``), the portfolio's value and risk
    are too, and the decision is ``held``.
    late: sessions that have closed since ``date`` and whose prices are missing. With any, every price
    is stale, and the decision is ``held``: nothing is traded.
    """
    book = _supplied(mandate, date, prices, holdings, calendar)
    supplied = book is not None
    if book is None:
        book = _paper(mandate, date, prices, paper, calendar)
    names = set(universe["instrument_id"].unique().to_list()) | set(book.values)
    panel = build(prices, calendar, ids=names)
    row = panel.row(calendar.slot(date))
    close: dict[str, float] = {}
    inside = 0 <= row < len(panel.dates)
    if inside:
        traded = np.flatnonzero(panel.tradable(row))
        close = {panel.ids[i]: float(panel.close[row, i]) for i in traded}
    members = universe.filter(pl.col("date") == date)["instrument_id"].sort().to_list()
    rows = predictions.filter(
        (pl.col("model") == mandate.model) & (pl.col("kind") == "live") & (pl.col("date") == date)
    )
    doubtful = []
    if panel.doubtful is not None and inside:
        odd = {panel.ids[i] for i in np.flatnonzero(panel.doubtful[row])}
        doubtful = sorted(odd & {name for name, value in book.values.items() if value})
    z, ic, note = views(mandate, rows, evaluation, calendar, settings, date)
    nav = book.nav
    broken = bool(book.faults) or not nav > 0
    situation = decision.Situation(
        date=date,
        nav=nav,
        members=tuple(members),
        traded=frozenset(close),
        held={} if broken else {name: v / nav for name, v in sorted(book.values.items())},
        close=close,
        risk=risk_model,
        z=z,
        ic=ic,
        labels=decision.labels(instruments, date),
        note=" ".join(x for x in (note, book.origin, warning if supplied else "") if x),
        scores=scores or {},
        lots=_lots(mandate, date, prices, lots, calendar) if supplied else (),
        volume=volume_on(panel, row) if inside else {},
        returns=partial(returns_before, panel, row, settings.risk_sessions) if inside else None,
    )
    if late:
        return situation, too_late(date, late)
    if doubtful:
        return situation, in_doubt(date, doubtful)
    return situation, " ".join(book.faults) or None


def reach(bars: pl.LazyFrame, holdings: pl.DataFrame, day: Date, start: Date) -> Date:
    """``start``, or the earliest of the last bars before the statements of ``holdings`` that count on ``day``: they
    give a price to what has stopped trading, and the splits since.

    bars: ``instrument_id, date`` of ``clean.prices``.
    """
    mine = holdings.filter(pl.col("date") <= day)
    stated = mine.group_by("mandate").agg(pl.col("date").max())["date"].min()
    if not isinstance(stated, Date):
        return start
    known = bars.filter(
        (pl.col("date") <= max(stated, start))
        & pl.col("instrument_id").is_in(mine["instrument_id"].unique().to_list())
    )
    before = pl.col("date").filter(pl.col("date") <= stated).max()
    last = known.group_by("instrument_id").agg(pl.coalesce(before, pl.col("date").min()))
    first = last.select(pl.col("date").min()).collect().item()
    return start if first is None else min(start, first)


def _lots(
    mandate: Mandate,
    day: Date,
    prices: pl.DataFrame | Panel,
    lots: pl.DataFrame | None,
    calendar: TradingCalendar,
) -> tuple[decision.Lot, ...]:
    """The lots of the supplied holdings, in shares of ``day``: splits since the statement are applied."""
    if lots is None or mandate.tax is None:
        return ()
    mine = lots.filter((pl.col("mandate") == mandate.name) & (pl.col("date") <= day))
    mine = mine.filter(pl.col("date") == pl.col("date").max()).sort("instrument_id", "lot")
    if not mine.height:
        return ()
    since: Date = mine["date"][0]
    panel = build(prices, calendar, ids=mine["instrument_id"].unique())
    last, then = _last_bars(panel, day, calendar), _last_bars(panel, since, calendar)
    out = []
    for name, lot, units, cost, acquired in mine.select(
        "instrument_id", "lot", "units", "cost", "acquired"
    ).iter_rows():
        now = last[name][1] if name in last else 1.0
        ratio = now / (then[name][1] if name in then else now)
        out.append(decision.Lot(name, lot, float(units) * ratio, float(cost) / ratio, acquired))
    return tuple(out)


def too_late(day: Date, late: int) -> str:
    """Why nothing is proposed on prices that are ``late`` sessions old."""
    return (
        f"The last prices are of {day}, and {late} session{'s have' if late > 1 else ' has'} closed "
        "since: every price is stale, so nothing is proposed until newer ones have come."
    )


def in_doubt(day: Date, names: Sequence[str]) -> str:
    """Why nothing is proposed where a price of the book may be an error."""
    return (
        f"The price of {', '.join(names)} on {day} is in doubt, and with it the value of the portfolio: "
        "nothing is proposed until the next bar, or the vendor's list of splits, tells."
    )


def _conformed(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    table = contract(f"portfolio.{name}")
    return table.conform(frame.select(table.column_names))


def _supplied(
    mandate: Mandate,
    day: Date,
    prices: pl.DataFrame | Panel,
    holdings: pl.DataFrame | None,
    calendar: TradingCalendar,
) -> _Book | None:
    """The book that a person supplied; None where there is none for this mandate."""
    if holdings is None:
        return None
    mine = holdings.filter((pl.col("mandate") == mandate.name) & (pl.col("date") <= day))
    if not mine.height:
        return None
    since: Date = mine["date"].max()  # type: ignore[assignment]
    mine = mine.filter(pl.col("date") == since).sort("instrument_id")
    origin = f"From the holdings supplied for {since}."
    cash = float(mine.filter(pl.col("instrument_id") == CASH)["units"].sum())
    rows = mine.filter((pl.col("instrument_id") != CASH) & (pl.col("units") != 0.0))
    values: dict[str, float] = {}
    unpriced = []
    panel = build(prices, calendar, ids=rows["instrument_id"])
    last, then = _last_bars(panel, day, calendar), _last_bars(panel, since, calendar)
    for name, units in rows.select("instrument_id", "units").iter_rows():
        if name not in last:
            unpriced.append(name)
            continue
        price, split = last[name]
        before = then[name][1] if name in then else split
        values[name] = float(units) * price * split / before
    faults = (
        (
            f"The holdings of {since} contain {', '.join(unpriced)}, for which no price is known, so "
            "the portfolio cannot be valued and nothing is proposed. Correct the holdings file or "
            "add the prices.",
        )
        if unpriced
        else ()
    )
    return _Book(values, cash, origin, faults)


def _last_bars(
    panel: Panel, day: Date, calendar: TradingCalendar
) -> dict[str, tuple[float, float]]:
    """Last close and split index (1 if not given) at or before ``day``, by name."""
    rows = min(panel.row(calendar.slot(day)) + 1, len(panel.dates))
    if rows <= 0:
        return {}
    seen = np.isfinite(panel.close[:rows])
    last = rows - 1 - seen[::-1].argmax(axis=0)
    out = {}
    for i in np.flatnonzero(seen.any(axis=0)):
        split = 1.0 if panel.split is None else float(panel.split[last[i], i])
        out[panel.ids[i]] = (float(panel.close[last[i], i]), split)
    return out


def _paper(
    mandate: Mandate,
    day: Date,
    prices: pl.DataFrame | Panel,
    paper: State | None,
    calendar: TradingCalendar,
) -> _Book:
    """The backtest's portfolio, drifted to ``day``; cash where there is none yet."""
    past = None if paper is None else paper.positions.filter(pl.col("date") <= day)
    if paper is None or past is None or not past.height:
        return _Book({}, float(mandate.initial_nav), "From cash: nothing is held yet.")
    rows = past.filter(pl.col("date") == past["date"].max()).sort("instrument_id")
    # shares change in positions alone; cash also with dividends and fees, so it is that of the last value
    cash = float(paper.nav.filter(pl.col("date") <= day).sort("date")["cash"][-1])
    rows = rows.filter(pl.col("instrument_id") != CASH)
    panel = build(prices, calendar, ids=rows["instrument_id"])
    row = min(panel.row(calendar.slot(day)), len(panel.dates) - 1)
    marks = Marks.of(panel)
    code = {name: i for i, name in enumerate(panel.ids)}
    values, unpriced = {}, []
    for name, units in rows.select("instrument_id", "units").iter_rows():
        mark = float(marks.close[row, code[name]]) if name in code and row >= 0 else float("nan")
        if np.isfinite(mark):
            values[name] = float(units) * mark
        else:
            unpriced.append(name)
    faults = (
        (
            f"The paper portfolio holds {', '.join(unpriced)}, for which no price was handed in; "
            "nothing is proposed.",
        )
        if unpriced
        else ()
    )
    origin = "From the paper portfolio of the backtest, as no holdings were supplied."
    return _Book(values, cash, origin, faults)
