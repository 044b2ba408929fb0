"""The efficient frontier as a picture: a PNG of matplotlib, or an HTML page of plotly that needs no network."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from wealthos_pipeline.reporting.charts import ACCENT, ALARM, DPI, INK, LINES, MUTED, RULE

_MARKS = ("o", "s", "^", "D")


def png(curves: Mapping[str, pl.DataFrame], marks: pl.DataFrame, title: str) -> bytes:
    """curves: points by name, as ``frontier.POINTS``. marks: ``name, volatility, expected_return_year``."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    with rc_context({"font.family": "DejaVu Sans", "font.size": 8.5, "svg.hashsalt": "wealthos"}):
        figure = Figure(figsize=(5.8, 3.6), dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        for (name, points), colour in zip(curves.items(), (ACCENT, *LINES[1:]), strict=False):
            axes.plot(
                points["volatility"], points["expected_return_year"], color=colour, marker=".",
                markersize=3, linewidth=1.6, label=name,
            )  # fmt: skip
        colours = (ALARM, *LINES[1:])
        for i, (name, x, y) in enumerate(_places(marks)):
            axes.plot(
                [x], [y], linestyle="none", marker=_MARKS[i % len(_MARKS)], markersize=6,
                color=colours[i % len(colours)], label=name,
            )  # fmt: skip
        axes.set_title(title, loc="left", fontweight="bold", fontsize=9, color=INK)
        axes.set_xlabel("volatility, a year", color=MUTED)
        axes.set_ylabel("expected return, a year", color=MUTED)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2))
        axes.grid(color=RULE, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def page(curves: Mapping[str, pl.DataFrame], marks: pl.DataFrame, title: str) -> str:
    """One HTML page with the chart; arguments as ``png``."""
    from wealthos_pipeline.reporting.interactive import library

    body = json.dumps(figure(curves, marks, title), sort_keys=True).replace("</", "<\\/")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><script>{library()}</script></head>"
        '<body style="margin:0"><div id="chart" style="height:96vh"></div><script>'
        f"const f={body};"
        'Plotly.newPlot("chart",f.data,f.layout,{responsive:true,displaylogo:false});'
        "</script></body></html>\n"
    )


def figure(curves: Mapping[str, pl.DataFrame], marks: pl.DataFrame, title: str) -> dict[str, Any]:
    """The plotly figure as plain JSON."""
    data: list[dict[str, Any]] = []
    for (name, points), colour in zip(curves.items(), (ACCENT, *LINES[1:]), strict=False):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": points["volatility"].to_list(),
                "y": points["expected_return_year"].to_list(),
                "customdata": points.select("turnover", "names").rows(),
                "hovertemplate": "%{x:.2%} volatility, %{y:.3%} return<br>%{customdata[1]} names, "
                "turnover %{customdata[0]:.1%}",
                "line": {"color": colour},
                "marker": {"size": 5},
            }
        )
    for name, x, y in _places(marks):
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [x],
                "y": [y],
                "text": [name],
                "textposition": "top center",
                "marker": {"size": 11, "color": ALARM if name == "target" else MUTED},
                "hovertemplate": "%{x:.2%} volatility, %{y:.3%} return",
            }
        )
    layout = {
        "title": {"text": title},
        "template": {"layout": {"colorway": list(LINES)}},
        "plot_bgcolor": "white",
        "xaxis": {"title": {"text": "volatility, a year"}, "tickformat": ".1%", "gridcolor": RULE},
        "yaxis": {
            "title": {"text": "expected return, a year"},
            "tickformat": ".2%",
            "gridcolor": RULE,
        },
    }
    return {"data": data, "layout": layout}


def write(path: Path, content: bytes | str) -> None:
    """Write a chart; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _places(marks: pl.DataFrame) -> Sequence[tuple[str, float, float]]:
    return marks.select("name", "volatility", "expected_return_year").rows()
