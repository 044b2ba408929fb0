"""Bars of vendors with events, in other units and in other currencies, on their way to ``clean.prices``.

What each step rests on is said in ``units`` (pence and wrong units), ``corporate_actions`` (splits),
``dividends`` and ``currency``. Here is their order. Frames without any of it pass untouched.

1. ``prepared``: raw rows in whole units, with the rate to the base currency;
2. ``with_factors`` (``corporate_actions``): what turns the given price into the traded one;
3. ``effective`` takes the two closes of each return from one fetch;
4. ``judged``: what the return is made of, and which dividends count;
5. ``grown``: growth in the base currency, traded prices, the split that took effect.
"""

from __future__ import annotations

import polars as pl

from wealthos_pipeline.data.processors import corporate_actions, dividends, units
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.currency import rated
from wealthos_pipeline.data.processors.effective import EVENTS, FACTOR, RATE

_PRICES = ("open", "high", "low", "close")


def prepared(
    rows: pl.DataFrame,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    base: str | None,
    series: pl.DataFrame | None,
    stale: int,
) -> pl.DataFrame:
    """``rows`` (``raw.prices`` with ``instrument_id, known_at``) ready for the row rules.

    base: currency of ``clean.prices``; None: every bar keeps its own. series: ``raw.series`` with the
    rates. Where there are events or other currencies, ``_minor, _money`` and ``RATE`` are added (its
    null means ``no_fx``); otherwise nothing is. Adjusted closes beside events that are not above 0
    become null.
    """
    codes = set(rows["currency"].unique()) | set(instruments["currency"].unique())
    split, listed = pl.col("split_ratio").is_not_null(), pl.col("basis_vintage").is_not_null()
    told = split & (listed | pl.col("dividend").is_not_null())
    events = rows.select(told.any()).item()
    if events:  # beside events an adjusted close is a check: one that is no price is no reason to drop a bar
        sound = (pl.col("adj_close") > 0) & pl.col("adj_close").is_finite()
        rows = rows.with_columns(pl.when(~told | sound).then("adj_close").alias("adj_close"))
    home = codes <= {base, None} if base is not None else codes.isdisjoint(units.MINOR)
    if home and not events:
        return rows
    own = instruments.select("instrument_id", pl.col("currency").alias("_own")).unique(
        "instrument_id", keep="last", maintain_order=True
    )
    out = rows.join(own, on="instrument_id", how="left", maintain_order="left")
    out = units.major(out, pl.col("_own"))
    whole = pl.coalesce("currency", pl.col("_own").replace(units.MINOR))
    out = out.with_columns(whole.alias("_money")).drop("_own")
    if base is None or home:
        return out.with_columns(pl.lit(1.0).alias(RATE))
    return rated(out, series, calendar, base=base, stale=stale)


def with_factors(rows: pl.DataFrame) -> pl.DataFrame:
    """``corporate_actions.with_factors`` of rows that ``prepared`` added to; others untouched."""
    return corporate_actions.with_factors(rows) if RATE in rows.columns else rows


def judged(bars: pl.DataFrame, off: frozenset[str]) -> pl.DataFrame:
    """``effective`` bars with what their returns are made of; bars before the first that matters are
    looked back on."""
    if EVENTS not in bars.columns:
        return bars
    bars = dividends.judged(corporate_actions.returns(bars))
    stays = pl.col("_paid_rule").is_in(list(off))
    bars = bars.with_columns(
        pl.when(stays).then(1.0).otherwise("_paid").alias("_paid"),
        pl.when(stays).then(pl.lit("")).otherwise("_paid_rule").alias("_paid_rule"),
    )
    # what another day's dividend left unpaid there, in traded prices
    left = pl.col("num_dividend") * pl.col(f"num_{FACTOR}") * (1.0 - pl.col("_paid"))
    moves = pl.col("_paid_from").is_not_null() & pl.lit("misdated_dividend" not in off)
    bars = bars.with_columns(
        pl.when(moves)
        .then(left.gather(pl.col("_paid_from").fill_null(0)))
        .otherwise(0.0)
        .alias("_moved")
    )
    idle = pl.col("_paid_from").is_not_null() & (pl.col("_moved") == 0)
    bars = bars.with_columns(
        pl.when(idle).then(pl.lit("")).otherwise("_paid_rule").alias("_paid_rule")
    )
    cash = pl.col("num_dividend").fill_null(0.0) * pl.col("_paid")
    cash = cash + pl.col("_moved") / pl.col(f"num_{FACTOR}")
    bars = dividends.differs(bars.with_columns(cash.alias("_cash")))
    none = pl.lit(None, dtype=pl.Float64)
    return bars.with_columns(
        *([none.alias("_differs")] if "adjusted_close_differs" in off else []),
        *([pl.lit(value=False).alias("_suspect")] if "split_without_event" in off else []),
    )


def grown(
    bars: pl.DataFrame, base: str | None, off: frozenset[str], *, hindsight: bool = True
) -> pl.DataFrame:
    """Bars with growth, split, prices, volume and dividend in their final form.

    bars: continued from the stored state (``prev_date, prev_first_close, _close, step``), with the
    ``growth`` and ``split_ratio`` of bars without events, and ``_long``. hindsight: ``units.switched``.
    """
    if EVENTS not in bars.columns:
        return bars
    lone = pl.col(f"prev_first_{FACTOR}").is_null()
    before = pl.col("prev_first_close") * pl.col(f"prev_first_{FACTOR}")
    in_base = before * pl.col(f"prev_first_{RATE}")
    stored = (pl.col("_close") / in_base).log(100.0).round().cast(pl.Int64)
    bars = bars.with_columns(
        pl.when(~lone & (stored.abs() > 0)).then(stored).alias("_unit_before"),
        pl.col("_long").cum_sum().over("instrument_id").alias("_episode"),
    )
    bars = units.switched(bars, off="unit_switch" in off, hindsight=hindsight)

    events, first, long = pl.col(EVENTS), pl.col("prev_date").is_null(), pl.col("_long")
    by_adjusted = (
        pl.col("num_dividend").is_null()
        & pl.col("num_adj").is_not_null()
        & pl.col("den_adj").is_not_null()
    )
    money = pl.col(f"num_{RATE}") / pl.col(f"den_{RATE}")
    # the dividend was judged against the close before: it is in the unit of that bar
    chained = pl.col("num_close") * pl.col("_step") + pl.col("_cash")
    chained = chained * pl.col("_bridge") / pl.col("den_close")
    chained = (
        pl.when(events & ~by_adjusted).then(chained).otherwise(pl.col("growth") * pl.col("_step"))
    )
    split = (
        pl.when(first).then(1.0)
        .when(~events).then("split_ratio")
        .when(long).then("_ratio")
        .otherwise(pl.coalesce("_fit", "_ratio"))
    )  # fmt: skip
    scale = pl.col(FACTOR), pl.col("_unit"), pl.col(RATE)

    def final(name: str) -> pl.Expr:
        return ((pl.col(name) * scale[0]) * scale[1]) * scale[2]

    last = pl.when(lone).then("prev_first_close").otherwise(
        (before * (pl.col("_unit") / pl.col("_step"))) * pl.col(f"prev_first_{RATE}")
    )  # fmt: skip
    away = pl.col("_money") != base if base is not None else pl.lit(value=False)
    after_pause = final("close") * pl.when(events).then("_ratio").otherwise(
        pl.when(pl.col("basis_vintage").is_not_null()).then(1.0).otherwise(pl.col("_ratio"))
    ) / last  # fmt: skip
    listed = events & pl.col("basis_vintage").is_not_null()
    usual = "_usual" in bars.columns
    return bars.with_columns(
        pl.when(first).then(1.0).when(long).then(after_pause)
        .otherwise(chained * money).alias("growth"),
        split.alias("split_ratio"),
        *(final(n).alias(n) for n in _PRICES),
        (pl.col("volume") / pl.col(FACTOR)).alias("volume"),
        ((pl.col("dividend") * pl.col("_paid") * pl.col(FACTOR) + pl.col("_moved"))
         * (pl.col("_unit") / pl.col("_step")) * pl.col(RATE)).alias("dividend"),
        *([(pl.col("_usual") * pl.col("_unit") * pl.col(RATE)).alias("_usual")] if usual else []),
        pl.when(away.fill_null(value=False)).then("_money").alias("local_currency"),
        pl.when(away.fill_null(value=False)).then(RATE).alias("fx_rate"),
        pl.when(away.fill_null(value=False)).then(pl.lit(base)).otherwise("_money").alias("currency"),
        pl.when(~listed).then("basis_vintage").alias("basis_vintage"),
        *(pl.col(n).alias(f"_given_{n}") for n in ("close", "dividend")),
        pl.when(long | first).then(None).otherwise("_fit").alias("_fit"),
        (pl.col("_suspect") & ~long & ~first & (pl.col("_step") == 1.0)).alias("_suspect"),
        pl.when(long | first).then(None).otherwise("_differs").alias("_differs"),
    )  # fmt: skip


def flags(bars: pl.DataFrame) -> dict[str, pl.Expr]:
    """Name of ``flags.Flag`` → where it is set."""
    if EVENTS not in bars.columns:
        return {}
    return {
        "ADJ_MISMATCH": pl.col("_differs").is_not_null(),
        "SPLIT_DOUBT": pl.col("_fit").is_not_null() | pl.col("_suspect"),
        "UNIT_SWITCH": pl.col("_unit") != 1.0,
        "DIVIDEND_REPAIRED": pl.col("_paid_rule") != "",
    }


def logged(bars: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``clean.adjustments`` without ``known_at``: what was decided on each bar, and why."""
    names = ["instrument_id", "date", "rule", "field", "before", "after", "detail"]
    types = [pl.String, pl.Date, pl.String, pl.String, pl.Float64, pl.Float64, pl.String]
    empty = pl.DataFrame(schema=dict(zip(names, types, strict=True)))
    if EVENTS not in bars.columns:
        return empty
    close, ratio, fit = pl.col("_given_close"), pl.col("_ratio"), pl.col("_fit")
    parts = [
        _rows(bars, pl.col("_unit") != 1.0, "unit_switch", "close", close * pl.col(FACTOR),
              close * pl.col(FACTOR) * pl.col("_unit"),
              pl.format("{} times the bar before", pl.col("_price").round(4))),
        _rows(bars, pl.col(units.SETTLED).is_not_null(), "unit_switch", "close",
              close * pl.col(FACTOR) * 100.0, close * pl.col(FACTOR),
              pl.format("{} times the bar before; brought back until {} more bars had stayed there",
                        pl.col("_price").round(4), pl.lit(units.STAYS))),
        _rows(bars, pl.col("_paid_rule") != "", pl.col("_paid_rule"), "dividend",
              pl.col("num_dividend") * pl.col(FACTOR),
              pl.col("num_dividend") * pl.col("_paid") * pl.col(FACTOR) + pl.col("_moved"),
              pl.col("_paid_why")),
        _rows(bars, fit.is_not_null(),
              pl.when(ratio == 1.0).then(pl.lit("split_without_event"))
              .otherwise(pl.lit("split_not_in_prices")),
              "split_ratio", ratio, fit,
              pl.format("the list says {}; the closes before were rescaled by {}", ratio, fit.round(6))),
        _rows(bars, pl.col("_suspect") & fit.is_null(), "split_without_event", "split_ratio", ratio, ratio,
              pl.format("the price is {} times that before, the list has no split and older prices were "
                        "not rescaled: believed", pl.col("_price").round(4))),
        _rows(bars, pl.col("_differs").is_not_null(), "adjusted_close_differs", "return",
              pl.col("_differs") - 1.0,
              (pl.col("num_close") + pl.col("_cash")) * pl.col("_bridge") / pl.col("den_close") - 1.0,
              pl.format("adjusted closes grow by {}, events by {}; dividend {}",
                        pl.col("_differs").round(6),
                        ((pl.col("num_close") + pl.col("_cash")) * pl.col("_bridge")
                         / pl.col("den_close")).round(6), "_cash")),
    ]  # fmt: skip
    return pl.concat([empty, *parts])


def _rows(
    bars: pl.DataFrame,
    when: pl.Expr,
    rule: str | pl.Expr,
    field: str,
    before: pl.Expr,
    after: pl.Expr,
    detail: pl.Expr,
) -> pl.DataFrame:
    name = pl.lit(rule) if isinstance(rule, str) else rule
    return bars.filter(when.fill_null(value=False)).select(
        "instrument_id",
        "date",
        name.alias("rule"),
        pl.lit(field).alias("field"),
        before.cast(pl.Float64).alias("before"),
        after.cast(pl.Float64).alias("after"),
        detail.alias("detail"),
    )


def counts(rows: pl.DataFrame) -> dict[str, int]:
    """Bars by rule that are too many for a log: quoted in hundredths, converted."""
    if RATE not in rows.columns:
        return {}
    found = {
        "quoted_in_cents": int(rows["_minor"].sum()),
        "converted": int(rows.select((pl.col(RATE) != 1.0).sum()).item()),
    }
    return {name: n for name, n in found.items() if n}
