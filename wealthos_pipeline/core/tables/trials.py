"""What was tried: every configuration that somebody looked at, and how it looked the first time."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

_TRIAL = (
    _C("trial", "str", "16 hex digits over what was tried, whatever it is called"),
    _C("kind", "str", "model, search, factor or backtest"),
    _C("name", "str", "name it had then"),
    _C("family", "str", "family of the model or factor, objective of the mandate", "", True),
    _C("params", "str", "JSON of the definition, as far as it is data"),
    _C("horizon", "i32", "label horizon; null: none", "sessions", True),
    _C("universe", "str", "names it was tried on, where known", "", True),
    _C("data", "str", "first..last session looked at, where known", "", True),
    _C("observations", "i32", "sessions looked at, where known", "sessions", True),
    _C("sharpe", "f64", "Sharpe ratio by session, not annualised", "", True),
    _C("rank_ic", "f64", "mean rank IC", "", True),
    _C("run_id", "str", "run that made it, or whose data a command looked at"),
    _C("recorded_at", "instant", "when it was recorded"),
)

TRIALS = (
    TableContract(
        "raw.trials",
        "Trials made by commands (a backtest of a mandate's file, a study of an expression, a search); the next "
        "run takes them over into record.trials.",
        _TRIAL,
        ("trial",),
        append_only=True,
    ),
    TableContract(
        "record.trials",
        "Every configuration that was looked at, once: models, what searches tried, factors, backtested mandates. "
        "Never rewritten; the same thing on newer data is not another trial.",
        _TRIAL,
        ("trial",),
        append_only=True,
    ),
)
