"""Charts for the mail and the page: opaque white PNGs that look the same everywhere.

matplotlib's ``Figure`` on Agg, no pyplot, no state; no date or version in the files, so the same
report gives the same bytes. A chart without data is not drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.health import shaded
from wealthos_pipeline.portfolio.performance import drawdown
from wealthos_pipeline.reporting import book_charts
from wealthos_pipeline.reporting.mandates import BENCHMARK, CRISES
from wealthos_pipeline.reporting.report import MandateReport, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, FILL = "#1c2430", "#667085", "#dfe3e8", "#eef1f5"
ACCENT, ALARM = "#1f4e79", "#b3261e"
LINES = (ACCENT, "#4f8a8b", "#b98b3e", "#7a6c9d", "#8a5a44", "#5d7a3a")
WIDTH, DPI = 5.8, 144
TOP = 8
"""Names of a portfolio drawn."""

FACTORS = 26
"""Models and factors drawn at most, the largest |t| first."""


def draw(report: Report) -> dict[str, bytes]:
    """Chart name → PNG, for the charts that have data."""
    from matplotlib import rc_context

    made: dict[str, bytes] = {}
    with rc_context(_STYLE):
        for name, make in _CHARTS.items():
            figure = make(report)
            if figure is not None:
                made[name] = _png(figure)
        made |= {name: _png(figure) for name, figure in book_charts.draw(report).items()}
    return made


_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": True,
    "svg.hashsalt": "wealthos",
}


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def _figure(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(WIDTH, height))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    axes = figure.subplots(rows, 1, squeeze=False, **options)
    return figure, [a for line in axes for a in line]


def judged(report: Report) -> list[str]:
    """Mandates with a track record and VaR outcomes."""
    have = set(report.series.outcomes["mandate"])
    return [m.name for m in report.mandates if m.track is not None and m.name in have]


def invested(report: Report) -> list[MandateReport]:
    """Mandates whose target portfolio is more than cash."""
    return [m for m in report.mandates if any(c.weight for c in m.contributions)]


def _x(days: pl.Series) -> np.ndarray:
    return days.to_numpy().astype("datetime64[D]")


def _stems(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strokes from 0 to ``y`` as one broken line: thousands of single ones take a second to draw."""
    gap = np.full(len(y), np.nan)
    return np.repeat(x, 3), np.column_stack([np.zeros(len(y)), y, gap]).ravel()


def _percent(axis: Any, digits: int = 0) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda v, _: f"{100 * v:.{digits}f} %".replace("-", "−"))


def _nav(report: Report) -> Figure | None:
    nav = report.series.nav
    mine = [m.name for m in report.mandates if m.track is not None]
    if not mine:
        return None
    figure, (top, low) = _figure(
        4.3, 2, sharex=True, gridspec_kw={"height_ratios": [2.2, 1], "hspace": 0.06}
    )
    first = nav.filter(pl.col("mandate").is_in(mine)).select(pl.col("date").min()).item()
    for i, name in enumerate([*mine, BENCHMARK]):
        rows = nav.filter((pl.col("mandate") == name) & (pl.col("date") >= first))
        if rows.is_empty():
            continue
        value = rows["nav"].to_numpy()
        bench = name == BENCHMARK
        look: dict[str, Any] = {
            "color": MUTED if bench else LINES[i % len(LINES)],
            "linewidth": 1.0 if bench else 1.3,
            "linestyle": (0, (3, 1.5)) if bench else "-",
        }
        top.plot(_x(rows["date"]), value / value[0], label="1/N" if bench else name, **look)
        low.plot(_x(rows["date"]), drawdown(value), **look)
    top.set_yscale("log")
    top.set_title("Growth of 1, net of costs (log scale)")
    ticks = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500]
    top_value = top.get_ylim()[1]
    top.set_yticks([t for t in (0.5, 0.7, *ticks) if top.get_ylim()[0] <= t <= top_value])
    top.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    top.minorticks_off()
    top.legend(loc="upper left", ncols=4, handlelength=1.6, columnspacing=1.4)
    low.set_title("Drawdown")
    _percent(low.yaxis)
    return figure


def _var(report: Report) -> Figure | None:
    rows = report.series.outcomes
    mine = judged(report)
    if not mine:
        return None
    figure, axes = _figure(0.35 + 1.45 * len(mine), len(mine), sharex=True)
    for axis, name in zip(axes, mine, strict=True):
        part = rows.filter(pl.col("mandate") == name)
        days, pnl = _x(part["date"]), part["pnl_next"].to_numpy()
        var = part["var_99"].to_numpy()
        hit = part["exception_99"].fill_null(False).to_numpy()
        for year in CRISES:
            if days[0] <= np.datetime64(date(year, 12, 31)) and days[-1] >= np.datetime64(
                date(year, 1, 1)
            ):
                axis.axvspan(date(year, 1, 1), date(year, 12, 31), color=FILL, linewidth=0)  # type: ignore[arg-type]
        axis.plot(*_stems(days, pnl), color="#b9c1cc", linewidth=0.35, solid_capstyle="butt")
        axis.plot(days, -var, color=ACCENT, linewidth=0.9)
        axis.plot(days[hit], pnl[hit], "o", color=ALARM, markersize=2.6, markeredgewidth=0)
        axis.set_title(f"{name}: {int(hit.sum())} exceptions, {0.01 * len(days):.0f} expected")
        _percent(axis.yaxis)
    return figure


def _risk(report: Report) -> Figure | None:
    held = invested(report)
    if not held:
        return None
    figure, axes = _figure(0.35 + 2.05 * len(held), len(held))
    for axis, m in zip(axes, held, strict=True):
        top = m.contributions[:TOP]
        place = np.arange(len(top))
        axis.bar(place - 0.2, [c.weight for c in top], 0.38, color="#b9cbe0", label="weight")
        axis.bar(place + 0.2, [c.share for c in top], 0.38, color=ACCENT, label="share of variance")
        axis.axhline(0, color=MUTED, linewidth=0.6)
        axis.set_xticks(place, [report.label(c.instrument) for c in top])
        axis.grid(axis="x", visible=False)
        axis.set_title(f"{m.name}, targets of {m.contributions_at}")
        axis.margins(y=0.18)
        _percent(axis.yaxis)
        axis.legend(loc="upper right", ncols=2, handlelength=1)
    return figure


def _ic(report: Report) -> Figure | None:
    rows = [s for s in (*report.models, *report.factors) if s.all.detectable]
    if not rows:
        return None
    from matplotlib.ticker import MaxNLocator

    models = [s for s in report.models if s.all.detectable]
    rest = sorted(
        (s for s in report.factors if s.all.detectable), key=lambda s: -abs(s.all.t or 0.0)
    )[: FACTORS - len(models)]
    rows = [*models, *sorted(rest, key=lambda s: -(s.all.mean or 0.0))]
    figure, (axis,) = _figure(0.75 + 0.2 * len(rows))
    place = -np.arange(len(rows), dtype=float)
    place[: len(models)] += 0.6
    reach = np.array([s.all.detectable or 0.0 for s in rows])
    mean = np.array([s.all.mean or 0.0 for s in rows])
    axis.barh(place, 2 * reach, 0.62, left=-reach, color=FILL, edgecolor=RULE, linewidth=0.5)
    for strong in (True, False):
        pick = np.array([s.all.distinguishable is strong for s in rows])
        face = ACCENT if strong else "white"
        axis.plot(mean[pick], place[pick], "o", color=ACCENT, markerfacecolor=face, markersize=4.5)
    axis.axvline(0, color=MUTED, linewidth=0.7)
    axis.set_yticks(place, [_short(s.title) for s in rows])
    axis.tick_params(axis="y", labelsize=7.5)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axis.grid(axis="y", visible=False)
    figure.suptitle(
        "Mean rank IC (dots) and what this panel can detect (bars)",
        x=0.02, ha="left", fontsize=9, fontweight="bold",
    )  # fmt: skip
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:+.2f}".replace("-", "−") if v else "0")
    axis.set_ylim(place[-1] - 0.8, place[0] + 0.8)
    return figure


def _short(text: str, length: int = 44) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _curve(report: Report) -> Figure | None:
    curve = report.market.curve
    if len(curve) < 3:
        return None
    figure, (axis,) = _figure(2.3)
    place = np.arange(len(curve))
    looks: tuple[tuple[int, str, str, Any, float], ...] = (
        (3, "252 sessions before", MUTED, (0, (1, 1.5)), 1.0),
        (2, "21 sessions before", MUTED, (0, (4, 1.5)), 1.0),
        (1, str(report.market.curve_date), ACCENT, "-", 1.6),
    )
    for column, label, color, style, width in looks:
        values = np.array(
            [np.nan if line[column] is None else line[column] for line in curve], dtype=float
        )
        if not np.isnan(values).all():
            axis.plot(place, values, color=color, linestyle=style, linewidth=width, label=label)
    axis.set_xticks(place, [line[0] for line in curve])
    axis.set_title("US Treasury par yields, %")
    axis.legend(loc="best")
    return figure


def _regime(report: Report) -> Figure | None:
    rows = report.series.regime.drop_nulls("p_turbulent")
    if rows.height < 2:
        return None
    figure, (axis,) = _figure(1.75)
    axis.fill_between(_x(rows["date"]), rows["p_turbulent"].to_numpy(), color=ACCENT, linewidth=0)
    axis.set_ylim(0, 1)
    axis.margins(x=0.01)
    axis.set_title("Filtered probability of the turbulent regime")
    _percent(axis.yaxis)
    axis.set_yticks([0, 0.5, 1])
    return figure


def _health(report: Report) -> Figure | None:
    months = report.series.health
    if months.height < 2:
        return None
    from matplotlib.colors import LinearSegmentedColormap

    marks = [c for c in months.columns if c != "month"]
    shares = months.select(marks).to_numpy().T.astype(np.float64)
    figure, (axes,) = _figure(1.75)
    colours = LinearSegmentedColormap.from_list("health", ["#ffffff", "#e8b7a5", ALARM], bad=FILL)
    axes.imshow(
        np.ma.masked_invalid(shaded(shares)),
        aspect="auto",
        cmap=colours,
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(marks)), [m.capitalize() for m in marks])
    years = [(i, d.year) for i, d in enumerate(months["month"]) if d.month == 1]
    step = max(1, len(years) // 10)
    axes.set_xticks([i for i, _ in years[::step]], [str(y) for _, y in years[::step]])
    axes.set_yticks(np.arange(0.5, len(marks) - 1), minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", axis="y", color=RULE, linewidth=0.8)
    axes.tick_params(which="minor", size=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.set_title("Data health by month (white: none, dark: 10 % of the bars or more)")
    return figure


_CHARTS: dict[str, Callable[[Report], Figure | None]] = {
    "nav": _nav,
    "var": _var,
    "risk": _risk,
    "regime": _regime,
    "curve": _curve,
    "ic": _ic,
    "health": _health,
}
