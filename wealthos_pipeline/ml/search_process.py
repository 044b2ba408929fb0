"""Trials of a search, fitted in a process of their own.

Fits are native code: a fault in one would take the whole run down, and what a few hundred of them keep would
stay (DESIGN §7). So those of one refit date are made in a child process, started for it and ended with it, which
holds the training rows and answers parameters with scores: this module is its program. If it dies, the caller gets
``ChildError`` with how it ended and the last words it wrote, and starts another for the trials that are left.

Nothing that comes back depends on time, on the number of threads or on what was fitted before.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from wealthos_pipeline.core.errors import WealthOSError
from wealthos_pipeline.ml import rank_ic

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.splitters import Fold

_LENGTH = struct.Struct("<Q")


class ChildError(RuntimeError):
    """The child process ended before it had answered; the message says how."""


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


class Child:
    """``Trials`` in a process of its own; a context manager, which ends it."""

    def __init__(self, threads: int = 1) -> None:
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {
            **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1",
        }  # fmt: skip
        self.words = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env=environment,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended already; wait() reaps it
                    pipe.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.words.close()

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

    def _call(self, method: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            _send(self.process.stdin, (method, arguments))
            good, answer = _receive(self.process.stdout)
        except (BrokenPipeError, EOFError):
            raise ChildError(self._end()) from None
        if not good:
            raise TrialError(answer)
        return answer

    def _end(self) -> str:
        code = self.process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self.words.seek(0)
        last = self.words.read().decode(errors="replace").strip().splitlines()[-1:]
        said = f"; its last words: {last[0]}" if last else ""
        return f"the process of the fits {how}{said}"


def _send(pipe: IO[bytes], what: Any) -> None:
    data = pickle.dumps(what, protocol=5)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """One message. Both ends are this program, so unpickling is safe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    size = _LENGTH.unpack(head)[0]
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def serve() -> None:
    """The child: answers calls until its input ends. Only answers reach its standard output."""
    inlet = os.fdopen(os.dup(0), "rb")
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    trials = Trials()
    while True:
        try:
            method, arguments = _receive(inlet)
        except EOFError:
            return
        try:
            reply = (True, getattr(trials, method)(*arguments))
        except (WealthOSError, TrialError) as error:
            reply = (False, str(error))
        except Exception as error:
            reply = (False, f"{type(error).__name__}: {error}")
        _send(outlet, reply)
