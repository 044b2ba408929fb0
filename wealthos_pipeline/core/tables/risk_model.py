"""The risk model: what it is at its estimation dates, what its factors earned, how good it was."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

RISK_MODEL = (
    TableContract(
        "portfolio.risk_exposures",
        "Factor exposures B and specific volatility of the risk model, at its estimation dates.",
        (
            _C("date", "date", "estimation date"),
            _C("instrument_id", "str", "instrument"),
            _C(
                "factor",
                "str",
                "pc01, pc02, … of a statistical model; market, sector Energy, momentum_12_1, … of a "
                "fundamental one; 'specific' for specific volatility",
            ),
            _C("value", "f64", "exposure; for 'specific' daily volatility", "decimal"),
        ),
        ("date", "instrument_id", "factor"),
        "date",
        "bar",
    ),
    TableContract(
        "portfolio.risk_factors",
        "Factor covariance F of the risk model, daily.",
        (
            _C("date", "date", "estimation date"),
            _C("factor", "str", "row"),
            _C("factor_2", "str", "column"),
            _C("covariance", "f64", "daily covariance", "decimal²"),
        ),
        ("date", "factor", "factor_2"),
        "date",
        "bar",
    ),
    TableContract(
        "portfolio.factor_returns",
        "Daily returns of the risk model's factors. A portfolio's return on a session is its exposures, by "
        "B of the last month end before, times these, and a specific rest.",
        (
            _C("date", "date", "session"),
            _C("factor", "str", "factor of portfolio.risk_exposures"),
            _C("value", "f64", "return of the session per unit of exposure", "decimal"),
            _C(
                "t", "f64", "t of the cross-sectional regression; null where none is made", "", True
            ),
        ),
        ("date", "factor"),
        "date",
        "bar",
    ),
    TableContract(
        "portfolio.risk_quality",
        "How the risk model's forecasts of month ends were met by the sessions after them.",
        (
            _C("date", "date", "estimation date, a month end"),
            _C("model", "str", "statistical, fundamental, ledoit_wolf, oas or ewma"),
            _C(
                "portfolios",
                "str",
                "what was forecast: equal_weight, min_variance (of the model itself), long_only or "
                "long_short (random, seeded)",
            ),
            _C("horizon", "i32", "sessions of a return", "sessions"),
            _C("observations", "i32", "returns: portfolios × periods"),
            _C("z_squared", "f64", "mean of (return / forecast volatility)²; 1 is right", ""),
            _C("qlike", "f64", "mean of log variance + z², of the horizon; lower is better", ""),
            _C(
                "bias",
                "f64",
                "√ of the mean z_squared of the last 12 estimation dates; above 1 risk was too low a "
                "forecast; null before there are 12",
                "",
                True,
            ),
            _known("that of the last return's bar"),
        ),
        ("date", "model", "portfolios", "horizon"),
        "date",
        "column",
    ),
)
