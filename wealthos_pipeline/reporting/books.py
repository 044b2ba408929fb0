"""From tables to a ``Book`` a mandate: what the last decision, the limits and the parts of risk were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.core.tables import TABLES
from wealthos_pipeline.portfolio import linking, risk
from wealthos_pipeline.reporting import frontiers
from wealthos_pipeline.reporting.book import (
    Binding,
    Book,
    Breach,
    Certificate,
    Compliance,
    Dated,
    Liquidity,
    OrderList,
    RiskPart,
    Shortfall,
    StressLine,
    Waterfall,
)
from wealthos_pipeline.reporting.lens import Lens, groups
from wealthos_pipeline.reporting.report import MandateReport
from wealthos_pipeline.reporting.words import count

BENCHMARK = "equal_weight"
YEAR = 252
STEPS = 9
"""Steps of a waterfall at most, the residual apart; smaller ones are put together."""
ORDERS = 25
AHEAD, BEHIND = 60, 5
"""Sessions of the calendar of held names shown after and before the page's."""

ABSENT = {
    "risk": "no risk contributions of what is held are known",
    "stress": "no stress test of what is held is known",
    "liquidity": "no days to liquidate are known (they need volumes)",
    "compliance": "no limits have been judged before the trade",
    "orders": "no orders have been written (they need a live decision)",
    "shortfall": "no fills have been handed in",
    "calendar": "no dates of held names are known",
}

_DECLARED = frozenset(t.name for t in TABLES)


def collect(
    lens: Lens,
    reports: Sequence[MandateReport],
    mandates: Sequence[Mandate],
    nav: pl.DataFrame,
) -> tuple[Book, ...]:
    """One book a mandate of ``reports`` that holds or decided something."""
    known = {m.name: m for m in mandates}
    tables = _Tables(lens)
    navs = dict(groups(nav, "mandate", ["date"]))
    effects = lens("portfolio.attribution", sessions=YEAR + 1).filter(
        (pl.col("run_kind") == "backtest") & (pl.col("benchmark") == BENCHMARK)
    )
    out = []
    for m in reports:
        certificate = _certificate(tables, m.name, lens.day)
        if m.track is None and certificate is None:
            continue
        mandate = known.get(m.name)
        mine = navs.get(m.name) if m.track is not None else None  # cash alone is nothing to explain
        liquidity = _liquidity(tables, m.name, lens.day)
        compliance = _compliance(tables, m.name, lens.day)
        orders = _orders(tables, m.name, lens.day)
        shortfall = _shortfall(tables, m.name)
        calendar = _calendar(tables, m.name, lens.day)
        frontier, why = _frontier(tables, m.name, mandate, certificate)
        contributions, total, at = _risk_parts(tables, m.name, lens.day)
        stress, stressed = _stress(tables, m.name, lens.day)
        empty = {
            "risk": not contributions,
            "stress": not stress,
            "liquidity": liquidity is None,
            "compliance": compliance is None,
            "orders": orders is None,
            "shortfall": not shortfall,
            "calendar": not calendar,
        }
        out.append(
            Book(
                name=m.name,
                title=m.title,
                currency=mandate.base_currency if mandate else "",
                holding_assumed=m.holding_assumed,
                holding=m.track.holding if m.track else None,
                certificate=certificate,
                binding=_binding(tables, m.name, certificate),
                waterfalls=waterfalls(
                    effects.filter(pl.col("mandate") == m.name), mine, navs.get(BENCHMARK)
                ),
                risk_parts=contributions,
                risk_total=total,
                risk_date=at,
                stress=stress,
                stress_date=stressed,
                weights=_weights(tables, m.name),
                rolling=rolling(mine, navs.get(BENCHMARK)),
                frontier=frontier,
                absent=(
                    *((k, ABSENT[k]) for k, none in empty.items() if none),
                    *((("frontier", why),) if why else ()),
                ),
                liquidity=liquidity,
                compliance=compliance,
                orders=orders,
                shortfall=shortfall,
                calendar=calendar,
            )
        )
    return tuple(out)


class _Tables:
    """Known rows of tables, each read once; empty for a table that this program does not have."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.kept: dict[str, pl.DataFrame] = {}

    def __call__(self, table: str, sessions: int | None = None) -> pl.DataFrame:
        if table not in self.kept:
            self.kept[table] = (
                self.lens(table, sessions=sessions)
                if table in _DECLARED
                else pl.DataFrame(schema={"mandate": pl.String, "run_kind": pl.String})
            )
        return self.kept[table]

    def of(self, table: str, mandate: str, sessions: int | None = None) -> pl.DataFrame:
        return self(table, sessions).filter(pl.col("mandate") == mandate)


def _latest(rows: pl.DataFrame, day: date, column: str = "date") -> pl.DataFrame:
    """Rows of the last date: the live ones of ``day`` where there are some, else the backtest's."""
    if rows.is_empty():
        return rows
    if "run_kind" in rows.columns:
        live = rows.filter((pl.col("run_kind") == "live") & (pl.col(column) == day))
        rows = live if live.height else rows.filter(pl.col("run_kind") == "backtest")
    return rows.filter(pl.col(column) == pl.col(column).max())


def _certificate(tables: _Tables, name: str, day: date) -> Certificate | None:
    rows = _latest(tables.of("portfolio.solves", name, 160), day)
    if rows.is_empty():
        return None
    r = rows.row(0, named=True)
    return Certificate(
        r["date"],
        r["run_kind"],
        r["status"],
        r.get("objective_kind") or "",
        r.get("solver") or "",
        r.get("iterations"),
        r["objective"],
        r["violation"],
        r["gap"],
        r["message"] or "",
    )


def _binding(tables: _Tables, name: str, c: Certificate | None) -> tuple[Binding, ...]:
    """Limits that bind at the decision of the certificate, dearest first."""
    rows = tables.of("portfolio.binding", name, 160)
    if c is None or rows.is_empty():
        return ()
    rows = rows.filter((pl.col("run_kind") == c.kind) & (pl.col("date") == c.decided))
    rows = rows.sort(pl.col("price").abs(), "limit", descending=[True, False])
    return tuple(Binding(r["words"], r["kind"], r["price"]) for r in rows.iter_rows(named=True))


def _risk_parts(
    tables: _Tables, name: str, day: date
) -> tuple[tuple[RiskPart, ...], float | None, date | None]:
    rows = _latest(tables.of("portfolio.risk_contributions", name, 10), day)
    if rows.is_empty():
        return (), None, None
    total = rows.filter(pl.col("kind") == "total")
    parts = rows.filter(pl.col("kind") != "total").sort(
        "kind", pl.col("component"), "name", descending=[False, True, False]
    )
    return (
        tuple(
            RiskPart(r["kind"], r["name"], r["exposure"], r["component"], r["share"])
            for r in parts.iter_rows(named=True)
        ),
        total["component"][0] if total.height else None,
        rows["date"][0],
    )


def _stress(tables: _Tables, name: str, day: date) -> tuple[tuple[StressLine, ...], date | None]:
    rows = _latest(tables.of("portfolio.stress", name, 10), day)
    if rows.is_empty():
        return (), None
    rows = rows.sort("kind", "pnl", "scenario", nulls_last=True)
    return (
        tuple(
            StressLine(
                r["title"],
                r["kind"],
                r["pnl"],
                r["proxied"],
                r["worst_name"] or "",
                r["worst_pnl"],
                r["detail"],
            )
            for r in rows.iter_rows(named=True)
        ),
        rows["date"][0],
    )


def _liquidity(tables: _Tables, name: str, day: date) -> Liquidity | None:
    rows = _latest(tables.of("portfolio.liquidity", name, 10), day)
    if rows.is_empty():
        return None
    r = rows.row(0, named=True)
    return Liquidity(
        r["date"],
        r["participation"],
        r["days_50"],
        r["days_90"],
        r["days_100"],
        r["unknown_weight"],
        r["slowest"] or "",
    )


def _compliance(tables: _Tables, name: str, day: date) -> Compliance | None:
    rows = _latest(tables.of("portfolio.compliance", name, 160), day)
    if rows.is_empty():
        return None
    stages = [
        (s, int(part["passed"].sum()), part.height)
        for s in ("held", "target", "orders")
        if (part := rows.filter(pl.col("stage") == s)).height
    ]
    failed = rows.filter(~pl.col("passed")).sort(
        "stage", "excess", "limit", descending=[False, True, False]
    )
    return Compliance(
        rows["date"][0],
        tuple(stages),
        tuple(
            Breach(r["stage"], r["words"], r["worst"] or "", r["value"], r["bound"])
            for r in failed.iter_rows(named=True)
        ),
    )  # fmt: skip


def _orders(tables: _Tables, name: str, day: date) -> OrderList | None:
    rows = _latest(tables.of("portfolio.order_lists", name, 10), day)
    if rows.is_empty():
        return None
    r = rows.row(0, named=True)
    lines = tables.of("portfolio.orders", name, 10)
    lines = lines.filter((pl.col("date") == r["date"]) & (pl.col("shares") != 0.0)).sort(
        pl.col("value").abs(), "instrument_id", descending=[True, False]
    )
    return OrderList(
        r["date"], r["state"], r["orders"], r["dropped"], r["sells"], r["buys"], r["cost"],
        r["cash_after"], r["breaches"], r["message"] or "",
        tuple(
            lines.head(ORDERS)
            .select("side", "instrument_id", "shares", "value", "cost", "reason")
            .iter_rows()
        ),
    )  # fmt: skip


def _shortfall(tables: _Tables, name: str) -> tuple[Shortfall, ...]:
    """The last five decisions with fills, newest first, each at its last known session."""
    rows = tables.of("portfolio.shortfall", name, 160)
    if rows.is_empty():
        return ()
    last = rows.filter(pl.col("until") == pl.col("until").max().over("order_id"))
    out = []
    decisions = last.sort("date", "order_id", descending=[True, False])
    for part in decisions.partition_by("date", maintain_order=True)[:5]:
        ordered = float(part["ordered"].abs().sum())
        total = None if part["total"].null_count() else math.fsum(part["total"].to_list())
        out.append(
            Shortfall(
                part["date"][0],
                part["until"].max(),  # type: ignore[arg-type]
                part.height,
                float(part["filled"].abs().sum()) / ordered if ordered else 0.0,
                total,
                math.fsum(part["modelled"].to_list()),
                bool(part["done"].all()),
            )
        )
    return tuple(out)


def _calendar(tables: _Tables, name: str, day: date) -> tuple[Dated, ...]:
    rows = tables.of("portfolio.calendar", name)
    if rows.is_empty():
        return ()
    rows = _latest(rows, day, "as_of")
    clock = tables.lens.calendar
    near = rows.filter(
        pl.col("date").is_between(clock.offset(day, -BEHIND), clock.offset(day, AHEAD))
    ).sort("date", "instrument_id", "kind", "detail")
    return tuple(
        Dated(r["date"], r["instrument_id"], r["kind"], r["detail"])
        for r in near.iter_rows(named=True)
    )


def _weights(tables: _Tables, name: str) -> pl.DataFrame:
    rows = tables.of("portfolio.targets", name).filter(pl.col("run_kind") == "backtest")
    return rows.select("date", "instrument_id", "weight").sort("date", "instrument_id")


def _frontier(
    tables: _Tables, name: str, mandate: Mandate | None, c: Certificate | None
) -> tuple[pl.DataFrame, str]:
    """Points around the decision of the certificate, and why there are none."""
    if c is None or c.violation is None:
        return pl.DataFrame(), "nothing was solved, so there is no frontier to draw"
    rows = tables.of("portfolio.targets", name).filter(
        (pl.col("run_kind") == c.kind) & (pl.col("date") == c.decided)
    )
    stored = [
        tables(f"portfolio.risk_{part}", 160).filter(pl.col("date") == c.decided)
        for part in ("exposures", "factors")
    ]
    model = risk.from_frames(*stored).get(c.decided)
    return frontiers.points(rows, model, mandate)


def rolling(nav: pl.DataFrame | None, bench: pl.DataFrame | None) -> pl.DataFrame:
    """Statistics over the last 252 sessions, by session: ``date, volatility, tracking_error, active``.

    nav, bench: ``portfolio.nav`` rows of one portfolio each. Volatilities are sample standard deviations of
    daily net returns × √252; active is the compounded return less the benchmark's. Empty before a year.
    """
    empty = pl.DataFrame(
        schema={
            "date": pl.Date,
            "volatility": pl.Float64,
            "tracking_error": pl.Float64,
            "active": pl.Float64,
        }
    )
    if nav is None or bench is None:
        return empty
    both = (
        nav.select("date", pl.col("return_net").alias("p"))
        .join(bench.select("date", pl.col("return_net").alias("b")), on="date", how="inner")
        .drop_nulls()
        .sort("date")
    )
    if both.height < YEAR:
        return empty
    p, b = both["p"].to_numpy(), both["b"].to_numpy()
    windows = np.lib.stride_tricks.sliding_window_view
    root = math.sqrt(YEAR)

    def grown(r: np.ndarray) -> np.ndarray:
        return np.exp(windows(np.log1p(np.maximum(r, -0.999999)), YEAR).sum(axis=1)) - 1.0

    return pl.DataFrame(
        {
            "date": both["date"][YEAR - 1 :],
            "volatility": windows(p, YEAR).std(axis=1, ddof=1) * root,
            "tracking_error": windows(p - b, YEAR).std(axis=1, ddof=1) * root,
            "active": grown(p) - grown(b),
        }
    )


def waterfalls(
    effects: pl.DataFrame, nav: pl.DataFrame | None, bench: pl.DataFrame | None
) -> tuple[Waterfall, ...]:
    """Linked effects of the last 252 attributed sessions (all of them where there are fewer), by scheme.

    effects: one mandate's rows against the benchmark. Brinson effects stand by effect and the allocation's and
    selection's largest groups with them; factors one by one, the largest first.
    """
    if nav is None or bench is None or effects.is_empty():
        return ()
    out = []
    for (scheme,), part in sorted(
        effects.partition_by("scheme", as_dict=True).items(), reverse=True
    ):
        days = part["date"].unique().sort().tail(YEAR)
        rows = part.filter(pl.col("date") >= days[0])
        lines = linking.linked(rows, pl.concat([nav, bench]))
        grown = [
            linking.compounded(
                side.filter(pl.col("date").is_in(days.implode()))["return_net"].to_numpy()
            )
            for side in (nav, bench)
        ]
        out.append(
            Waterfall(str(scheme), f"{len(days)} sessions", _steps(lines), grown[0] - grown[1])
        )
    return tuple(out)  # fmt: skip


def _steps(lines: pl.DataFrame) -> tuple[tuple[str, float], ...]:
    """Labelled steps in order of size; whole-portfolio lines after them, the residual last."""
    own: dict[str, list[float]] = {}
    rest: dict[str, list[float]] = {}
    for effect, group, value in lines.select("effect", "group", "value").iter_rows():
        if effect in ("allocation", "selection", "interaction", "factor"):
            label = {"allocation": "allocation", "factor": ""}.get(effect, "selection")
            own.setdefault(f"{group}, {label}" if label else group, []).append(value)
        else:
            rest.setdefault(effect, []).append(value)
    steps = sorted(((k, math.fsum(v)) for k, v in own.items()), key=lambda s: (-abs(s[1]), s[0]))
    shown = list(steps[:STEPS])
    if steps[STEPS:]:
        shown.append((count(len(steps) - STEPS, "other"), math.fsum(v for _, v in steps[STEPS:])))
    ends = [
        (e, math.fsum(rest[e]))
        for e in ("specific", "trading", "cost", "borrow", "cash", "residual")
        if e in rest
    ]
    return (*shown, *(s for s in ends if s[0] == "residual" or abs(s[1]) >= 5e-7))
