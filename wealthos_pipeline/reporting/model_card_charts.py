"""The charts of a model's card, in the style of the tear sheet's: opaque PNGs, the same bytes for the same card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wealthos_pipeline.reporting.charts import (
    _STYLE,
    ACCENT,
    ALARM,
    MUTED,
    _figure,
    _percent,
    _png,
    _x,
)
from wealthos_pipeline.reporting.tearsheet_charts import _signed, _thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wealthos_pipeline.reporting.model_card import Card

BARS = 12
"""Features drawn."""


def draw(card: Card) -> dict[str, bytes]:
    """Chart name → PNG, for the charts that have data."""
    from matplotlib import rc_context

    made: dict[str, bytes] = {}
    with rc_context(_STYLE):
        for name, make in (
            ("cumulative_ic", _cumulative_ic),
            ("years", _years),
            ("decay", _decay),
            ("growth", _growth),
            ("calibration", _calibration),
            ("importance", _importance),
        ):
            figure = make(card)
            if figure is not None:
                made[name] = _png(figure)
    return made


def _ics(card: Card) -> pl.DataFrame:
    at = pl.col("horizon") == card.horizon
    return card["evaluation"].filter(at & pl.col("rank_ic").is_finite()).sort("date")


def _cumulative_ic(card: Card) -> Figure | None:
    rows = _ics(card)
    if rows.height < 2:
        return None
    rows = _thin(
        rows.with_columns(total=pl.col("rank_ic").cum_sum(), mean=pl.col("rank_ic").rolling_mean(252))
    )  # fmt: skip
    figure, (top, low) = _figure(3.6, 2, sharex=True, gridspec_kw={"height_ratios": [1.6, 1]})
    x = _x(rows["date"])
    top.plot(x, rows["total"].to_numpy(), color=ACCENT, linewidth=1.3)
    top.axhline(0, color=MUTED, linewidth=0.6)
    top.set_title(f"Rank IC at {card.horizon} sessions, added up")
    mean = rows["mean"].to_numpy()
    for where, color in ((mean >= 0, ACCENT), (mean < 0, ALARM)):
        low.fill_between(x, mean, 0, where=where, color=color, alpha=0.55, linewidth=0)
    low.axhline(0, color=MUTED, linewidth=0.6)
    low.set_title("Mean of the last 252 sessions")
    _signed(low.yaxis)
    return figure


def _years(card: Card) -> Figure | None:
    rows = (
        _ics(card)
        .group_by(pl.col("date").dt.year().alias("year"), maintain_order=True)
        .agg(pl.col("rank_ic").mean())
    )
    if rows.height < 2:
        return None
    figure, (axis,) = _figure(3.6)
    mean, place = rows["rank_ic"].to_numpy(), np.arange(rows.height)
    axis.bar(place, mean, 0.7, color=[ACCENT if v >= 0 else ALARM for v in mean])
    axis.axhline(0, color=MUTED, linewidth=0.7)
    step = math.ceil(rows.height / 9)
    axis.set_xticks(place[::step], rows["year"].to_list()[::step])
    axis.grid(axis="x", visible=False)
    axis.set_title(f"Rank IC by calendar year, {card.horizon} sessions")
    _signed(axis.yaxis)
    return figure


def _decay(card: Card) -> Figure | None:
    rows = card["decay"].filter(pl.col("horizon") == card.horizon).sort("lag")
    rows = rows.filter(pl.col("mean_rank_ic").is_finite())
    if rows.is_empty():
        return None
    figure, (axis,) = _figure(3.6)
    place, mean = np.arange(rows.height), rows["mean_rank_ic"].to_numpy()
    t = np.abs(rows["t"].fill_null(math.nan).to_numpy())
    half = np.where(t > 0, 1.96 * np.abs(mean) / np.where(t > 0, t, 1.0), np.nan)
    axis.vlines(place, mean - half, mean + half, color=ACCENT, linewidth=1.2)
    axis.plot(place, mean, "o", color=ACCENT, markersize=5)
    axis.axhline(0, color=MUTED, linewidth=0.7)
    axis.set_xticks(place, [str(lag) for lag in rows["lag"]])
    axis.grid(axis="x", visible=False)
    axis.set_title("Rank IC against returns of so many sessions, 95 % intervals")
    _signed(axis.yaxis)
    return figure


def _growth(card: Card) -> Figure | None:
    ours = card["returns"].filter(pl.col("horizon") == card.horizon).sort("date")
    spread, long = (ours.filter(pl.col("book") == b) for b in ("long_short", "long_only"))
    if spread.height < 2 and long.height < 2:
        return None
    figure, (top, low) = _figure(4.4, 2, sharex=True, gridspec_kw={"height_ratios": [1, 1.2]})
    for column, color, word in (("gross", ACCENT, "before costs"), ("net", ALARM, "after costs")):
        rows = _thin(spread.select("date", pl.col(column).cum_sum()))
        top.plot(_x(rows["date"]), rows[column].to_numpy(), color=color, linewidth=1.1, label=word)
    top.axhline(0, color=MUTED, linewidth=0.6)
    top.set_title("Long the best fifth, short the worst: days added up")
    top.legend(loc="upper left", ncols=2)
    _percent(top.yaxis)
    if long.height:
        bench = card.beside.filter(
            (pl.col("horizon") == card.horizon) & (pl.col("date") >= long["date"][0])
        ).sort("date")
        for part, color, word, dashed in (
            (long, ACCENT, "best fifth, after costs", False),
            (bench, MUTED, "1/N of the same names", True),
        ):
            rows = _thin(part.select("date", (1.0 + pl.col("net")).cum_prod().alias("net")))
            low.plot(
                _x(rows["date"]), rows["net"].to_numpy(), color=color, linewidth=1.1, label=word,
                linestyle=(0, (3, 1.5)) if dashed else "-",
            )  # fmt: skip
        low.set_yscale("log")
        low.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        low.yaxis.set_minor_formatter(lambda v, _: "")
        low.set_title("Growth of 1, long only (log scale)")
        low.legend(loc="upper left", ncols=2)
    return figure


def _calibration(card: Card) -> Figure | None:
    rows = card["calibration"].filter(pl.col("horizon") == card.horizon).sort("bin")
    rows = rows.filter(pl.col("mean_outcome").is_finite())
    if rows.height < 2:
        return None
    figure, (axis,) = _figure(3.6)
    x, y = rows["mean_prediction"].to_numpy(), rows["mean_outcome"].to_numpy()
    half = 2.0 * rows["se"].fill_null(math.nan).to_numpy()
    axis.vlines(x, y - half, y + half, color=ACCENT, linewidth=1.2)
    axis.plot(x, y, "o-", color=ACCENT, markersize=4, linewidth=0.8)
    axis.axhline(0, color=MUTED, linewidth=0.7)
    axis.set_xlabel("mean prediction of the group")
    axis.set_title(f"Mean outcome over {card.horizon} sessions, by prediction")
    _percent(axis.yaxis, 2)
    return figure


def _importance(card: Card) -> Figure | None:
    rows = card["importance"].filter(pl.col("method") == "permutation").drop_nulls("value")
    if rows.is_empty():
        return None
    rows = rows.filter(pl.col("refit_date") == pl.col("refit_date").max())
    rows = rows.sort("value", "feature", descending=[True, False]).head(BARS)[::-1]
    figure, (axis,) = _figure(3.6)
    place, value = np.arange(rows.height), rows["value"].to_numpy()
    axis.barh(place, value, 0.6, color=[ACCENT if v >= 0 else ALARM for v in value])
    half = 2.0 * rows["se"].fill_null(math.nan).to_numpy()
    axis.hlines(place, value - half, value + half, color=MUTED, linewidth=1.0)
    axis.axvline(0, color=MUTED, linewidth=0.7)
    axis.set_yticks(place, rows["feature"].to_list())
    axis.grid(axis="y", visible=False)
    axis.set_title("Loss of rank IC when the feature is shuffled")
    _signed(axis.xaxis, 3)
    return figure
