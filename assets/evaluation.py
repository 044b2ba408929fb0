"""Scores of the factors, how the factors did, and the summary of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library


def score_stages(library: Library) -> Sequence[Stage]:
    """Scores, performance and summary of a library."""
    from wealthos_pipeline import factors

    families = tuple(f for f in library.families() if f.asset_class == AssetClass.EQUITY)
    tables = tuple(f.table for f in families)
    scores_table = factors.scores_contract(library)

    def joined(work: Work, keys: pl.DataFrame, *, back: int) -> pl.DataFrame:
        values = keys.select("date", "instrument_id").sort("date", "instrument_id")
        for table in tables:
            part = work.read(table, back=back)
            values = values.join(
                part, on=["date", "instrument_id"], how="left", maintain_order="left"
            )
        return values

    @stage(
        scores_table,
        group="factors",
        inputs=(*tables, "clean.membership", "clean.instruments", "clean.prices"),
        definition=lambda s: (
            s.factors.winsor_mads,
            s.factors.min_names,
            s.factors.min_sector_names,
        ),
        rooms=("factors/transforms.py", "data/processors/membership.py"),
    )
    def scores(work: Work) -> Mapping[str, pl.DataFrame]:
        """Winsorised, standardised, sector-neutral scores over the members at each date."""
        from wealthos_pipeline.factors import transforms

        universe = work.universe(back=0)
        values = universe.select("date", "instrument_id").sort("date", "instrument_id")
        for table in tables:
            part = work.read(table, back=0)
            values = values.join(
                part, on=["date", "instrument_id"], how="left", maintain_order="left"
            )
        out = transforms.scores(
            values,
            universe,
            work.session.lake.read("clean.instruments"),
            work.settings.factors,
            start=work.start,
        )
        return {scores_table.name: out}

    @stage(
        contract("factors.performance"),
        group="factors",
        inputs=(scores_table.name, *tables, "clean.prices", "clean.membership"),
        definition=lambda s: s.factors.horizons,
        rooms=(
            "factors/evaluation.py",
            "factors/labels.py",
            "factors/transforms.py",
            "factors/kernels",
        ),
        reach=lambda s: max(s.factors.horizons) + 2,
        plots={"factors.performance": "rank_ic"},
    )
    def performance(work: Work) -> Mapping[str, pl.DataFrame]:
        """Information coefficients and bucket returns, known when the label is: of scores over the
        members at the date, and of raw values over all names where these are not the same."""
        from wealthos_pipeline.factors import evaluation

        back = evaluation.back(work.settings.factors.horizons)
        bars = work.prices(
            back=back, columns=["instrument_id", "date", "slot", "tr_index", "flags", "known_at"]
        )
        members = work.universe(back=back)
        everyone = work.session.lake.read("clean.membership").height > 0
        out = evaluation.performance(
            work.read(scores_table.name, back=back),
            bars,
            members,
            work.session.library,
            work.settings.factors.horizons,
            work.session.calendar,
            start=work.start,
            end_known=work.session.now,
            values=joined(work, bars, back=back) if everyone else None,
        )
        return {"factors.performance": out}

    @stage(
        contract("factors.summary"),
        group="factors",
        inputs=("factors.performance", scores_table.name),
        rooms=("factors/evaluation.py", "stats"),
    )
    def summary(work: Work) -> Mapping[str, pl.DataFrame]:
        """Mean IC with conservative t-statistics and the smallest IC that the panel can show."""
        from wealthos_pipeline.factors import evaluation

        lake = work.session.lake
        coverage = evaluation.coverage(lake.scan(scores_table.name).collect())
        return {
            "factors.summary": evaluation.summary(
                lake.read("factors.performance"), work.session.library, coverage
            )
        }

    return scores, performance, summary
