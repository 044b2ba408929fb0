"""Do the properties bite? One deliberate leak at a time; each must be caught (docs/decisions/0008).

A leak is planted by changing a table as its stage hands it over. The same pipelines without a leak
pass, in ``test_time_properties`` and, on this very market, in the first test here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pipeline import Driver, MemoryLake, Tamper, settings
from properties import LeakError, no_basis, no_peeking, no_repainting
from synthetic import RawMarket, raw_market

from wealthos_pipeline.data.processors.calendar import TradingCalendar

FIRST, LAST = date(2016, 1, 4), date(2017, 9, 29)
AT, LATER = date(2017, 5, 16), date(2017, 6, 27)
FLOATS = pl.selectors.float()
EACH = "instrument_id"
Build = Callable[..., Driver]


@pytest.fixture(scope="module")
def market() -> RawMarket:
    """16 names, 440 sessions, with a delisting, late listings, splits and dividends."""
    return raw_market(16, start=FIRST, end=LAST)


@pytest.fixture(scope="module")
def long_market() -> RawMarket:
    """A few names with the two years before a fit that the regime asks for."""
    return raw_market(6, start=date(2014, 1, 2), end=LAST)


@pytest.fixture
def raw(request: pytest.FixtureRequest, market: RawMarket, long_market: RawMarket) -> RawMarket:
    """The market for a case: the long one where the table needs it."""
    return long_market if "monitor.regime" in request.node.name else market


def by_name(change: Callable[[pl.Expr], pl.Expr], columns: pl.Expr = FLOATS) -> Tamper:
    """A leak that acts along each instrument's history."""

    def tamper(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
        types = frame.schema
        changed = frame.sort(EACH, "date").with_columns(change(columns).over(EACH))
        return changed.cast(dict(types)).sort("date", EACH)

    return tamper


def tomorrow(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    return by_name(lambda c: c.shift(-1))(frame, lake, now)


def whole_history_mean(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    types = frame.schema
    return frame.with_columns(FLOATS - FLOATS.mean()).cast(dict(types))


def centred_smoothing(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    return by_name(lambda c: c.rolling_mean(5, center=True, min_samples=1))(frame, lake, now)


def back_adjusted(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """Today's price is right, all of history is scaled to it: what most vendors give."""
    return by_name(lambda c: c / c.last(), pl.col("tr_index"))(frame, lake, now)


def machine_clock(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    types = frame.schema
    return frame.with_columns(FLOATS * (1 + now.timetuple().tm_yday / 1e6)).cast(dict(types))


def rows_from_the_end(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """Every twentieth row, counted from where the data end, is kept; the others repeat it."""

    def keep(c: pl.Expr) -> pl.Expr:
        back = pl.len() - 1 - pl.int_range(pl.len())
        return pl.when(back % 20 == 0).then(c).otherwise(None).forward_fill()

    return by_name(keep)(frame, lake, now)


def survivors_only(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    alive = frame.filter(pl.col("date") == frame["date"].max())[EACH].to_list()
    return frame.filter(pl.col(EACH).is_in(alive))


def holes_filled_backwards(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A missing value is taken from the next bar that has one."""
    filled = by_name(lambda c: c.backward_fill(), pl.col("volume"))
    thin = frame.with_columns(
        pl.when(pl.col("slot") % 3 == 0).then(pl.col("volume")).otherwise(None).alias("volume")
    )
    return filled(thin, lake, now)


def label_before_its_time(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """An information coefficient stamped with the day of the factor, not that of the label."""
    days = lake.calendar.frame().select("date", pl.col("known_at").alias("early"))
    stamped = frame.join(days, on="date", how="left", maintain_order="left")
    return stamped.with_columns(pl.col("early").alias("known_at")).drop("early")


def month_known_at_its_start(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A monthly average usable while the month still runs."""
    early = pl.col("date").dt.month_start().cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    monthly = pl.col("frequency") == "month"
    return frame.with_columns(pl.when(monthly).then(early).otherwise("known_at").alias("known_at"))


def whole_sample_volatility(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """Specific risk measured over all of history instead of the past."""
    tr = pl.col("tr_index")
    prices = lake.read("clean.prices").sort(EACH, "date")
    risk = prices.group_by(EACH).agg((tr / tr.shift(1) - 1).std().alias("all"))
    joined = frame.join(risk, on=EACH, how="left", maintain_order="left")
    specific = pl.col("factor") == "specific"
    return joined.with_columns(
        pl.when(specific).then("all").otherwise("value").alias("value")
    ).drop("all")


def oracle(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """Predictions that have seen the return that they predict."""
    tr = pl.col("tr_index")
    future = lake.read("clean.prices").sort(EACH, "date").select(
        EACH, "date", ((tr.shift(-6) / tr.shift(-1)) - 1).over(EACH).alias("future")
    )  # fmt: skip
    seen = frame.join(future, on=[EACH, "date"], how="left", maintain_order="left")
    return seen.with_columns(pl.coalesce("future", "prediction").alias("prediction")).drop("future")


def both_sided_probability(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A smoothed regime probability instead of a filtered one."""
    p = pl.col("p_turbulent")
    return frame.sort("date").with_columns(p.rolling_mean(21, center=True, min_samples=1))


def next_days_loss(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A value at risk that knows tomorrow's loss."""
    order = ["mandate", "run_kind", "date"]
    shifted = pl.col("var_99").shift(-1).over(order[:2])
    return frame.sort(order).with_columns(shifted.alias("var_99"))


def weights_of_hindsight(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """Each target tilted by what the name does until the data end."""
    prices = lake.read("clean.prices").sort(EACH, "date")
    last = prices.group_by(EACH).agg(pl.col("tr_index").last().alias("final"))
    tilted = frame.join(last, on=EACH, how="left", maintain_order="left")
    return tilted.with_columns(pl.col("weight") * pl.col("final")).drop("final")


PEEKING: list[tuple[str, Tamper]] = [
    ("clean.prices", survivors_only),
    ("clean.prices", holes_filled_backwards),
    ("clean.prices", back_adjusted),
    ("clean.series", month_known_at_its_start),
    ("factors.equity_momentum", tomorrow),
    ("factors.equity_volatility", whole_history_mean),
    ("factors.scores_equity", centred_smoothing),
    ("factors.performance", label_before_its_time),
    ("models.predictions", oracle),
    ("portfolio.risk_exposures", whole_sample_volatility),
    ("portfolio.targets", weights_of_hindsight),
    ("portfolio.risk", next_days_loss),
    ("monitor.regime", both_sided_probability),
]
REPAINTING: list[tuple[str, Tamper]] = [
    ("clean.prices", back_adjusted),
    ("factors.equity_reversal", machine_clock),
    ("factors.scores_equity", rows_from_the_end),
    ("factors.equity_momentum", whole_history_mean),
]


def named(case: tuple[str, Tamper]) -> str:
    return f"{case[1].__name__} in {case[0]}"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Build:
    """Makes the pipeline up to a table, with very small windows and one mandate."""
    folder = tmp_path_factory.mktemp("mandates")
    text = "name: only\ntitle: Only one\nobjective: mean_variance\nmodel: ridge\nmax_weight: 0.2\n"
    (folder / "only.yaml").write_text(text)
    return lambda table, tamper=None: driver(calendar, folder, table, tamper)


def driver(calendar: TradingCalendar, mandates: Path, table: str, tamper: Tamper | None) -> Driver:
    config = settings(
        mandates,
        models={"train_sessions": 150, "min_train_sessions": 100, "lightgbm_trees": 3, "horizon": 5,
                "refit_history": "quarter", "names": ("ridge",)},
        portfolio={"risk_sessions": 60, "risk_half_life": 30, "risk_factors": 2, "var_sessions": 60},
    )  # fmt: skip
    return Driver(config, calendar, until=[table], tamper={table: tamper} if tamper else None)


@pytest.mark.parametrize("case", PEEKING, ids=named)
def test_peeking_is_caught(
    case: tuple[str, Tamper], raw: RawMarket, build: Build, calendar: TradingCalendar
) -> None:
    table, tamper = case
    at, end = calendar.known_at(AT), calendar.known_at(LAST)
    with pytest.raises(LeakError, match=rf"peeking .*: {table}"):
        no_peeking(build(table, tamper), raw, at, end, calendar)


@pytest.mark.parametrize("case", REPAINTING, ids=named)
def test_repainting_is_caught(
    case: tuple[str, Tamper], raw: RawMarket, build: Build, calendar: TradingCalendar
) -> None:
    table, tamper = case
    earlier, later = calendar.known_at(AT), calendar.known_at(LATER) + timedelta(hours=3)
    with pytest.raises(LeakError, match=rf"repainting .*: {table}"):
        no_repainting(build(table, tamper), raw, earlier, later, calendar)


@pytest.mark.parametrize("table", ["portfolio.targets", "portfolio.risk", "monitor.regime"])
def test_nothing_is_caught_where_nothing_was_planted(
    table: str, raw: RawMarket, build: Build, calendar: TradingCalendar
) -> None:
    """The same market and windows, no leak: the tests above fail for the leak and nothing else."""
    honest = build(table)
    counts = no_peeking(honest, raw, calendar.known_at(AT), calendar.known_at(LAST), calendar)
    assert counts[table] > 0


def price_level(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A factor that is larger for dearer shares."""
    close = lake.read("clean.prices", columns=["date", EACH, "close"])
    joined = frame.join(close, on=["date", EACH], how="left", maintain_order="left")
    types = frame.schema
    return (
        joined.with_columns(FLOATS.exclude("close") + pl.col("close"))
        .drop("close")
        .cast(dict(types))
    )


def shares_traded(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
    """A factor of shares instead of money: a split changes it."""
    volume = lake.read("clean.prices", columns=["date", EACH, "volume"])
    joined = frame.join(volume, on=["date", EACH], how="left", maintain_order="left")
    types = frame.schema
    size = pl.col("volume").fill_null(1.0).log1p()
    return joined.with_columns(FLOATS.exclude("volume") + size).drop("volume").cast(dict(types))


@pytest.mark.parametrize("leak", [price_level, shares_traded], ids=lambda f: f.__name__)
@pytest.mark.parametrize("relative", [None, 1e-6], ids=["bits", "1e-6"])
def test_dependence_on_the_basis_is_caught(
    leak: Tamper,
    relative: float | None,
    market: RawMarket,
    build: Build,
    calendar: TradingCalendar,
) -> None:
    table = "factors.equity_momentum"
    pipeline = build(table, leak)
    scale = {"SYN00": 4.0, "SYN03": 0.5} if relative is None else {"SYN00": 3.3}
    with pytest.raises(LeakError, match="basis of prices"):
        no_basis(pipeline, market, calendar.known_at(LAST), scale, [table], relative=relative)


def test_a_single_bit_is_seen(calendar: TradingCalendar, market: RawMarket, build: Build) -> None:
    """The comparison is of bits: one last place in one row of one column is a leak."""

    def nudge(frame: pl.DataFrame, lake: MemoryLake, now: datetime) -> pl.DataFrame:
        values = frame["tr_index"].to_numpy().copy()
        if now > calendar.known_at(AT):
            values[1234] = np.nextafter(values[1234], 2.0)
        return frame.with_columns(pl.Series("tr_index", values))

    with pytest.raises(LeakError, match="tr_index: 1 of"):
        no_peeking(
            build("clean.prices", nudge), market,
            calendar.known_at(AT), calendar.known_at(LAST), calendar,
        )  # fmt: skip
