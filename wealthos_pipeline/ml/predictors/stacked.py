"""A stack: members combined by how well each foresaw what it had not been fitted on.

The training rows are cut into blocks of dates; each member predicts every block from a fit on the others,
purged by label interval (``splitters.purged_kfold``). Those predictions, standardised within dates, are
regressed on the label by non-negative least squares,

    minimise Σ w (y − P θ)² + α ‖θ − θ₀‖²,  θ ≥ 0,

y less its mean of each date, θ₀ the same weight for all members (the one that fits best), so that α, in
dates, draws towards equal weights. Then the members are fitted on all rows. A row's score is
Σ θ / s · prediction, s being the mean over dates of the deviation of the member's out-of-fold predictions
within a date: numbers of the fit, so that a row's score depends on no other row.

A member sees the features that its own specification names, and the stack's labels and weights.
Source: Wolpert (1992); Breiman (1996), "Stacked regressions" (why θ ≥ 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import predictors
from wealthos_pipeline.ml.predictors import artefact, linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A predictor and the patterns of the features that it sees."""

    predictor: Predictor
    family: str
    features: tuple[str, ...] = ("*",)

    def columns(self, features: Sequence[str]) -> np.ndarray:
        """Places of its features among ``features``; ModelError if a pattern finds none."""
        lost = [p for p in self.features if not any(fnmatchcase(f, p) for f in features)]
        if lost:
            raise ModelError(
                f"stacked: member {self.predictor.name} wants {', '.join(lost)}, which is not among the "
                f"stack's {len(features)} features; add it to the stack's features"
            )
        return np.flatnonzero([any(fnmatchcase(f, p) for p in self.features) for f in features])


@dataclass(frozen=True, slots=True, eq=False)
class FittedMember:
    """A member's fit, its weight θ, and the deviation s that its predictions are divided by."""

    name: str
    family: str
    fitted: Fitted
    columns: np.ndarray
    weight: float
    deviation: float

    @property
    def factor(self) -> float:
        return self.weight / self.deviation


@dataclass(frozen=True, slots=True, eq=False)
class FittedStack:
    """Members with their weights; those with weight 0 are kept, and not computed."""

    features: tuple[str, ...]
    members: tuple[FittedMember, ...]
    threads: int = 1

    @property
    def weights(self) -> dict[str, float]:
        """θ by member: what a deviation of 1 within a date of its prediction adds to the score."""
        return {m.name: m.weight for m in self.members}

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Σ θ / s · prediction, member after member."""
        out = np.zeros(len(X))
        for m in self._used():
            out += m.factor * m.fitted.predict(_of(X, m.columns))
        return out

    def gain(self) -> np.ndarray | None:
        """The members' gains, each scaled to sum to 1, averaged with the weights; None if one has none."""
        out = np.zeros(len(self.features))
        total = sum(m.weight for m in self.members)
        for m in self._used():
            gain = m.fitted.gain()
            if gain is None:
                return None
            if np.sum(gain) > 0:
                out[m.columns] += m.weight / total * gain / np.sum(gain)
        return out

    def contributions(self, X: np.ndarray) -> np.ndarray | None:
        """The members' contributions times their factors; None if one has none."""
        out = np.zeros((len(X), len(self.features) + 1))
        for m in self._used():
            parts = m.fitted.contributions(_of(X, m.columns))
            if parts is None:
                return None
            out[:, m.columns] += m.factor * parts[:, :-1]
            out[:, -1] += m.factor * parts[:, -1]
        return out

    def to_text(self) -> str:
        body = {
            "features": list(self.features),
            "members": [
                {
                    "name": m.name,
                    "family": m.family,
                    "columns": m.columns.tolist(),
                    "weight": m.weight.hex(),
                    "deviation": m.deviation.hex(),
                    "text": m.fitted.to_text(),
                }
                for m in self.members
            ],
        }
        return artefact.write("stacked", FORMAT, body)

    def _used(self) -> list[FittedMember]:
        return [m for m in self.members if m.weight > 0]


@dataclass(frozen=True, slots=True)
class Stacked:
    """folds, embargo: of the purged k-fold split. alpha: how hard weights are drawn to equal ones."""

    members: tuple[Member, ...]
    folds: int = 4
    embargo: int = 0
    alpha: float = 0.0
    threads: int = 1
    name: str = "stacked"

    @property
    def params(self) -> Mapping[str, Value]:
        """Its own, and those of its members as ``member.parameter``."""
        own: dict[str, Value] = {"folds": self.folds, "embargo": self.embargo, "alpha": self.alpha}
        for m in self.members:
            name = m.predictor.name
            own |= {f"{name}.family": m.family, f"{name}.features": ",".join(m.features)}
            own |= {f"{name}.{k}": v for k, v in m.predictor.params.items()}
        return own

    def fit(self, rows: Training) -> Fitted:
        """Out-of-fold predictions, weights, and the members on all rows.

        ModelError also if there are fewer than two members, a member cannot be fitted on a fold, or no
        member gets a weight: none of them foresaw anything within the training rows.
        """
        if len(self.members) < 2:
            raise ModelError(
                f"stacked: model {self.name} has {len(self.members)} members, two are needed"
            )
        linear.usable(rows, "stacked")
        columns = [m.columns(rows.features) for m in self.members]
        P, deviations = self._out_of_fold(rows, columns)
        weights = _weights(P, rows, self.alpha)
        if not weights.any():
            own = ", ".join(
                f"{m.predictor.name} {c:+.4f}"
                for m, c in zip(self.members, _correlations(P, rows), strict=True)
            )
            raise ModelError(
                "stacked: no member gets a weight: out of fold none of them foresaw the labels "
                f"(correlations: {own}). Use other members, or one of them alone"
            )
        return FittedStack(
            rows.features,
            tuple(
                FittedMember(m.predictor.name, m.family, self._fit(m, rows, at, None), at, w, s)
                for m, at, w, s in zip(
                    self.members, columns, weights.tolist(), deviations, strict=True
                )
            ),
            self.threads,
        )

    def from_text(self, text: str) -> Fitted:
        """Members are read by their own families; what the stack's specification says plays no part."""
        body = artefact.read(text, "stacked", FORMAT)
        with artefact.intact("stacked"):
            features = tuple(body["features"])
            found = []
            for m in body["members"]:
                at = np.array(m["columns"], dtype=np.int64)
                fitted = predictors.read(m["text"], threads=self.threads)
                if fitted.features != tuple(features[j] for j in at):
                    raise ValueError(f"member {m['name']} has other features than the stack says")
                weight, deviation = float.fromhex(m["weight"]), float.fromhex(m["deviation"])
                found.append(FittedMember(m["name"], m["family"], fitted, at, weight, deviation))
        return FittedStack(features, tuple(found), self.threads)

    def _out_of_fold(
        self, rows: Training, columns: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[float]]:
        """Standardised within dates, float64 (rows, members), and each member's mean deviation."""
        from wealthos_pipeline.ml.splitters import purged_kfold

        raw = np.zeros((len(rows), len(self.members)))
        for i, fold in enumerate(purged_kfold(rows, self.folds, embargo=self.embargo), 1):
            train, unseen = rows.take(fold.train), rows.take(fold.test).X
            for k, m in enumerate(self.members):
                fitted = self._fit(m, train, columns[k], f"fold {i} of {self.folds}")
                raw[fold.test, k] = fitted.predict(_of(unseen, columns[k]))
        edges = linear.first_rows(rows.dates)
        deviations = []
        for k in range(raw.shape[1]):
            raw[:, k], deviation = _standardised(raw[:, k], edges)
            deviations.append(deviation)
        return raw, deviations

    def _fit(self, m: Member, rows: Training, at: np.ndarray, where: str | None) -> Fitted:
        try:
            return m.predictor.fit(_seen(rows, at))
        except ModelError as error:
            at_fold = f" on {where}" if where else ""
            raise ModelError(f"stacked: member {m.predictor.name}{at_fold}: {error}") from error


def _of(X: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Some columns of X; no copy where those are all of them."""
    return X if len(at) == X.shape[1] else X[:, at]


def _seen(rows: Training, at: np.ndarray) -> Training:
    """The rows with some of the features."""
    return replace(rows, X=_of(rows.X, at), features=tuple(rows.features[j] for j in at))


def _standardised(values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, float]:
    """z within each date (0 where all are equal), and the mean of the dates' deviations (1 if all 0)."""
    out = np.zeros(len(values))
    deviations = []
    for a, b in pairwise(edges.tolist()):
        part = values[a:b]
        if np.ptp(part) > 0:
            e = part - np.mean(part)
            s = math.sqrt(float(np.mean(e * e)))
            out[a:b] = e / s
            deviations.append(s)
    return out, math.fsum(deviations) / len(deviations) if deviations else 1.0


def _within(y: np.ndarray, rows: Training) -> np.ndarray:
    """y less its weighted mean of each date."""
    edges = linear.first_rows(rows.dates)
    total = np.add.reduceat(rows.w, edges[:-1])
    mean = np.add.reduceat(rows.w * y, edges[:-1]) / total
    return y - np.repeat(mean, np.diff(edges))


def _weights(P: np.ndarray, rows: Training, alpha: float) -> np.ndarray:
    """θ of the module's formula, float64 (members,); 0 for a member that predicted nothing."""
    from scipy.optimize import nnls

    y, root = _within(rows.y, rows), np.sqrt(rows.w)
    said = np.flatnonzero(np.sum(np.abs(P), axis=0))
    members = P.shape[1]
    P = P[:, said]
    m = P.shape[1]
    together = np.sum(P, axis=1)
    square = float(np.sum(rows.w * together * together))  # 0: nobody predicted anything
    equal = max(0.0, float(np.sum(rows.w * together * y)) / square) if square > 0 else 0.0
    A = np.vstack([P * root[:, None], math.sqrt(alpha) * np.eye(m)])
    b = np.concatenate([y * root, np.full(m, math.sqrt(alpha) * equal)])
    with linear.one_thread():
        # the triangle of a QR decomposition has the same least squares problem in m + 1 rows
        R = np.asarray(np.linalg.qr(np.column_stack([A, b]), mode="r"))
        theta = np.zeros(members)
        theta[said] = nnls(R[:, :m], R[:, m])[0]
    return theta


def _correlations(P: np.ndarray, rows: Training) -> list[float]:
    """Weighted correlation within dates of each member's predictions with the label."""
    y = _within(rows.y, rows)
    size = math.sqrt(float(np.sum(rows.w * y * y)))
    return [
        float(np.sum(rows.w * p * y)) / (math.sqrt(float(np.sum(rows.w * p * p))) * size or 1.0)
        for p in P.T
    ]


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return Stacked(
        tuple(Member(predictor, m.family, m.features) for m, predictor in members),
        folds=int(params["folds"]),
        embargo=int(params["embargo"]),
        alpha=float(params["alpha"]),
        threads=threads,
        name=spec.name,
    )


FAMILY = Family(
    name="stacked",
    title="members combined by their out-of-fold predictions",
    learns=(
        "Each member predicts blocks of dates that it was not fitted on, purged by label interval; "
        "non-negative weights of those predictions are learnt, then the members are fitted on all rows."
    ),
    use="Where members of different kinds are each a little right; costs folds + 1 fits of every member.",
    source="Wolpert (1992); Breiman (1996)",
    parameters=(
        Parameter("folds", 4, "blocks of dates", low=2, high=20),
        Parameter("embargo", 0, "sessions left out after each block, besides the purge", low=0),
        Parameter("alpha", 0.0, "pull towards equal weights, in dates; 0: none", low=0.0),
    ),
    build=_build,
    combines=True,
)
