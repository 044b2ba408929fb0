"""Charts of single portfolios for the mail: one panel a mandate, in the style of ``charts``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.reporting.book import Book, Waterfall
from wealthos_pipeline.reporting.report import Report
from wealthos_pipeline.reporting.words import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 4
"""Portfolios drawn in one picture."""
NAMES = 9
"""Names of a portfolio over time; the others are put together."""
BARS = 8
"""Bars of a kind in the risk picture."""
SCENARIOS = 14
"""Stress scenarios drawn in the mail."""
SPAN = 2520
"""Sessions of weights that are drawn."""

BANDS = (
    "#1f4e79", "#4f8a8b", "#b98b3e", "#7a6c9d", "#8a5a44", "#5d7a3a", "#7fa3c7", "#c58f8f", "#a3a948",
)  # fmt: skip
OTHERS, CASH = "#c9d0d9", "#eef1f5"

WORDS = {
    "specific": "Single names",
    "trading": "Trading",
    "cost": "Costs",
    "borrow": "Borrow fees",
    "cash": "Cash",
    "residual": "Residual",
}


def shown(report: Report, has: Callable[[Book], bool]) -> list[Book]:
    """Books that have something to draw, at most ``MOST``."""
    return [b for b in report.books if has(b)][:MOST]


def drifts(book: Book) -> bool:
    """Whether there are weights of more than one decision."""
    rows = book.weights
    return rows.height > 0 and rows["date"].n_unique() > 1 and bool((rows["weight"] != 0).any())


def stacked(report: Report, book: Book) -> tuple[pl.Series, list[tuple[str, np.ndarray]]]:
    """Dates, and (label, weights) from bottom to top: the largest names on average, others, cash.

    The last ``SPAN`` sessions' decisions. Shorts pull the others down: what is shown is the net weight.
    """
    rows = book.weights
    days = rows["date"].unique().sort()
    days = days.filter(days >= report.date.replace(year=report.date.year - SPAN // 252, day=1))
    rows = rows.filter(pl.col("date").is_in(days.implode()))
    mean = (
        rows.group_by("instrument_id")
        .agg(pl.col("weight").sort_by("date").sum().alias("size"))
        .sort("size", "instrument_id", descending=[True, False])
    )
    top = mean.filter(pl.col("size") > 0)["instrument_id"].head(NAMES).to_list()
    place = {d: i for i, d in enumerate(days)}
    lines = {name: np.zeros(len(days)) for name in top}
    others = np.zeros(len(days))
    for day, name, weight in rows.select("date", "instrument_id", "weight").iter_rows():
        lines.get(name, others)[place[day]] += weight
    bands = [(report.label(n), w) for n, w in lines.items()]
    if np.abs(others).max(initial=0.0) > 5e-4:
        bands.append(("others", others))
    cash = 1.0 - sum((w for _, w in bands), np.zeros(len(days)))
    if np.abs(cash).max(initial=0.0) > 5e-4:
        bands.append(("cash", cash))
    return days, bands


def colour(label: str, i: int) -> str:
    """Of a band of the weights."""
    return {"others": OTHERS, "cash": CASH}.get(label, BANDS[i % len(BANDS)])


def steps(w: Waterfall) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Labels, bottoms and heights of a waterfall's bars, the total last."""
    labels = [WORDS.get(name, name) for name, _ in w.steps]
    values = np.array([v for _, v in w.steps])
    bottoms = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    return [*labels, "Active return"], np.append(bottoms, 0.0), np.append(values, w.total)


def draw(report: Report) -> dict[str, Figure]:
    """Chart name → figure, of those that have data; call it inside the report's style."""
    made = {name: make(report) for name, make in CHARTS.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def _canvas(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    from wealthos_pipeline.reporting.charts import _figure

    return _figure(height, rows, **options)


def _title(axis: Axes, text: str) -> None:
    """A title from the left edge of the figure: beside long labels there is no room for one."""
    axis.set_title(" ")
    said = axis.annotate(
        text, (0, 1), xycoords=("figure fraction", "axes fraction"), xytext=(8, 4.5),
        textcoords="offset points", fontsize=9, fontweight="bold", annotation_clip=False,
    )  # fmt: skip
    said.set_in_layout(False)


def _percent(axis: Any, digits: int = 0) -> None:
    from wealthos_pipeline.reporting.charts import _percent as percent

    percent(axis, digits)


def _weights(report: Report) -> Figure | None:
    mine = shown(report, drifts)
    if not mine:
        return None
    figure, axes = _canvas(0.2 + 2.35 * len(mine), len(mine), sharex=True)
    for axis, book in zip(axes, mine, strict=True):
        days, bands = stacked(report, book)
        x = days.to_numpy().astype("datetime64[D]")
        axis.stackplot(
            x,
            [np.maximum(w, 0.0) for _, w in bands],
            labels=[label for label, _ in bands],
            colors=[colour(label, i) for i, (label, _) in enumerate(bands)],
            edgecolor="white",
            linewidth=0.25,
        )
        axis.set_title(book.name)
        axis.margins(x=0)
        axis.set_ylim(0, max(1.0, float(np.maximum([w for _, w in bands], 0).sum(axis=0).max())))
        _percent(axis.yaxis)
        handles, labels = axis.get_legend_handles_labels()
        axis.legend(
            handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9,
            fontsize=7.5, labelspacing=0.25, borderaxespad=0.4,
        )  # fmt: skip
    return figure


def _waterfall(report: Report) -> Figure | None:
    return _falls(report, factor=False)


def _waterfall_factor(report: Report) -> Figure | None:
    return _falls(report, factor=True)


def _falls(report: Report, *, factor: bool) -> Figure | None:
    from wealthos_pipeline.reporting.charts import ACCENT, ALARM, INK, MUTED

    mine = [
        (b, w)
        for b in shown(report, lambda b: bool(b.waterfalls))
        for w in b.waterfalls
        if (w.scheme == "factor") is factor
    ]
    if not mine:
        return None
    lengths = [len(w.steps) + 1 for _, w in mine]
    figure, axes = _canvas(
        sum(0.5 + 0.19 * n for n in lengths), len(mine), gridspec_kw={"height_ratios": lengths}
    )
    for axis, (book, w) in zip(axes, mine, strict=True):
        labels, bottoms, values = steps(w)
        place = -np.arange(len(labels), dtype=float)
        colours = [
            *(ACCENT if v >= 0 else ALARM for v in values[:-1]),
            INK,
        ]
        axis.barh(place, values, 0.64, left=bottoms, color=colours)
        ends = bottoms + values
        for k in range(len(labels) - 1):
            axis.plot([ends[k]] * 2, [place[k], place[k] - 1], color=MUTED, linewidth=0.5)
        axis.axvline(0, color=MUTED, linewidth=0.6)
        reach = max(float(ends.max()), float(bottoms.max()), 0.0)
        low = min(float(ends.min()), float(bottoms.min()), 0.0)
        room = 0.14 * max(reach - low, 1e-9)
        axis.set_xlim(low - room, reach + room)
        for k, v in enumerate(values):
            right = max(bottoms[k], ends[k])
            axis.text(
                right + 0.06 * room, place[k], number(100 * v, 2, sign=True), va="center",
                fontsize=7, color=INK,
            )  # fmt: skip
        axis.set_yticks(place, labels)
        axis.tick_params(axis="y", labelsize=7.5, labelcolor=INK)
        axis.set_ylim(place[-1] - 0.6, 0.6)
        axis.grid(axis="y", visible=False)
        by = "risk factor" if factor else w.scheme
        _title(axis, f"{book.name} by {by}: last {w.window}, percentage points")
        _percent(axis.xaxis, 1)
    return figure


def _contributions(report: Report) -> Figure | None:
    from wealthos_pipeline.reporting.charts import ACCENT, INK, MUTED

    mine = shown(report, lambda b: bool(b.risk_parts))
    if not mine:
        return None
    bars = [(b, risk_bars(report, b)) for b in mine]
    lengths = [sum(len(lines) + 0.7 for _, lines in part) for _, part in bars]
    figure, axes = _canvas(
        sum(0.35 + 0.17 * n for n in lengths), len(mine), gridspec_kw={"height_ratios": lengths}
    )
    for axis, (book, part) in zip(axes, bars, strict=True):
        at, ticks = 0.0, []
        for kind, lines in part:
            tone = {"name": ACCENT, "sector": "#4f8a8b"}.get(kind, "#b98b3e")
            for label, share in lines:
                axis.barh(at, share, 0.68, color=tone)
                axis.text(
                    share if share > 0 else 0.0, at, f" {100 * share:.0f} %".replace("-", "−"),
                    va="center", fontsize=7, color=INK,
                )  # fmt: skip
                ticks.append((at, label))
                at -= 1.0
            at -= 0.7
        axis.axvline(0, color=MUTED, linewidth=0.6)
        axis.set_yticks([t for t, _ in ticks], [label for _, label in ticks])
        axis.tick_params(axis="y", labelsize=7.5, labelcolor=INK)
        axis.set_ylim(at + 1.2, 0.7)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.1)
        total = "" if book.risk_total is None else f", {100 * book.risk_total:.1f} % a year"
        _title(axis, f"{book.name}: shares of the forecast volatility{total}")
        _percent(axis.xaxis)
    return figure


def risk_bars(report: Report, book: Book) -> list[tuple[str, list[tuple[str, float]]]]:
    """(kind, (label, share) the largest first): names, sectors, factors with the specific part."""
    out = []
    for kinds in (("name",), ("sector",), ("factor", "specific")):
        parts = [p for p in book.risk_parts if p.kind in kinds and p.share is not None]
        parts.sort(key=lambda p: (-abs(p.share or 0.0), p.name))
        lines = [
            (report.label(p.name) if p.kind == "name" else p.name or "single names", p.share or 0.0)
            for p in parts[:BARS]
        ]
        if len(parts) > BARS:
            lines.append(
                (count(len(parts) - BARS, "other"), sum(p.share or 0.0 for p in parts[BARS:]))
            )
        if lines:
            out.append((kinds[0], lines))
    return out


ROLLING = (
    ("active", "Return less that of 1/N, last 252 sessions"),
    ("volatility", "Volatility, last 252 sessions, annualised"),
    ("tracking_error", "Tracking error against 1/N, last 252 sessions, annualised"),
)


def _rolling(report: Report) -> Figure | None:
    from wealthos_pipeline.reporting.charts import LINES, MUTED

    mine = shown(report, lambda b: b.rolling.height > 1)
    if not mine:
        return None
    figure, axes = _canvas(4.6, len(ROLLING), sharex=True)
    for axis, (column, title) in zip(axes, ROLLING, strict=True):
        for i, book in enumerate(mine):
            rows = book.rolling
            axis.plot(
                rows["date"].to_numpy().astype("datetime64[D]"), rows[column].to_numpy(),
                color=LINES[i % len(LINES)], linewidth=1.0, label=book.name,
            )  # fmt: skip
        axis.set_title(title)
        axis.margins(x=0.01)
        if column == "active":
            axis.axhline(0, color=MUTED, linewidth=0.6)
        else:
            axis.set_ylim(bottom=0)
        _percent(axis.yaxis)
    axes[0].legend(loc="upper left", ncols=4, handlelength=1.4, columnspacing=1.2)
    return figure


def scenarios(books: Sequence[Book], most: int | None = None) -> list[str]:
    """Titles of the scenarios of all books, worst first: past crises, one's own, factor shocks.

    most: so many, those with the least result of any book.
    """
    worst: dict[str, float] = {}
    kinds: dict[str, int] = {}
    for s in (s for b in books for s in b.stress if s.pnl is not None):
        worst[s.title] = min(worst.get(s.title, np.inf), s.pnl or 0.0)
        kinds[s.title] = {"historical": 0, "user": 1}.get(s.kind, 2)
    kept = sorted(worst, key=lambda t: (worst[t], t))[:most]
    return sorted(kept, key=lambda t: (kinds[t], worst[t], t))


def _stress(report: Report) -> Figure | None:
    from wealthos_pipeline.reporting.charts import INK, LINES, MUTED

    mine = shown(report, lambda b: any(s.pnl is not None for s in b.stress))
    if not mine:
        return None
    titles = scenarios(mine, SCENARIOS)
    figure, (axis,) = _canvas(0.75 + (0.1 + 0.15 * len(mine)) * len(titles))
    height = 0.8 / len(mine)
    for i, book in enumerate(mine):
        found = {s.title: s.pnl for s in book.stress if s.pnl is not None}
        place = np.array([-k - (i - (len(mine) - 1) / 2) * height for k in range(len(titles))])
        pnl = np.array([found.get(t, np.nan) for t in titles])
        axis.barh(place, pnl, height * 0.9, color=LINES[i % len(LINES)], label=book.name)
        for y, v in zip(place, pnl, strict=True):
            if np.isfinite(v):
                axis.text(
                    v, y, f" {100 * v:.1f} % ".replace("-", "−"), va="center",
                    ha="right" if v < 0 else "left", fontsize=6.5, color=INK,
                )  # fmt: skip
    axis.axvline(0, color=MUTED, linewidth=0.6)
    axis.set_yticks([-k for k in range(len(titles))], [wrap(t) for t in titles])
    axis.tick_params(axis="y", labelsize=7.5, labelcolor=INK)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.14)
    axis.set_ylim(-len(titles) + 0.4, 0.6)
    _title(axis, "Result of what is held now")
    axis.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(mine), handlelength=0.9,
        borderaxespad=0.1, columnspacing=1.2,
    )  # fmt: skip
    _percent(axis.xaxis)
    return figure


def wrap(text: str, length: int = 30) -> str:
    """``text`` in at most two lines."""
    import textwrap

    lines = textwrap.wrap(text, length)
    return "\n".join(lines[:2]) if len(lines) <= 2 else f"{lines[0]}\n{lines[1][: length - 1]}…"


def _frontier(report: Report) -> Figure | None:
    from wealthos_pipeline.reporting.charts import ACCENT, ALARM, INK, MUTED

    mine = shown(report, lambda b: b.frontier.height > 0)
    if not mine:
        return None
    figure, axes = _canvas(0.3 + 2.4 * len(mine), len(mine))
    looks = {"target": (ACCENT, "D", "target"), "held": (INK, "s", "held"),
             "benchmark": (MUTED, "o", "1/N")}  # fmt: skip
    for axis, book in zip(axes, mine, strict=True):
        rows = book.frontier
        names = rows.filter(pl.col("kind") == "name")
        axis.scatter(
            names["volatility"].to_numpy(), names["expected"].to_numpy(), s=7, color="#b9c1cc",
            linewidths=0, label="single names",
        )  # fmt: skip
        line = rows.filter(pl.col("kind") == "frontier").sort("volatility")
        axis.plot(
            line["volatility"].to_numpy(), line["expected"].to_numpy(), color=ACCENT, linewidth=1.4,
            label="frontier",
        )  # fmt: skip
        for kind, (tone, mark, label) in looks.items():
            for v, e in (
                rows.filter(pl.col("kind") == kind).select("volatility", "expected").iter_rows()
            ):
                axis.plot(
                    v, e, mark, color=ALARM if kind == "target" else tone, markersize=5, label=label
                )
        axis.set_title(f"{book.name}: expected return and volatility a year, before costs")
        axis.legend(loc="best", handlelength=1.2, fontsize=7.5)
        axis.set_xlim(left=0)
        _percent(axis.xaxis)
        _percent(axis.yaxis, 1)
    return figure  # fmt: skip


CHARTS: dict[str, Callable[[Report], Any]] = {
    "weights": _weights,
    "waterfall": _waterfall,
    "waterfall_factor": _waterfall_factor,
    "contributions": _contributions,
    "rolling": _rolling,
    "stress": _stress,
    "frontier": _frontier,
}
