"""The optimisation problem of one decision, and what an answer to it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import SESSIONS_PER_YEAR, Objective

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

__all__ = [
    "SESSIONS_PER_YEAR", "Bools", "Exposure", "Floats", "Group", "Parts", "Problem", "Solution", "Status",
    "TaxLots", "TradeCap",
]  # fmt: skip

Status = Literal["optimal", "rule", "softened", "infeasible", "held", "failed"]
"""``softened``: optimal after limits that the mandate lets give way did so (``Solution.given_way``)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Bounds on the summed weight of some names.

    name: how a person calls it, e.g. ``sector Energy``. kind: ``"sector_cap"`` for the caps that
    one number of the mandate puts on every sector, ``"group"`` for those listed by name.
    members: n booleans. lower, upper: fractions of NAV, None where there is none.
    """

    name: str
    kind: Literal["sector_cap", "group"]
    members: Bools
    lower: float | None = None
    upper: float | None = None
    active: bool = False
    """The bounds are on the weight less the benchmark's."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """Bounds on ``loadings'(w − reference)``: a factor exposure or the beta.

    loadings: n; standard deviations of a score, units of a risk factor, or betas. active: the reference is
    the benchmark, else 0.
    """

    name: str
    kind: Literal["exposures", "beta"]
    loadings: Floats
    lower: float | None = None
    upper: float | None = None
    active: bool = False


@dataclass(frozen=True, eq=False)
class TradeCap:
    """The most that each name's weight may change: n fractions of NAV, inf where there is no cap."""

    kind: Literal["turnover_name", "adv"]
    words: str
    caps: Floats


@dataclass(frozen=True, eq=False)
class TaxLots:
    """Lots held and what selling them costs in tax; m lots, in the order in which they must be sold.

    row: position of the lot's name among the ids. weight: the lot at today's price, of NAV, > 0.
    gain: unrealised gain per unit of weight sold, < 1, negative for a loss. rate: tax rate of that gain today.
    ordered: lots of one name must be sold in this order (FIFO, HIFO); False: any (specific).
    gains_budget: largest ``Σ gain × weight sold``; None: no cap. what: ids of the lots.
    """

    row: NDArray[np.int64]
    weight: Floats
    gain: Floats
    rate: Floats
    ordered: bool
    gains_budget: float | None = None
    what: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """What one decision may and should do, in numbers (DESIGN §11).

    The objective ``mean_variance`` is to maximise ``α'w − (γ/2) w'Σ_h w − (h/H) cost(w − w0) − borrow(w)``; every
    other objective charges the same costs beside its own term (``objectives`` says how they are weighed). With
    tax lots, h/H of the tax is charged beside the cost.
    cost(Δ) = ``Σ cost_i |Δ_i| + impact_i |Δ_i|^(1 + impact_exponent)``; borrow(w) = ``h/252 Σ borrow_i max(−w_i, 0)``.

    ids: n names, ascending. w0: drifted weights. benchmark: weights to report against, n.
    alpha: expected returns over h. B (n × k), F (k × k), d (n): daily risk, Σ_h = h·(B F B' + d²).
    cost: one-way, decimal per unit traded. horizon: h; holding_period: H; in sessions.
    budget: sum of the weights. lower, upper: box of every name.
    fixed: weight that a name must take whatever the box says, NaN where it is free; fixed_why: the
    reason in words, '' where it is free.
    max_turnover: one-way, of NAV, over the names that are free; None: no cap.
    max_volatility, max_tracking_error (against the benchmark): annualised by √252; None: no cap.
    max_gross: of Σ|w|; max_short: of Σ max(−w, 0).
    min_holding, min_trade: a weight (a change of weight) is 0 or at least this.
    lot: weight of one lot of shares (n); orders are whole multiples; None: any fraction.
    risk_share: n shares of risk that sum to 1, for ``risk_budget``. scenarios: S × n simple returns over
    one session, for ``cvar`` and the hierarchical objectives; cvar_level: e.g. 0.95.
    soften: kinds of limits that may give way, first to last.
    """

    ids: tuple[str, ...]
    w0: Floats
    benchmark: Floats
    alpha: Floats
    B: Floats
    F: Floats
    d: Floats
    cost: Floats
    lower: Floats
    upper: Floats
    fixed: Floats
    fixed_why: tuple[str, ...]
    budget: float = 1.0
    risk_aversion: float = 5.0
    horizon: int = 20
    holding_period: float = 60.0
    max_turnover: float | None = None
    max_volatility: float | None = None
    groups: tuple[Group, ...] = ()
    objective_kind: Objective = "mean_variance"
    impact: Floats | None = None
    impact_exponent: float = 0.5
    borrow: Floats | None = None
    max_gross: float | None = None
    max_short: float | None = None
    max_tracking_error: float | None = None
    exposures: tuple[Exposure, ...] = ()
    trade_caps: tuple[TradeCap, ...] = ()
    min_holding: float | None = None
    min_trade: float | None = None
    max_names: int | None = None
    min_names: int | None = None
    lot: Floats | None = None
    tax: TaxLots | None = None
    risk_share: Floats | None = None
    scenarios: Floats | None = None
    cvar_level: float = 0.95
    soften: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the situation does not know and a person should (in words)."""

    @classmethod
    def simple(
        cls,
        B: Floats,
        F: Floats,
        d: Floats,
        *,
        alpha: Floats | None = None,
        w0: Floats | None = None,
        cost: float = 0.0,
        lower: float = 0.0,
        upper: float = 1.0,
        **others: object,
    ) -> Problem:
        """A problem over names ``x000`` … with the same box and cost for each: notebooks, tests."""
        n = len(d)
        width = max(3, len(str(n - 1)))
        values: dict[str, object] = {
            "ids": tuple(f"x{i:0{width}d}" for i in range(n)),
            "w0": np.zeros(n) if w0 is None else w0,
            "benchmark": np.full(n, 1.0 / n),
            "alpha": np.zeros(n) if alpha is None else alpha,
            "cost": np.full(n, cost),
            "lower": np.full(n, lower),
            "upper": np.full(n, upper),
            "fixed": np.full(n, np.nan),
            "fixed_why": ("",) * n,
            **others,
        }
        return cls(B=B, F=F, d=d, **values)  # type: ignore[arg-type]

    @property
    def free(self) -> Bools:
        """Names whose weight is to be found."""
        return np.isnan(self.fixed)

    @property
    def kappa(self) -> float:
        """h/H: the share of a trade's cost that falls into one horizon."""
        return self.horizon / self.holding_period

    def covariance_times(self, w: Floats) -> Floats:
        """Σ w, daily."""
        return self.B @ (self.F @ (self.B.T @ w)) + self.d**2 * w

    def volatility(self, w: Floats) -> float:
        """Forecast volatility of w, annualised by √252."""
        return float(np.sqrt(max(float(w @ self.covariance_times(w)), 0.0) * SESSIONS_PER_YEAR))

    def objective(self, w: Floats) -> float:
        """Value of the objective at w, to be maximised: ``objectives`` says in which unit."""
        from wealthos_pipeline.portfolio import objectives

        return objectives.value(self, w)

    def turnover(self, w: Floats) -> float:
        """One-way turnover of all trades: half the sum of absolute changes."""
        return 0.5 * float(np.abs(w - self.w0).sum())

    def violation(self, w: Floats) -> float:
        """Largest violation of any limit at w, in the limit's own unit (weights, volatility, exposure)."""
        from wealthos_pipeline.portfolio import limits

        return limits.violation(self, w)

    def validate(self) -> None:
        """PortfolioError listing everything that a solver must not see."""
        from wealthos_pipeline.portfolio import validation

        faults = validation.faults(self)
        if faults:
            raise PortfolioError("the problem cannot be solved: " + "; ".join(faults))


@dataclass(frozen=True, eq=False)
class Parts:
    """Marginal utility of each name at the answer, split by where it comes from (n each).

    alpha + risk + cost + constraint = 0 at an optimum, to the solver's tolerance. ``binding`` maps a
    constraint, in words, to the part of each free name's ``constraint`` that is due to it. All are returns
    over the horizon per unit of weight (``risk_budget``: logarithms per unit of weight).
    """

    alpha: Floats
    risk: Floats
    cost: Floats
    constraint: Floats
    binding: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Solution:
    """An answer with its certificate.

    status: ``optimal``, ``infeasible`` (``conflicts`` say why), or ``failed`` (``message``).
    weights: n; the drifted weights where there is no optimum. violation: in weights (volatility for
    its cap). gap: between the objective and its proven bound, in units of the objective. NaN where unsolved.
    """

    status: Status
    weights: Floats
    objective: float = float("nan")
    violation: float = float("nan")
    gap: float = float("nan")
    iterations: int = 0
    parts: Parts | None = None
    conflicts: tuple[str, ...] = ()
    message: str = ""
    solver: str = ""
    seconds: float = float("nan")
    multipliers: dict[str, float] = field(default_factory=dict)
    """Price of each binding limit, by ``Limit.key``: the objective gained per unit by which it is loosened, ≥ 0.

    Where that jumps (several limits meet at the answer), a number between the gain and what tightening would lose.
    """
    given_way: tuple[str, ...] = ()
    """Limits that were loosened, each in words with its old and new value."""
