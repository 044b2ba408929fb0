"""What stands beside the portfolios of the seeded market: parts of risk, stress, limits, orders, dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from fake_market import SECTORS, Frames

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar

KNOWN = datetime(2022, 12, 28, 21, 30, tzinfo=UTC)
STRESSES = (
    ("gfc", "Global financial crisis, September to November 2008", "historical", -0.31),
    ("covid", "Covid crash, February and March 2020", "historical", -0.27),
    ("rates", "Rates up by one percentage point", "factor", -0.04),
    ("oil", "Oil down by 30 % <user>", "user", 0.02),
)


def books(
    rng: np.random.Generator,
    calendar: TradingCalendar,
    frames: Frames,
    ids: list[str],
    names: Sequence[str],
) -> Frames:
    """Tables by name, for the two mandates that hold something; ``last`` is that of the targets."""
    last: date = frames["portfolio.targets"]["date"].max()  # type: ignore[assignment]
    ahead = [calendar.offset(last, k) for k in (2, 5, 11)]
    out: dict[str, list[dict[str, object]]] = {}

    def add(table: str, **row: object) -> None:
        out.setdefault(table, []).append(row)

    sector = [SECTORS[i % len(SECTORS)] for i in range(len(ids))]
    for mandate in ("core_equity", "minimum_variance"):
        run = {"mandate": mandate, "run_kind": "backtest", "date": last}
        live = {**run, "run_kind": "live"}
        parts = rng.dirichlet(np.ones(len(ids))) * 0.16
        total = float(parts.sum())
        rows = [("name", name, float(v)) for name, v in zip(ids, parts, strict=True)]
        rows += [
            ("sector", s, float(sum(v for v, x in zip(parts, sector, strict=True) if x == s)))
            for s in SECTORS
        ]
        split = rng.dirichlet(np.ones(5)) * total
        rows += [("factor", f"pc{k + 1:02d}", float(v)) for k, v in enumerate(split[:4])]
        rows += [("specific", "", float(split[4])), ("total", "", total)]
        for kind, name, v in rows:
            add(
                "portfolio.risk_contributions", **run, kind=kind, name=name, exposure=0.05,
                marginal=0.1, component=v, share=v / total,
            )  # fmt: skip
        for scenario, title, kind, pnl in STRESSES:
            add(
                "portfolio.stress", **run, scenario=scenario, title=title, kind=kind,
                pnl=pnl * rng.uniform(0.8, 1.2), covered=0.9, proxied=0.1, worst_name=ids[3],
                worst_pnl=pnl / 5, detail="total returns of what is held, its weights fixed",
            )  # fmt: skip
        add(
            "portfolio.liquidity", **run, participation=0.1, days_50=0.4, days_90=1.7, days_100=6.0,
            known_weight=0.97, unknown_weight=0.03, slowest=ids[-1],
        )  # fmt: skip
        for stage, passed in (("held", False), ("target", True), ("orders", True)):
            for limit, words, value in (
                ("sector Energy", "Energy at most 15 %", 0.17),
                ("budget", "weights sum to 100 %", 1.0),
            ):
                bad = limit.startswith("sector") and not passed
                add(
                    "portfolio.compliance", **live, stage=stage, limit=limit, kind="sectors",
                    words=words, worst=None, value=value if bad else value - 0.03, bound=0.15,
                    excess=0.02 if bad else 0.0, tolerance=1e-8, passed=not bad,
                )  # fmt: skip
        for limit, words, price in (
            ("turnover", "Turnover at most 8 %", 0.0121),
            ("upper", "Weight of XOM at most 15 %", 0.002),
        ):
            add(
                "portfolio.binding", **live, limit=limit, kind=limit, words=words, value=0.08,
                price=price,
            )  # fmt: skip
        own = {"mandate": mandate, "date": last}
        for k, (name, side) in enumerate(zip(ids[:6], ("buy", "sell") * 3, strict=True)):
            order = f"{mandate}-{k}"
            sign = 1.0 if side == "buy" else -1.0
            add(
                "portfolio.orders", **own, order_id=order, instrument_id=name, sequence=k, side=side,
                shares=sign * 1000.0 * (k + 1), unrounded_shares=sign * 1000.4 * (k + 1),
                held_shares=5000.0, price=50.0, value=sign * 50_000.0 * (k + 1), cost=25.0 * (k + 1),
                weight_before=0.05, target_weight=0.06, weight_after=0.06, participation=0.01,
                reason="expects +0.4 % over 20 sessions <b>",
            )  # fmt: skip
            add(
                "portfolio.shortfall", **own, until=last, order_id=order, instrument_id=name,
                side=side, ordered=1000.0, filled=800.0, decision_price=50.0, arrival_price=50.1,
                average_price=50.2, last_price=50.3, delay=80.0, execution=80.0, fees=10.0,
                opportunity=60.0, total=230.0, modelled=150.0, done=False, known_at=KNOWN,
            )  # fmt: skip
        add(
            "portfolio.order_lists", **own, state="ready", decision="optimal", nav=1e7,
            cash_before=1000.0, cash_after=2500.0, cash_target=0.0, sells=600_000.0, buys=450_000.0,
            cost=525.0, orders=6, dropped=2, breaches=0, message=None,
        )  # fmt: skip
        for name, day, kind, detail in zip(
            ids[:3],
            ahead,
            ("ex_dividend", "earnings", "index_change"),
            ("0.42 USD a share", "after the close", "leaves the index"),
            strict=True,
        ):
            add(
                "portfolio.calendar", mandate=mandate, run_kind="live", as_of=last,
                instrument_id=name, date=day, kind=kind, detail=detail, known_at=KNOWN,
            )  # fmt: skip
    made = {
        table: contract(table).conform(
            pl.DataFrame(rows, infer_schema_length=None).cast(
                {k: v for k, v in contract(table).schema().items() if k in rows[0]}
            )
        )
        for table, rows in out.items()
    }
    return made | {"portfolio.attribution": _with_factors(rng, frames)}


def _with_factors(rng: np.random.Generator, frames: Frames) -> pl.DataFrame:
    """The rows by sector, and the same active returns by four factors and the single names."""
    rows = frames["portfolio.attribution"]
    keys = ["mandate", "run_kind", "date"]
    rest = rows.filter(pl.col("effect").is_in(["cost", "residual"]))
    active = (
        rows.filter(~pl.col("effect").is_in(["cost", "residual"]))
        .group_by(keys)
        .agg(pl.col("value").sum())
        .sort(keys)
    )
    shares = rng.dirichlet(np.ones(5), size=active.height)
    parts = [
        active.with_columns(
            scheme=pl.lit("factor"), benchmark=pl.lit("equal_weight"),
            effect=pl.lit("factor" if k < 4 else "specific"),
            group=pl.lit(f"pc{k + 1:02d}" if k < 4 else ""),
            value=pl.col("value") * pl.Series(shares[:, k]),
        ).select(rows.columns)
        for k in range(5)
    ]  # fmt: skip
    return contract("portfolio.attribution").conform(
        pl.concat([rows, rest.with_columns(scheme=pl.lit("factor")), *parts])
    )
