"""A day equals everything: random appends and restatements, any threads, any blocks, the same bits.

The graph's own factor stages over tables in memory. What changes from step to step: sessions are appended,
bars restated days to months back, bars arrive late, a listing is new, a split is told late, a sector
changes, a series is revised, a report is filed. After each step families, scores and performance are held
against the whole computation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from factor_panel import own_folder, reports
from pipeline import Driver, MemoryLake, settings
from properties import same_rows
from synthetic import clean_prices, raw_market

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import admission, engine

BEGIN, LAST = date(2017, 3, 1), date(2018, 8, 31)
NAMES = 12
SECTORS = ("Energy", "Financials", "Technology")
EVER = """
family: ever
factors:
  since_listing: $close / Max($close, 0)
  count_since: Count($volume, 0)
"""
OWN = """
family: hard
factors:
  ranked: CSRank(Mean($ret, 20) / Std($ret, 40))
  twice: CSZScore(Delta(CSRank($close / Ref($close, 10)), 5))
  grouped: CSDemean(Mean($ret, 10), sector)
  neutral: Neutralize(Mean($ret, 30), sector, Std($ret, 30))
  smooth: EMA($ret, 30)
  market: Beta($ret, $market_ret, 40)
  rates: Corr($ret, Delta(Series('ust_par', '10Y'), 1), 30)
  assets: Log(Statement('total_assets', 'year')) - Ref(Log(Statement('total_assets', 'year')), 20)
"""
"""What is hard: cross-sections (of windows, in windows, by group), expanding windows, reports, series."""


@dataclass
class World:
    """Raw rows and descriptions as they stand; ``frames`` gives the tables that factors are made of."""

    calendar: TradingCalendar
    bars: pl.DataFrame
    series: pl.DataFrame
    fundamentals: pl.DataFrame
    until: date
    hidden: set[tuple[str, date]] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    moved: list[tuple[str, date, str]] = field(default_factory=list)

    def frames(self) -> dict[str, pl.DataFrame]:
        known = self.calendar.known_at(self.until)
        seen = self.bars.filter(
            (pl.col("date") <= self.until) & ~pl.col("symbol").is_in(self.unlisted)
        )
        late = pl.DataFrame(
            list(self.hidden), schema={"symbol": pl.String, "date": pl.Date}, orient="row"
        )
        prices = clean_prices(seen.join(late, on=["symbol", "date"], how="anti"))
        return {
            "clean.prices": contract("clean.prices").conform(prices),
            "clean.instruments": self.instruments(prices),
            "clean.series": self.series.filter(pl.col("known_at") <= known),
            "clean.fundamentals": self.fundamentals.filter(pl.col("known_at") <= known),
            "clean.membership": contract("clean.membership").empty(),
        }

    def instruments(self, prices: pl.DataFrame) -> pl.DataFrame:
        first = prices.group_by("instrument_id").agg(valid_from=pl.col("date").min())
        rows = [
            (name, since, SECTORS[int(name[3:]) % 3], None) for name, since in first.iter_rows()
        ]
        for name, day, sector in self.moved:
            rows += [(n, day, sector, None) for n, since, *_ in rows if n == name and since < day]
        frame = pl.DataFrame(
            rows, orient="row",
            schema={"instrument_id": pl.String, "valid_from": pl.Date, "sector": pl.String, "valid_to": pl.Date},
        ).unique(["instrument_id", "valid_from"], keep="last")  # fmt: skip
        ends = pl.col("valid_from").shift(-1).over("instrument_id", order_by="valid_from")
        return contract("clean.instruments").conform(
            frame.with_columns(
                (ends - pl.duration(days=1)).alias("valid_to"), symbol="instrument_id",
                asset_class=pl.lit("equity"), exchange=pl.lit("XNYS"), currency=pl.lit("USD"),
                source=pl.lit("synthetic"), static=pl.lit(False),
                known_at=pl.lit(datetime(2016, 1, 1, tzinfo=UTC)),
            )
        )  # fmt: skip

    # what happens

    def some(self, rng: np.random.Generator, back: int) -> tuple[str, date]:
        """A bar that is there, at most ``back`` sessions old."""
        days = self.calendar.sessions(self.calendar.offset(self.until, -back), self.until)
        inside = self.bars.filter(
            pl.col("date").is_in(days) & ~pl.col("symbol").is_in(self.unlisted)
        )
        row = inside.row(int(rng.integers(inside.height)), named=True)
        return row["symbol"], row["date"]

    def change(self, key: tuple[str, date], **by: Any) -> None:
        hit = (pl.col("symbol") == key[0]) & (pl.col("date") == key[1])
        self.bars = self.bars.with_columns(
            pl.when(hit).then(e).otherwise(pl.col(n)).alias(n) for n, e in by.items()
        )

    def append(self, rng: np.random.Generator) -> None:
        self.until = self.calendar.offset(self.until, int(rng.integers(1, 4)))

    def restate(self, rng: np.random.Generator) -> None:
        by = 1 + 0.02 * rng.standard_normal()
        key = self.some(rng, int(rng.choice([3, 25, 120])))
        self.change(key, **{c: pl.col(c) * by for c in ("open", "high", "low", "close")})

    def arrive_late(self, rng: np.random.Generator) -> None:
        if self.hidden and rng.random() < 0.6:
            self.hidden.remove(sorted(self.hidden)[int(rng.integers(len(self.hidden)))])
        else:
            self.hidden.add(self.some(rng, 12))

    def list_new(self, rng: np.random.Generator) -> None:
        if self.unlisted:
            self.unlisted.remove(min(self.unlisted))

    def split_late(self, rng: np.random.Generator) -> None:
        self.change(self.some(rng, 60), split_ratio=pl.lit(float(rng.choice([2.0, 0.5]))))

    def move_sector(self, rng: np.random.Generator) -> None:
        name, day = self.some(rng, 40)
        self.moved.append((name, day, str(rng.choice(SECTORS))))

    def revise(self, rng: np.random.Generator) -> None:
        """A value of a series is another one, as of its own day."""
        days = self.series.filter(pl.col("known_at") <= self.calendar.known_at(self.until))["date"]
        day = days.unique().sort()[-int(rng.integers(1, 60))]
        moved = pl.when(pl.col("date") == day).then(pl.col("value") + 0.1).otherwise("value")
        self.series = self.series.with_columns(moved.alias("value"))


STEPS: tuple[Callable[[World, np.random.Generator], None], ...] = (
    World.append, World.restate, World.arrive_late, World.list_new, World.split_late,
    World.move_sector, World.revise,
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Driver:
    folder = own_folder(tmp_path_factory.mktemp("own"))
    (folder / "hard.yaml").write_text(OWN)
    (folder / "ever.yaml").write_text(EVER)
    config = settings(factors={"sets": (), "horizons": (5,)})
    return Driver(config, calendar, until=["factors.performance"], folder=folder)


def world(driver: Driver, calendar: TradingCalendar) -> World:
    raw = raw_market(start=BEGIN, end=LAST)
    symbols = raw.prices["symbol"].unique().sort().head(NAMES).to_list()
    bars = raw.prices.filter(pl.col("symbol").is_in(symbols))
    par = raw.series.filter((pl.col("series") == "ust_par") & (pl.col("tenor") == "10Y"))
    known = [calendar.known_at(d) for d in par["date"]]
    series = par.with_columns(pl.Series("known_at", known), pl.lit("assumed").alias("basis"))
    wanted = contract("clean.series")
    series = series.select(n for n in wanted.column_names if n in series.columns)
    told = reports(driver.library, symbols, BEGIN, LAST).with_columns(
        source=pl.lit("synthetic"), basis=pl.lit("observed")
    )
    return World(
        calendar, bars, wanted.conform(series), contract("clean.fundamentals").conform(told),
        calendar.offset(LAST, -60), unlisted={symbols[3], symbols[9]},
    )  # fmt: skip


def factor_stages(driver: Driver) -> list[Any]:
    return [s for s in driver.stages if s.group == "factors"]


def empty(driver: Driver) -> MemoryLake:
    made = {c.name: c for s in factor_stages(driver) for c in s.contracts}
    return MemoryLake(driver.calendar, made)


def advance(driver: Driver, lake: MemoryLake, now: World, *, full: bool = False) -> None:
    """One run of the factor stages over the tables as they stand."""
    lake.dirty = {}
    for table, frame in now.frames().items():
        lake.store(table, frame)
    at = now.calendar.known_at(now.until) + timedelta(minutes=5)
    for stage in factor_stages(driver):
        dirty = [lake.dirty[t] for t in stage.inputs if t in lake.dirty]
        if full or dirty or stage.always:
            whole = full or min(dirty, default=None) == date.min
            driver.step(lake, stage, at, min(dirty, default=None), full=whole)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_walk_equals_the_whole_computation(
    seed: int, driver: Driver, calendar: TradingCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    now = world(driver, calendar)
    plain = engine.compute

    def anyhow() -> None:
        """Other threads and other blocks than before."""
        chosen = {
            "threads": int(rng.integers(1, 4)),
            "block_cells": int(rng.choice([50, 700, 65_536])),
        }
        monkeypatch.setattr(admission, "compute", partial(plain, **chosen))

    lake = empty(driver)
    advance(driver, lake, now, full=True)
    for step in range(5):
        for k in rng.integers(0, len(STEPS), int(rng.integers(1, 3))):
            STEPS[int(k)](now, rng)
        anyhow()
        advance(driver, lake, now)
        if step not in (1, 4):
            continue
        anyhow()
        whole = empty(driver)
        advance(driver, whole, now, full=True)
        for table in (c.name for s in factor_stages(driver) for c in s.contracts):
            if table != "factors.admissions":
                key = lake.contract(table).key
                same_rows(lake.read(table), whole.read(table), key, f"seed {seed}: {table}")
    for family in driver.library.families():
        values = lake.read(family.table)
        counts = {n: values[n].drop_nulls().len() for n in values.columns[2:]}
        assert min(counts.values()) > 500, counts
    assert lake.read("factors.performance").height > 100


class Spied(MemoryLake):
    """Remembers from when on tables were read."""

    def read(self, table: str, **more: Any) -> pl.DataFrame:
        self.asked.setdefault(table, []).append(more.get("start"))
        return super().read(table, **more)

    @property
    def asked(self) -> dict[str, list[date | None]]:
        return self.__dict__.setdefault("_asked", {})


def test_a_day_reads_the_lookback_and_no_more(calendar: TradingCalendar) -> None:
    """Every family of every set: bars, series and reports, none before what its values need."""
    every = Driver(settings(factors={"sets": ("all",)}), calendar, until=["factors.performance"])
    day = date(2018, 8, 1)
    for stage in factor_stages(every):
        family = next((f for f in every.library.families() if f.table == stage.name), None)
        if family is None:
            continue
        lake = Spied(calendar, {family.table: family.contract})
        every.step(lake, stage, calendar.known_at(day), day, full=False)
        first = calendar.offset(day, -family.lookback)
        assert lake.asked["clean.prices"] == [first], stage.name
        assert lake.asked["clean.series"] == [first], stage.name
        reads = any(family.statements.values())
        assert (("clean.fundamentals" in stage.inputs), ("clean.fundamentals" in lake.asked)) == (
            reads,
            reads,
        )
        for start in lake.asked.get("clean.fundamentals", []):
            assert start is not None
            assert (first - start).days < 366 * 8, "no figure is made of more than the last years"
