"""A target in whole share lots: as near to it as lots, money and boxes allow.

For targets that were found without lots: paths of a backtest, the rules (1/N, clusters). ``integer`` decides with the
lots in view instead.

Near means the least ``½ (Σ|w_i − target_i| + |cash − its target|)``, half of what one would still have to trade.
Rounded down, every name leaves a remainder ``r_i`` below one lot ``s_i``; one lot more costs ``s_i`` of the cash left over and
brings the portfolio nearer by ``r_i``. To choose the lots is a knapsack: taken by ``r_i / s_i``, the largest remainder first,
as long as they can be paid. The knapsack with parts of lots (Dantzig 1957) says how near anybody could come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio.problem import Floats, Problem, Solution

WHOLE = 1e-6
"""A number of lots this near to a whole one is whole."""
ROUNDING = 1e-12
"""Sums of weights are exact to this."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """Trades in whole lots.

    lots: to buy (sell: negative), n; for a position that is sold off, odd shares included, rounded towards 0.
    weights: n, fractions of net asset value. cash: left over of the budget. distance: half of what is
    missing to the target, cash included. best: no weights in whole lots are nearer than this.
    """

    lots: NDArray[np.int64]
    weights: Floats
    cash: float
    distance: float
    best: float

    @property
    def gap(self) -> float:
        """How much nearer the nearest weights can be at most."""
        return self.distance - self.best


def lot_weights(prices: Floats, nav: float, lot_size: float | Floats = 1) -> Floats:
    """Weight of one lot of each name; NaN where there is no price."""
    size = np.asarray(lot_size, dtype=np.float64) * prices / nav
    return np.where(np.isfinite(prices) & (prices > 0), size, np.nan)


def round_to_lots(
    target: Floats,
    step: Floats,
    *,
    w0: Floats | None = None,
    budget: float | None = None,
    lower: Floats | float = -np.inf,
    upper: Floats | float = np.inf,
) -> Rounded:
    """The target (n weights) in trades of whole lots from ``w0`` (default: nothing held).

    step: weight of one lot (``lot_weights``); a name without one keeps what is held. A name whose target is 0 is
    sold off, odd shares included. budget: the sum of the weights is at most this; default: of the target. lower,
    upper: bounds, which a name that has to stay as it is may miss. PortfolioError, listing the names, where no whole
    number of lots lies within the bounds, or the least that they allow exceeds the budget.
    """
    n = len(target)
    held = np.zeros(n) if w0 is None else w0
    low, high = (np.broadcast_to(np.asarray(x, dtype=np.float64), (n,)) for x in (lower, upper))
    total = float(target.sum()) if budget is None else budget
    priced = np.isfinite(step) & (step > 0)
    size = np.where(priced, step, 1.0)
    gone = priced & (target == 0.0) & (held != 0.0) & (low <= 0.0) & (high >= 0.0)
    moves = priced & ~gone

    least, most = np.ceil((low - held) / size - WHOLE), np.floor((high - held) / size + WHOLE)
    bad = np.flatnonzero(moves & (least > most))
    if len(bad):
        said = ", ".join(
            f"name {i}: lots of {size[i]:.4g}, bounds {low[i]:.4g} to {high[i]:.4g}"
            for i in bad[:5]
        )
        raise PortfolioError(
            f"no whole number of lots lies within the bounds of {said}"
            f"{', …' if len(bad) > 5 else ''} ({len(bad)} in all); widen them or take a smaller lot size"
        )
    wanted = np.where(moves, (target - held) / size, 0.0)
    down = np.where(np.abs(wanted - np.round(wanted)) <= WHOLE, np.round(wanted), np.floor(wanted))
    count = np.where(moves, np.clip(down, least, most), 0.0)
    stay = np.where(gone, 0.0, held)
    cash = total - float((stay + count * size * moves).sum())
    best = _nearest(target, stay + count * size * moves, size, moves & (count + 1.0 <= most), cash)
    if cash < -ROUNDING:
        cash = _given_back(target, stay, size, count, moves, least, cash)

    left = target - stay - count * size * moves
    for i in _by_remainder(left, size, moves & (count + 1.0 <= most)):
        if size[i] <= cash + ROUNDING:
            count[i] += 1.0
            cash -= float(size[i])
    weights = stay + count * size * moves
    lots = np.where(gone, np.trunc(-held / size), count).astype(np.int64)
    cash = total - float(weights.sum())
    distance = _distance(target, weights, total)
    return Rounded(lots, weights, cash, distance, min(best, distance))


def objective_gap(problem: Problem, answer: Solution, rounded: Rounded) -> float:
    """How much of the objective the rounding costs at most, in the objective's unit: the best without lots is the bound."""
    from wealthos_pipeline.portfolio import integer

    best = answer.objective + (0.0 if np.isnan(answer.gap) else answer.gap)
    return best - integer.objective(problem, rounded.weights)


def _by_remainder(left: Floats, size: Floats, able: NDArray[np.bool_]) -> list[int]:
    """Names that a lot more brings nearer, the largest remainder (in lots) first; ties in the names' order."""
    more = np.flatnonzero(able & (left > WHOLE * size))
    order: list[int] = more[np.lexsort((more, -left[more] / size[more]))].tolist()
    return order


def _nearest(
    target: Floats, down: Floats, size: Floats, able: NDArray[np.bool_], cash: float
) -> float:
    """A distance that no whole lots undercut: ``Σ (target − w)⁺`` is one, and the knapsack bounds how it falls."""
    left = target - down
    missing, room = float(np.maximum(left, 0.0).sum()), cash
    for i in _by_remainder(left, size, able):
        if room <= 0.0:
            break
        part = min(1.0, room / float(size[i]))
        missing -= part * float(left[i])
        room -= part * float(size[i])
    return max(missing, 0.0)


def _distance(target: Floats, weights: Floats, budget: float) -> float:
    cash = abs(float(weights.sum()) - float(target.sum()))
    return 0.5 * (float(np.abs(weights - target).sum()) + cash)


def _given_back(
    target: Floats,
    stay: Floats,
    size: Floats,
    count: Floats,
    moves: NDArray[np.bool_],
    least: Floats,
    cash: float,
) -> float:
    """Takes lots off (in ``count``) until the money is enough: those furthest above their targets first."""
    while cash < -ROUNDING:
        able = np.flatnonzero(moves & (count - 1.0 >= least))
        if not len(able):
            raise PortfolioError(
                f"the fewest lots that the bounds allow exceed the budget by {-cash:.4g}; "
                "lower the lower bounds, or raise the budget"
            )
        above = (stay + count * size - target)[able] / size[able]
        i = able[int(np.argmax(above))]
        count[i] -= 1.0
        cash += float(size[i])
    return cash
