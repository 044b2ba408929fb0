"""Trials of a search, fitted in a process of their own.

Fits are native code: a fault in one would take the whole run down, and what a few hundred of them keep would
stay (DESIGN §7). So those of one refit date are made in a child process, started for it and ended with it, which
holds the training rows and answers parameters with scores: this module is its program. If it dies, the caller gets
``ChildError`` with how it ended and the last words it wrote, and starts another for the trials that are left.

Nothing that comes back depends on time, on the number of threads or on what was fitted before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wealthos_pipeline.core.errors import WealthOSError
from wealthos_pipeline.ml import rank_ic
from wealthos_pipeline.utils import child

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.splitters import Fold


class TrialError(RuntimeError):
    """This configuration could not be fitted or judged; the message says why."""


@dataclass(frozen=True, slots=True)
class Score:
    """mean: of the rank IC over all dates, each counting the same. folds: the same by fold. dates: how many."""

    mean: float
    folds: tuple[float, ...]
    dates: int


class Trials:
    """Scores of configurations of one model on the training rows of one fit; ``Child`` has the same methods."""

    def __init__(self) -> None:
        self.spec: Any = None
        self.members: tuple[ModelSpec, ...] = ()
        self.rows: Any = None
        self.folds: list[Fold] = []
        self.threads = 1

    def load(
        self, spec: ModelSpec, members: tuple[ModelSpec, ...], rows: Training, threads: int
    ) -> None:
        """What the following calls are about. ModelError where the rows cannot be cut into folds."""
        from wealthos_pipeline.ml.splitters import purged_kfold

        assert spec.search is not None
        self.spec, self.members, self.rows, self.threads = spec, members, rows, threads
        self.folds = purged_kfold(rows, spec.search.folds, embargo=spec.search.embargo)

    def inside(self, params: Mapping[str, Value]) -> Score:
        """Mean rank IC of out-of-fold predictions, each fold fitted on the others' purged rows."""
        by_fold = [self._judged(params, self.rows.take(f.train), self.rows.take(f.test)) for f in self.folds]  # fmt: skip
        return _score(by_fold)

    def outside(self, params: Mapping[str, Value], test: Training) -> Score:
        """Mean rank IC on ``test`` of a fit on all training rows, as the model is fitted in the end."""
        return _score([self._judged(params, self.rows, test)])

    def _judged(self, params: Mapping[str, Value], train: Training, test: Training) -> np.ndarray:
        """Rank IC of each date of ``test``; NaN where all names are predicted alike."""
        from wealthos_pipeline.ml import predictors

        at = self.spec.model_copy(update={"params": {**self.spec.params, **params}})
        model = predictors.make(at, threads=self.threads, members=self.members)
        values = model.fit(train).predict(test.X)
        if not np.isfinite(values).all():
            raise TrialError("predictions are not finite")
        edges = rank_ic.offsets(test.dates)
        return rank_ic.rank_ic(values, rank_ic.ranks(test.outcome, edges), edges)


def _score(by_fold: list[np.ndarray]) -> Score:
    """A date on which all names are predicted alike earns nothing, so it counts as 0."""
    every = np.concatenate(by_fold)
    if not np.isfinite(every).any():
        raise TrialError("every name is predicted alike on every date")
    means = [float(np.mean(np.nan_to_num(ic))) for ic in by_fold]
    return Score(float(np.mean(np.nan_to_num(every))), tuple(means), len(every))


class Child(child.Child):
    """``Trials`` in a process of its own; a context manager, which ends it."""

    def __init__(self, threads: int = 1) -> None:
        environment = {
            "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1",
        }  # fmt: skip
        super().__init__(f"{__name__}:serve", environment, "the fits")

    def load(
        self, spec: ModelSpec, members: tuple[ModelSpec, ...], rows: Training, threads: int
    ) -> None:
        """``Trials.load``."""
        self._call("load", spec, members, rows, threads)

    def inside(self, params: Mapping[str, Value]) -> Score:
        """``Trials.inside``."""
        score: Score = self._call("inside", dict(params))
        return score

    def outside(self, params: Mapping[str, Value], test: Training) -> Score:
        """``Trials.outside``."""
        score: Score = self._call("outside", dict(params), test)
        return score

    def _refused(self, answer: str) -> TrialError:
        return TrialError(answer)


def serve() -> None:
    """The program of the child."""
    child.serve(Trials(), told=(WealthOSError, TrialError))
