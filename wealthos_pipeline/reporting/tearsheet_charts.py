"""The charts of a tear sheet, in the style of the report's: opaque PNGs, the same bytes for the same study."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.factors.study import Study
from wealthos_pipeline.reporting.charts import (
    _STYLE,
    ACCENT,
    ALARM,
    FILL,
    MUTED,
    _figure,
    _percent,
    _x,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144
POINTS = 1_500
"""Points of a line at most: more are not seen."""

RAMP = ("#b3261e", "#d98a5f", "#a9a9a9", "#7fa3c7", "#1f4e79")


def draw(study: Study, horizon: int) -> dict[str, bytes]:
    """Chart name → PNG, for the charts that have data."""
    from matplotlib import rc_context

    made: dict[str, bytes] = {}
    with rc_context(_STYLE):
        for name, figure in (
            ("cumulative_ic", _cumulative_ic(study, horizon)),
            ("decay", _decay(study)),
            ("buckets", _buckets(study, horizon)),
            ("cumulative", _cumulative(study)),
            ("turnover", _turnover(study)),
            ("persistence", _persistence(study)),
            ("years", _years(study, horizon)),
        ):
            if figure is not None:
                out = io.BytesIO()
                figure.savefig(
                    out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None}
                )
                made[name] = out.getvalue()
    return made


def _thin(frame: pl.DataFrame) -> pl.DataFrame:
    """Every k-th row, the last one among them."""
    k = math.ceil(frame.height / POINTS)
    return frame if k <= 1 else frame[(frame.height - 1) % k :: k]


def _signed(axis: Any, digits: int = 2) -> None:
    def words(v: float, _: int) -> str:
        d = next((d for d in range(digits, 9) if abs(round(v, d) - v) < 1e-9), digits)
        return f"{v:+.{d}f}".replace("-", "−") if v else "0"

    axis.set_major_formatter(words)


def _cumulative_ic(study: Study, h: int) -> Figure | None:
    rows = study.ic.filter(
        (pl.col("variant") == "plain") & (pl.col("horizon") == h) & pl.col("rank_ic").is_not_null()
    )
    if rows.height < 2:
        return None
    figure, (top, low) = _figure(3.6, 2, sharex=True, gridspec_kw={"height_ratios": [1.6, 1]})
    for u in study.universes:
        part = rows.filter(pl.col("universe") == u).sort("date").with_columns(
            total=pl.col("rank_ic").cum_sum(), mean=pl.col("rank_ic").rolling_mean(252)
        )  # fmt: skip
        main = u == study.universes[0]
        look: dict[str, Any] = {"color": ACCENT, "linewidth": 1.3}
        if not main:
            look = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (3, 1.5))}
        part = _thin(part)
        label = (
            "members at the date"
            if u == "members"
            else "all names (inflated)"
            if not main
            else "all names"
        )
        top.plot(_x(part["date"]), part["total"].to_numpy(), label=label, **look)
        if main:
            mean = part["mean"].to_numpy()
            low.fill_between(
                _x(part["date"]), mean, 0, where=mean >= 0, color=ACCENT, alpha=0.55, linewidth=0
            )
            low.fill_between(
                _x(part["date"]), mean, 0, where=mean < 0, color=ALARM, alpha=0.55, linewidth=0
            )
    top.set_title(f"Rank IC at {h} sessions, added up")
    if len(study.universes) > 1:
        top.legend(loc="upper left")
    low.set_title("Mean of the last 252 sessions")
    low.axhline(0, color=MUTED, linewidth=0.6)
    _signed(low.yaxis)
    return figure


def _decay(study: Study) -> Figure | None:
    main = study.universes[0]
    rows = study.decay.filter((pl.col("universe") == main) & (pl.col("variant") == "plain")).sort(
        "horizon"
    )
    rows = rows.drop_nulls("mean_rank_ic")
    if rows.is_empty():
        return None
    figure, (axis,) = _figure(3.6)
    place = np.arange(rows.height)
    mean = rows["mean_rank_ic"].to_numpy()
    low, high = (rows[c].fill_null(math.nan).to_numpy() for c in ("low", "high"))
    least = study.summary.filter((pl.col("universe") == main) & (pl.col("variant") == "plain")).select(
        "horizon", "detectable_ic"
    )  # fmt: skip
    reach = rows.join(least, on="horizon", how="left")["detectable_ic"].fill_null(0.0).to_numpy()
    axis.bar(place, 2 * reach, 0.62, bottom=-reach, color=FILL, edgecolor="#dfe3e8", linewidth=0.5)
    axis.vlines(place, low, high, color=ACCENT, linewidth=1.2)
    axis.plot(place, mean, "o", color=ACCENT, markersize=5)
    for v, color, mark in (("sector", "#4f8a8b", "s"), ("liquidity", "#b98b3e", "^")):
        part = rows.select("horizon").join(
            study.decay.filter((pl.col("universe") == main) & (pl.col("variant") == v)), on="horizon", how="left"
        )  # fmt: skip
        if part["mean_rank_ic"].count():
            axis.plot(place + 0.18, part["mean_rank_ic"].fill_null(math.nan).to_numpy(), mark, color=color,
                      markersize=3.5, label=f"{v}-neutral")  # fmt: skip
            axis.legend(loc="upper left")
    axis.axhline(0, color=MUTED, linewidth=0.7)
    axis.set_xticks(place, [str(h) for h in rows["horizon"]])
    axis.grid(axis="x", visible=False)
    axis.set_title("Rank IC by horizon in sessions, 95 % intervals")
    _signed(axis.yaxis)
    return figure


def _buckets(study: Study, h: int) -> Figure | None:
    at = (pl.col("universe") == study.universes[0]) & (pl.col("horizon") == h)
    rows = study.quantiles.filter(at).sort("bucket").drop_nulls("mean_excess")
    spread = study.spread.filter(at)
    if rows.is_empty():
        return None
    figure, (axis,) = _figure(4.0)
    n = rows.height
    colors = [RAMP[round(i * 4 / max(n - 1, 1))] for i in range(n)]
    axis.bar(np.arange(n), rows["mean_excess"].to_numpy(), 0.66, color=colors)
    labels = [str(b) for b in rows["bucket"]]
    labels[0], labels[-1] = f"{labels[0]}\nlowest", f"{labels[-1]}\nhighest"
    places = [float(i) for i in range(n)]
    if spread.height:
        for i, (name, word) in enumerate(
            (("gross", "top less\nbottom"), ("net", f"after\n{study.costs_bp:g} bp"))
        ):
            value = spread[name][0]
            if value is not None:
                axis.bar(n + 0.4 + i, value, 0.66, color=ACCENT if i == 0 else "#7fa3c7")
                places.append(n + 0.4 + i)
                labels.append(word)
        axis.axvline(n - 0.3, color="#dfe3e8", linewidth=0.8)
    axis.axhline(0, color=MUTED, linewidth=0.7)
    axis.set_xticks(places, labels)
    axis.grid(axis="x", visible=False)
    axis.set_title(f"Mean return over {h} sessions less that of all names")
    _percent(axis.yaxis, 2)
    return figure


def _cumulative(study: Study) -> Figure | None:
    rows = study.cumulative.filter(pl.col("universe") == study.universes[0]).sort("date")
    if rows.height < 2:
        return None
    rows = _thin(rows)
    figure, (top, low) = _figure(4.0, 2, sharex=True, gridspec_kw={"height_ratios": [1.5, 1]})
    x = _x(rows["date"])
    shown = [f"q{i}" for i in range(1, 6) if rows[f"q{i}"].count()]
    for name in shown:
        i = int(name[1]) - 1
        words = {0: "lowest values", 4: "highest values"}.get(i, str(i + 1))
        ends = i in (0, 4)
        top.plot(x, 1 + rows[name].fill_null(math.nan).to_numpy(), color=RAMP[i], label=words,
                 linewidth=1.4 if ends else 0.8)  # fmt: skip
    top.set_yscale("log")
    top.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    top.yaxis.set_minor_formatter(lambda v, _: "")
    top.set_title("Growth of 1 by bucket, changed every session, before costs (log scale)")
    top.legend(loc="upper left", ncols=len(shown), handlelength=1.4, columnspacing=1.2)
    for name, color, word in (
        ("spread", ACCENT, "before costs"),
        ("spread_net", ALARM, f"after {study.costs_bp:g} bp"),
    ):
        low.plot(
            x, rows[name].fill_null(math.nan).to_numpy(), color=color, linewidth=1.1, label=word
        )
    low.axhline(0, color=MUTED, linewidth=0.6)
    low.set_title("Top less bottom times direction, days added up")
    low.legend(loc="upper left", ncols=2)
    _percent(low.yaxis)
    return figure


def _turnover(study: Study) -> Figure | None:
    main = study.universes[0]
    rows = study.turnover.filter(pl.col("universe") == main).sort("date")
    coverage = _thin(study.coverage.filter(pl.col("universe") == main).sort("date"))
    if rows.height < 2:
        return None
    mean = _thin(rows.with_columns(pl.col("top", "bottom").rolling_mean(63, min_samples=1)))
    figure, (top, low) = _figure(3.0, 2, sharex=True, gridspec_kw={"height_ratios": [1.6, 1]})
    top.plot(
        _x(mean["date"]),
        mean["top"].fill_null(math.nan).to_numpy(),
        color=RAMP[4],
        linewidth=1.1,
        label="top",
    )
    top.plot(
        _x(mean["date"]),
        mean["bottom"].fill_null(math.nan).to_numpy(),
        color=RAMP[0],
        linewidth=1.1,
        label="bottom",
    )
    top.set_ylim(bottom=0)
    top.set_title("Turnover of the buckets a session, mean of 63")
    top.legend(loc="upper left", ncols=2)
    _percent(top.yaxis, 1)
    low.fill_between(
        _x(coverage["date"]),
        coverage["share"].fill_null(0.0).to_numpy(),
        color="#b9cbe0",
        linewidth=0,
    )
    low.set_ylim(0, 1.05)
    low.set_title("Share of names with a value")
    _percent(low.yaxis)
    return figure


def _persistence(study: Study) -> Figure | None:
    rows = study.autocorrelation.filter(pl.col("universe") == study.universes[0]).sort("lag")
    rows = rows.drop_nulls("rank_autocorrelation")
    if rows.is_empty():
        return None
    figure, (axis,) = _figure(3.0)
    place = np.arange(rows.height)
    value = rows["rank_autocorrelation"].to_numpy()
    axis.bar(place, value, 0.5, color="#7fa3c7")
    for at, v in enumerate(value.tolist()):
        axis.text(at, max(v, 0.0), f"{v:.2f}".replace("-", "−"), ha="center", va="bottom")
    axis.set_xticks(place, [str(lag) for lag in rows["lag"]])
    axis.axhline(0, color=MUTED, linewidth=0.7)
    axis.axhline(0.5, color=MUTED, linewidth=0.7, linestyle=(0, (3, 1.5)))
    axis.set_ylim(min(0.0, float(value.min()) - 0.1), 1.12)
    axis.grid(axis="x", visible=False)
    axis.set_title("Rank autocorrelation after so many sessions")
    _signed(axis.yaxis, 1)
    return figure


def _years(study: Study, h: int) -> Figure | None:
    rows = study.by_year.filter(pl.col("horizon") == h).sort("year").drop_nulls("mean_rank_ic")
    if rows.is_empty():
        return None
    figure, (axis,) = _figure(2.2)
    mean = rows["mean_rank_ic"].to_numpy()
    place = np.arange(rows.height)
    axis.bar(place, mean, 0.7, color=[ACCENT if v >= 0 else ALARM for v in mean])
    axis.axhline(0, color=MUTED, linewidth=0.7)
    step = math.ceil(rows.height / 9)
    axis.set_xticks(place[::step], rows["year"].to_list()[::step])
    axis.grid(axis="x", visible=False)
    axis.set_title(f"Rank IC by calendar year, {h} sessions")
    _signed(axis.yaxis)
    return figure
