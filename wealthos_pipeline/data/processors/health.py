"""What happened to the bars of each session: stale, unusual, changed by a rule, rejected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.flags import Flag

MARKS: dict[str, str] = {
    "missing": "no bar of a name that is alive",
    "stale": "price unchanged and not traded",
    "outliers": "extreme move or volume, kept as it is",
    "adjusted": "value changed by a rule",
    "rejected": "raw row kept out",
}
"""What is counted by session (``meta.coverage``), in words."""

OUTLIERS = Flag.EXTREME | Flag.VOLUME_SPIKE


SHADES = "·░▒▓█"
"""None; from 0.01 %, 0.1 %, 1 % and 10 % of the bars."""


def marks(
    prices: pl.DataFrame,
    adjustments: pl.DataFrame,
    quarantine: pl.DataFrame,
    dates: Sequence[date],
) -> pl.DataFrame:
    """``date, stale, outliers, adjusted, rejected`` (Int64, bars or rows) for each of ``dates``.

    prices: ``date, flags``. adjustments, quarantine: ``clean.adjustments`` and ``clean.quarantine``;
        an adjusted bar counts once however many of its values were changed; only rows of
        ``raw.prices`` count as rejected.
    """
    flags = pl.col("flags")
    counted = prices.group_by("date").agg(
        ((flags & int(Flag.STALE)) != 0).sum().cast(pl.Int64).alias("stale"),
        ((flags & int(OUTLIERS)) != 0).sum().cast(pl.Int64).alias("outliers"),
    )
    changed = (
        adjustments.select("date", "instrument_id")
        .unique()
        .group_by("date")
        .agg(pl.len().cast(pl.Int64).alias("adjusted"))
    )
    refused = (
        quarantine.filter(pl.col("table") == "raw.prices")
        .select("date", "source", "symbol")
        .unique()
        .group_by("date")
        .agg(pl.len().cast(pl.Int64).alias("rejected"))
    )
    out = pl.DataFrame({"date": sorted(dates)}, schema={"date": pl.Date})
    for part in (counted, changed, refused):
        out = out.join(part, on="date", how="left", maintain_order="left")
    return out.with_columns(pl.exclude("date").fill_null(0))


def monthly(coverage: pl.DataFrame) -> pl.DataFrame:
    """``month`` (its first day) and, for each of ``MARKS``, the share of the expected bars of that month.

    coverage: rows of ``meta.coverage``; those of ``clean.prices`` count. Shares are decimals, null
    where nothing was expected.
    """
    bars = coverage.filter(pl.col("table") == "clean.prices").with_columns(
        pl.col("date").dt.truncate("1mo").alias("month"),
        (pl.col("expected") - pl.col("rows")).clip(lower_bound=0).alias("missing"),
    )
    totals = bars.group_by("month").agg(pl.col(*MARKS, "expected").sum()).sort("month")
    share = [pl.when(pl.col("expected") > 0).then(pl.col(m) / pl.col("expected")) for m in MARKS]
    return totals.select("month", *(s.alias(m) for s, m in zip(share, MARKS, strict=True)))


def shaded(shares: np.ndarray) -> np.ndarray:
    """Shares (decimals) as shades from 0 (none) to 1 (a tenth or more), by their logarithm: 1 in
    10,000 is just to be seen. NaN stays NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shade = np.clip(1 + np.log10(shares * 10) / 4, 0.12, 1.0)
        return np.where(np.isnan(shares), np.nan, np.where(shares > 0, shade, 0.0))


def heat(months: pl.DataFrame, last: int = 60) -> list[tuple[str, str, float]]:
    """A line of text a mark, one of ``SHADES`` a month: mark, line, largest share.

    months: of ``monthly``; the last so many are shown. A month in which nothing was expected is blank.
    """
    part = months.tail(last)
    out = []
    for mark in part.columns[1:]:
        shares = part[mark].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        known = shares[~np.isnan(shares)]
        line = "".join(
            " " if np.isnan(s) else SHADES[0 if s == 0 else max(1, min(int(s * 4 + 1e-9), 4))]
            for s in shaded(shares)
        )
        out.append((mark, line, float(known.max()) if known.size else 0.0))
    return out
