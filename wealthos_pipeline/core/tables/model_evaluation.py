"""How the models did: by date, as books of names, and over all that is known."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column


def _f(name: str, doc: str, unit: str = "") -> Column:
    """A number that is null where there is too little to know it."""
    return _C(name, "f64", doc, unit, True)


_MODEL = _C("model", "str", "model")
_HORIZON = _C("horizon", "i32", "label horizon", "sessions")

EVALUATION = TableContract(
    "models.evaluation",
    "How each model's walk-forward predictions did, by date.",
    (
        _MODEL,
        _HORIZON,
        _C("date", "date", "date of the prediction"),
        _C("n", "i32", "names"),
        _f("ic", "Pearson correlation with the forward return"),
        _f("rank_ic", "Spearman correlation with the forward return"),
        _f("spread", "top minus bottom fifth, forward return", "decimal"),
        _known("that of the label's last bar"),
        _f("turnover", "share of the top fifth that was not in it the session before, one-way"),
        _f("dispersion", "standard deviation of the predictions over the names"),
        _f(
            "slope",
            "of the outcome on the prediction, least squares over the names; of classifiers of whether "
            "it rose",
        ),
        _f(
            "brier",
            "classifiers: mean squared distance of the probability from what happened (1 a return above "
            "0, else 0)",
        ),
    ),
    ("model", "horizon", "date"),
    "date",
    "column",
)

LAGS = TableContract(
    "models.evaluation_lags",
    "Rank IC of each model's walk-forward predictions with outcomes over other numbers of sessions, by "
    "date: what models.decay is the mean of.",
    (
        _MODEL,
        _HORIZON,
        _C("lag", "i32", "sessions of the outcome", "sessions"),
        _C("date", "date", "date of the prediction"),
        _C("n", "i32", "names"),
        _f(
            "rank_ic",
            "Spearman correlation with the return over lag sessions from the close of t+1",
        ),
        _known("that of the outcome's last bar"),
    ),
    ("model", "horizon", "lag", "date"),
    "date",
    "column",
    sort=("date", "model", "horizon", "lag"),
)

BINS = TableContract(
    "models.evaluation_bins",
    "Predictions by tenths of the date's names and what came of them, by date: what models.calibration "
    "is the mean of.",
    (
        _MODEL,
        _HORIZON,
        _C("date", "date", "date of the prediction"),
        _C("bin", "i32", "tenth of the names by prediction, 1 lowest"),
        _C("n", "i32", "names"),
        _C("mean_prediction", "f64", "mean prediction"),
        _C(
            "mean_outcome",
            "f64",
            "mean forward return less the date's mean; of classifiers the share that rose",
            "decimal",
        ),
        _known("that of the label's last bar"),
    ),
    ("model", "horizon", "date", "bin"),
    "date",
    "column",
    sort=("date", "model", "horizon", "bin"),
)

RETURNS = TableContract(
    "models.returns",
    "What books that follow each model's walk-forward predictions would have earned, by session: "
    "horizon cohorts that overlap, one renewed each session, filled at the close after the score; "
    "momentum, reversal and 1/N of the same universe beside them; cash, with rows, where scores tell "
    "nothing apart. Decimal, daily, of the book's value at the close before.",
    (
        _C("model", "str", "model, or momentum, reversal, equal_weight"),
        _C("horizon", "i32", "sessions that a cohort is held", "sessions"),
        _C(
            "book",
            "str",
            "long_short (1 in the top fifth, −1 in the bottom fifth), long_only (1 in the top fifth) or "
            "equal_weight (1 / N)",
        ),
        _C("date", "date", "session in which the return is earned"),
        _C("gross", "f64", "return before costs", "decimal"),
        _C(
            "cost",
            "f64",
            "factors.costs_bp of all that is bought and sold at this close; what is bought before a book is "
            "whole, in the horizon sessions before its first row, is in no row (once, 2 × costs_bp at most)",
            "decimal",
        ),
        _C("net", "f64", "gross less cost", "decimal"),
        _C("turnover", "f64", "half of what is bought and sold at this close", "decimal"),
        _C("names", "i32", "names held at the close before"),
        _C("long", "f64", "value of what is held long at the close before", "decimal"),
        _C("short", "f64", "value of what is held short at the close before", "decimal"),
        _known("the session's"),
    ),
    ("model", "horizon", "book", "date"),
    "date",
    "column",
    sort=("date", "model", "horizon", "book"),
)

DECAY = TableContract(
    "models.decay",
    "How long each model's predictions foretell: mean rank IC with outcomes over more and more sessions.",
    (
        _MODEL,
        _HORIZON,
        _C("lag", "i32", "sessions of the outcome", "sessions"),
        _C("dates", "i32", "dates with a rank IC"),
        _f("mean_rank_ic", "mean rank IC"),
        _f("t", "the t nearest 0 of three, see models.summary"),
        _f("p_value", "of t, two-sided"),
        _known("that of the last rank IC"),
    ),
    ("model", "horizon", "lag"),
)

CALIBRATION = TableContract(
    "models.calibration",
    "Whether what a model predicts is what comes, on average: tenths of each date's names by prediction.",
    (
        _MODEL,
        _HORIZON,
        _C("bin", "i32", "tenth of the names by prediction, 1 lowest"),
        _C("n", "i64", "names, all dates together"),
        _C("mean_prediction", "f64", "mean over dates of the bin's mean prediction"),
        _C(
            "mean_outcome",
            "f64",
            "mean over dates of the forward return less the date's mean; of classifiers the share that "
            "rose",
            "decimal",
        ),
        _f("se", "standard error of mean_outcome, whole dates in blocks", "decimal"),
        _known("that of the last outcome"),
    ),
    ("model", "horizon", "bin"),
)

SUMMARY = TableContract(
    "models.summary",
    "Each model in one row: how good its walk-forward predictions were, how sure that is, what was left "
    "after costs and after counting everything that was tried.",
    (
        _MODEL,
        _HORIZON,
        _C("dates", "i32", "dates with a rank IC"),
        _f("mean_ic", "mean IC"),
        _f("mean_rank_ic", "mean rank IC"),
        _f("icir", "mean over standard deviation of the rank IC by date"),
        _f("t", "of the mean rank IC: the one nearest 0 of the three that follow"),
        _f("t_newey_west", "Newey–West with 2h lags"),
        _f("t_bootstrap", "stationary bootstrap, blocks of 2h or more"),
        _f("t_non_overlapping", "over every h-th date, shifted by h"),
        _C("decided_by", "str", "newey_west, bootstrap or non_overlapping", "", True),
        _f("p_value", "of t, two-sided, Student with dates / h − 1 degrees"),
        _f("detectable_ic", "2.8 standard errors: smallest mean rank IC that this panel can show"),
        _f("sharpe_gross", "of the long-short book before costs, annual (√252)"),
        _f("sharpe_net", "of the long-short book after costs, annual (√252)"),
        _f(
            "long_only_net_return",
            "of the long-only book after costs, compounded, a year",
            "decimal",
        ),
        _f("long_only_sharpe_net", "of the long-only book after costs, annual (√252)"),
        _f(
            "excess_over_equal_weight",
            "long_only_net_return less that of 1/N of the same universe, same sessions",
            "decimal",
        ),
        _f("turnover", "one-way, of the long-short book, a year"),
        _f("psr", "probability that the long-short book's net Sharpe ratio is above 0"),
        _f("dsr", "the same against the best that effective_trials worthless ones would show"),
        _C("trials", "i32", "configurations looked at, factors included (record.trials)"),
        _f("effective_trials", "independent ones that they are worth"),
        _f("min_track_record", "sessions that psr needs to reach 95 %; null: never", "sessions"),
        _f(
            "pbo",
            "probability that the best of this horizon's models and benchmarks in sample is below the "
            "median out of sample (CSCV); without, and null for, those with less than half of the "
            "longest's sessions; null: fewer than 126 sessions in common",
        ),
        _f(
            "spa_p",
            "of the null that none of this horizon's long-only books beats 1/N (Hansen 2005); without, and "
            "null for, those that pbo leaves out",
        ),
        _f("calibration_slope", "of the outcome on the prediction, within dates"),
        _f("brier", "classifiers: mean Brier score; 0.25 says nothing"),
        _C("verdict", "str", "in words"),
        _known("that of the last number used"),
    ),
    ("model", "horizon"),
)

MODEL_EVALUATION = (EVALUATION, LAGS, BINS, RETURNS, DECAY, CALIBRATION, SUMMARY)
