"""Every operator against a slow, obvious reference, and against itself cut, shared out and renamed."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from factor_reference import Market, market_of, value
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.expression import lookback, parse, walk
from wealthos_pipeline.factors.library import Family
from wealthos_pipeline.factors.operators import OPERATORS, decay_keep

FIRST = date(2018, 3, 12)
SESSIONS = 72
X, Y, Z = "$raw_close", "$raw_open", "$dollar_volume"
N = 12

NAMES = {
    "A": (0, 72, 0.05, "Energy"), "B": (17, 72, 0.25, "Energy"), "C": (0, 62, 0.0, "Energy"),
    "D": (35, 50, 0.0, "Energy"), "E": (0, 72, 0.1, "Utilities"), "F": (3, 72, 0.0, "Utilities"),
    "G": (0, 72, 0.0, "Health"), "H": (0, 72, 0.0, None), "I": (24, 72, 0.5, "Energy"),
}  # fmt: skip
"""Name → first session, end, share of sessions without a bar, sector."""

WINDOWED = {
    op: f"{op}({X}, {N})"
    for op in OPERATORS
    if OPERATORS[op].kind == "window" and OPERATORS[op].inputs == 1
} | {"Quantile": f"Quantile({X}, {N}, 0.3)", "EMA": f"EMA({X}, 3)"}
PAIRED = {op: f"{op}({X}, {Y}, {N})" for op in ("Corr", "Cov", "Beta", "BetaResi", "BetaStd")}
SHIFTED = {"Ref": f"Ref({X}, 5)", "Delta": f"Delta({X}, 5)"}
ELEMENT = {
    "Add": f"{X} + {Y}", "Sub": f"{X} - {Y}", "Mul": f"{X} * {Y}", "Div": f"{Y} / {X}",
    "Neg": f"-({X})", "Abs": f"Abs({X})", "Sign": f"Sign({X})", "Log": f"Log({X})",
    "Power": f"Power({X}, 3)", "Greater": f"Greater({X}, {Y})", "Less": f"Less({X}, {Y})",
    "Gt": f"{X} > {Y}", "Ge": f"{X} >= 0.25", "Lt": f"{X} < {Y}", "Le": f"{X} <= 0.25",
    "Eq": f"{X} == 0.25", "Ne": f"{X} != 0.25", "And": f"{X} & {Y}", "Or": f"Or({X} > 1, {Y} > 1)",
    "Not": f"~({X} > {Y})", "If": f"If({X}, {Y}, 7)",
}  # fmt: skip
CROSS = {
    "CSRank": f"CSRank({X})", "CSZScore": f"CSZScore({X})", "CSDemean": f"CSDemean({X})",
    "CSMean": f"CSMean({X})", "CSWinsorize": f"CSWinsorize({X}, 1.5)",
    "Neutralize": f"Neutralize({X}, sector, {Y})",
}  # fmt: skip
OTHER = {"Mask": f"Mask({X}, 'C')"}
ONE_EACH = {**WINDOWED, **PAIRED, **SHIFTED, **ELEMENT, **CROSS, **OTHER}

EXPANDING = {
    f"{op}_0": text.replace(f", {N}", ", 0").replace(", 5", ", 0").replace(", 3", ", 0")
    for op, text in {**WINDOWED, **PAIRED, **SHIFTED}.items()
} | {"Quantile_0": f"Quantile({X}, 0, 0.3)"}

MORE = {
    "one_session": f"Mean({X}, 1) + Rank({X}, 1) + IdxMax({X}, 1)",
    "least": f"Std({X}, {N}, min_periods=9)",
    "least_0": f"Mean({X}, 0, min_periods=20)",
    "least_pair": f"Beta({X}, {Y}, {N}, min_periods=9)",
    "alpha": f"EMA({X}, 0.4, min_periods=3)",
    "long": f"Slope({X}, 300)",
    "spelled": f"If(And(Gt({X}, {Y}), Not(Eq({X}, 0))), Sub(Add({X}, 1), Mul({Y}, 2)), Div({X}, 4))",
    "grouped_rank": f"CSRank({X}, sector)",
    "grouped_z": f"CSZScore({X}, group=sector)",
    "grouped_demean": f"CSDemean({X}, sector)",
    "grouped_mean": f"CSMean({X}, sector)",
    "by_exchange": f"CSRank({X}, exchange) + CSRank({X}, currency)",
    "winsorized": f"CSWinsorize({X})",
    "held": f"CSRank(Mean({X}, 5))",
    "demeaned": f"Neutralize({X})",
    "by_sector": f"Neutralize({X}, sector)",
    "by_line": f"Neutralize({X}, {Y}, {Z})",
    "by_all": f"Neutralize({X}, sector, {Y}, {Z})",
    "twice": f"Neutralize({X}, {Y}, {Y} * 3 + 1)",
    "nested": f"Mean(CSZScore(CSRank({X}, sector) + {Y}), 5) - Mask(CSRank({X}), 'C')",
    "beta": f"Beta({X}, Mask(Mean({Y}, 3), 'SYM'), {N})",
    "changed": f"{X} - ChangeInstrument('SYM', {X})",
}
EXPRESSIONS = {**ONE_EACH, **EXPANDING, **MORE}


def number(rng: np.random.Generator, scale: float = 2.0) -> float:
    """Eighths: ties, zeros, and sums and products without rounding."""
    return float(np.round(rng.normal(0.2, scale) * 8) / 8)


def panel(calendar: TradingCalendar, seed: int = 11) -> pl.DataFrame:
    """x is ``$raw_close``, y ``$raw_open``, z ``$dollar_volume``; H is constant, G has no y."""
    rng = np.random.default_rng(seed)
    days = calendar.sessions(FIRST, calendar.offset(FIRST, SESSIONS - 1))
    rows = []
    for name, (begin, end, gaps, _) in NAMES.items():
        for t in range(begin, end):
            if begin < t < end - 1 and rng.random() < gaps:
                continue
            x, hole = number(rng), rng.random() < 0.04
            y = 0.5 * x + number(rng, 1.0)
            x = 0.75 if name == "H" or (name == "F" and 30 < t < 54) else x
            z = number(rng) ** 2 * 1e6
            rows.append((name, days[t], None if hole else x, None if name == "G" else y, z))
    schema = {"instrument_id": pl.String, "date": pl.Date, "close": pl.Float64,
              "open": pl.Float64, "dollar_volume": pl.Float64}  # fmt: skip
    out = pl.DataFrame(rows, schema=schema, orient="row")
    return out.with_columns(tr_index=(pl.col("open") / 8).exp())


def described(calendar: TradingCalendar) -> pl.DataFrame:
    """E moves to Energy, F has the symbol SYM after A had it; I is listed before its first bar."""
    day = [calendar.offset(FIRST, k) for k in range(SESSIONS)]
    rows = [
        (
            n,
            day[b if n != "I" else 10],
            n if n != "A" else "SYM",
            s,
            "XLON" if n in "ABC" else "XNYS",
        )
        for n, (b, _, _, s) in NAMES.items()
    ]
    rows += [("E", day[36], "E", "Energy", "XNYS"), ("A", day[26], "A", "Energy", "XLON"),
             ("F", day[26], "SYM", "Utilities", "XNYS")]  # fmt: skip
    schema = ["instrument_id", "valid_from", "symbol", "sector", "exchange"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        asset_class=pl.lit("equity"), currency=pl.lit("USD")
    )


def run(
    texts: dict[str, str], bars: pl.DataFrame, calendar: TradingCalendar,
    instruments: pl.DataFrame | None = None, **options: object,
) -> pl.DataFrame:  # fmt: skip
    factors = tuple(
        Factor(n, AssetClass.EQUITY, "t", 1, n, "", expression=t) for n, t in texts.items()
    )
    family = Family(AssetClass.EQUITY, "t", factors)
    out = compute(family, bars, None, instruments=instruments, calendar=calendar, **options)  # type: ignore[arg-type]
    return out.sort("date", "instrument_id")


@pytest.fixture(scope="module")
def bars(calendar: TradingCalendar) -> pl.DataFrame:
    return panel(calendar)


@pytest.fixture(scope="module")
def instruments(calendar: TradingCalendar) -> pl.DataFrame:
    return described(calendar)


@pytest.fixture(scope="module")
def reference(bars, instruments, calendar) -> Market:
    return market_of(bars, calendar, instruments)


@pytest.fixture(scope="module")
def computed(bars, instruments, calendar) -> pl.DataFrame:
    return run(EXPRESSIONS, bars, calendar, instruments)


def test_no_operator_is_left_untested() -> None:
    used = {n.op for text in EXPRESSIONS.values() for n in walk(parse(text))}
    assert set(ONE_EACH) == set(OPERATORS)
    assert set(OPERATORS) <= used
    for op in {o.name for o in OPERATORS.values() if o.kind in ("window", "decay", "shift")}:
        tree = parse(EXPANDING[f"{op}_0"])
        assert tree.op == op
        assert tree.params[0] == 0


def agree(found: float | None, expected: float, scale: float = 1.0) -> bool:
    if found is None or math.isnan(expected):
        return found is None and math.isnan(expected)
    return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-7 * scale)


def compare(
    found: pl.DataFrame, column: str, text: str, market: Market, calendar: TradingCalendar
) -> int:
    """Every stored value against the reference; how many there are."""
    expected = value(parse(text), market)
    known = 0
    for day, name, v in found.select("date", "instrument_id", column).iter_rows():
        t = calendar.slot(day) - market.lo[name]
        assert agree(v, expected[name][t]), f"{text}, {name} on {day}: {v}, not {expected[name][t]}"
        known += v is not None
    return known


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_operator_is_what_the_slow_reference_says(name: str, computed, reference, calendar) -> None:
    assert compare(computed, name, EXPRESSIONS[name], reference, calendar) > 80


def test_ema_is_the_infinite_one_to_float32(computed, reference, calendar) -> None:
    keep = decay_keep(3)
    x = reference.columns["close"]["C"]
    kept = [(keep ** (len(x) - 1 - k), v) for k, v in enumerate(x) if not math.isnan(v)]
    endless = math.fsum(w * v for w, v in kept) / math.fsum(w for w, _ in kept)
    last = computed.filter(pl.col("instrument_id") == "C")["EMA"][-1]
    assert math.isclose(last, endless, rel_tol=2e-7, abs_tol=2e-7)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_same_bits_wherever_the_computation_starts(
    name: str, computed, bars, instruments, calendar
) -> None:
    """Only ``lookback`` sessions are given, and only dates from ``start`` on are asked for."""
    back = min(lookback(parse(EXPRESSIONS[name])), SESSIONS)
    for offset in (min(back, 40), 58):
        start = calendar.offset(FIRST, offset)
        given_bars = bars.filter(pl.col("date") >= calendar.offset(start, -back))
        part = run({name: EXPRESSIONS[name]}, given_bars, calendar, instruments, start=start)
        whole = computed.filter(pl.col("date") >= start).select("date", "instrument_id", name)
        assert part.equals(whole), start


def test_neither_blocks_nor_threads_nor_the_order_of_rows_change_a_bit(
    computed, bars, instruments, calendar
) -> None:
    shuffled = bars.sample(fraction=1.0, shuffle=True, seed=5)
    for cells, threads in ((1, 3), (200, 2), (10**7, 1)):
        again = run(
            EXPRESSIONS, shuffled, calendar, instruments, block_cells=cells, threads=threads
        )
        assert again.equals(computed), (cells, threads)


def test_renaming_the_names_renames_the_result(computed, bars, instruments, calendar) -> None:
    """Along time no bit changes; sums over the names of a date go in another order."""
    new = dict(zip(NAMES, reversed(NAMES), strict=True))
    rename = pl.col("instrument_id").replace_strict(new)
    texts = {k: v for k, v in EXPRESSIONS.items() if k not in OTHER and "Mask" not in v}
    again = run(texts, bars.with_columns(rename), calendar, instruments.with_columns(rename))
    again = again.with_columns(rename).sort("date", "instrument_id")
    for name in texts:
        if {n.op for n in walk(parse(texts[name]))} & set(CROSS):
            both = zip(again[name], computed[name], strict=True)
            assert all(agree(a, nan if b is None else b) for a, b in both), name
        else:
            assert again[name].equals(computed[name]), name


nan = math.nan
PLAIN = (X, Y, f"({X} + {Y})", f"({X} * {Y})", f"({X} - 2 * {Y})")


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_window_over_any_short_history(data, calendar) -> None:
    """Random bars in eighths, random windows: exact inputs, so that all that differs is the kernel."""
    texts = {}
    for k in range(6):
        op = OPERATORS[data.draw(st.sampled_from([*WINDOWED, *PAIRED]))]
        args = [data.draw(st.sampled_from(PLAIN)) for _ in range(op.inputs)]
        n = data.draw(st.sampled_from([0, *range(max(1, op.least), 9), 30]))
        extra = [data.draw(st.sampled_from(["0", "0.25", "0.9", "1"]))] * (op.name == "Quantile")
        extra += [f"min_periods={data.draw(st.integers(1, n or 5))}"] * (op.kind == "window")
        texts[f"f{k}"] = f"{op.name}({', '.join([*args, str(n), *extra])})"
    days = calendar.sessions(FIRST, calendar.offset(FIRST, 24))
    cell = st.one_of(st.none(), st.integers(-24, 24).map(lambda v: v / 8))
    rows = []
    for name in ("P", "Q"):
        begin = data.draw(st.integers(0, 12))
        for day in days[begin:]:
            kind = data.draw(st.integers(0, 5))
            if kind:
                rows.append((name, day, data.draw(cell), data.draw(cell)))
    if not rows:
        return
    given_bars = pl.DataFrame(
        rows, schema={"instrument_id": pl.String, "date": pl.Date, "close": pl.Float64, "open": pl.Float64},
        orient="row",
    ).with_columns(tr_index=1.0, dollar_volume=1.0)  # fmt: skip
    found = run(texts, given_bars, calendar)
    market = market_of(given_bars, calendar)
    for name, text in texts.items():
        compare(found, name, text, market, calendar)


def test_ten_thousand_names_with_one_bar_each(calendar) -> None:
    rng = np.random.default_rng(0)
    names = [f"N{i:05}" for i in range(10_000)]
    one = pl.DataFrame({"instrument_id": names, "date": FIRST, "close": rng.normal(size=len(names)),
                        "open": rng.normal(size=len(names)), "dollar_volume": 1.0, "tr_index": 1.0})  # fmt: skip
    told = one.select(
        "instrument_id", symbol="instrument_id", valid_from="date", asset_class=pl.lit("equity"),
        sector=pl.lit("x"), exchange=pl.lit("XNYS"), currency=pl.lit("USD"),
    )  # fmt: skip
    texts = {k: v for k, v in EXPRESSIONS.items() if not {"Mask"} & {n.op for n in walk(parse(v))}}
    out = run(texts, one, calendar, told)
    x = one["close"].to_numpy()
    assert np.allclose(out["grouped_rank"], (np.argsort(np.argsort(x)) + 1) / len(x))
    assert np.allclose(out["Mean_0"], x)
    assert np.allclose(out["demeaned"], x - x.mean(), atol=1e-6)
    for name in ("Std", "Slope_0", "Corr", "Ref", "least"):
        assert out[name].null_count() == len(names), name
