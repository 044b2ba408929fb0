"""Scores of the factors, how the factors did, the summary of that, and who says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.factors import Family, Library
from wealthos_pipeline.utils.config import Settings


def score_stages(library: Library) -> Sequence[Stage]:
    """Scores, performance, summary and redundancy of a library."""
    from wealthos_pipeline import factors
    from wealthos_pipeline.factors import transforms

    families = [f for f in library.families() if f.asset_class == AssetClass.EQUITY]
    others = [f.table for f in library.families() if f.asset_class != AssetClass.EQUITY]
    held = transforms.score_tables(library)
    # table of scores → tables of the values that it is made of
    sources = {
        table: tuple(f.table for f in families if {x.name for x in f.factors} & set(names))
        for table, names in held.items()
    }
    scored = [_scores(c, sources[c.name]) for c in factors.scores_contracts(library)]
    return *scored, _performance(sources, families), _summary(held, others), _redundancy(held)


def _joined(work: Work, keys: pl.DataFrame, tables: Sequence[str], *, back: int) -> pl.DataFrame:
    """Values of several families at ``keys``."""
    values = keys.select("date", "instrument_id").sort("date", "instrument_id")
    for table in tables:
        part = work.read(table, back=back)
        values = values.join(part, on=["date", "instrument_id"], how="left", maintain_order="left")
    return values


def _scores(table: TableContract, tables: Sequence[str]) -> Stage:
    def scores(work: Work) -> Mapping[str, pl.DataFrame]:
        """Winsorised, standardised, sector-neutral scores over the members at each date."""
        from wealthos_pipeline.factors import transforms

        universe = work.universe(back=0)
        out = transforms.scores(
            _joined(work, universe, tables, back=0),
            universe,
            work.session.lake.read("clean.instruments"),
            work.settings.factors,
            start=work.start,
        )
        return {table.name: out}

    return stage(
        table,
        group="factors",
        inputs=(*tables, "clean.membership", "clean.instruments", "clean.prices"),
        definition=lambda s: (
            s.factors.winsor_mads,
            s.factors.min_names,
            s.factors.min_sector_names,
        ),
        rooms=("factors/transforms.py", "data/processors/membership.py"),
        name=table.name.replace("factors.scores_equity", "scores"),
    )(scores)


def _performance(sources: Mapping[str, Sequence[str]], families: Sequence[Family]) -> Stage:
    @stage(
        contract("factors.performance"),
        group="factors",
        inputs=(*sources, *(f.table for f in families), "clean.prices", "clean.membership"),
        definition=lambda s: s.factors.horizons,
        rooms=(
            "factors/evaluation.py",
            "factors/labels.py",
            "factors/transforms.py",
            "factors/kernels/section.py",
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
        parts = [
            evaluation.performance(
                work.read(scores, back=back),
                bars,
                members,
                work.session.library,
                work.settings.factors.horizons,
                work.session.calendar,
                start=work.start,
                end_known=work.session.now,
                values=_joined(work, bars, tables, back=back) if everyone else None,
            )
            for scores, tables in sources.items()
        ]
        return {"factors.performance": pl.concat(parts)}

    return performance


def _summary(held: Mapping[str, Sequence[str]], timed: Sequence[str]) -> Stage:
    @stage(
        contract("factors.summary"),
        group="factors",
        inputs=(
            "factors.performance",
            *held,
            *timed,
            "clean.prices",
            "clean.series",
            "clean.instruments",
        ),
        definition=lambda s: (s.factors.costs_bp, s.factors.horizons, len(_models(s))),
        rooms=("factors/evaluation.py", "factors/timing.py", "factors/deflated.py"),
    )
    def summary(work: Work) -> Mapping[str, pl.DataFrame]:
        """Mean IC, how sure it is, what survives the number of factors tried, and costs; factors that
        are the same for all names, and those of single markets, are judged through time."""
        from wealthos_pipeline.factors import deflated, evaluation, multiple, timing

        session, lake = work.session, work.session.lake
        settings = work.settings.factors
        coverage = {
            name: share
            for table in held
            for name, share in evaluation.coverage(lake.scan(table)).items()
        }
        performance = lake.read("factors.performance")
        across = evaluation.summary(
            performance,
            session.library,
            coverage,
            costs_bp=settings.costs_bp,
        )
        columns = ["instrument_id", "date", "slot", "tr_index", "flags"]
        through = timing.summary(
            {t: lake.read(t) for t in timed},
            work.prices(columns=columns, equity=False),
            lake.read("clean.series"),
            session.library,
            settings.horizons,
            session.calendar,
            session.now,
            instruments=lake.read("clean.instruments"),
        )
        rows = multiple.judged(pl.concat([across, through]))
        tried = len(_models(work.settings))
        return {
            "factors.summary": deflated.with_deflated(
                rows, performance, costs_bp=settings.costs_bp, further=tried
            )
        }

    return summary


def _models(settings: Settings) -> list[ModelSpec]:
    """Models that are tried beside the factors."""
    from wealthos_pipeline.ml import specs

    return specs.load(settings.models)


def _redundancy(held: Mapping[str, Sequence[str]]) -> Stage:
    @stage(
        contract("factors.correlation"),
        contract("factors.clusters"),
        group="factors",
        inputs=(*held, "clean.prices"),
        definition=lambda s: (s.factors.base, max(s.factors.horizons)),
        rooms=("factors/redundancy.py", "factors/labels.py"),
    )
    def redundancy(work: Work) -> Mapping[str, pl.DataFrame]:
        """Correlations among factors, clusters, and what each factor adds to the base set: made again
        when a month begins, when its labels are known, or when something older has changed."""
        from wealthos_pipeline.factors import redundancy as room
        from wealthos_pipeline.factors import transforms

        session, lake = work.session, work.session.lake
        settings, calendar = work.settings.factors, session.calendar
        horizon = max(settings.horizons)
        days = lake.scan("factors.scores_equity", columns=["date"]).unique().collect()["date"]
        months = room.months(days, calendar)
        if not room.due(months, horizon, work.start, work.end, calendar):
            return {}
        bars = work.prices(columns=["instrument_id", "date", "slot", "tr_index", "flags"])
        parts = [lake.scan(t).filter(pl.col("date").is_in(months)).collect() for t in held]
        return room.report(
            transforms.side_by_side(parts),
            room.labels_of(bars, months, horizon, calendar, session.now),
            {n: session.library.factors[n].direction for names in held.values() for n in names},
            horizon,
            calendar,
            base=settings.base,
        )

    return redundancy
