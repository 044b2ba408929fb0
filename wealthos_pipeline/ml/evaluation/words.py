"""One honest sentence about a model, from its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

SUSPICIOUS_IC, SUSPICIOUS_SHARPE = 0.04, 1.0
"""Mean rank IC and net Sharpe ratio a year above which a result is looked into before it is believed."""

SIZE = 0.05
DSR_NEEDED = 0.95


def verdict(row: Mapping[str, float]) -> str:
    """What a row of ``models.summary`` comes to, in words. NaN and missing: not known."""
    parts = [_skill(row), _money(row), _luck(row)]
    said = "; ".join(p for p in parts if p)
    if suspicious(row):
        return f"too good to be believed as it stands, an investigation is due: {said}"
    return said


def suspicious(row: Mapping[str, float]) -> bool:
    """Whether the result is better than what honest data give: mean rank IC > 0.04 or net Sharpe > 1, where
    there are dates enough for a t."""
    if math.isnan(_of(row, "t")):
        return False
    return _of(row, "mean_rank_ic") > SUSPICIOUS_IC or _of(row, "sharpe_net") > SUSPICIOUS_SHARPE


def _skill(row: Mapping[str, float]) -> str:
    ic, t, p = (_of(row, k) for k in ("mean_rank_ic", "t", "p_value"))
    least = _of(row, "detectable_ic")
    if math.isnan(ic):
        return "no rank IC is known yet: no date has three names with a prediction and an outcome"
    if math.isnan(t) or math.isnan(p):
        return f"too few dates to tell skill from luck (mean rank IC {signed(ic, '.3f')})"
    known = f"mean rank IC {signed(ic, '.3f')}, t {signed(t, '.1f')}"
    if p > SIZE:
        return f"no evidence of skill: {known}, and this panel cannot detect a rank IC below {least:.3f}"
    if ic < 0:
        return f"worse than guessing: {known}"
    return f"its ranking foretells returns: {known}"


def _money(row: Mapping[str, float]) -> str:
    gross, net, excess = (
        _of(row, k) for k in ("sharpe_gross", "sharpe_net", "excess_over_equal_weight")
    )
    if math.isnan(net):
        return ""
    if net <= 0 < gross:
        said = f"costs take all that the long-short book earns (net Sharpe {signed(net, '.2f')})"
    elif net <= 0:
        said = f"the long-short book loses before costs (net Sharpe {signed(net, '.2f')})"
    else:
        said = f"net Sharpe of the long-short book {signed(net, '.2f')}"
    if math.isnan(excess):
        return said
    word = "above" if excess > 0 else "below"
    return f"{said}, long-only {abs(100 * excess):.1f} % a year {word} 1/N"


def _luck(row: Mapping[str, float]) -> str:
    dsr, trials = _of(row, "dsr"), _of(row, "trials")
    if math.isnan(dsr):
        return ""
    count = f"{trials:.0f} trials" if trials > 1 else "1 trial"
    if dsr > DSR_NEEDED:
        return f"it survives the number of trials (deflated Sharpe {dsr:.2f} of {count})"
    return f"deflated Sharpe {dsr:.2f} of {count}: luck is not ruled out"


def signed(value: float, form: str) -> str:
    """A number as people read it, with a minus sign; rounded to zero it has none."""
    text = format(value, form)
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


def _of(row: Mapping[str, float], name: str) -> float:
    return float(row.get(name, math.nan))
