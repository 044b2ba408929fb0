"""The charts of single portfolios for the interactive page: one figure a kind, a menu of portfolios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.reporting.book import Book
from wealthos_pipeline.reporting.book_charts import (
    ROLLING,
    colour,
    drifts,
    risk_bars,
    scenarios,
    stacked,
    steps,
    wrap,
)
from wealthos_pipeline.reporting.report import Report
from wealthos_pipeline.reporting.words import number

Figure = dict[str, Any]
LINES = ("#1f4e79", "#4f8a8b", "#b98b3e", "#7a6c9d", "#8a5a44", "#5d7a3a")
ACCENT, ALARM, INK, MUTED = "#1f4e79", "#b3261e", "#1c2430", "#667085"


def figures(report: Report) -> dict[str, Figure]:
    """Chart name → plotly figure; names as in ``book_charts.CHARTS``."""
    made = {name: make(report) for name, make in _FIGURES.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def _layout(height: int, **more: Any) -> Figure:
    from wealthos_pipeline.reporting.interactive import _layout as layout

    return layout(height, **more)


def _days(column: pl.Series) -> list[str]:
    return column.dt.to_string("%Y-%m-%d").to_list()


def _round(values: np.ndarray, digits: int = 5) -> list[float | None]:
    return [None if v != v else round(v, digits) + 0.0 for v in np.asarray(values, float).tolist()]


def _menu(panels: list[tuple[str, list[Figure]]]) -> tuple[list[Figure], list[Figure]]:
    """Traces of all panels, the first one's visible, and the menu that shows one of them."""
    data = [
        {**trace, "visible": i == 0} for i, (_, traces) in enumerate(panels) for trace in traces
    ]
    owner = [i for i, (_, traces) in enumerate(panels) for _ in traces]
    buttons = [
        {"label": label, "method": "restyle", "args": [{"visible": [k == i for k in owner]}]}
        for i, (label, _) in enumerate(panels)
    ]
    if len(panels) < 2:
        return data, []
    place = {"x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
    return data, [{"buttons": buttons, **place}]


def _weights(report: Report) -> Figure | None:
    panels = []
    for book in report.books:
        if not drifts(book):
            continue
        days, bands = stacked(report, book)
        traces: list[Figure] = [
            {
                "type": "scatter",
                "mode": "lines",
                "x": _days(days),
                "y": _round(weights, 4),
                "name": label,
                "stackgroup": book.name,
                "line": {"width": 0.4, "color": colour(label, i)},
                "fillcolor": colour(label, i),
                "hovertemplate": "%{y:.1%}",
            }
            for i, (label, weights) in enumerate(bands)
        ]
        panels.append((book.name, traces))
    if not panels:
        return None
    data, menus = _menu(panels)
    legend = {"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "traceorder": "reversed"}
    return {
        "data": data,
        "layout": _layout(
            400, yaxis={"tickformat": ".0%"}, xaxis={}, updatemenus=menus, legend=legend
        ),
    }


def _waterfall(report: Report) -> Figure | None:
    return _falls(report, factor=False)


def _waterfall_factor(report: Report) -> Figure | None:
    return _falls(report, factor=True)


def _falls(report: Report, *, factor: bool) -> Figure | None:
    panels = []
    most = 0
    for book in report.books:
        for w in (w for w in book.waterfalls if (w.scheme == "factor") is factor):
            labels, _, values = steps(w)
            most = max(most, len(labels))
            trace: Figure = {
                "type": "waterfall",
                "orientation": "h",
                "y": labels,
                "x": _round(values, 6),
                "measure": ["relative"] * (len(labels) - 1) + ["total"],
                "text": [number(100 * v, 2, sign=True) for v in values],
                "textposition": "outside",
                "increasing": {"marker": {"color": ACCENT}},
                "decreasing": {"marker": {"color": ALARM}},
                "totals": {"marker": {"color": INK}},
                "connector": {"line": {"color": MUTED, "width": 0.6}},
                "name": "",
                "showlegend": False,
                "hovertemplate": "%{y}: %{x:+.4%}<extra></extra>",
                "cliponaxis": False,
            }
            panels.append((book.name, [trace]))
    if not panels:
        return None
    data, menus = _menu(panels)
    return {
        "data": data,
        "layout": _layout(
            130 + 26 * most,
            hovermode="closest",
            xaxis={"tickformat": ".1%"},
            yaxis={"type": "category", "autorange": "reversed"},
            updatemenus=menus,
        ),
    }


def _contributions(report: Report) -> Figure | None:
    panels = []
    most = 0
    tones = {"name": ACCENT, "sector": "#4f8a8b", "factor": "#b98b3e"}
    for book in report.books:
        for kind, lines in risk_bars(report, book):
            most = max(most, len(lines))
            shares = np.array([share for _, share in lines])
            trace: Figure = {
                "type": "bar",
                "orientation": "h",
                "y": [label for label, _ in lines],
                "x": _round(shares, 5),
                "text": [f"{100 * v:.1f} %".replace("-", "−") for v in shares],
                "textposition": "outside",
                "marker": {"color": tones[kind]},
                "name": f"share by {kind}",
                "showlegend": False,
                "hovertemplate": "%{y}: %{x:.2%} of the volatility<extra></extra>",
                "cliponaxis": False,
            }
            panels.append((f"{book.name}, by {kind}", [trace]))
    if not panels:
        return None
    data, menus = _menu(panels)
    return {
        "data": data,
        "layout": _layout(
            110 + 28 * most,
            hovermode="closest",
            xaxis={"tickformat": ".0%"},
            yaxis={"type": "category", "autorange": "reversed"},
            updatemenus=menus,
        ),
    }


def _rolling(report: Report) -> Figure | None:
    mine = [b for b in report.books if b.rolling.height > 1]
    if not mine:
        return None
    data: list[Figure] = []
    for i, book in enumerate(mine):
        for k, (column, title) in enumerate(ROLLING):
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": _days(book.rolling["date"]),
                    "y": _round(book.rolling[column].to_numpy(), 4),
                    "name": book.name,
                    "legendgroup": book.name,
                    "showlegend": k == 0,
                    "yaxis": "y" if k == 0 else f"y{k + 1}",
                    "line": {"color": LINES[i % len(LINES)], "width": 1.2},
                    "hovertemplate": f"%{{y:.1%}} {title.split(',', maxsplit=1)[0].lower()}",
                }
            )
    titles = ("return less<br>that of 1/N", "volatility", "tracking error")
    return {
        "data": data,
        "layout": _layout(
            520,
            yaxis={"domain": [0.7, 1], "tickformat": ".0%", "title": {"text": titles[0]}},
            yaxis2={"domain": [0.36, 0.64], "tickformat": ".0%", "title": {"text": titles[1]},
                    "rangemode": "tozero"},
            yaxis3={"domain": [0, 0.3], "tickformat": ".0%", "title": {"text": titles[2]},
                    "rangemode": "tozero"},
        ),
    }  # fmt: skip


def _stress(report: Report) -> Figure | None:
    mine = [b for b in report.books if any(s.pnl is not None for s in b.stress)]
    if not mine:
        return None
    titles = scenarios(mine)
    data: list[Figure] = []
    for i, book in enumerate(mine):
        found = {s.title: s for s in book.stress if s.pnl is not None}
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "y": [wrap(t).replace("\n", "<br>") for t in titles],
                "x": _round(
                    np.array([found[t].pnl if t in found else np.nan for t in titles], float)
                ),
                "customdata": [_worst(report, book, t) for t in titles],
                "name": book.name,
                "marker": {"color": LINES[i % len(LINES)]},
                "hovertemplate": "%{x:.1%}%{customdata}",
            }
        )
    return {
        "data": data,
        "layout": _layout(
            120 + (14 + 16 * len(mine)) * len(titles),
            barmode="group",
            hovermode="y unified",
            xaxis={"tickformat": ".0%"},
            yaxis={"type": "category", "autorange": "reversed"},
        ),
    }


def _worst(report: Report, book: Book, title: str) -> str:
    for s in book.stress:
        if s.title == title and s.worst and s.worst_pnl is not None:
            part = f"{100 * s.worst_pnl:.1f}".replace("-", "−")
            return f", {report.label(s.worst)} {part} %"
    return ""


def _frontier(report: Report) -> Figure | None:
    looks: tuple[tuple[str, str, Figure], ...] = (
        ("name", "single names", {"mode": "markers", "marker": {"color": "#b9c1cc", "size": 6}}),
        ("frontier", "frontier", {"mode": "lines", "line": {"color": ACCENT, "width": 2}}),
        ("benchmark", "1/N", {"mode": "markers", "marker": {"color": MUTED, "size": 10}}),
        ("held", "held", {"mode": "markers",
                          "marker": {"color": INK, "size": 10, "symbol": "square"}}),
        ("target", "target", {"mode": "markers",
                              "marker": {"color": ALARM, "size": 10, "symbol": "diamond"}}),
    )  # fmt: skip
    panels = []
    for book in report.books:
        if book.frontier.is_empty():
            continue
        traces: list[Figure] = []
        for kind, label, look in looks:
            rows = book.frontier.filter(pl.col("kind") == kind).sort("volatility")
            if rows.height:
                traces.append(
                    {
                        "type": "scatter",
                        "x": _round(rows["volatility"].to_numpy()),
                        "y": _round(rows["expected"].to_numpy()),
                        "text": [report.label(x) for x in rows["label"]],
                        "name": label,
                        "hovertemplate": "%{text} %{x:.1%} volatility, %{y:+.2%} expected<extra></extra>",
                        **look,
                    }
                )
        panels.append((book.name, traces))
    if not panels:
        return None
    data, menus = _menu(panels)
    return {
        "data": data,
        "layout": _layout(
            420,
            hovermode="closest",
            xaxis={"tickformat": ".0%", "rangemode": "tozero", "title": {"text": "volatility a year"}},
            yaxis={"tickformat": "+.1%", "title": {"text": "expected return a year, before costs"}},
            updatemenus=menus,
        ),
    }  # fmt: skip


_FIGURES: dict[str, Callable[[Report], Figure | None]] = {
    "weights": _weights,
    "waterfall": _waterfall,
    "waterfall_factor": _waterfall_factor,
    "contributions": _contributions,
    "rolling": _rolling,
    "stress": _stress,
    "frontier": _frontier,
}
