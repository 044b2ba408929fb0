"""How good the out-of-sample predictions were: by date, as books of names, and over all that is known."""

from wealthos_pipeline.ml.evaluation.by_date import evaluate, first_affected, summary

__all__ = ["evaluate", "first_affected", "summary"]
