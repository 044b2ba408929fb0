"""Is a factor fit to be used? A factor that looks ahead changes its past when the future is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.library import Family


def leaks(
    family: Family,
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    cuts: Sequence[date],
) -> dict[str, str]:
    """Factor → first difference found, for the factors whose values up to a cut depend on later rows.

    For every session in ``cuts`` the family is computed from rows known at its bar alone, and
    compared bit for bit with the computation from everything.
    """
    options = {"instruments": instruments, "calendar": calendar}
    whole = compute(family, prices, series, **options)  # type: ignore[arg-type]
    out: dict[str, str] = {}
    for cut in cuts:
        seen = compute(
            family,
            prices.filter(pl.col("date") <= cut),
            _known(series, calendar.known_at(cut)),
            **options,  # type: ignore[arg-type]
        )
        then = whole.filter(pl.col("date") <= cut)
        both = then.join(
            seen, on=["date", "instrument_id"], how="full", suffix="_cut", coalesce=True
        )
        for f in family.factors:
            odd = both.filter(~pl.col(f.name).eq_missing(pl.col(f"{f.name}_cut")))
            if odd.height and f.name not in out:
                row = odd.row(0, named=True)
                out[f.name] = (
                    f"{row['instrument_id']} on {row['date']}: {row[f.name]} with later data, "
                    f"{row[f'{f.name}_cut']} without (cut at {cut}, {odd.height} such values)"
                )
    return out


def _known(series: pl.DataFrame | None, instant: datetime) -> pl.DataFrame | None:
    return None if series is None else series.filter(pl.col("known_at") <= instant)
