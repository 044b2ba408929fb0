"""Factors: one asset a family, then scores, performance and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Family, Library

_PRICE_COLUMNS = (
    "instrument_id", "date", "slot", "open", "high", "low", "close", "volume",
    "split_index", "tr_index", "dollar_volume", "known_at",
)  # fmt: skip


def _family_stage(family: Family) -> Stage:
    def compute(work: Work) -> Mapping[str, pl.DataFrame]:
        from wealthos_pipeline import factors

        session = work.session
        own = session.library.family(family.asset_class, family.name)
        values = factors.compute(
            own,
            work.prices(back=own.lookback, columns=_PRICE_COLUMNS, equity=False),
            work.read("clean.series"),
            instruments=session.lake.read("clean.instruments"),
            calendar=session.calendar,
            start=work.start,
        )
        return {family.table: values}

    titles = "\n".join(f"- `{f.name}`: {f.title} ({f.reference})" for f in family.factors)
    compute.__doc__ = f"{family.asset_class.value} factors, family {family.name}.\n\n{titles}"
    first = family.factors[0].name
    return stage(
        family.contract,
        group="factors",
        inputs=("clean.prices", "clean.series", "clean.instruments"),
        definition=lambda settings, h=family.definition_hash: h,  # type: ignore[misc]
        rooms=("factors/engine.py", "factors/operators", "factors/expression.py"),
        plots={family.table: first},
        name=family.table,
    )(compute)


def _score_stages(library: Library) -> Sequence[Stage]:
    from wealthos_pipeline import factors

    families = tuple(f for f in library.families() if f.asset_class == AssetClass.EQUITY)
    tables = tuple(f.table for f in families)
    scores_table = factors.scores_contract(library)

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
        inputs=(scores_table.name, "clean.prices"),
        definition=lambda s: s.factors.horizons,
        rooms=("factors/evaluation.py", "factors/labels.py"),
        reach=lambda s: max(s.factors.horizons) + 2,
        plots={"factors.performance": "rank_ic"},
    )
    def performance(work: Work) -> Mapping[str, pl.DataFrame]:
        """Information coefficients and bucket returns of every score, known when the label is."""
        from wealthos_pipeline.factors import evaluation

        out = evaluation.performance(
            work.read(scores_table.name, back=1),
            work.prices(back=1, columns=["instrument_id", "date", "slot", "tr_index", "known_at"]),
            work.universe(back=1),
            work.session.library,
            work.settings.factors.horizons,
            work.session.calendar,
            start=work.start,
            end_known=work.session.now,
        )
        return {"factors.performance": out}

    @stage(
        contract("factors.summary"),
        group="factors",
        inputs=("factors.performance",),
        rooms=("factors/evaluation.py", "stats"),
    )
    def summary(work: Work) -> Mapping[str, pl.DataFrame]:
        """Mean IC with conservative t-statistics and the smallest IC that the panel can show."""
        from wealthos_pipeline.factors import evaluation

        lake = work.session.lake
        scores = lake.read(scores_table.name)
        rows = max(scores.height, 1)
        coverage = {c: 1.0 - scores[c].null_count() / rows for c in scores.columns[2:]}
        return {
            "factors.summary": evaluation.summary(
                lake.read("factors.performance"), work.session.library, coverage
            )
        }

    return scores, performance, summary


def stages(library: Library) -> tuple[Stage, ...]:
    """All factor stages of a library."""
    return (*(_family_stage(f) for f in library.families()), *_score_stages(library))
