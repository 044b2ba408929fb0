"""Money in accounts: whole ticks, 1/10,000 of the base currency, rounded half to even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.problem import Floats

CASH = "cash"
TICKS = 10_000
"""Ticks in one unit of the base currency."""
LARGEST = 2**51
"""Ticks below which Float64 money gives every integer back."""
TOO_MUCH = (
    f"above {LARGEST // TICKS:,} of its currency 1/10,000 cannot be counted exactly; start with a smaller "
    "initial_nav"
)

Ticks = NDArray[np.int64]


def ticks(amount: float) -> int:
    """``amount`` of the base currency in ticks, half to even."""
    return round(amount * TICKS)


def money(amount: Ticks) -> Floats:
    """Ticks in the base currency: the Float64 nearest to the quotient, from which ``ticks`` comes back."""
    return amount / TICKS
