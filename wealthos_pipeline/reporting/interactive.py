"""The same charts for the interactive page: figures of plotly as plain JSON.

plotly.js is embedded once; plotly's Python classes are not needed and not imported.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.health import shaded
from wealthos_pipeline.portfolio.performance import drawdown
from wealthos_pipeline.reporting import book_figures
from wealthos_pipeline.reporting.charts import (
    ACCENT,
    ALARM,
    FILL,
    INK,
    LINES,
    MUTED,
    RULE,
    invested,
    judged,
)
from wealthos_pipeline.reporting.mandates import BENCHMARK, CRISES
from wealthos_pipeline.reporting.report import Report

Figure = dict[str, Any]


@cache
def library() -> str:
    """The text of plotly.js, without a closing script tag inside."""
    text = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    return text.replace("</script", "<\\/script")


def figures(report: Report) -> dict[str, Figure]:
    """Chart name → plotly figure; names as in ``charts.draw``."""
    made = {
        "nav": _nav(report),
        "var": _var(report),
        "risk": _risk(report),
        "regime": _regime(report),
        "curve": _curve(report),
        "ic": _ic(report),
        "health": _health(report),
        **book_figures.figures(report),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def _health(report: Report) -> Figure | None:
    months = report.series.health
    if months.height < 2:
        return None
    marks = [c for c in months.columns if c != "month"]
    shares = months.select(marks).to_numpy().T.astype(np.float64)
    text = [
        ["none" if v == 0 else "not known" if v != v else f"{100 * v:.3f} %" for v in row]
        for row in shares
    ]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": _days(months["month"]),
                "y": [m.capitalize() for m in marks],
                "z": [_round(row, 3) for row in shaded(shares)],
                "text": text,
                "hovertemplate": "%{y}, %{x|%B %Y}: %{text} of the bars<extra></extra>",
                "zmin": 0,
                "zmax": 1,
                "ygap": 2,
                "showscale": False,
                "colorscale": [[0, "#ffffff"], [0.5, "#e8b7a5"], [1, ALARM]],
            }
        ],
        "layout": _layout(
            240, yaxis={"autorange": "reversed", "automargin": True}, hovermode="closest"
        ),
    }


def to_json(made: dict[str, Figure]) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _days(column: pl.Series) -> list[str]:
    return column.dt.to_string("%Y-%m-%d").to_list()


def _round(values: np.ndarray, digits: int = 5) -> list[float | None]:
    return [None if v != v else float(v) for v in np.round(values.astype(np.float64), digits)]


def _layout(height: int, **more: Any) -> Figure:
    axis = {"gridcolor": RULE, "zerolinecolor": RULE, "linecolor": RULE, "automargin": True}
    base: Figure = {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 44, "b": 36},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "font": {
            "family": "system-ui, Segoe UI, Helvetica, Arial, sans-serif",
            "size": 12,
            "color": INK,
        },
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }
    for key, value in more.items():
        base[key] = {**axis, **value} if key.startswith(("xaxis", "yaxis")) else value
    return base


def _nav(report: Report) -> Figure | None:
    mine = [m.name for m in report.mandates if m.track is not None]
    if not mine:
        return None
    nav = report.series.nav
    first = nav.filter(pl.col("mandate").is_in(mine)).select(pl.col("date").min()).item()
    data: list[Figure] = []
    for i, name in enumerate([*mine, BENCHMARK]):
        rows = nav.filter((pl.col("mandate") == name) & (pl.col("date") >= first))
        if rows.is_empty():
            continue
        value = rows["nav"].to_numpy()
        bench = name == BENCHMARK
        line = {"color": MUTED if bench else LINES[i % len(LINES)], "width": 1.4}
        if bench:
            line["dash"] = "dash"
        common: Figure = {
            "type": "scatter",
            "mode": "lines",
            "x": _days(rows["date"]),
            "name": "1/N" if bench else name,
            "legendgroup": name,
            "line": line,
        }
        growth = {"y": _round(value / value[0], 4), "hovertemplate": "%{y:.2f}"}
        below = {
            "y": _round(drawdown(value), 4),
            "yaxis": "y2",
            "showlegend": False,
            "hovertemplate": "%{y:.1%}",
        }
        data += [{**common, **growth}, {**common, **below}]
    return {
        "data": data,
        "layout": _layout(
            520,
            yaxis={"type": "log", "domain": [0.36, 1], "title": {"text": "growth of 1"}},
            yaxis2={"domain": [0, 0.3], "tickformat": ".0%", "title": {"text": "drawdown"}},
        ),
    }


def _var(report: Report) -> Figure | None:
    rows = report.series.outcomes
    mine = judged(report)
    if not mine:
        return None
    data: list[Figure] = []
    buttons: list[Figure] = []
    for i, name in enumerate(mine):
        part = rows.filter(pl.col("mandate") == name)
        hit = part.filter(pl.col("exception_99"))
        x = _days(part["date"])
        shown = {"visible": i == 0}
        data += [
            {
                "type": "bar",
                "x": x,
                "y": _round(part["pnl_next"].to_numpy()),
                "name": "result",
                "marker": {"color": "#b9c1cc", "line": {"width": 0}},
                **shown,
            },
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": _round(-part["var_99"].cast(pl.Float64).to_numpy()),
                "name": "− VaR 99 %",
                "line": {"color": ACCENT, "width": 1.2},
                **shown,
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": _days(hit["date"]),
                "y": _round(hit["pnl_next"].to_numpy()),
                "name": "exception",
                "marker": {"color": ALARM, "size": 6},
                **shown,
            },
        ]
        flags = [k // 3 == i for k in range(3 * len(mine))]
        buttons.append({"label": name, "method": "restyle", "args": [{"visible": flags}]})
    menu = {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
    return {
        "data": data,
        "layout": _layout(
            340,
            bargap=0,
            shapes=_crises(rows["date"].min(), rows["date"].max()),
            yaxis={"tickformat": ".1%"},
            updatemenus=[menu] if len(mine) > 1 else [],
        ),
    }


def _crises(first: Any, last: Any) -> list[Figure]:
    """Shaded years of the crises that the dates reach."""
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": f"{year}-01-01",
            "x1": f"{year}-12-31",
            "y0": 0,
            "y1": 1,
            "fillcolor": FILL,
            "line": {"width": 0},
            "layer": "below",
        }
        for year in CRISES
        if first.year <= year <= last.year
    ]


def _risk(report: Report) -> Figure | None:
    held = invested(report)
    if not held:
        return None
    data: list[Figure] = []
    buttons: list[Figure] = []
    for i, m in enumerate(held):
        top = m.contributions[:25]
        x = [report.label(c.instrument) for c in top]
        for label, color, values in (
            ("weight", "#b9cbe0", [c.weight for c in top]),
            ("share of variance", ACCENT, [c.share for c in top]),
        ):
            data.append(
                {
                    "type": "bar",
                    "x": x,
                    "y": _round(np.array(values)),
                    "name": label,
                    "marker": {"color": color},
                    "visible": i == 0,
                }
            )
        flags = [k // 2 == i for k in range(2 * len(held))]
        buttons.append({"label": m.name, "method": "restyle", "args": [{"visible": flags}]})
    menu = {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
    return {
        "data": data,
        "layout": _layout(
            340,
            barmode="group",
            xaxis={"type": "category"},
            yaxis={"tickformat": ".0%"},
            updatemenus=[menu] if len(held) > 1 else [],
        ),
    }


def _regime(report: Report) -> Figure | None:
    rows = report.series.regime.drop_nulls("p_turbulent")
    if rows.height < 2:
        return None
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": _days(rows["date"]),
        "y": _round(rows["p_turbulent"].to_numpy(), 4),
        "fill": "tozeroy",
        "line": {"color": ACCENT, "width": 0.8},
        "name": "P(turbulent)",
    }
    return {"data": [line], "layout": _layout(240, yaxis={"tickformat": ".0%", "range": [0, 1]})}


def _curve(report: Report) -> Figure | None:
    curve = report.market.curve
    if len(curve) < 3:
        return None
    tenors = [line[0] for line in curve]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": tenors,
            "y": [line[column] for line in curve],
            "name": name,
            "line": {"color": color, "dash": dash},
        }
        for column, name, color, dash in (
            (1, str(report.market.curve_date), ACCENT, "solid"),
            (2, "21 sessions before", MUTED, "dash"),
            (3, "252 sessions before", MUTED, "dot"),
        )
    ]
    return {
        "data": data,
        "layout": _layout(280, xaxis={"type": "category"}, yaxis={"ticksuffix": " %"}),
    }


def _ic(report: Report) -> Figure | None:
    rows = [s for s in (*report.models, *report.factors) if s.all.detectable][::-1]
    if not rows:
        return None
    titles = [s.title for s in rows]
    reach = np.array([s.all.detectable or 0.0 for s in rows])
    mean = np.array([s.all.mean or 0.0 for s in rows])
    strong = [s.all.distinguishable for s in rows]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": titles,
        "x": _round(2 * reach),
        "base": _round(-reach),
        "marker": {"color": "#e3e8ee"},
        "name": "too small to detect",
        "hovertemplate": "± %{customdata:.3f}",
        "customdata": _round(reach),
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "y": titles,
        "x": _round(mean),
        "name": "mean rank IC",
        "marker": {
            "color": [ACCENT if s else "#fff" for s in strong],
            "size": 8,
            "line": {"color": ACCENT, "width": 1.5},
        },
        "customdata": [[s.all.t, s.all.n] for s in rows],
        "hovertemplate": "%{x:+.3f}, t %{customdata[0]:.1f}, %{customdata[1]:,} dates",
    }
    return {
        "data": [bars, dots],
        "layout": _layout(
            90 + 20 * len(rows),
            hovermode="closest",
            yaxis={"type": "category"},
            xaxis={"tickformat": "+.2f"},
        ),
    }
