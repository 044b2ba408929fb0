"""How far below its highest value a portfolio stood, and for how long."""

from __future__ import annotations

import numpy as np
import polars as pl

from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.returns import KEYS, parts


def drawdown(value: Floats) -> Floats:
    """Decimal, ≤ 0, against the highest value so far."""
    out: Floats = value / np.maximum.accumulate(value) - 1.0
    return out


def drawdowns(nav: pl.DataFrame) -> pl.DataFrame:
    """``mandate, run_kind, date, drawdown``: decimal, ≤ 0, against the highest value so far."""
    frames = []
    for key, part in parts(nav):
        fall = drawdown(part["nav"].to_numpy())
        keys = [pl.lit(v).alias(k) for k, v in zip(KEYS, key, strict=True)]
        frames.append(
            pl.DataFrame({"date": part["date"], "drawdown": fall})
            .with_columns(keys)
            .select(*KEYS, "date", "drawdown")
        )
    schema = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "date": pl.Date,
        "drawdown": pl.Float64,
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def drawdown_table(nav: pl.DataFrame, *, worst: int | None = 10) -> pl.DataFrame:
    """Each fall from a high until that value was reached again, the deepest first.

    ``mandate, run_kind, depth, start, trough, recovery, length, to_trough``: start is the session of the high,
    recovery the first session at or above it (null: not yet), lengths in sessions (of an open one up to
    the last row). Values are compounded ``return_net``, so that money paid in or out is no recovery.
    worst: the deepest so many of each portfolio; None gives all.
    """
    rows: list[tuple[object, ...]] = []
    for key, part in parts(nav):
        value = np.cumprod(1.0 + part["return_net"].fill_null(0.0).to_numpy())
        days = part["date"].to_list()
        below = value < np.maximum.accumulate(value)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]]).astype(np.int8)))
        mine = []
        for first, stop in edges.reshape(-1, 2).tolist():
            high = first - 1
            low = first + int(np.argmin(value[first:stop]))
            back = days[stop] if stop < len(days) else None
            depth = float(value[low] / value[high] - 1.0)
            mine.append(
                (
                    *key,
                    depth,
                    days[high],
                    days[low],
                    back,
                    min(stop, len(days) - 1) - high,
                    low - high,
                )
            )
        rows += sorted(mine, key=lambda r: (r[2], r[3]))[:worst]
    schema = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "depth": pl.Float64,
        "start": pl.Date,
        "trough": pl.Date,
        "recovery": pl.Date,
        "length": pl.Int64,
        "to_trough": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
