"""Groups of instruments as described on a date, and the instrument that a name meant on it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.operators import LABELS

KEY = ("date", "instrument_id")


def numbers(
    rows: pl.DataFrame, instruments: pl.DataFrame | None, label: str
) -> tuple[NDArray[np.int64], int]:
    """Number of each row's group and how many groups there are; the last number + 1 is "none".

    rows: ``date, instrument_id`` in any order; instruments: ``clean.instruments`` (None: no groups).
    label: one of its columns. The description valid on the date counts; before the first one, the
    first (a static snapshot). Groups are numbered in the order of their words.
    """
    if instruments is None or instruments.is_empty() or label not in instruments.columns:
        return np.zeros(rows.height, np.int64), 0
    words = instruments[label].drop_nulls().unique().sort().to_list()
    number = pl.col(label).replace_strict(
        {w: i for i, w in enumerate(words)}, default=len(words), return_dtype=pl.Int64
    )
    described = instruments.select("instrument_id", "valid_from", number.alias("number")).sort(
        "valid_from", "instrument_id"
    )
    first = described.unique("instrument_id", keep="first", maintain_order=True)
    out = rows.select(KEY)
    if first.height == described.height:
        out = out.join(first, on="instrument_id", how="left", maintain_order="left")
    else:
        out = (
            out.with_row_index("row")
            .sort("date")
            .join_asof(
                described, left_on="date", right_on="valid_from", by="instrument_id",
                check_sortedness=False,
            )
            .sort("row")
            .join(first.select("instrument_id", earliest="number"), on="instrument_id", how="left",
                  maintain_order="left")
            .with_columns(number=pl.coalesce("number", "earliest"))
        )  # fmt: skip
    return out["number"].fill_null(len(words)).to_numpy().astype(np.int64), len(words)


def by_row(rows: pl.DataFrame, instruments: pl.DataFrame | None, label: str) -> NDArray[np.float64]:
    """Number of each row's group, NaN where it has none. Without ``instruments`` the rows have a
    column of that name, or FactorError."""
    if label not in LABELS:
        raise FactorError(f"no group {label!r}; groups: {', '.join(LABELS)}")
    if instruments is None and label in rows.columns:
        named = rows[label].cast(pl.String)
        codes = named.cast(pl.Enum(named.drop_nulls().unique().sort())).to_physical()
        return codes.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if instruments is None or label not in instruments.columns:
        lacking = "clean.instruments" if instruments is None else f"its column {label}"
        raise FactorError(f"a group by {label} needs {lacking}; give `instruments`")
    number, count = numbers(rows, instruments, label)
    return np.where(number < count, number.astype(np.float64), np.nan)


def meant(
    name: str, known: list[str], instruments: pl.DataFrame | None
) -> list[tuple[str, date, date]]:
    """``(instrument_id, first, last)``: which instrument ``name`` means, and when.

    An identity means itself always; else the instruments that had the symbol, from the date of that
    description to the day before their next one. Later entries prevail; an instrument's first
    description holds before it too, and comes first. known: identities that there are bars of.
    """
    if name in known:
        return [(name, date.min, date.max)]
    if instruments is None or instruments.is_empty() or "symbol" not in instruments.columns:
        return []
    if name in set(instruments["instrument_id"]):
        return [(name, date.min, date.max)]
    had = instruments.filter(pl.col("symbol") == name)["instrument_id"].unique().to_list()
    spans = instruments.filter(pl.col("instrument_id").is_in(had)).sort(
        "instrument_id", "valid_from"
    )
    begin: list[tuple[date, str, date]] = []
    before: list[tuple[date, str]] = []
    rows = list(spans.select("instrument_id", "symbol", "valid_from").iter_rows())
    for k, (i, symbol, day) in enumerate(rows):
        if symbol != name:
            continue
        again = k + 1 < len(rows) and rows[k + 1][0] == i
        last = rows[k + 1][2] - timedelta(days=1) if again else date.max
        begin.append((day, i, last))
        if k == 0 or rows[k - 1][0] != i:
            before.append((day, i))
    earlier = [(i, date.min, day - timedelta(days=1)) for day, i in sorted(before, reverse=True)]
    return [*earlier, *((i, day, last) for day, i, last in sorted(begin))]
