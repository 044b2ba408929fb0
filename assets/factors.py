"""Factors: one asset a family. Scores and how the factors did: ``assets.evaluation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from assets._shared.stage import Frames, Stage, Watch, Work, stage
from assets._shared.watch import FactorWatch
from assets.evaluation import score_stages
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import Family, Library

if TYPE_CHECKING:
    from wealthos_pipeline.factors import admission

ADMISSIONS = "factors.admissions"

_PRICE_COLUMNS = (
    "instrument_id", "date", "slot", "open", "high", "low", "close", "volume",
    "split_index", "tr_index", "dollar_volume", "known_at",
)  # fmt: skip


_ENGINE = tuple(
    f"factors/{name}"
    for name in (
        "definition.py", "engine.py", "execution.py", "expression.py", "functions.py", "groups.py",
        "dated.py", "kernels", "library.py", "masks.py", "operators.py", "panel.py", "parser.py", "plan.py", "sections.py",
        "statements.py",
    )
)  # fmt: skip
"""What computes a factor's values; its own definition is hashed by its family."""


@stage(
    contract(ADMISSIONS),
    group="factors",
    inputs=("clean.prices", "clean.series", "clean.instruments"),
    always=True,
)
def admissions(work: Work) -> Mapping[str, pl.DataFrame]:
    """Own factors tried before they are used: cut off at random sessions, with no more history than
    they ask for, asked twice. What fails stays out, with the reason; everything else goes on."""
    from wealthos_pipeline.factors import admission

    session = work.session
    stored = session.lake.read(ADMISSIONS)
    todo = admission.pending(session.library, stored, again=session.full)
    tried = []
    if todo:
        since = session.calendar.offset(work.end, -admission.sessions(todo))
        market = _market(work, since, [k for f in todo for k in _figures(f)])
        tried = [admission.examine(f, market) for f in todo]
    now = admission.state(session.library, stored, tried, session.now)
    for name, reason in now.filter(~pl.col("admitted")).select("factor", "reason").iter_rows():
        work.say(ADMISSIONS, name, f"left out: {reason}")
    return {ADMISSIONS: now}


def _market(work: Work, since: date | None, figures: Sequence[_Figure]) -> admission.Market:
    """What factors are computed from, from ``since`` on (None: everything)."""
    from wealthos_pipeline.data.processors.membership import traded
    from wealthos_pipeline.factors import statements
    from wealthos_pipeline.factors.admission import Market

    lake = work.session.lake
    prices = traded(lake.read("clean.prices", start=since, columns=[*_PRICE_COLUMNS, "flags"]))
    reported = None
    if figures:
        ends = None if since is None else statements.oldest(figures, since)
        reported = lake.read("clean.fundamentals", start=ends)
    return Market(
        prices.select(_PRICE_COLUMNS),
        lake.read("clean.series", start=since),
        lake.read("clean.instruments"),
        work.session.calendar,
        reported,
    )


_Figure = tuple[str, str]


def _figures(factor: Factor) -> tuple[_Figure, ...]:
    """``(metric, period)`` of the reports that a factor reads."""
    return tuple(k for keys in Family(
        factor.asset_class, factor.family, (factor,)).statements.values() for k in keys)  # fmt: skip


def _family_stage(family: Family, watch: Watch) -> Stage:
    figures = [k for f in family.factors for k in _figures(f)]

    def compute(work: Work) -> Mapping[str, Frames]:
        from wealthos_pipeline.factors import admission

        session = work.session
        own = session.library.family(family.asset_class, family.name)
        market = _market(work, work.back(own.lookback), figures)
        if not own.own:
            most = work.settings.factors.memory_mb
            return {family.table: market.blocks(own, work.start, memory_mb=most)}
        refused = admission.refused(session.lake.read(ADMISSIONS), session.library)
        values, failed = admission.compute_admitted(own, market, refused, work.start)
        for name, reason in failed.items():
            session.failed_factors[name] = f"its computation failed: {reason}"
            work.say(family.table, name, f"has no values: {reason}")
        return {family.table: values}

    titles = "\n".join(f"- `{f.name}`: {f.title} ({f.reference})" for f in family.factors)
    compute.__doc__ = f"{family.asset_class.value} factors, family {family.name}.\n\n{titles}"
    first = family.factors[0].name
    inputs = ["clean.prices", "clean.series", "clean.instruments"]
    inputs += ["clean.fundamentals"] if figures else []
    inputs += [ADMISSIONS] if family.own else []
    return stage(
        family.contract,
        group="factors",
        inputs=inputs,
        definition=lambda settings, h=family.definition_hash: h,  # type: ignore[misc]
        rooms=_ENGINE,
        plots={family.table: first},
        name=family.table,
        watch=watch,
    )(compute)


def stages(library: Library) -> tuple[Stage, ...]:
    """All factor stages of a library."""
    watch = FactorWatch()
    families = (_family_stage(f, watch) for f in library.families())
    return (admissions, *families, *score_stages(library))
