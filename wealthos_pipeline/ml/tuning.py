"""Nested tuning: parameters chosen within the training side of a fit, with nothing after it seen.

For a refit date R the objective is the mean rank IC, over dates, of purged out-of-fold predictions of the very rows
that the fit of R trains on. Candidates come from Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)
with the model's seed: a fixed number of trials, one after the other, no pruner and no clock. The first trial is the
model as it is written; a later one takes its place only if it scores higher, ties go to the earlier. The same rows
and seed give the same trials, on any number of threads.

The score that a search ends with is the best of many and flatters: on noise it is above 0. What the parameters were
worth is read off the dates after R (``outside``), and how many were tried counts as trials (``ml.trials``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.ml.search_process import Child, Score, TrialError
from wealthos_pipeline.utils.child import ChildError

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from wealthos_pipeline.core.model import ModelSpec, Range, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration. number: from 0, which is the model's own. params: of the searched parameters.

    score: mean rank IC, NaN where it failed for ``reason``. folds: score by fold. same_as: number of the earlier
    trial with these very parameters, whose score stands; it was not fitted again.
    """

    number: int
    params: Mapping[str, Value]
    score: float
    folds: tuple[float, ...] = ()
    dates: int = 0
    reason: str = ""
    same_as: int | None = None

    @property
    def failed(self) -> bool:
        return bool(self.reason)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search of one refit date found: the chosen trial, the model's own (which may have failed), and all.

    distinct: configurations that differ, the model's own among them.
    """

    best: Trial
    own: Trial
    trials: tuple[Trial, ...]

    @property
    def distinct(self) -> int:
        return sum(t.same_as is None for t in self.trials)

    @property
    def failed(self) -> int:
        return sum(t.failed for t in self.trials if t.same_as is None)

    @property
    def text(self) -> str:
        """JSON of every trial."""
        body = [
            {
                "params": dict(t.params),
                "score": None if t.failed else t.score,
                "folds": list(t.folds),
                **({"failed": t.reason} if t.failed else {}),
                **({} if t.same_as is None else {"same_as": t.same_as}),
            }
            for t in self.trials
        ]
        return json.dumps(body, sort_keys=True, separators=(",", ":"))


def own_params(spec: ModelSpec) -> dict[str, Value]:
    """Values that the model itself gives to the parameters searched, the family's defaults among them."""
    from wealthos_pipeline.ml import predictors

    assert spec.search is not None
    every = predictors.family(spec.family).read(spec.params)[0]
    return {n: every[n] for n in sorted(spec.search.space)}


def check(spec: ModelSpec) -> None:
    """ConfigError with everything that is wrong with the model's search, before anything is fitted."""
    from wealthos_pipeline.ml import predictors

    if spec.search is None:
        raise ConfigError(
            f"model {spec.name} has nothing to search: give its file a key `search` with `space`, for example "
            "search: {trials: 20, space: {alpha: {low: 1, high: 1000, log: true}}}"
        )
    family = predictors.family(spec.family)
    faults = [] if spec.search.space else ["space is empty: name at least one parameter"]
    unknown = sorted(set(spec.search.space) - set(family.defaults()))
    if unknown:
        faults += family.read(dict.fromkeys(unknown, 0))[1]
    for name, values in sorted(spec.search.space.items()):
        parameter = family.parameter(name)
        if parameter is not None:
            faults += [f"{name}: {fault}" for fault in _misfits(values, parameter)]
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the search of model {spec.name} cannot be used:\n{lines}")


def _misfits(values: Range, parameter: Parameter) -> list[str]:
    """What of ``values`` the parameter cannot be, in words."""
    out = []
    if not values.choices:
        if isinstance(parameter.default, bool | str):
            return [f"takes values such as {parameter.default!r}; give choices, not low and high"]
        if isinstance(parameter.default, int) and not values.integer:
            out.append(f"takes whole numbers such as {parameter.default}; add integer: true")
        elif values.integer and ((values.low or 0) % 1 or (values.high or 0) % 1):
            out.append(f"integer: true needs whole ends, found {values.low:g} and {values.high:g}")
    if len(set(values.choices)) < len(values.choices):
        out.append("the same choice stands there twice")
    for value in () if out else values.choices or (values.low, values.high):
        assert value is not None
        try:
            parameter.read(value)
        except ValueError as error:
            out.append(str(error))
    return out


def tune(
    spec: ModelSpec, rows: Training, *, members: Sequence[ModelSpec] = (), threads: int = 1
) -> Found:
    """The search of one refit date, on the rows that its fit trains on.

    members: of a stacked model (``specs.members``).

    A configuration that cannot be fitted, or takes its process down, is recorded as failed and the search goes on.
    ConfigError: see ``check``. ModelError if every trial fails, or the rows cannot be cut into folds.
    """
    check(spec)
    with Bench(spec, rows, threads, tuple(members)) as bench:
        return run(spec, bench)


@dataclass
class Bench:
    """Where configurations of one fit are tried: a child process, replaced by another when it dies."""

    spec: ModelSpec
    rows: Training
    threads: int
    members: tuple[ModelSpec, ...] = ()
    _child: Child | None = field(default=None, init=False)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *reason: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            self._child.__exit__()
            self._child = None

    def inside(self, params: Mapping[str, Value]) -> Score:
        """``search_process.Trials.inside``; TrialError where there is no score."""
        return self._asked("inside", params)

    def outside(self, params: Mapping[str, Value], test: Training) -> Score:
        """``search_process.Trials.outside``; TrialError where there is no score."""
        return self._asked("outside", params, test)

    def _asked(self, method: str, *arguments: Any) -> Score:
        child = self._ready()
        try:
            score: Score = getattr(child, method)(*arguments)
        except ChildError as error:
            self._end()
            raise TrialError(str(error)) from error
        return score

    def _ready(self) -> Child:
        if self._child is None:
            self._child = Child(self.threads)
            try:
                self._child.load(self.spec, self.members, self.rows, self.threads)
            except (ChildError, TrialError) as error:
                self._end()
                raise ModelError(f"search of {self.spec.name}: {error}") from error
        return self._child


def run(spec: ModelSpec, bench: Bench) -> Found:
    """``tune`` on a bench that is there; the search has been checked."""
    assert spec.search is not None
    kinds = {name: _distribution(r) for name, r in sorted(spec.search.space.items())}
    study = _study(spec.seed)
    trials: list[Trial] = []
    for number in range(spec.search.trials):
        asked: optuna.Trial | None = None
        if number == 0:
            params = own_params(spec)
        else:
            asked = study.ask(kinds)
            params = dict(sorted(asked.params.items()))
        trial = _tried(number, params, trials, bench)
        trials.append(trial)
        if asked is None:
            _tell_own(study, trial, kinds)
        elif trial.failed:
            study.tell(asked, state=_failed())
        else:
            study.tell(asked, trial.score)
    scored = [t for t in trials if not t.failed]
    if not scored:
        reasons = "\n".join(f"  - {json.dumps(dict(t.params))}: {t.reason}" for t in trials)
        raise ModelError(
            f"search of {spec.name}: none of {len(trials)} trials could be fitted; the model keeps its own "
            f"parameters:\n{reasons}"
        )
    best = max(scored, key=lambda t: (t.score, -t.number))
    return Found(best, trials[0], tuple(trials))


def _tried(number: int, params: dict[str, Value], before: list[Trial], bench: Bench) -> Trial:
    same = next((t for t in before if t.params == params), None)
    if same is not None:
        first = same.number if same.same_as is None else same.same_as
        return Trial(number, params, same.score, same.folds, same.dates, same.reason, first)
    try:
        score = bench.inside(params)
    except TrialError as error:
        return Trial(number, params, math.nan, reason=str(error))
    return Trial(number, params, score.mean, score.folds, score.dates)


def _distribution(values: Range) -> BaseDistribution:
    from optuna import distributions as kinds

    if values.choices:
        return kinds.CategoricalDistribution(values.choices)
    assert values.low is not None
    assert values.high is not None
    if values.integer:
        return kinds.IntDistribution(int(values.low), int(values.high), log=values.log)
    return kinds.FloatDistribution(values.low, values.high, log=values.log)


def _study(seed: int) -> optuna.Study:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study
    try:
        sampler = optuna.samplers.TPESampler(seed=seed)
        return optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(before)


def _failed() -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState.FAIL


def _tell_own(study: optuna.Study, own: Trial, kinds: Mapping[str, BaseDistribution]) -> None:
    """The model's own parameters as the study's first trial; left out where they lie outside the space, of which
    the sampler could make nothing."""
    import optuna

    if not all(_contains(kinds[n], v) for n, v in own.params.items()):
        return
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(own.params),
            distributions=dict(kinds),
            value=None if own.failed else own.score,
            state=_failed() if own.failed else optuna.trial.TrialState.COMPLETE,
        )
    )


def _contains(kind: BaseDistribution, value: Value) -> bool:
    from optuna import distributions as kinds

    if isinstance(kind, kinds.CategoricalDistribution):
        return value in kind.choices
    assert isinstance(kind, kinds.IntDistribution | kinds.FloatDistribution)
    if isinstance(value, bool | str):
        return False
    return kind.low <= value <= kind.high
