"""The accounts of portfolios: what is held, what it is worth, every movement of money."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

_RUN = (
    _C("mandate", "str", "mandate"),
    _C("run_kind", "str", "live, backtest or research"),
)

ACCOUNT = (
    TableContract(
        "portfolio.positions",
        "Shares held at the close of a date on which they changed; unchanged until the next row's date.",
        (
            *_RUN,
            _C("date", "date", "session of a fill, a split or a delisting"),
            _C("instrument_id", "str", "instrument; 'cash' for money"),
            _C(
                "units",
                "f64",
                "shares in the traded basis of the date; for cash the amount at its close (of other "
                "days: portfolio.nav)",
                "shares",
            ),
        ),
        ("mandate", "run_kind", "date", "instrument_id"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "instrument_id"),
    ),
    TableContract(
        "portfolio.nav",
        "Net asset value by day. Mandate 'equal_weight' is 1/N of the same universe, with costs.",
        (
            *_RUN,
            _C("date", "date", "session"),
            _C(
                "nav",
                "f64",
                "net asset value at the close, in whole 1/10,000: cash and the rounded value of each position",
                "currency",
            ),
            _C("return_net", "f64", "simple return after costs", "decimal", True),
            _C("return_gross", "f64", "simple return before costs", "decimal", True),
            _C("cost", "f64", "commission, spread, impact and borrow fees paid", "currency"),
            _C("turnover", "f64", "one-way, of NAV", ""),
            _C("cash", "f64", "cash at the close", "currency"),
            _C("names", "i32", "instruments held"),
            _C(
                "flow",
                "f64",
                "deposits less withdrawals after the opening; 0 in a backtest",
                "currency",
                True,
            ),
        ),
        ("mandate", "run_kind", "date"),
        "date",
        "bar",
    ),
    TableContract(
        "portfolio.events",
        "Every movement of money and shares; cash is the cash before plus the amounts, exactly.",
        (
            *_RUN,
            _C("date", "date", "session"),
            _C("seq", "i32", "number within the session, from 0"),
            _C(
                "kind",
                "str",
                "deposit, split, dividend, borrow, interest, sell, buy, commission, spread, impact, "
                "unfilled or delisting",
            ),
            _C("instrument_id", "str", "instrument, if any", nullable=True),
            _C(
                "units",
                "f64",
                "change of shares; of a dividend or borrow fee the shares it is for; of unfilled what "
                "was not filled",
                "shares",
                True,
            ),
            _C("price", "f64", "price, or cash a share", "currency", True),
            _C("amount", "i64", "effect on cash", "1/10,000 of the base currency"),
            _C("note", "str", "ratio of a split, why something was not filled", nullable=True),
        ),
        ("mandate", "run_kind", "date", "seq"),
        "date",
        "bar",
        sort=("date", "mandate", "run_kind", "seq"),
    ),
)
