"""Scores computed again for one date are those that a run stores, bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import synthetic

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import membership
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.factors import transforms
from wealthos_pipeline.reporting.diff.predictions import Context, rescored
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2019, 9, 1, tzinfo=UTC)


def test_rescored_equals_the_scores_of_the_whole_history(
    tmp_path: Path, synthetic_prices: pl.DataFrame, calendar: TradingCalendar
) -> None:
    settings = load_settings(root=tmp_path / "data")
    names = synthetic_prices["instrument_id"].unique().sort()
    first = synthetic_prices["date"].min()
    instruments = contract("clean.instruments").conform(
        pl.DataFrame(
            {
                "instrument_id": names, "symbol": names, "asset_class": ["equity"] * len(names),
                "sector": [synthetic.SECTORS[i % 6] for i in range(len(names))],
                "exchange": ["XNYS"] * len(names), "currency": ["USD"] * len(names),
                "source": ["synthetic"] * len(names), "valid_from": [first] * len(names),
                "static": [True] * len(names), "known_at": [NOW] * len(names),
            }
        )
    )  # fmt: skip
    lake = Lake(settings.root, calendar=calendar)
    with Run.open(lake, settings, now=NOW, run_id="r") as run:
        lake.restate("clean.prices", contract("clean.prices").conform(synthetic_prices), now=NOW)
        lake.replace("clean.instruments", instruments)
        manifest = run.publish(as_of=synthetic.END, source="synthetic", finished_at=NOW)
    context = Context(calendar, factors.load(), settings.models, settings.factors)

    universe = membership.universe(
        synthetic_prices.select("date", "instrument_id"), contract("clean.membership").empty()
    )
    whole = universe.select("date", "instrument_id").sort("date", "instrument_id")
    for family in context.library.families():
        if family.asset_class == AssetClass.EQUITY:
            part = factors.compute(
                family,
                synthetic_prices,
                contract("clean.series").empty(),
                instruments=instruments,
                calendar=calendar,
            )
            whole = whole.join(
                part, on=["date", "instrument_id"], how="left", maintain_order="left"
            )
    day = calendar.offset(synthetic.END, -100)
    wanted = transforms.scores(
        whole.filter(pl.col("date") == day), universe, instruments, settings.factors
    )
    found = rescored(Snapshot(lake, manifest), day, context)
    assert found.height == wanted.height > 20
    columns = sorted(wanted.columns)
    assert wanted.select(columns).equals(found.select(columns))
