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
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Costs(_Part):
    """Trading costs, one-way, and borrow.

    The linear part is in basis points of the traded value. Impact: a trade of value v in a name
    with average daily dollar volume V and daily volatility σ costs ``impact · σ · (v / V)^impact_exponent``
    of v: exponent 0.5 is the square-root law, whose money cost grows with the power 3/2 (Almgren et
    al. 2005 find 0.6). A name without a known V is charged the largest cost per unit traded among the
    others at its own σ. ``borrow_bp`` is a year's fee on the value of shorts.
    """

    commission_bp: float = Field(1.0, ge=0, description="of the traded value")
    half_spread_bp: float = Field(4.0, ge=0, description="of the traded value")
    impact: float = Field(0.0, ge=0, description="coefficient; 0: none is charged")
    impact_exponent: float = Field(0.5, gt=0, le=1, description="of participation")
    borrow_bp: float = Field(50.0, ge=0, description="a year, on the value of shorts")

    @property
    def one_way(self) -> float:
        """Linear cost per unit of traded value, as a decimal."""
        return (self.commission_bp + self.half_spread_bp) / 1e4


class GroupBound(_Part):
    """Bounds on the summed weight of a group of names.

    A group is a sector, the names whose ``label`` (exchange, currency or asset_class of
    ``clean.instruments``) is ``value``, or symbols. ``active``: the bounds are on the weight less the
    benchmark's.
    """

    name: str = Field(description="how people call it")
    sector: str | None = Field(None, description="its sector")
    label: str | None = Field(None, description="another label")
    value: str | None = Field(None, description="and the value that its names have")
    symbols: tuple[str, ...] = Field((), description="or its names")
    active: bool = Field(False, description="bounds on the weight less the benchmark's")
    min_weight: float | None = Field(None, description="of the sum")
    max_weight: float | None = Field(None, description="of the sum")


class ExposureBound(_Part):
    """Bounds on ``Σ w_i x_i`` for a score or factor x of the risk model, in standard deviations.

    ``factor`` is a column of the score tables or a factor of the risk model. ``active``: of the weights less
    the benchmark's.
    """

    factor: str = Field(description="factor of the score tables or of the risk model")
    active: bool = Field(True, description="of the weights less the benchmark's")
    min_exposure: float | None = Field(None, description="in standard deviations")
    max_exposure: float | None = Field(None, description="in standard deviations")


class Override(_Part):
    """What a person has decided about one name, until ``expires`` (its last day).

    ``do_not_trade`` keeps the units held; ``freeze`` neither adds nor opens (it may be reduced);
    ``force`` sets the weight.
    """

    symbol: str = Field(description="the name")
    action: Literal["do_not_trade", "freeze", "force"] = Field(description="what is decided")
    weight: float | None = Field(None, description="of force")
    owner: str = Field(min_length=1, description="who decided it")
    reason: str = Field(min_length=1, description="why")
    expires: date = Field(description="last day on which it counts")

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

    method: Literal["fifo", "hifo", "specific"] = Field(
        "hifo", description="order of the lots sold"
    )
    short_rate: float = Field(0.0, ge=0, lt=1, description="of gains on lots held no longer")
    long_rate: float = Field(0.0, ge=0, lt=1, description="of gains on lots held longer")
    long_days: int = Field(
        365, ge=0, description="calendar days held beyond which long_rate counts"
    )
    gains_budget: float | None = Field(
        None, ge=0, description="net realised gain allowed a decision, of net asset value"
    )


class View(_Part):
    """One Black–Litterman view, in words that skfolio reads: ``AAPL - JNJ == 0.03`` (a year)."""

    view: str = Field(description="an equation of symbols")
    confidence: float = Field(0.5, gt=0, le=1, description="1: certain")


class Mandate(_Part):
    """What a portfolio may do, as a person writes it in YAML.

    Weights are fractions of net asset value; turnover is one-way (half the sum of absolute weight
    changes); volatilities are annualised by √252; rates and fees are a year's. Weights sum to
    ``budget − cash_buffer``. Selling what left the universe and investing the proceeds comes on top of
    ``max_turnover``. ``equal_weight`` is 1/N, the benchmark's own rule.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="small letters, digits, _")
    title: str = Field(description="one line for people")
    objective: Objective = Field("mean_variance", description="what is optimised, see below")
    universe: str = Field("default", description="universe of clean.membership")
    model: str = Field(
        "ridge",
        description="model whose predictions give expected returns; `champion` (or `champion:SLOT`) for "
        "whichever is champion on each date",
    )
    base_currency: str = Field("USD", description="currency of all its money")
    initial_nav: float = Field(10_000_000.0, gt=0, description="money that a backtest begins with")
    rebalance: Literal["week", "month", "quarter"] = Field(
        "month", description="decisions are at the last session of each"
    )
    risk_aversion: float = Field(5.0, gt=0, description="γ over the horizon")
    holding_period_days: float = Field(
        60.0, gt=0, description="H: sessions that a trade is expected to last; costs count h/H"
    )
    horizon_days: int = Field(20, gt=0, description="h: sessions that the objective looks ahead")
    benchmark: Literal["equal_weight"] | dict[str, float] = Field(
        "equal_weight", description="1/N of the universe, or weights by symbol"
    )
    long_only: bool = Field(True, description="no weight below 0")
    min_weight: float | None = Field(
        None, description="of every name; none: 0, or −max_weight where shorts are allowed"
    )
    max_weight: float = Field(0.15, gt=0, description="of every name")
    budget: float = Field(1.0, ge=0, description="sum of the weights, cash buffer included")
    cash_buffer: float = Field(0.0, ge=0, lt=1, description="share of the budget kept as cash")
    max_gross: float | None = Field(None, gt=0, description="of Σ|w|")
    max_short: float | None = Field(None, ge=0, description="of Σ max(−w, 0)")
    max_turnover: float | None = Field(
        None, gt=0, description="one-way a decision; not of the first purchase"
    )
    max_turnover_name: float | None = Field(
        None, gt=0, description="largest change of one name's weight a decision"
    )
    max_participation: float | None = Field(
        None, gt=0, description="a trade's value as a share of average daily dollar volume"
    )
    max_volatility: float | None = Field(None, gt=0, description="forecast, a year")
    max_tracking_error: float | None = Field(
        None, gt=0, description="forecast against the benchmark, a year"
    )
    min_beta: float | None = Field(None, description="against the benchmark, by the risk model")
    max_beta: float | None = Field(None, description="against the benchmark, by the risk model")
    groups: tuple[GroupBound, ...] = Field((), description="bounds on groups of names")
    sector_max_weight: float | None = Field(
        None, gt=0, description="of every known sector; names without one are not capped by it"
    )
    exposures: tuple[ExposureBound, ...] = Field((), description="bounds on factor exposures")
    min_holding: float | None = Field(
        None, gt=0, lt=1, description="a weight is zero or at least this"
    )
    min_trade: float | None = Field(
        None, gt=0, lt=1, description="a change of weight is zero or at least this"
    )
    max_names: int | None = Field(None, ge=1, description="names held at most")
    min_names: int | None = Field(None, ge=1, description="names held at least")
    lots: bool = Field(False, description="trades are whole multiples of lot_size shares")
    lot_size: int = Field(1, ge=1, description="shares of one lot")
    overrides: tuple[Override, ...] = Field(
        (), description="decisions of people about single names, live only"
    )
    tax: Tax | None = Field(None, description="rates and order of lots; needs lots in the holdings")
    soften: tuple[str, ...] = Field(
        (), description="kinds of limits that may give way in a contradiction, the first one first"
    )
    risk_budget: dict[str, float] = Field(
        default_factory=dict,
        description="shares of risk by sector that sum to 1, equal among its names; none: all names equal",
    )
    cvar_level: float = Field(0.95, gt=0.5, lt=1, description="of the objective cvar")
    views: tuple[View, ...] = Field((), description="of the objective black_litterman")
    fill: Literal["close", "open"] = Field(
        "close", description="price of the next session at which a backtest fills"
    )
    fill_participation: float | None = Field(
        None, gt=0, le=1, description="share of the day's dollar volume that a backtest may fill"
    )
    costs: Costs = Field(Costs(), description="of trading and of borrowing")
    live: bool = Field(True, description="false: backtested only, no trades are proposed")
    note: str = Field("", description="for people")

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
