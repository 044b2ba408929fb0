"""Machine learning: features and labels to out-of-sample predictions that can be believed."""

from wealthos_pipeline.ml.evaluation import evaluate, first_affected, summary
from wealthos_pipeline.ml.train import ModelRun, definition, fit_and_predict, lookback

__all__ = [
    "ModelRun",
    "definition",
    "evaluate",
    "first_affected",
    "fit_and_predict",
    "lookback",
    "summary",
]
