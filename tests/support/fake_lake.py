"""Every table that a report reads, seeded, through the contracts; read as the lake reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import fake_market as market
import numpy as np
import polars as pl
from fake_books import books
from fake_market import FIRST, LAST, SYMBOLS, Frames
from fake_portfolio import portfolios

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources.base import Bias, SourceInfo
from wealthos_pipeline.market_monitor import opportunity, scanner
from wealthos_pipeline.ml.classifiers import regime
from wealthos_pipeline.utils.config import Settings

RUN, BEFORE = "20221228T213000Z-b2", "20221227T213000Z-a1"
MANDATES = (
    Mandate(name="core_equity", title="Core equity, ridge alphas", live=True),
    Mandate(name="minimum_variance", title="Minimum variance", objective="min_variance"),
    Mandate(name="impossible", title="A mandate that cannot be met", max_volatility=0.01),
)


class Lake:
    """Frames by table name, read as the lake reads them."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.reads: list[str] = []

    def __call__(
        self, table: str, *, start: date | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        declared = contract(table)
        self.reads.append(table)
        frame = self.frames.get(table, declared.empty())
        if start is not None and declared.date_column:
            frame = frame.filter(pl.col(declared.date_column) >= start)
        return frame.select(columns or list(declared.column_names))


def fake_frames(names: Sequence[str] = tuple(SYMBOLS), *, first: date = FIRST) -> Frames:
    """All tables. More names than ``SYMBOLS`` may be asked for, with a later ``first``."""
    rng = np.random.default_rng(20221228)
    calendar = TradingCalendar()
    days = calendar.frame(first, LAST)
    dates = days["date"].to_list()
    ids = [market.instrument(s) for s in names]
    ret = market.returns(rng, dates, len(ids))
    frames: Frames = {}
    prices = market.prices(days, ids, ret)
    frames["clean.prices"] = prices
    frames["clean.instruments"] = market.instruments(names, calendar, first)
    frames["clean.series"] = market.series(rng, days)
    frames["monitor.regime"] = regime.filtered(regime.market_returns(prices), calendar)
    frames["monitor.signals"] = scanner.scan(prices, start=calendar.offset(LAST, -30))
    frames["factors.performance"] = market.performance(rng, days)
    frames |= market.models(rng, days, ids)
    frames |= portfolios(rng, days, ids, names, ret)
    frames |= books(np.random.default_rng(7), calendar, frames, ids, names)
    scores = market.scores(rng, ids)
    frames["monitor.opportunities"] = opportunity.rank(
        frames["models.predictions"].filter(pl.col("date") == LAST),
        scores,
        calendar=calendar,
        evaluation=frames["models.evaluation"],
        factors=market.fake_factors(),
        instruments=frames["clean.instruments"],
    )
    frames |= _meta(days, frames)
    frames["record.issued"] = _record(rng, frames)
    return frames


def fake_info() -> SourceInfo:
    return SourceInfo(
        name="sample",
        title="Sample: 20 US stocks, 1990–2022",
        licence="BSD-3-Clause, as the packages that carry the files",
        provenance="Adjusted closes from the data sets of skfolio; indices from arch",
        biases=(
            Bias("survivorship", "Survivorship", "20 survivors chosen in hindsight"),
            Bias("back_adjustment", "Back-adjustment", "closes adjusted on 2023-01-01 <later>"),
            Bias("price_index", "Price index", "the index has no dividends & flatters comparisons"),
        ),
        missing={
            "volume": "the sample has closes only",
            "yield_curve": "the sample has no Treasury curve, only monthly AAA and BAA yields",
        },
    )


def _meta(days: pl.DataFrame, frames: Frames) -> Frames:
    last = days["date"][-1]
    coverage = pl.concat(
        [
            frames["clean.prices"].group_by("date").agg(pl.len().alias("rows")).with_columns(table=pl.lit(t), expected=pl.lit(20 if t == "clean.prices" else 21))
            for t in ("clean.prices", "factors.scores_equity")
        ]
    ).with_columns(pl.col("rows").cast(pl.Int64))  # fmt: skip
    at = datetime(2022, 12, 28, 22, tzinfo=UTC)
    checks = [
        {
            "run_id": RUN, "table": t, "check": c, "column": col, "severity": "error",
            "success": True, "unexpected": 0, "rows": 20, "examples": "[]", "checked_at": at,
        }
        for t in ("clean.prices", "clean.series", "models.predictions", "portfolio.targets")
        for c, col in (("not_null", "date"), ("unique_key", ""), ("positive", "close"))
    ]  # fmt: skip
    runs = [
        {
            "run_id": run, "started_at": at - timedelta(days=d), "finished_at": at - timedelta(days=d),
            "as_of": day, "source": "sample", "tables": "{}", "consumed": "{}", "code_version": "abc",
            "config_hash": Settings().config_hash, "config": json.dumps({}), "lock_hash": "00",
            "lake_version": 1,
        }
        for run, d, day in ((BEFORE, 1, date(2022, 12, 27)), (RUN, 0, last))
    ]  # fmt: skip
    quarantine = {
        "table": "raw.prices", "source": "sample", "symbol": "GE", "date": date(2009, 3, 9),
        "fetched_at": datetime(2022, 12, 1, tzinfo=UTC), "rule": "spike", "detail": "x",
        "known_at": datetime(2009, 3, 10, tzinfo=UTC),
    }  # fmt: skip
    return {
        "meta.coverage": contract("meta.coverage").conform(coverage),
        "meta.checks": contract("meta.checks").conform(pl.DataFrame(checks)),
        "meta.runs": contract("meta.runs").conform(pl.DataFrame(runs)),
        "clean.quarantine": contract("clean.quarantine").conform(pl.DataFrame([quarantine])),
    }


def _record(rng: np.random.Generator, frames: Frames) -> pl.DataFrame:
    """What the two runs issued: the second is what the tables say, the first a little different."""
    issued = contract("record.issued")
    targets = frames["portfolio.targets"].filter(
        (pl.col("run_kind") == "live") & (pl.col("mandate") != "equal_weight")
    )
    said = frames["models.predictions"].filter(pl.col("kind") == "live")
    parts = []
    for run, day, shake in ((BEFORE, date(2022, 12, 27), 1.0), (RUN, LAST, 0.0)):
        at = datetime.combine(day, datetime.min.time(), tzinfo=UTC) + timedelta(hours=22)
        for kind, frame, owner, name, column, size in (
            ("target", targets, "mandate", "weight", "weight", 0.01),
            ("prediction", said, "model", "z", "z", 0.3),
        ):
            value = frame[column].to_numpy() + shake * size * rng.standard_normal(frame.height)
            parts.append(
                frame.select(pl.col(owner).alias("mandate"), "instrument_id").with_columns(
                    run_id=pl.lit(run), kind=pl.lit(kind), date=pl.lit(day), name=pl.lit(name),
                    horizon=pl.lit(20 if kind == "prediction" else 0, pl.Int32),
                    value=pl.Series(value), text=pl.lit(None, pl.String), issued_at=pl.lit(at),
                )
            )  # fmt: skip
        parts.append(
            pl.DataFrame(
                {
                    "mandate": "", "instrument_id": ["impossible", "wti"], "run_id": run,
                    "kind": "alert", "date": day,
                    "name": ["mandate_infeasible", "stale_series"], "horizon": 0, "value": None,
                    "text": "critical: words", "issued_at": at,
                }
            ).with_columns(pl.col("issued_at").cast(pl.Datetime("us", "UTC")))
        )  # fmt: skip
    cast = [p.cast({k: v for k, v in issued.schema().items() if k in p.columns}) for p in parts]
    return issued.conform(pl.concat([p.select(issued.column_names) for p in cast]))
