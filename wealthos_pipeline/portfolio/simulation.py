"""Accounts of a given path of weights: no mandate, no optimiser, the same ledger.

Weights decided at the close of t become shares at the prices and net asset value of t, and are filled
in the session after it, as in a backtest of a mandate (``accounts``, ``ledger``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Costs
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import accounts
from wealthos_pipeline.portfolio.accounts import Account, Feed
from wealthos_pipeline.portfolio.panel import Panel, average_volume, build, returns_before
from wealthos_pipeline.portfolio.problem import Floats

VOLATILITY_SESSIONS = 60
"""Sessions whose returns give the volatility of a name for impact, where none is handed in."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """The history of an account; the tables are made when they are asked for."""

    account: Account
    name: str
    run_kind: str

    @cached_property
    def nav(self) -> pl.DataFrame:
        """Rows of ``portfolio.nav``."""
        return accounts.nav(self.account, self.name, self.run_kind)

    @cached_property
    def positions(self) -> pl.DataFrame:
        """Rows of ``portfolio.positions``."""
        return accounts.positions(self.account, self.name, self.run_kind)

    @cached_property
    def events(self) -> pl.DataFrame:
        """Rows of ``portfolio.events``."""
        return accounts.events(self.account, self.name, self.run_kind)

    @property
    def panel(self) -> Panel:
        return self.account.feed.panel


def simulate(
    weights: pl.DataFrame | Floats,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar | None = None,
    *,
    costs: Costs | None = None,
    fill: str = "close",
    participation: float | None = None,
    lot: float | None = None,
    initial_nav: float = 10_000_000.0,
    rates: Floats | float | None = None,
    volatility: Floats | None = None,
    journal: bool = True,
    name: str = "simulation",
    run_kind: str = "research",
) -> Simulation:
    """Net asset value, positions and events of a path of weights, from the first decision on.

    weights: rows ``date, instrument_id, weight``, decided at the close of the date (names of a date without a
    row are sold); or a matrix, one row a row of the Panel ``prices``: NaN leaves a name alone, a row of NaN is no
    decision. prices: ``clean.prices`` rows (then with a calendar), or a Panel. costs: None charges ``Costs()``.
    fill: ``close`` or ``open`` of the next session. participation: share of a session's dollar volume that may be
    filled. lot: shares of a lot; None: fractions. rates: interest on cash a year, one a session or for all.
    volatility: daily, by session and name, known at its close, for impact; None: over the last
    ``VOLATILITY_SESSIONS``. journal: keep the events. Raises PortfolioError with every fault found.
    """
    if isinstance(prices, Panel):
        panel = prices
    elif calendar is None:
        raise PortfolioError(
            "simulate needs a calendar to lay rows of prices out by session; hand in calendar=, or a Panel"
        )
    else:
        panel = build(prices, calendar)
    costs = Costs() if costs is None else costs
    matrix = _matrix(weights, panel, fill, participation, lot)
    dated = np.flatnonzero(np.isfinite(matrix).any(axis=1))
    if not len(dated):
        raise PortfolioError("the weights hold no decision: every one is missing")
    T = len(panel.dates)
    decided = np.full(T, -1, dtype=np.int64)
    decided[dated] = np.arange(len(dated))
    given = None
    if rates is not None:
        given = np.broadcast_to(np.asarray(rates, dtype=np.float64), (T,)).copy()
    feed = Feed.of(panel, fill=fill, limited=participation is not None, rates=given)
    sigmas, volumes = _liquidity(panel, costs, participation, dated, volatility)
    begin = int(dated[0])
    scalars = accounts.rules(costs, participation=participation, lot=lot)
    account = Account.open(feed, scalars, initial_nav, begin)
    account.journal = journal
    if not journal:
        account.blocks.clear()
    whole = len(dated) == T
    account.advance(
        begin, T,
        decided=decided,
        weights=np.ascontiguousarray(matrix if whole else matrix[dated], dtype=np.float64),
        sigmas=sigmas,
        volumes=volumes,
    )  # fmt: skip
    return Simulation(account, name, run_kind)


def _matrix(
    weights: pl.DataFrame | Floats,
    panel: Panel,
    fill: str,
    participation: float | None,
    lot: float | None,
) -> Floats:
    """Weights as sessions × names, checked."""
    faults = []
    if fill not in ("close", "open"):
        faults.append(f"fill is {fill!r}, expected 'close' or 'open'")
    if participation is not None and not 0 < participation <= 1:
        faults.append(f"participation is {participation}, expected a share above 0 and up to 1")
    if lot is not None and not lot > 0:
        faults.append(f"lot is {lot}, expected a number of shares above 0")
    shape = (len(panel.dates), len(panel.ids))
    if isinstance(weights, pl.DataFrame):
        matrix = np.full(shape, np.nan)
        missing = [c for c in ("date", "instrument_id", "weight") if c not in weights.columns]
        if missing:
            faults.append(
                f"weights lack {', '.join(missing)}; they have {', '.join(weights.columns)}"
            )
        else:
            faults += _laid_out(weights, panel, matrix)
    else:
        matrix = np.asarray(weights, dtype=np.float64)
        if matrix.shape != shape:
            faults.append(
                f"weights are {matrix.shape}, expected {shape}: sessions × names of the panel"
            )
    if np.isinf(matrix).any():
        faults.append(f"{int(np.isinf(matrix).sum())} weights are infinite")
    if faults:
        raise PortfolioError("the weights cannot be simulated: " + "; ".join(faults))
    return matrix


def _laid_out(weights: pl.DataFrame, panel: Panel, out: Floats) -> list[str]:
    faults = []
    rows = {day: k for k, day in enumerate(panel.dates)}
    code = {name: i for i, name in enumerate(panel.ids)}
    strange = sorted(set(weights["date"].unique().to_list()) - rows.keys())
    if strange:
        faults.append(f"{len(strange)} dates have no session among the prices, first {strange[0]}")
    unknown = sorted(set(weights["instrument_id"].unique().to_list()) - code.keys())
    if unknown:
        faults.append(f"no prices of {', '.join(unknown[:10])}{', …' if len(unknown) > 10 else ''}")
    twice = weights.select("date", "instrument_id").is_duplicated().sum()
    if twice:
        faults.append(f"{twice} rows name an instrument twice on a date")
    values = weights["weight"].cast(pl.Float64).fill_null(float("nan"))
    if values.is_nan().any():
        faults.append(f"{int(values.is_nan().sum())} weights are missing")
    if not faults:
        at = weights["date"].replace_strict(rows, return_dtype=pl.Int64).to_numpy()
        column = weights["instrument_id"].replace_strict(code, return_dtype=pl.Int64).to_numpy()
        out[np.unique(at)] = 0.0
        out[at, column] = values.to_numpy()
    return faults


def _liquidity(
    panel: Panel,
    costs: Costs,
    participation: float | None,
    dated: np.ndarray,
    volatility: Floats | None,
) -> tuple[Floats | None, Floats | None]:
    """Volatility and average volume at each decision, D × N; None where nothing needs them."""
    if not costs.impact and participation is None:
        return None, None
    if panel.volume is None:
        if costs.impact:
            raise PortfolioError(
                "impact needs dollar volumes, and the prices have no column dollar_volume; add it, or "
                "hand in costs without impact"
            )
        return None, None
    shape = (len(dated), len(panel.ids))
    sigmas, volumes = np.full(shape, np.nan), np.empty(shape)
    for k, row in enumerate(dated):
        volumes[k] = average_volume(panel.volume, int(row))
        if not costs.impact:
            continue
        if volatility is not None:
            sigmas[k] = volatility[row]
        else:
            past = returns_before(panel, int(row), VOLATILITY_SESSIONS, panel.ids)
            seen = np.isfinite(past)
            count = seen.sum(axis=0)
            mean = np.where(seen, past, 0.0).sum(axis=0) / np.maximum(count, 1)
            square = (np.where(seen, past - mean, 0.0) ** 2).sum(axis=0)
            sigmas[k] = np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)
        if np.isfinite(volumes[k]).any():
            volumes[k] = np.where(np.isfinite(volumes[k]), volumes[k], np.nanmin(volumes[k]))
    return sigmas, volumes
