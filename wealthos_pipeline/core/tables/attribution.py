"""Where returns came from."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

ATTRIBUTION = (
    TableContract(
        "portfolio.attribution",
        "Daily arithmetic attribution against 1/N of the same universe; effects add up to the active return.",
        (
            _C("mandate", "str", "mandate"),
            _C("run_kind", "str", "live, backtest or research"),
            _C("date", "date", "session"),
            _C(
                "effect",
                "str",
                "allocation, selection, interaction, trading, cost, cash or residual",
            ),
            _C("group", "str", "sector, or '' for whole-portfolio effects"),
            _C("value", "f64", "contribution to the active return of the day", "decimal"),
        ),
        ("mandate", "run_kind", "date", "effect", "group"),
        "date",
        "bar",
    ),
)
