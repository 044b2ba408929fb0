"""Factors: one asset a family. Scores and how the factors did: ``assets.evaluation``."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from assets.evaluation import score_stages
from wealthos_pipeline.factors import Family, Library

_PRICE_COLUMNS = (
    "instrument_id", "date", "slot", "open", "high", "low", "close", "volume",
    "split_index", "tr_index", "dollar_volume", "known_at",
)  # fmt: skip


_ENGINE = tuple(
    f"factors/{name}"
    for name in (
        "engine.py", "execution.py", "expression.py", "kernels", "library.py", "operators.py",
        "panel.py", "plan.py",
    )
)  # fmt: skip
"""What computes a factor's values; its own definition is hashed by its family."""


def _family_stage(family: Family) -> Stage:
    def compute(work: Work) -> Mapping[str, pl.DataFrame]:
        from wealthos_pipeline import factors

        session = work.session
        own = session.library.family(family.asset_class, family.name)
        values = factors.compute(
            own,
            work.prices(back=own.lookback, columns=_PRICE_COLUMNS, equity=False, traded=True),
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
        rooms=_ENGINE,
        plots={family.table: first},
        name=family.table,
    )(compute)


def stages(library: Library) -> tuple[Stage, ...]:
    """All factor stages of a library."""
    return (*(_family_stage(f) for f in library.families()), *score_stages(library))
