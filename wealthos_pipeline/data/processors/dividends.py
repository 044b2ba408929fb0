"""Dividends: which are wrong, and whether the vendor's adjusted closes agree with them.

A dividend is judged on its ex-day, from that bar and bars before it alone, against what it claims: on
the ex-day the price opens lower by the dividend. ``yield_`` is the dividend over the close before,
``drop`` the fall from that close to the open (the close, where there is no open), ``noise`` the usual
size of a day's move (1.48 × the median absolute log return of the 20 bars before; 2 % where there are
fewer than five), ``told`` the yield that the vendor's own adjusted closes contain. In this order:

- the amount of a dividend at most four sessions before, again: ``duplicated_dividend``, unless the
  price fell for it once more. The second one is dropped;
- the adjusted closes contain a hundred times the amount, or a hundredth: a slip of the unit,
  ``bad_dividend_unit``;
- more than 4 %, while the price fell by less than half of it and misses it by six times the noise:
  where prices are quoted in hundredths, pounds were taken for pence or the other way round, and a
  hundredth is used (``bad_dividend_unit``); elsewhere no unit explains it, and it is dropped
  (``phantom_dividend``);
- less than 0.1 % where prices are quoted in hundredths, and a hundred times as much would be an
  ordinary dividend (at most 25 %) that the fall does not contradict: ``bad_dividend_unit``;
- the adjusted closes contain nothing, and the price misses the fall by four times the noise:
  ``phantom_dividend``.

A dividend of more than 4 % and six times the noise may be listed on the wrong day (``misdated_dividend``).
Where the price fell by it on one of the four bars before, which paid nothing, it is paid on the listed
day: the loss of the fall is made good then. Where the price falls by it on one of the four bars after,
which list nothing, it is paid there.

What is left is paid. Small genuine dividends are common (a company that pays a third of its profit),
so nothing is taken for wrong because it is small, save where hundredths are about.

Afterwards the return from events is compared with the ratio of adjusted closes inside one fetch, in
either of the two ways in which vendors make them (reinvested at the close of the ex-day, or at the
close before less the dividend). Another value beyond rounding is ``adjusted_close_differs``: the
events count, and the bar is marked. That is how a dividend without its adjustment shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.effective import EVENTS

BARS = 20
"""Bars before the ex-day that measure the noise."""
DAYS = 56
"""Calendar days in which they must lie."""
NEAR_DAYS = 28
"""Calendar days; a return over a longer pause measures nothing."""
REPEAT_DAYS = 7
REPEAT_BARS = 4
LARGE = 0.04
SMALL = 0.001
ORDINARY = 0.25
PRIOR = 20.0
"""Slips of the unit for one genuine dividend of less than ``SMALL`` where quoted in hundredths."""
DIFFERS = 5e-5
"""Relative difference of two growths that is not rounding."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A dividend on its ex-day; yields and moves are fractions of the close before."""

    yield_: float
    drop: float
    noise: float
    told: float
    hundredths: bool
    repeated: bool


def verdict(case: Case) -> tuple[float, str]:
    """Factor of the dividend that counts, and the rule ("" where it stays as it is)."""
    y, drop, noise = case.yield_, case.drop, case.noise
    fell = drop >= y / 2
    missed = (y - drop) / noise
    if case.repeated and not (fell and y >= 4 * noise):
        return 0.0, "duplicated_dividend"
    if y > 0 and np.isfinite(case.told):
        for scale in (0.01, 100.0):
            if abs(case.told / (y * scale) - 1.0) <= 0.05:
                return scale, "bad_dividend_unit"
    if y > LARGE and not fell and missed >= 6:
        return (0.01, "bad_dividend_unit") if case.hundredths else (0.0, "phantom_dividend")
    if case.hundredths and y < SMALL and 100 * y <= ORDINARY and _hundredfold(case):
        return 100.0, "bad_dividend_unit"
    if np.isfinite(case.told) and abs(case.told) <= 0.02 * y and missed >= 4:
        return 0.0, "phantom_dividend"
    return 1.0, ""


def _hundredfold(case: Case) -> bool:
    """Whether the fall leaves it likelier that the amount is a hundredth of what was paid. A slip of the
    unit is the usual reason of so small an amount; the fall must speak against it ``PRIOR`` to one."""
    small, large = case.drop - case.yield_, case.drop - 100 * case.yield_
    return bool((large**2 - small**2) / (2 * case.noise**2) < np.log(PRIOR))


def judged(bars: pl.DataFrame) -> pl.DataFrame:
    """``bars`` with ``_paid`` (factor of the dividend), ``_paid_rule``, ``_paid_why``, and ``_paid_from``:
    the row whose dividend, as far as it was not paid there, is paid here; null on nearly all.

    bars: ``corporate_actions.returns``, sorted by instrument and date, with the bars of ``DAYS`` before
    those that matter.
    """
    before = pl.col("den_close") / pl.col("_bridge")
    told = pl.col("_price") * pl.col("den_adj") / pl.col("num_adj")
    fall = 1.0 - pl.coalesce("open", "close") / pl.col("close") * pl.col("num_close") / before
    view = bars.lazy().with_row_index("_row").select(
        "_row",
        pl.col("instrument_id").alias("name"),
        pl.col("date").cast(pl.Int32).alias("day"),
        (pl.col("date") - pl.col("prev_date")).dt.total_days().alias("gap"),
        pl.col("_price").log().alias("move"),
        (pl.col("num_dividend") / before).alias("size"),
        fall.alias("fall"),
        (1.0 - told).alias("told"),
        pl.col("num_dividend").alias("amount"),
        pl.col("_minor").alias("minor"),
        pl.col("_ratio").alias("split"),
        EVENTS,
    )  # fmt: skip
    paying = view.filter(pl.col(EVENTS) & (pl.col("amount") > 0) & pl.col("size").is_finite())
    doubtful = paying.filter(_doubtful()).collect()
    scale, rules, why = np.ones(bars.height), {}, {}
    moved: dict[int, int] = {}
    if doubtful.height:
        near = view.filter(pl.col("name").is_in(doubtful["name"].unique().to_list())).collect()
        coded = near.with_columns(pl.col("name").rle_id()).cast(pl.Float64)
        array = {c: coded[c].fill_null(np.nan).to_numpy() for c in coded.columns}
        for at in np.flatnonzero(near["_row"].is_in(doubtful["_row"].implode()).to_numpy()):
            case, row = _case(array, int(at)), int(near["_row"][int(at)])
            scale[row], rule = verdict(case)
            if scale[row] < 1.0 and rule != "duplicated_dividend" and _special(case):
                if _fell_before(array, int(at), case):
                    scale[row], rule = 1.0, "misdated_dividend"
                elif (later := _falls_after(array, int(at), case)) is not None:
                    here = int(near["_row"][later])
                    moved[here], rules[here] = row, "misdated_dividend"
                    why[here] = f"listed on {near['day'][int(at)]}: {_words(case)}"
            if rule:
                rules[row], why[row] = rule, _words(case)
    return _with(bars, scale, rules, why).with_columns(
        pl.Series("_paid_from", [moved.get(i) for i in range(bars.height)], dtype=pl.UInt32)
        if moved
        else pl.lit(None, dtype=pl.UInt32).alias("_paid_from")
    )


def _special(case: Case) -> bool:
    return case.yield_ > LARGE and case.yield_ >= 6 * case.noise


def _matches(fall: float, move: float, yield_: float, noise: float) -> bool:
    """Whether a fall at the open that stood at the close is that of a dividend."""
    near = abs(fall - yield_) <= max(4 * noise, 0.2 * yield_)
    return bool(near and fall >= yield_ / 2 and 1.0 - np.exp(move) >= yield_ / 2)


def _fell_before(a: dict[str, Floats], at: int, case: Case) -> bool:
    """Whether the price fell by the dividend on a bar just before that paid nothing."""
    since = 0.0
    for k in range(at - 1, max(at - REPEAT_BARS, 0) - 1, -1):
        if a["name"][k] != a["name"][at] or a["day"][at] - a["day"][k] > REPEAT_DAYS:
            return False
        since += a["move"][k]  # from the close before that bar to the close before the ex-day
        yield_ = case.yield_ * float(np.exp(since))
        if not a["amount"][k] and _matches(a["fall"][k], a["move"][k], yield_, case.noise):
            return True
    return False


def _falls_after(a: dict[str, Floats], at: int, case: Case) -> int | None:
    """The bar just after that lists nothing and on which the price falls by the dividend."""
    since = a["move"][at]
    for k in range(at + 1, min(at + REPEAT_BARS, len(a["day"]) - 1) + 1):
        if a["name"][k] != a["name"][at] or a["day"][k] - a["day"][at] > REPEAT_DAYS:
            return None
        yield_ = case.yield_ / float(np.exp(since))
        if a["split"][k] != 1.0:
            return None
        if not a["amount"][k] and _matches(a["fall"][k], a["move"][k], yield_, case.noise):
            return k
        since += a["move"][k]
    return None


def _words(case: Case) -> str:
    told = f"{case.told:.3%}" if np.isfinite(case.told) else "nothing"
    return (
        f"dividend of {case.yield_:.3%} of the close before; the price fell {case.drop:.3%} "
        f"(usual move {case.noise:.3%}); adjusted closes say {told}"
    )


def _doubtful() -> pl.Expr:
    """Whether ``verdict`` may say something of a dividend: a few of many."""
    size, told = pl.col("size"), pl.col("told")
    again = (pl.col("amount") / pl.col("amount").shift(1) - 1.0).abs() <= 0.005
    again &= (pl.col("day") - pl.col("day").shift(1)).is_between(0, REPEAT_DAYS)
    return pl.any_horizontal(
        (size > LARGE) & (pl.col("fall") < size / 2),
        pl.col("minor") & (size < SMALL),
        told.is_finite() & ((told <= 0.02 * size) | (told >= 50 * size)),
        again & (pl.col("name") == pl.col("name").shift(1)),
    ).fill_null(value=False)


def _with(
    bars: pl.DataFrame, scale: Floats, rules: dict[int, str], why: dict[int, str]
) -> pl.DataFrame:
    def text(name: str, said: dict[int, str]) -> pl.Expr | pl.Series:
        if not said:
            return pl.lit("").alias(name)
        return pl.Series(name, [said.get(i, "") for i in range(len(scale))], dtype=pl.String)

    return bars.with_columns(
        pl.Series("_paid", scale, dtype=pl.Float64),
        text("_paid_rule", rules),
        text("_paid_why", why),
    )


def _case(a: dict[str, Floats], at: int) -> Case:
    first = at
    while first > 0 and at - first < BARS and a["name"][first - 1] == a["name"][at]:
        if a["day"][at] - a["day"][first - 1] > DAYS:
            break
        first -= 1
    moves = a["move"][first:at][a["gap"][first:at] <= NEAR_DAYS]
    moves = moves[np.isfinite(moves)]
    noise = 0.02 if len(moves) < 5 else max(0.005, 1.4826 * float(np.median(np.abs(moves))))
    recent = np.arange(max(first, at - REPEAT_BARS), at)
    recent = recent[a["day"][at] - a["day"][recent] <= REPEAT_DAYS]
    same = np.abs(a["amount"][recent] / a["amount"][at] - 1.0) <= 0.005
    return Case(
        yield_=float(a["size"][at]),
        drop=float(a["fall"][at]),
        noise=noise,
        told=float(a["told"][at]),
        hundredths=bool(a["minor"][at] == 1.0),
        repeated=bool(same.any()),
    )


def differs(bars: pl.DataFrame) -> pl.DataFrame:
    """``bars`` with ``_differs``: the growth that the adjusted closes say, where it is not that of
    the events; null where they agree or say nothing.

    bars: with ``_price``, ``_bridge``, ``_paid`` and ``_cash`` (dividend that counts, of the return).
    """
    ours = (pl.col("num_close") + pl.col("_cash")) / pl.col("den_close") * pl.col("_bridge")
    left = 1.0 - pl.col("_cash") * pl.col("_bridge") / pl.col("den_close")
    other = pl.col("_price") / left
    vendor = pl.col("num_adj") / pl.col("den_adj")

    def off(slack: float | pl.Expr) -> pl.Expr:
        low, high = pl.min_horizontal(ours, other), pl.max_horizontal(ours, other)
        return (vendor < low * (1 - slack)) | (vendor > high * (1 + slack))

    rounding = pl.sum_horizontal(
        *(_half_digit(n) / pl.col(n) for n in ("num_adj", "den_adj", "num_close", "den_close"))
    )
    found = (
        bars.lazy()
        .with_row_index("_row")
        .filter((pl.col(EVENTS) & off(DIFFERS)).fill_null(value=False))
        .filter(off(DIFFERS + rounding))
        .select("_row", vendor.alias("vendor"))
        .collect()
    )
    said = np.full(bars.height, np.nan)
    said[found["_row"].to_numpy()] = found["vendor"].to_numpy()
    return bars.with_columns(pl.Series("_differs", said).fill_nan(None))


def _half_digit(name: str) -> pl.Expr:
    """Half of the last decimal that a price is rounded to; 0 where it is not."""
    x = pl.col(name)

    def whole(k: int) -> pl.Expr:
        scaled = x * 10.0**k
        return (scaled - scaled.round()).abs() < 1e-6 * pl.max_horizontal(1.0, scaled.abs() * 1e-6)

    return (
        pl.when(whole(2)).then(5e-3).when(whole(3)).then(5e-4).when(whole(4)).then(5e-5)
        .when(whole(5)).then(5e-6).when(whole(6)).then(5e-7).otherwise(0.0)
    )  # fmt: skip


def back_adjusted(prices: pl.DataFrame) -> pl.DataFrame:
    """``instrument_id, date, adj_close``: closes scaled back for splits and dividends after the bar,
    as charts show them (the last bar as traded; an ex-date takes off dividend over close before).

    prices: ``clean.prices`` of whole histories. A view: never stored, never an input.
    """
    rows = prices.select("instrument_id", "date", "close", "dividend", "split_ratio").sort(
        "instrument_id", "date"
    )
    by = "instrument_id"
    before = pl.col("close").shift(1).over(by) / pl.col("split_ratio")
    step = (1.0 - pl.col("dividend").fill_null(0.0) / before) / pl.col("split_ratio")
    later = (
        step.fill_null(1.0)
        .shift(-1, fill_value=1.0)
        .over(by)
        .reverse()
        .cum_prod()
        .reverse()
        .over(by)
    )
    return rows.select(by, "date", (pl.col("close") * later).alias("adj_close"))
