"""What the market says beyond the contracts: the rules of ``validation``, by table.

Severity ``error`` is for what would move money and cannot be true; ``warn`` for what is rare enough
that a person should look. Bounds are wide on purpose: a check that cries every day is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.utils.rules import Measure, Rule, coded, of

GROWTH: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "equity": ((0.001, 50.0), (0.5, 2.0)),
    "fixed_income": ((0.3, 3.0), (0.9, 1.1)),
    "cross_asset": ((0.1, 10.0), (0.75, 1.35)),
}
"""Asset class → growth of one bar that is possible (error outside), and usual (warn outside).

Shares of banks that failed opened at 0.2 % to 0.4 % of their last close in 2023."""
TERMINAL = 512
"""Bit of ``flags``: a person stated the return of the bar, a total loss perhaps."""

SLACK = 0.005
"""Open and close may lie outside [low, high] by this fraction: rounding of adjusted prices."""
MEMBERS_MISSING = 0.1
"""Share of a universe's members without a bar on a session above which a person should look."""
JUMP = 2.0
"""Percentage points by which a yield may move from one day to the next."""
NEIGHBOURS = 1.0
"""Percentage points by which a tenor may lie off the line through its neighbours."""
TENORS = 0.75
"""Share of the day before's tenors that a day should have."""
LARGEST_VOLUME = 1e12
"""Shares of one instrument in one session; the largest on record is some 1e11."""


# --- bars -------------------------------------------------------------------------------------------


def _growth(frame: pl.DataFrame, now: datetime, beside: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """tr_index over that of the instrument's row before; null on the first and where a person stated
    it. With ``asset_class``."""
    rows = coded(frame.select("instrument_id", "date", "tr_index", "flags"))
    rows = rows.sort("instrument_id", "date")
    before = pl.when(pl.col("instrument_id") == pl.col("instrument_id").shift(1)).then(
        pl.col("tr_index").shift(1)
    )
    known = beside.get("clean.instruments")
    ids = rows.schema["instrument_id"]
    names = ids.categories if isinstance(ids, pl.Enum) else rows["instrument_id"].unique()
    classes = pl.DataFrame({"instrument_id": names}, schema={"instrument_id": pl.String})
    if known is None:
        classes = classes.with_columns(pl.lit("equity").alias("asset_class"))
    else:
        last = known.sort("instrument_id", "valid_from").unique("instrument_id", keep="last")
        classes = classes.join(
            last.select("instrument_id", "asset_class"),
            on="instrument_id",
            how="left",
            maintain_order="left",
        )
    words = classes["asset_class"].fill_null("equity").cast(pl.Enum(list(GROWTH)))
    kind = words.gather(rows["instrument_id"].to_physical()) if rows.height else words.clear()
    stated = (pl.col("flags") & TERMINAL != 0).fill_null(value=False)
    return rows.select(
        pl.when(~stated).then(pl.col("tr_index") / before).alias("value"),
        "instrument_id",
        "date",
        pl.Series("asset_class", kind),
    )


def _growth_rules() -> list[Rule]:
    out = []
    for kind, (possible, usual) in GROWTH.items():
        tail = "" if kind == "equity" else f"_{kind}"
        for name, severity, (low, high) in (
            ("possible", "error", possible),
            ("usual", "warn", usual),
        ):
            out.append(
                Rule(
                    f"daily_growth_{name}{tail}",
                    "tr_index",
                    "error" if severity == "error" else "warn",
                    _growth,
                    low,
                    high,
                    looks_back=True,
                    beside=("clean.instruments",),
                    where=pl.col("asset_class") == kind,
                )
            )
    return out


def _kept(*, last: bool) -> Measure:
    """Rows of a session over those of the session before, for all sessions or the last."""

    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        count = frame.group_by("date").agg(pl.len().alias("rows")).sort("date")
        out = count.select(
            (pl.col("rows") / pl.col("rows").shift(1)).alias("value"), "date", "rows"
        )
        return out.tail(1) if last else out

    return measure


def _traded(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Share of a session's bars that have volume over that of the session before, where most had."""
    some = (pl.col("volume") > 0).fill_null(value=False).mean()
    share = frame.group_by("date").agg(some.alias("traded"), pl.len().alias("rows")).sort("date")
    before = pl.when(pl.col("traded").shift(1) > 0.5).then(pl.col("traded").shift(1))
    return share.select((pl.col("traded") / before).alias("value"), "date", "traded", "rows")


def _skipped(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Sessions of the calendar between a session with bars and the one before it that has any."""
    days = frame.select("date", "slot").unique("date").sort("date")
    return days.select(
        (pl.col("slot") - pl.col("slot").shift(1) - 1).cast(pl.Float64).alias("value"),
        "date",
        pl.col("date").shift(1).alias("after"),
    )


def _height(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return pl.DataFrame({"value": [float(frame.height)]})


_AT = ("instrument_id", "date")
_OHLC = pl.max_horizontal(
    pl.col("open") / pl.col("high"),
    pl.col("close") / pl.col("high"),
    pl.col("low") / pl.col("open"),
    pl.col("low") / pl.col("close"),
)
_SPLIT = pl.when(pl.col("split_ratio") != 1).then(pl.col("split_ratio"))
_PAID = pl.when(pl.col("dividend") != 0).then(pl.col("dividend") / pl.col("close"))

PRICES = (
    Rule("not_empty", "", "error", _height, 1),
    Rule("positive_price", "close", "error", of(pl.col("close"), *_AT), 0, None, True),
    Rule("high_not_below_low", "high", "error", of(pl.col("high") - pl.col("low"), *_AT), 0),
    Rule("ohlc_order", "close", "error", of(_OHLC, *_AT), None, 1 + SLACK + 1e-9),
    *_growth_rules(),
    Rule("session_complete", "date", "warn", _kept(last=False), 0.8, looks_back=True),
    Rule("last_session_complete", "date", "error", _kept(last=True), 0.5, looks_back=True),
    Rule("session_missing", "date", "warn", _skipped, None, 0, looks_back=True),
    Rule("volume_possible", "volume", "error", of(pl.col("volume"), *_AT), 0, LARGEST_VOLUME),
    Rule("session_traded", "volume", "warn", _traded, 0.5, looks_back=True),
    Rule("split_possible", "split_ratio", "error", of(_SPLIT, *_AT), 1e-4, 1e4),
    Rule("split_usual", "split_ratio", "warn", of(_SPLIT, *_AT), 0.01, 50.0),
    Rule("dividend_possible", "dividend", "error", of(_PAID, *_AT), 0.0, 10.0),
    Rule("dividend_usual", "dividend", "warn", of(_PAID, *_AT), 0.0, 0.3),
)


# --- series -----------------------------------------------------------------------------------------

_WHERE = ("series", "tenor", "date")


def _in_unit(unit: str) -> Measure:
    value = pl.when(pl.col("unit") == unit).then(pl.col("value"))
    return of(value, *_WHERE)


def _moved(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Change of a daily yield from the day before it, at most ten days back."""
    rows = frame.filter((pl.col("unit") == "percent") & (pl.col("frequency") == "day"))
    by = ["series", "tenor"]
    rows = rows.sort(*by, "date")
    near = (pl.col("date") - pl.col("date").shift(1)).dt.total_days() <= 10
    change = (pl.col("value") - pl.col("value").shift(1)).over(by)
    return rows.select(pl.when(near.over(by)).then(change).alias("value"), *_WHERE)


def _rates(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """A rate of exchange over that of the day before."""
    rows = frame.filter(pl.col("series") == "fx").sort("tenor", "date")
    ratio = (pl.col("value") / pl.col("value").shift(1)).over("tenor")
    return rows.select(ratio.alias("value"), *_WHERE)


def _years(tenor: pl.Expr) -> pl.Expr:
    """``3M`` → 0.25, ``10Y`` → 10; null where it is no tenor."""
    number = tenor.str.extract(r"^(\d+(?:\.\d+)?)[MY]$").cast(pl.Float64, strict=False)
    return pl.when(tenor.str.ends_with("M")).then(number / 12).otherwise(number)


def _off_the_line(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """A yield less that of the straight line between its neighbours in the curve of the day."""
    rows = frame.filter((pl.col("unit") == "percent") & (pl.col("frequency") == "day"))
    by = ["series", "date"]
    rows = rows.with_columns(_years(pl.col("tenor")).alias("_t")).drop_nulls("_t").sort(*by, "_t")
    t, y = pl.col("_t"), pl.col("value")
    before, after = (t.shift(1), y.shift(1)), (t.shift(-1), y.shift(-1))
    line = before[1] + (after[1] - before[1]) * (t - before[0]) / (after[0] - before[0])
    return rows.select((y - line).over(by).alias("value"), *_WHERE)


def _tenors(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Tenors of a curve over those of the day before."""
    rows = frame.filter((pl.col("unit") == "percent") & (pl.col("frequency") == "day"))
    count = rows.group_by("series", "date").agg(pl.len().alias("tenors")).sort("series", "date")
    ratio = (pl.col("tenors") / pl.col("tenors").shift(1)).over("series")
    return count.select(ratio.alias("value"), "series", "date", "tenors")


_FX = pl.when(pl.col("series") == "fx").then(pl.col("value"))

SERIES = (
    Rule("yield_possible", "value", "error", _in_unit("percent"), -5.0, 30.0, True),
    Rule("yield_moves", "value", "warn", _moved, -JUMP, JUMP, looks_back=True),
    Rule("curve_in_line", "value", "warn", _off_the_line, -NEIGHBOURS, NEIGHBOURS),
    Rule("curve_complete", "tenor", "warn", _tenors, TENORS, looks_back=True),
    Rule("index_positive", "value", "error", _in_unit("index"), 0.0, None, True),
    Rule("rate_positive", "value", "error", of(_FX, *_WHERE), 0.0, None, True),
    Rule("rate_possible", "value", "error", _rates, 0.1, 10.0, looks_back=True),
    Rule("rate_usual", "value", "warn", _rates, 0.9, 1.1, looks_back=True),
)


# --- statements, statistics, news -------------------------------------------------------------------


def _days_until(stamp: str, day: str, *at: str) -> Measure:
    """Days from ``day`` to ``stamp``: negative where it was known before it was."""
    days = pl.col(stamp).dt.date() - pl.col(day)
    return of(days.dt.total_days().cast(pl.Float64), *at)


_FIGURE = ("instrument_id", "metric", "period", "period_end")

FUNDAMENTALS = (
    Rule("known_after_period", "known_at", "error",
         _days_until("known_at", "period_end", *_FIGURE), 0),
    Rule("known_in_time", "known_at", "warn",
         _days_until("known_at", "period_end", *_FIGURE), None, 20 * 366),
)  # fmt: skip
EARNINGS = (
    Rule("report_after_period", "report_date", "warn",
         of((pl.col("report_date") - pl.col("period_end")).dt.total_days().cast(pl.Float64),
            "instrument_id", "period_end"), -10, 400),
)  # fmt: skip
MACRO = (
    Rule("known_after_period", "known_at", "error",
         _days_until("known_at", "date", "series", "date"), 0),
)  # fmt: skip
NEWS = (
    Rule("known_after_publication", "known_at", "error",
         _days_until("known_at", "date", "news_id", "instrument_id"), 0),
)  # fmt: skip


# --- who is who -------------------------------------------------------------------------------------


def _lasts(*at: str) -> Measure:
    days = (pl.col("valid_to") - pl.col("valid_from")).dt.total_days().cast(pl.Float64)
    return of(days, *at, "valid_from")


def _overlap(by: tuple[str, ...], standing: pl.Expr | None = None) -> Measure:
    """Days on which an interval holds though one before it of the same ``by`` still does; −1 or less
    where there is none."""

    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        rows = frame if standing is None else frame.filter(standing)
        rows = rows.sort(*by, "valid_from", "instrument_id")
        until = pl.col("valid_to").fill_null(date.max).cum_max().shift(1).over(by)
        days = (until - pl.col("valid_from")).dt.total_days().cast(pl.Float64)
        columns = dict.fromkeys([*by, "instrument_id", "valid_from"])
        return rows.select(days.alias("value"), *columns)

    return measure


INSTRUMENTS = (
    Rule("not_empty", "", "error", _height, 1),
    Rule("not_inverted", "valid_to", "error", _lasts("instrument_id", "symbol"), 0),
    Rule("one_holder", "symbol", "error", _overlap(("source", "symbol")), None, -1),
    Rule("one_symbol", "instrument_id", "error", _overlap(("instrument_id",)), None, -1),
)
MEMBERSHIP = (
    Rule("not_inverted", "valid_to", "error", _lasts("universe", "instrument_id"), 0),
    Rule("not_overlapping", "instrument_id", "error",
         _overlap(("universe", "instrument_id"), pl.col("withdrawn_at").is_null()), None, -1),
)  # fmt: skip


# --- coverage ---------------------------------------------------------------------------------------


def _members_missing(*, last: bool) -> Measure:
    """Share of the members at the date that have no bar, by session."""

    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        rows = frame.filter((pl.col("table") == "clean.membership") & (pl.col("expected") > 0))
        out = rows.sort("date").select(
            (1.0 - pl.col("rows") / pl.col("expected")).alias("value"), "date", "rows", "expected"
        )
        return out.tail(1) if last else out

    return measure


COVERAGE = (
    Rule("members_have_bars", "rows", "warn", _members_missing(last=False), None, MEMBERS_MISSING),
    Rule("last_members_have_bars", "rows", "error", _members_missing(last=True), None, 0.5),
)

MARKET: dict[str, tuple[Rule, ...]] = {
    "raw.prices": (Rule("not_empty", "", "error", _height, 1),),
    "clean.prices": PRICES,
    "clean.series": SERIES,
    "clean.instruments": INSTRUMENTS,
    "clean.membership": MEMBERSHIP,
    "clean.fundamentals": FUNDAMENTALS,
    "clean.earnings": EARNINGS,
    "clean.macro": MACRO,
    "clean.news": NEWS,
    "meta.coverage": COVERAGE,
}
"""Table → what the market says beyond the contract."""
