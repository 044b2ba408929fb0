"""Numbers of a mandate in words."""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.portfolio.problem import Floats


def percent(x: float) -> str:
    """``0.1534`` → ``15.34 %``, without needless zeros."""
    text = f"{100 * x:.2f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} %".replace("-", "−")


def enough(x: float, sign: float) -> str:
    """``percent`` of a relaxed limit, rounded away from what is impossible: up (sign 1) or down (−1).

    The solver's tolerance is taken off first, so that 0.15 + 1e-9 is 15 % and not 15.01 %.
    """
    return percent(outward(x, sign, "weight"))


def number(x: float, unit: str) -> str:
    """A value of a limit in its unit: percent for weights and volatilities, whole names, two decimals else."""
    if unit in ("weight", "volatility"):
        return percent(x)
    return f"{round(x)}" if unit == "names" else f"{x:.2f}".replace("-", "−")


def outward(x: float, sign: float, unit: str) -> float:
    """x on the next step that a person would write, never on the impossible side of it.

    Steps are a hundredth of a percent, one name, or a hundredth. sign: 1 rounds up, −1 down. The solver's
    tolerance is taken off first, so that 0.15 + 1e-9 is 15 % and not 15.01 %.
    """
    steps = {"weight": 1e4, "volatility": 1e4, "names": 1.0}.get(unit, 100.0)
    slip = 2e-7 * steps if unit in ("weight", "volatility") else 2e-6 * steps
    scaled = steps * x
    return float(np.ceil(scaled - slip) if sign > 0 else np.floor(scaled + slip)) / steps


def span(values: Floats) -> str:
    """The one value that all have, or the lowest to the highest."""
    if not len(values):
        return percent(0.0)
    low, high = float(values.min()), float(values.max())
    return percent(high) if high - low < 1e-12 else f"{percent(low)} to {percent(high)}"


def count(n: int) -> str:
    """``1 name``, ``2 names``."""
    return "1 name" if n == 1 else f"{n} names"


def capital(text: str) -> str:
    """The first letter large."""
    return text[:1].upper() + text[1:]
