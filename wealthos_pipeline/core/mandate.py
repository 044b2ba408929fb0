"""What a portfolio may do, as a person writes it in YAML or Python."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SESSIONS_PER_YEAR = 252.0

Objective = Literal[
    "mean_variance",
    "min_variance",
    "max_sharpe",
    "risk_budget",
    "tracking_error",
    "cvar",
    "hrp",
    "herc",
    "nco",
    "black_litterman",
    "equal_weight",
]

HIERARCHICAL = ("hrp", "herc", "nco")
"""Objectives that skfolio answers; they know the budget and the box, and no other limit."""
USES_ALPHA = ("mean_variance", "max_sharpe")
"""Objectives that read predictions."""

SOFTENABLE = (
    "turnover", "turnover_name", "adv", "sectors", "groups", "exposures", "beta", "volatility",
    "tracking_error", "gross", "short", "gains", "upper", "lower", "names", "min_holding",
    "min_trade",
)  # fmt: skip
"""Kinds of limits that a mandate may allow to give way (``soften``), by the names used there."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Costs(_Part):
    """Trading costs, one-way, and borrow.

    The linear part is in basis points of the traded value. Impact: a trade of value v in a name
    with average daily dollar volume V and daily volatility σ costs ``impact · σ · (v / V)^impact_exponent``
    of v: exponent 0.5 is the square-root law, whose money cost grows with the power 3/2 (Almgren et
    al. 2005 find 0.6). A name without a known V is charged the largest cost per unit traded among the
    others at its own σ. ``borrow_bp`` is a year's fee on the value of shorts.
    """

    commission_bp: float = Field(1.0, ge=0)
    half_spread_bp: float = Field(4.0, ge=0)
    impact: float = Field(0.0, ge=0)
    impact_exponent: float = Field(0.5, gt=0, le=1)
    borrow_bp: float = Field(50.0, ge=0, description="a year, on the value of shorts")

    @property
    def one_way(self) -> float:
        """Linear cost per unit of traded value, as a decimal."""
        return (self.commission_bp + self.half_spread_bp) / 1e4


class GroupBound(_Part):
    """Bounds on the summed weight of a group of names.

    A group is a sector, the names whose ``label`` (a column of ``clean.instruments``, or of
    ``data/inputs/labels.csv``) is ``value``, or symbols. ``active``: the bounds are on the weight less the
    benchmark's.
    """

    name: str
    sector: str | None = None
    label: str | None = None
    value: str | None = None
    symbols: tuple[str, ...] = ()
    active: bool = False
    min_weight: float | None = None
    max_weight: float | None = None


class ExposureBound(_Part):
    """Bounds on ``Σ w_i x_i`` for a score or factor x of the risk model, in standard deviations.

    ``factor`` is a column of the score tables or a factor of the risk model. ``active``: of the weights less
    the benchmark's.
    """

    factor: str
    active: bool = True
    min_exposure: float | None = None
    max_exposure: float | None = None


class Override(_Part):
    """What a person has decided about one name, until ``expires`` (its last day).

    ``do_not_trade`` keeps the units held; ``freeze`` neither adds nor opens (it may be reduced);
    ``force`` sets the weight.
    """

    symbol: str
    action: Literal["do_not_trade", "freeze", "force"]
    weight: float | None = None
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: date

    @model_validator(mode="after")
    def _forced(self) -> Override:
        if (self.action == "force") != (self.weight is not None):
            raise ValueError(f"{self.symbol}: a weight belongs to action force, and only there")
        return self


class Tax(_Part):
    """How realised gains are taxed: rates by holding period, the order of lots, a budget of gains.

    Rates are decimals of the gain; a loss is worth its rate. ``method`` says which lots a sale takes:
    first in, first out; highest cost first; or ``specific``, the lots that cost least in tax.
    ``gains_budget``: net realised gain allowed a decision, as a fraction of net asset value.
    """

    method: Literal["fifo", "hifo", "specific"] = "hifo"
    short_rate: float = Field(0.0, ge=0, lt=1)
    long_rate: float = Field(0.0, ge=0, lt=1)
    long_days: int = Field(
        365, ge=0, description="calendar days held beyond which long_rate counts"
    )
    gains_budget: float | None = Field(None, ge=0)


class View(_Part):
    """One Black–Litterman view, in words that skfolio reads: ``AAPL - JNJ == 0.03`` (a year)."""

    view: str
    confidence: float = Field(0.5, gt=0, le=1)


class Mandate(_Part):
    """What a portfolio may do, as a person writes it in YAML.

    Weights are fractions of net asset value; turnover is one-way per rebalance
    (half the sum of absolute weight changes); ``holding_period_days`` is H of DESIGN §11, in
    sessions; ``risk_aversion`` is γ over the horizon; volatilities are annualised (252).

    Weights sum to ``budget − cash_buffer``. ``max_turnover`` does not apply to the first purchase;
    selling what left the universe and investing the proceeds comes on top of it.
    ``sector_max_weight`` caps every known sector; names without one are not capped by it.
    ``live: false`` is backtested only: no trades are proposed for it. ``equal_weight`` is 1/N, the
    benchmark's own rule.

    ``benchmark`` is ``equal_weight`` (1/N of the universe) or weights by symbol, the same at every
    decision. ``max_gross`` bounds ``Σ|w|``, ``max_short`` ``Σ max(−w, 0)``. ``max_turnover_name`` bounds one name's
    ``|Δw|``; ``max_participation`` its traded value as a share of average daily dollar volume.
    ``min_holding`` and ``min_trade``: a weight, or a trade, is zero or at least this. ``lots``: orders are whole
    multiples of ``lot_size`` shares. ``soften``: kinds of limits that may give way where they contradict
    each other, the first of them first; empty: nothing is traded then. ``risk_budget``: shares of risk
    by sector, equal among its names; empty: equal for all names. ``fill_participation``: share of the
    day's dollar volume that a backtest may fill; what is left over is dropped.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    objective: Objective = "mean_variance"
    universe: str = "default"
    model: str = "ridge"
    base_currency: str = "USD"
    initial_nav: float = Field(10_000_000.0, gt=0)
    rebalance: Literal["week", "month", "quarter"] = "month"
    risk_aversion: float = Field(5.0, gt=0)
    holding_period_days: float = Field(60.0, gt=0)
    horizon_days: int = Field(20, gt=0)
    benchmark: Literal["equal_weight"] | dict[str, float] = "equal_weight"
    long_only: bool = True
    min_weight: float | None = None
    max_weight: float = Field(0.15, gt=0)
    budget: float = Field(1.0, ge=0)
    cash_buffer: float = Field(0.0, ge=0, lt=1)
    max_gross: float | None = Field(None, gt=0)
    max_short: float | None = Field(None, ge=0)
    max_turnover: float | None = Field(None, gt=0)
    max_turnover_name: float | None = Field(None, gt=0)
    max_participation: float | None = Field(None, gt=0)
    max_volatility: float | None = Field(None, gt=0)
    max_tracking_error: float | None = Field(None, gt=0)
    min_beta: float | None = None
    max_beta: float | None = None
    groups: tuple[GroupBound, ...] = ()
    sector_max_weight: float | None = Field(None, gt=0)
    exposures: tuple[ExposureBound, ...] = ()
    min_holding: float | None = Field(None, gt=0, lt=1)
    min_trade: float | None = Field(None, gt=0, lt=1)
    max_names: int | None = Field(None, ge=1)
    min_names: int | None = Field(None, ge=1)
    lots: bool = False
    lot_size: int = Field(1, ge=1)
    overrides: tuple[Override, ...] = ()
    tax: Tax | None = None
    soften: tuple[str, ...] = ()
    risk_budget: dict[str, float] = Field(default_factory=dict)
    cvar_level: float = Field(0.95, gt=0.5, lt=1)
    views: tuple[View, ...] = ()
    fill: Literal["close", "open"] = "close"
    fill_participation: float | None = Field(None, gt=0, le=1)
    costs: Costs = Costs()
    live: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _bounds(self) -> Mandate:
        faults = []
        if self.min_weight is not None and self.min_weight > self.max_weight:
            faults.append(
                f"min_weight {self.min_weight} is above max_weight {self.max_weight}; swap them"
            )
        if self.budget == 0 and self.long_only:
            faults.append("a budget of 0 needs shorts; set long_only: false")
        if (
            self.min_beta is not None
            and self.max_beta is not None
            and self.min_beta > self.max_beta
        ):
            faults.append(f"min_beta {self.min_beta} is above max_beta {self.max_beta}; swap them")
        if self.min_names and self.max_names and self.min_names > self.max_names:
            faults.append(f"min_names {self.min_names} is above max_names {self.max_names}")
        unknown = [kind for kind in self.soften if kind not in SOFTENABLE]
        if unknown:
            faults.append(
                f"soften names {', '.join(unknown)}; expected some of {', '.join(SOFTENABLE)}"
            )
        if self.views and self.objective != "black_litterman":
            faults.append("views belong to the objective black_litterman")
        if self.objective == "black_litterman" and not self.views:
            faults.append("the objective black_litterman needs views, at least one")
        if self.objective in HIERARCHICAL and not self.long_only:
            faults.append(f"the objective {self.objective} is long-only")
        if any(share < 0 for share in self.risk_budget.values()):
            faults.append("risk_budget holds a negative share")
        if self.risk_budget and not sum(self.risk_budget.values()) > 0:
            faults.append("risk_budget sums to 0; expected shares that sum to 1")
        if isinstance(self.benchmark, dict) and not self.benchmark:
            faults.append("the benchmark has no names; write weights by symbol, or equal_weight")
        if faults:
            raise ValueError("; ".join(faults))
        return self
