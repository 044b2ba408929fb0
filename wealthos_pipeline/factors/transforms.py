"""Scores: winsorise, standardise, neutralise on sectors, standardise; one date at a time."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import Column, TableContract, wide_contract
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.utils.config import FactorSettings

SCORES = "factors.scores_equity"


def scores_contract(library: Library) -> TableContract:
    """The contract of ``factors.scores_equity``: one Float32 column an equity factor."""
    return wide_contract(
        SCORES,
        "Equity factors winsorised, standardised, neutralised on sectors, standardised, for the "
        "universe's members at the date. Direction is not applied.",
        [
            Column(n, "f32", f"{library.factors[n].title}: score", "z", nullable=True)
            for n in library.names(AssetClass.EQUITY)
        ],
    )


def scores(
    values: pl.DataFrame,
    universe: pl.DataFrame,
    instruments: pl.DataFrame | None,
    settings: FactorSettings,
    *,
    start: date | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Scores of the universe's members, one Float32 column a factor; table ``factors.scores_equity``."""
    raise NotImplementedError
