"""Where returns came from."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

ATTRIBUTION = (
    TableContract(
        "portfolio.attribution",
        "Daily arithmetic attribution; the effects of a scheme and benchmark add up to the day's return.",
        (
            _C("mandate", "str", "mandate"),
            _C("run_kind", "str", "live, backtest or research"),
            _C("date", "date", "session"),
            _C(
                "scheme", "str", "what it is told by: sector, factor (of the risk model) or a label"
            ),
            _C("benchmark", "str", "portfolio that it is measured against; '' for its own return"),
            _C(
                "effect",
                "str",
                "allocation, selection, interaction, contribution, factor, specific, trading, cost, "
                "borrow, cash or residual",
            ),
            _C("group", "str", "sector, factor, kind of cost; '' for whole-portfolio effects"),
            _C("value", "f64", "contribution to the (active) net return of the day", "decimal"),
        ),
        ("mandate", "run_kind", "date", "scheme", "benchmark", "effect", "group"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "scheme", "benchmark", "effect", "group"),
    ),
)
