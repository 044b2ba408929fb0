"""How good the out-of-sample predictions were.

evaluate(predictions, prices, calendar, h, ...)   -> models.evaluation: IC, spread, turnover by date
by_lag(...)                                       -> models.evaluation_lags, and decay() of it
bins(...)                                         -> models.evaluation_bins, and calibrate() of it
judge_by_date(...)                                -> the three of them at once
returns(...)                                      -> models.returns: books, net of costs
summarise(evaluation, returns, deflations)        -> models.summary: one row a model
investigate(...)                                  -> whose doing a result is, and when
"""

from wealthos_pipeline.ml.evaluation.book_returns import benchmark_columns, lookback, returns
from wealthos_pipeline.ml.evaluation.by_date import evaluate, first_affected, summary
from wealthos_pipeline.ml.evaluation.calibration import bins, calibrate
from wealthos_pipeline.ml.evaluation.investigation import Investigation, investigate
from wealthos_pipeline.ml.evaluation.lags import LAGS, by_lag, decay
from wealthos_pipeline.ml.evaluation.model_summary import matrix, summarise
from wealthos_pipeline.ml.evaluation.together import ByDate, judge_by_date
from wealthos_pipeline.ml.evaluation.words import suspicious, verdict

__all__ = [
    "LAGS",
    "ByDate",
    "Investigation",
    "benchmark_columns",
    "bins",
    "by_lag",
    "calibrate",
    "decay",
    "evaluate",
    "first_affected",
    "investigate",
    "judge_by_date",
    "lookback",
    "matrix",
    "returns",
    "summarise",
    "summary",
    "suspicious",
    "verdict",
]
