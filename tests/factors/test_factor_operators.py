"""Every operator against a slow, obvious reference, and against itself started elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.engine import evaluate
from wealthos_pipeline.factors.expression import lookback, parse, walk
from wealthos_pipeline.factors.operators import OPERATORS, decay_keep, decay_length

FIRST = date(2018, 3, 12)
SESSIONS = 170
NAMES = {"A": (0, 170, 0.06), "B": (37, 170, 0.25), "C": (0, 131, 0.0), "D": (101, 119, 0.0)}
"""Name → first session, end, share of sessions without a bar."""

Window = list[float]


def panel(calendar: TradingCalendar, seed: int = 11) -> pl.DataFrame:
    """Bars with gaps; ``$raw_close`` is x and ``$raw_open`` y, both with ties, signs and zeros."""
    rng = np.random.default_rng(seed)
    days = calendar.sessions(FIRST, calendar.offset(FIRST, SESSIONS - 1))
    rows = []
    for name, (begin, end, gaps) in NAMES.items():
        for t in range(begin, end):
            if begin < t < end - 1 and rng.random() < gaps:
                continue
            x = float(np.round(rng.normal(0.2, 2.0), 1))
            y = float(np.round(0.5 * x + rng.normal(0.0, 1.0), 2))
            hole = rng.random() < 0.04
            rows.append((name, days[t], None if hole else x, y, float(np.exp(0.1 * y))))
    return pl.DataFrame(
        rows,
        schema={"instrument_id": pl.String, "date": pl.Date, "close": pl.Float64,
                "open": pl.Float64, "tr_index": pl.Float64},
        orient="row",
    )  # fmt: skip


def cells(frame: pl.DataFrame, name: str, column: str, days: list[date]) -> Window:
    """One cell a session from the first to the last bar of an instrument; NaN in gaps."""
    rows = frame.filter(pl.col("instrument_id") == name).sort("date")
    found = dict(zip(rows["date"].to_list(), rows[column].to_list(), strict=True))
    inside = [d for d in days if min(found) <= d <= max(found)]
    return [math.nan if found.get(d) is None else found[d] for d in inside]


def there(window: Window) -> Window:
    return [v for v in window if not math.isnan(v)]


def both(x: Window, y: Window) -> tuple[np.ndarray, np.ndarray]:
    kept = [(a, b) for a, b in zip(x, y, strict=True) if not math.isnan(a) and not math.isnan(b)]
    return np.array([a for a, _ in kept]), np.array([b for _, b in kept])


def moment(window: Window, k: int) -> float:
    v = np.array(there(window))
    return float(np.mean((v - v.mean()) ** k))


def skew(window: Window) -> float:
    n = len(there(window))
    if n < 3 or moment(window, 2) < 1e-20:
        return math.nan
    return math.sqrt(n * (n - 1)) / (n - 2) * moment(window, 3) / moment(window, 2) ** 1.5


def kurt(window: Window) -> float:
    n = len(there(window))
    if n < 4 or moment(window, 2) < 1e-20:
        return math.nan
    g = moment(window, 4) / moment(window, 2) ** 2 - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g + 6)


def line(x: Window, y: Window, least: int = 2) -> tuple[float, float, np.ndarray] | None:
    """Slope, intercept and residuals of x on y by numpy's least squares."""
    a, b = both(x, y)
    if len(a) < least or np.ptp(b) == 0:
        return None
    slope, intercept = np.polyfit(b, a, 1)
    return float(slope), float(intercept), a - slope * b - intercept


def corr(x: Window, y: Window) -> float:
    a, b = both(x, y)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def rank(window: Window) -> float:
    v, now = there(window), window[-1]
    if math.isnan(now):
        return math.nan
    return (sum(a < now for a in v) + (sum(a == now for a in v) + 1) / 2) / len(v)


def place(window: Window, best: Callable[[Window], float]) -> float:
    return window.index(best(there(window))) + 1 if there(window) else math.nan


def weighted(window: Window, weights: Window) -> float:
    kept = [(w, v) for w, v in zip(weights, window, strict=True) if not math.isnan(v)]
    return sum(w * v for w, v in kept) / sum(w for w, _ in kept) if kept else math.nan


def slots(window: Window) -> Window:
    return [float(k) for k in range(len(window))]


def trend(window: Window, what: int) -> float:
    fit = line(window, slots(window))
    if fit is None:
        return math.nan
    slope, intercept, residuals = fit
    if what == 0:
        return slope
    if what == 1:
        v = np.array(there(window))
        total = np.sum((v - v.mean()) ** 2)
        return float(1 - np.sum(residuals**2) / total) if total > 1e-20 else math.nan
    return window[-1] - intercept - slope * (len(window) - 1)


def regression(x: Window, y: Window, what: int) -> float:
    fit = line(x, y, least=3 if what == 2 else 2)
    if fit is None:
        return math.nan
    slope, intercept, residuals = fit
    if what == 0:
        return slope
    if what == 1:
        return x[-1] - intercept - slope * y[-1]
    return math.sqrt(np.sum(residuals**2) / (len(residuals) - 2))


def safe(f: Callable[[np.ndarray], object], least: int = 1) -> Callable[[Window], float]:
    return lambda w: float(f(np.array(there(w)))) if len(there(w)) >= least else math.nan  # type: ignore[arg-type]


X, Y = "$raw_close", "$raw_open"
N = 12

WINDOWED: dict[str, tuple[str, Callable[[Window], float]]] = {
    "Sum": (f"Sum({X}, {N})", safe(np.sum)),
    "Mean": (f"Mean({X}, {N})", safe(np.mean)),
    "Count": (f"Count({X}, {N})", lambda w: float(len(there(w)))),
    "Var": (f"Var({X}, {N})", safe(lambda v: v.var(ddof=1), 2)),
    "Std": (f"Std({X}, {N})", safe(lambda v: v.std(ddof=1), 2)),
    "Skew": (f"Skew({X}, {N})", skew),
    "Kurt": (f"Kurt({X}, {N})", kurt),
    "Max": (f"Max({X}, {N})", safe(np.max)),
    "Min": (f"Min({X}, {N})", safe(np.min)),
    "IdxMax": (f"IdxMax({X}, {N})", lambda w: place(w, max)),
    "IdxMin": (f"IdxMin({X}, {N})", lambda w: place(w, min)),
    "Quantile": (f"Quantile({X}, {N}, 0.3)", safe(lambda v: np.quantile(v, 0.3))),
    "Med": (f"Med({X}, {N})", safe(np.median)),
    "Mad": (f"Mad({X}, {N})", safe(lambda v: np.mean(np.abs(v - v.mean())))),
    "Rank": (f"Rank({X}, {N})", rank),
    "WMA": (f"WMA({X}, {N})", lambda w: weighted(w, [k + 1 for k in range(len(w))])),
    "Slope": (f"Slope({X}, {N})", lambda w: trend(w, 0)),
    "Rsquare": (f"Rsquare({X}, {N})", lambda w: trend(w, 1)),
    "Resi": (f"Resi({X}, {N})", lambda w: trend(w, 2)),
}

PAIRED: dict[str, tuple[str, Callable[[Window, Window], float]]] = {
    "Corr": (f"Corr({X}, {Y}, {N})", corr),
    "Cov": (f"Cov({X}, {Y}, {N})",
            lambda x, y: float(np.cov(*both(x, y))[0, 1]) if len(both(x, y)[0]) > 1 else math.nan),
    "Beta": (f"Beta({X}, {Y}, {N})", lambda x, y: regression(x, y, 0)),
    "BetaResi": (f"BetaResi({X}, {Y}, {N})", lambda x, y: regression(x, y, 1)),
    "BetaStd": (f"BetaStd({X}, {Y}, {N})", lambda x, y: regression(x, y, 2)),
}  # fmt: skip

nan = math.nan
isnan = math.isnan

ELEMENT: dict[str, tuple[str, Callable[[float, float], float]]] = {
    "Add": (f"{X} + {Y}", lambda x, y: x + y),
    "Sub": (f"{X} - {Y}", lambda x, y: x - y),
    "Mul": (f"{X} * {Y}", lambda x, y: x * y),
    "Div": (f"{Y} / {X}", lambda x, y: y / x if x else nan),
    "Neg": (f"-({X})", lambda x, _: -x),
    "Abs": (f"Abs({X})", lambda x, _: abs(x)),
    "Sign": (f"Sign({X})", lambda x, _: x if isnan(x) else float((x > 0) - (x < 0))),
    "Log": (f"Log({X})", lambda x, _: math.log(x) if x > 0 else nan),
    "Power": (f"Power({X}, 3)", lambda x, _: x**3),
    "Greater": (f"Greater({X}, {Y})", lambda x, y: nan if isnan(x) or isnan(y) else max(x, y)),
    "Less": (f"Less({X}, {Y})", lambda x, y: nan if isnan(x) or isnan(y) else min(x, y)),
    "Gt": (f"{X} > {Y}", lambda x, y: float(x > y)),
    "Ge": (f"{X} >= 0.2", lambda x, _: float(x >= 0.2)),
    "Lt": (f"{X} < {Y}", lambda x, y: float(x < y)),
    "Le": (f"{X} <= 0.2", lambda x, _: float(x <= 0.2)),
    "Eq": (f"{X} == 0.2", lambda x, _: float(x == 0.2)),
    "Ne": (f"{X} != 0.2", lambda x, _: float(not isnan(x) and x != 0.2)),
    "And": (f"{X} & {Y}", lambda x, y: float(not isnan(x) and x != 0 and y != 0)),
    "Or": (f"Or({X} > 1, {Y} > 1)", lambda x, y: float(x > 1 or y > 1)),
    "Not": (f"~({X} > {Y})", lambda x, y: float(not x > y)),
    "If": (f"If({X}, {Y}, 7)", lambda x, y: nan if isnan(x) else (y if x != 0 else 7.0)),
}

CROSS = {
    "CSRank": f"CSRank({X})",
    "CSZScore": f"CSZScore({X})",
    "CSDemean": f"CSDemean({X})",
    "CSMean": f"CSMean({X})",
    "CSWinsorize": f"CSWinsorize({X}, 1.5)",
}

SHIFTED = {"Ref": f"Ref({X}, 5)", "Delta": f"Delta({X}, 5)"}
DECAYED = {"EMA": f"EMA({X}, 3)"}
OTHER = {"Mask": f"Mask({X}, 'C')", "Neutralize": f"Neutralize({X}, {Y})"}

EXPRESSIONS: dict[str, str] = {
    **{k: v[0] for k, v in WINDOWED.items()},
    **{k: v[0] for k, v in PAIRED.items()},
    **{k: v[0] for k, v in ELEMENT.items()},
    **CROSS,
    **SHIFTED,
    **DECAYED,
    **OTHER,
}


def test_no_operator_is_left_untested() -> None:
    used = {n.op for text in EXPRESSIONS.values() for n in walk(parse(text))}
    assert set(EXPRESSIONS) == set(OPERATORS)
    assert set(OPERATORS) <= used


@pytest.fixture(scope="module")
def bars(calendar: TradingCalendar) -> pl.DataFrame:
    return panel(calendar)


@pytest.fixture(scope="module")
def computed(bars: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    return evaluate(EXPRESSIONS, bars, calendar=calendar)


def agree(found: float | None, expected: float) -> bool:
    if found is None or math.isnan(expected):
        return found is None and math.isnan(expected)
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-7)


def compare(
    computed: pl.DataFrame, bars: pl.DataFrame, calendar: TradingCalendar, op: str,
    reference: Callable[[Window, Window, int], float],
) -> int:  # fmt: skip
    """Every stored value of ``op`` against ``reference(x, y, t)`` over the cells; how many exist."""
    days = calendar.sessions(FIRST, bars["date"].max())  # type: ignore[arg-type]
    known = 0
    for name in NAMES:
        x, y = cells(bars, name, "close", days), cells(bars, name, "open", days)
        rows = computed.filter(pl.col("instrument_id") == name)
        first = calendar.slot(rows["date"].min())  # type: ignore[arg-type]
        for day, value in rows.select("date", op).iter_rows():
            t = calendar.slot(day) - first
            expected = reference(x, y, t)
            assert agree(value, expected), f"{name} {day} ({t}): {value}, expected {expected}"
            known += value is not None
    return known


@pytest.mark.parametrize("op", WINDOWED)
def test_windowed_operator(op: str, computed, bars, calendar) -> None:
    f = WINDOWED[op][1]
    assert compare(computed, bars, calendar, op,
                   lambda x, _, t: f(x[max(0, t - N + 1) : t + 1])) > 250  # fmt: skip


@pytest.mark.parametrize("op", PAIRED)
def test_paired_operator(op: str, computed, bars, calendar) -> None:
    f = PAIRED[op][1]
    assert compare(computed, bars, calendar, op,
                   lambda x, y, t: f(x[max(0, t - N + 1) : t + 1], y[max(0, t - N + 1) : t + 1])) > 250  # fmt: skip


@pytest.mark.parametrize("op", ELEMENT)
def test_element_operator(op: str, computed, bars, calendar) -> None:
    f = ELEMENT[op][1]
    assert compare(computed, bars, calendar, op, lambda x, y, t: f(x[t], y[t])) > 150


def test_shifts_count_sessions_not_bars(computed, bars, calendar) -> None:
    assert (
        compare(computed, bars, calendar, "Ref", lambda x, _, t: x[t - 5] if t >= 5 else nan) > 250
    )
    assert compare(computed, bars, calendar, "Delta",
                   lambda x, _, t: x[t] - x[t - 5] if t >= 5 else nan) > 250  # fmt: skip


def test_ema_is_the_infinite_one_to_float32(computed, bars, calendar) -> None:
    keep, size = decay_keep(3), decay_length(3)

    def finite(x: Window, _: Window, t: int) -> float:
        window = x[max(0, t - size + 1) : t + 1]
        return weighted(window, [keep ** (len(window) - 1 - k) for k in range(len(window))])

    assert compare(computed, bars, calendar, "EMA", finite) > 250
    days = calendar.sessions(FIRST, bars["date"].max())
    x = cells(bars, "C", "close", days)
    endless = weighted(x, [keep ** (len(x) - 1 - k) for k in range(len(x))])
    last = computed.filter(pl.col("instrument_id") == "C").sort("date")["EMA"][-1]
    assert math.isclose(last, endless, rel_tol=2e-7, abs_tol=2e-7)


@pytest.mark.parametrize("op", CROSS)
def test_cross_section(op: str, computed: pl.DataFrame, bars: pl.DataFrame) -> None:
    checked = 0
    for (day,), rows in bars.sort("instrument_id").group_by("date", maintain_order=True):
        x = dict(rows.select("instrument_id", "close").iter_rows())
        v = np.array([a for a in x.values() if a is not None])
        found = dict(computed.filter(pl.col("date") == day).select("instrument_id", op).iter_rows())
        for name, a in x.items():
            if op == "CSMean":
                expected = float(v.mean()) if len(v) else nan
            elif a is None:
                expected = nan
            elif op == "CSRank":
                expected = ((v < a).sum() + ((v == a).sum() + 1) / 2) / len(v)
            elif op == "CSDemean":
                expected = a - v.mean()
            elif op == "CSWinsorize":
                away = np.median(np.abs(v - np.median(v)))
                low, high = np.median(v) - 1.5 * away, np.median(v) + 1.5 * away
                expected = min(max(a, low), high) if away > 0 else a
            else:
                expected = (a - v.mean()) / v.std(ddof=1) if len(v) > 1 and np.ptp(v) else nan
            assert agree(found[name], float(expected)), (day, name)
            checked += 1
    assert checked == bars.height


@pytest.mark.parametrize("op", EXPRESSIONS)
def test_the_same_bits_wherever_the_computation_starts(
    op: str, computed: pl.DataFrame, bars: pl.DataFrame, calendar: TradingCalendar
) -> None:
    """Only ``lookback`` sessions are given, and only dates from ``start`` on are asked for.

    Listings are known here as in the pipeline: instruments without their first bar among the rows
    given are older than them.
    """
    from wealthos_pipeline.core.asset import AssetClass
    from wealthos_pipeline.core.factor import Factor
    from wealthos_pipeline.factors.engine import compute
    from wealthos_pipeline.factors.library import Family

    family = Family(
        AssetClass.EQUITY, "t", (Factor(op, AssetClass.EQUITY, "t", 1, op, "", EXPRESSIONS[op]),)
    )
    listed = bars.group_by("instrument_id").agg(valid_from=pl.col("date").min())
    listed = listed.with_columns(asset_class=pl.lit("equity"))
    back = lookback(parse(EXPRESSIONS[op]))
    for offset in (back, back + 1, back + 7, 61, 101, 118, 140):
        start = calendar.offset(FIRST, offset)
        given = bars.filter(pl.col("date") >= calendar.offset(start, -back))
        part = compute(family, given, None, instruments=listed, calendar=calendar, start=start)
        whole = computed.filter(pl.col("date") >= start).select("date", "instrument_id", op)
        assert part.equals(whole), start


def test_min_periods_holds_back_thin_windows(bars, calendar) -> None:
    out = evaluate(
        {"n": f"Count({X}, {N})", "mean": f"Mean({X}, {N}, min_periods=9)",
         "ema": f"EMA({X}, 3, min_periods=9)", "beta": f"Beta({X}, {Y}, {N}, min_periods=9)"},
        bars, calendar=calendar,
    )  # fmt: skip
    assert out.filter((pl.col("n") < 9) & pl.col("mean").is_not_null()).is_empty()
    assert out.filter((pl.col("n") >= 9) & pl.col("mean").is_null()).is_empty()
    assert out.filter((pl.col("n") < 9) & pl.col("beta").is_not_null()).is_empty()
    assert out["ema"].null_count() > 0


def big(calendar: TradingCalendar, values: list[float]) -> pl.DataFrame:
    days = calendar.sessions(FIRST, calendar.offset(FIRST, len(values) - 1))
    return pl.DataFrame(
        {
            "instrument_id": "A",
            "date": days,
            "close": values,
            "open": values[::-1],
            "tr_index": values,
        }
    )


def test_tiny_moves_on_prices_of_a_million_agree_with_exact_arithmetic(calendar) -> None:
    rng = np.random.default_rng(3)
    x = [1e6 + float(v) for v in np.round(rng.normal(0, 0.01, 90), 4)]
    bars = big(calendar, x)
    n = 20
    out = evaluate(
        {"var": f"Var({X}, {n})", "std": f"Std({X}, {n})", "slope": f"Slope({X}, {n})",
         "r2": f"Rsquare({X}, {n})", "resi": f"Resi({X}, {n})", "corr": f"Corr({X}, {Y}, {n})",
         "beta": f"Beta({X}, {Y}, {n})", "skew": f"Skew({X}, {n})"},
        bars, calendar=calendar,
    ).sort("date")  # fmt: skip
    y = x[::-1]
    for t in range(n - 1, len(x)):
        w = [Fraction(v) for v in x[t - n + 1 : t + 1]]
        u = [Fraction(v) for v in y[t - n + 1 : t + 1]]
        k = [Fraction(j) for j in range(n)]
        mw, mu, mk = sum(w) / n, sum(u) / n, sum(k) / n
        ww = sum((a - mw) ** 2 for a in w)
        uu = sum((a - mu) ** 2 for a in u)
        wu = sum((a - mw) * (b - mu) for a, b in zip(w, u, strict=True))
        wk = sum((a - mw) * (b - mk) for a, b in zip(w, k, strict=True))
        kk = sum((b - mk) ** 2 for b in k)
        third = float(sum((a - mw) ** 3 for a in w) / n) / float(ww / n) ** 1.5
        row = out.row(t, named=True)
        std = math.sqrt(ww / (n - 1))
        for name, expected, scale in (
            ("var", float(ww / (n - 1)), 0.0),
            ("std", std, 0.0),
            ("slope", float(wk / kk), std),
            ("r2", float(wk * wk / (ww * kk)), 1.0),
            ("resi", float(w[-1] - mw - wk / kk * (n - 1 - mk)), std),
            ("corr", float(wu) / math.sqrt(ww * uu), 1.0),
            ("beta", float(wu / uu), 1.0),
            ("skew", math.sqrt(n * (n - 1)) / (n - 2) * third, 1.0),
        ):
            assert abs(row[name] - expected) <= 1e-6 * max(abs(expected), scale), (t, name)


def test_a_bad_print_leaves_no_residue(calendar) -> None:
    rng = np.random.default_rng(5)
    clean = [float(v) for v in 100 + rng.normal(0, 1, 120)]
    broken = [*clean[:40], 1e15, *clean[41:]]
    texts = {k: v for k, v in EXPRESSIONS.items() if k in WINDOWED or k in PAIRED or k == "EMA"}
    one = evaluate(texts, big(calendar, clean), calendar=calendar).sort("date")
    two = evaluate(texts, big(calendar, broken), calendar=calendar).sort("date")
    windowed, paired = list(WINDOWED), list(PAIRED)
    assert one[:40].select(windowed).equals(two[:40].select(windowed))
    assert not one[40 : 40 + N].select(windowed).equals(two[40 : 40 + N].select(windowed))
    kept, past = [*windowed, "EMA"], 40 + max(N, decay_length(3))
    assert one[past:].select(kept).equals(two[past:].select(kept))
    # the second series is the first one mirrored: a paired window sees the print twice
    assert one[79 + N :].select(paired).equals(two[79 + N :].select(paired))


def test_a_constant_has_no_spread_and_no_shape(calendar) -> None:
    bars = big(calendar, [0.1] * 40)
    out = evaluate(
        {"std": f"Std({X}, {N})", "skew": f"Skew({X}, {N})", "corr": f"Corr({X}, {Y}, {N})",
         "r2": f"Rsquare({X}, {N})", "z": f"({X} - Mean({X}, {N})) / Std({X}, {N})"},
        bars, calendar=calendar,
    ).sort("date")[N:]  # fmt: skip
    assert out["std"].to_list() == [0.0] * (40 - N)
    for name in ("skew", "corr", "r2", "z"):
        assert out[name].null_count() == 40 - N


def test_division_by_zero_and_overflow_are_missing(calendar) -> None:
    out = evaluate(
        {"d": f"1 / ({X} - {X})", "p": f"Power({X}, 1000)", "f": f"{X} * 1e300", "c": "$raw_close ** 1e9",
         "w": f"Count(1 / ({X} - {X}), 5)"},
        big(calendar, [3.0] * 8), calendar=calendar,
    )  # fmt: skip
    assert [out[c].null_count() for c in "dpfc"] == [8] * 4
    assert set(out["w"]) == {0.0}
