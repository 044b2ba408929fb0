"""Portfolios: targets, trades, what became of them."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

_RUN = (
    _C("mandate", "str", "mandate"),
    _C("run_kind", "str", "live, backtest or research"),
)

PORTFOLIO = (
    TableContract(
        "portfolio.targets",
        "Target weights with what they were made from.",
        (
            *_RUN,
            _C("date", "date", "close at which they were decided"),
            _C("instrument_id", "str", "instrument"),
            _C("weight_before", "f64", "drifted weight at the decision", "fraction of NAV"),
            _C("weight", "f64", "target weight", "fraction of NAV"),
            _C("weight_benchmark", "f64", "1/N of the universe", "fraction of NAV"),
            _C("alpha", "f64", "expected return over the horizon", "decimal"),
            _C("volatility", "f64", "forecast, annualised by √252", "decimal"),
            _C("risk_contribution", "f64", "share of the portfolio's variance", ""),
        ),
        ("mandate", "run_kind", "date", "instrument_id"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "instrument_id"),
    ),
    TableContract(
        "portfolio.solves",
        "One row an optimisation: status and certificate, or why it is impossible.",
        (
            *_RUN,
            _C("date", "date", "decision date"),
            _C(
                "status",
                "str",
                "optimal, softened (limits gave way), rule (1/N, no solve), infeasible, held (no solve) or failed",
            ),
            _C("objective_kind", "str", "what was optimised, as the mandate names it"),
            _C("solver", "str", "solver and version", nullable=True),
            _C("iterations", "i32", "of the solver", "", True),
            _C("objective", "f64", "value of the objective", "", True),
            _C("violation", "f64", "largest constraint violation", "", True),
            _C("gap", "f64", "duality gap", "", True),
            _C("volatility", "f64", "forecast, annualised", "decimal", True),
            _C("turnover", "f64", "one-way turnover proposed", "", True),
            _C("ic", "f64", "shrunk out-of-sample IC used for alpha", "", True),
            _C("message", "str", "in words", nullable=True),
        ),
        ("mandate", "run_kind", "date"),
        "date",
        "bar",
    ),
    TableContract(
        "portfolio.binding",
        "Limits that bind at the answer, and what a unit of each would be worth.",
        (
            *_RUN,
            _C("date", "date", "decision date"),
            _C("limit", "str", "key of the limit"),
            _C("kind", "str", "kind, as in a mandate's soften"),
            _C("words", "str", "what it says"),
            _C("value", "f64", "its bound; null where names have different ones", "", True),
            _C(
                "price",
                "f64",
                "gain of the objective (a return over the horizon) per unit by which it is loosened",
            ),
        ),
        ("mandate", "run_kind", "date", "limit"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "limit"),
    ),
    TableContract(
        "portfolio.trades",
        "Trades from drifted holdings to targets, each with its reason.",
        (
            *_RUN,
            _C("date", "date", "decision date"),
            _C("instrument_id", "str", "instrument"),
            _C("side", "str", "buy or sell"),
            _C("weight_before", "f64", "drifted weight", "fraction of NAV"),
            _C("weight", "f64", "target weight", "fraction of NAV"),
            _C("value", "f64", "traded value, signed", "currency"),
            _C("units", "f64", "shares at the decision's close, signed", "shares"),
            _C("cost", "f64", "estimated cost", "currency"),
            _C("alpha_part", "f64", "marginal utility from alpha", "decimal"),
            _C("risk_part", "f64", "marginal utility from risk", "decimal"),
            _C("cost_part", "f64", "marginal utility from cost", "decimal"),
            _C("constraint_part", "f64", "marginal utility from binding constraints", "decimal"),
            _C("reason", "str", "in words"),
        ),
        ("mandate", "run_kind", "date", "instrument_id"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "instrument_id"),
    ),
)
