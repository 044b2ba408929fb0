"""A walk over days equals the full run, for every table and bit for bit.

The graph's own stages over tables in memory (``support/pipeline.py``), on the seeded market made harder: a
description that changes, a membership that ends, one given before its first bar, a series and a
description that arrive late, a month-end without a bar of anybody. What ingestion asks for, and from
when on a stage computes, are looked at with a source and a session of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from pipeline import Driver, MemoryLake, settings
from properties import OF_A_RUN, raw_known, same_rows
from synthetic import RawMarket

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import RawFrames, Request

FIRST = date(2018, 9, 27)
TOLD = date(2019, 1, 15)
"""Description of SYN03 and SYN12 changes."""
LEFT = date(2019, 1, 10)
"""The index file says for the first time that SYN18 left the day before."""
ARRIVES = date(2019, 2, 12)
"""The series of oil prices and the description of SYN20 are given for the first time."""
HOLE = date(2019, 1, 31)
"""A month-end without bars."""
DAYS = (
    FIRST, date(2018, 12, 31), LEFT, TOLD, date(2019, 1, 16), date(2019, 1, 30), date(2019, 2, 1), ARRIVES,
    date(2019, 3, 19),
)  # fmt: skip
COMPARED = (2, 4, 6, 8)
"""Steps of the walk after which it is held against a full run: what an earlier step wrote is still there."""

MANDATES = {
    "balanced": "objective: mean_variance\nmodel: ridge\nmax_weight: 0.1\nsector_max_weight: 0.3\n",
    "calm": "objective: min_variance\nmodel: lightgbm\nmax_weight: 0.15\nmax_turnover: 0.3\n",
}


def evening(calendar: TradingCalendar, day: date) -> datetime:
    return calendar.known_at(day) + timedelta(minutes=30)


def more(table: str, rows: pl.DataFrame, **values: Any) -> pl.DataFrame:
    """``rows`` with other values, as rows of ``table``."""
    return contract(table).conform(rows.with_columns(**{n: pl.lit(v) for n, v in values.items()}))


def later(symbol: str, frame: pl.DataFrame, at: datetime, column: str = "symbol") -> pl.DataFrame:
    """``frame``, of which the rows of ``symbol`` were not fetched before ``at``."""
    stamp = pl.when(pl.col(column) == symbol).then(pl.max_horizontal("fetched_at", pl.lit(at)))
    return frame.with_columns(stamp.otherwise("fetched_at").alias("fetched_at"))


@pytest.fixture(scope="module")
def market(synthetic_raw: RawMarket, calendar: TradingCalendar) -> RawMarket:
    """The seeded market with events in what describes it."""
    told, left, arrives = (evening(calendar, d) for d in (TOLD, LEFT, ARRIVES))
    names, members = synthetic_raw.instruments, synthetic_raw.membership
    symbol = pl.col("symbol")
    names = pl.concat(
        [
            later("SYN20", names, arrives),
            more("raw.instruments", names.filter(symbol == "SYN03"), sector="Energy", fetched_at=told),
            more("raw.instruments", names.filter(symbol == "SYN12"), sector=None, fetched_at=told),
        ]
    )  # fmt: skip
    early = pl.when(symbol == "SYN29").then(pl.lit(date(2018, 6, 1)))  # its first bar is of October
    members = pl.concat(
        [
            members.with_columns(early.otherwise("start").alias("start")),
            more("raw.membership", members.filter(symbol == "SYN18"), end=date(2019, 1, 9), fetched_at=left),
        ]
    )  # fmt: skip
    prices = synthetic_raw.prices.filter(pl.col("date") != HOLE)
    return RawMarket(prices, later("wti", synthetic_raw.series, arrives, "series"), names, members)


def known(market: RawMarket, at: datetime, calendar: TradingCalendar) -> RawMarket:
    """What had been fetched by ``at``."""
    cut = raw_known(market, at, calendar)
    given = pl.col("fetched_at") <= at
    return replace(
        cut,
        series=cut.series.filter(given),
        instruments=cut.instruments.filter(given),
        membership=cut.membership.filter(given),
    )


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Driver:
    folder = tmp_path_factory.mktemp("mandates")
    for name, body in MANDATES.items():
        text = f"name: {name}\ntitle: Test {name}\nrebalance: month\n{body}"
        (folder / f"{name}.yaml").write_text(text)
    return Driver(settings(folder), calendar)


Steps = list[tuple[date, dict[str, pl.DataFrame]]]


@pytest.fixture(scope="module")
def walk(driver: Driver, market: RawMarket, calendar: TradingCalendar) -> Steps:
    """All tables after each step."""
    out: Steps = []
    lake = driver.lake(known(market, evening(calendar, FIRST), calendar))
    for stage in driver.stages:
        driver.step(lake, stage, evening(calendar, FIRST), None)
    for day in DAYS[1:]:
        now = evening(calendar, day)
        made = driver.advance(lake, known(market, now, calendar), now)
        out.append((day, dict(made.tables)))
    return out


@pytest.mark.parametrize("step", COMPARED)
def test_a_walk_equals_the_full_run(
    step: int, walk: Steps, driver: Driver, market: RawMarket, calendar: TradingCalendar
) -> None:
    day, tables = walk[step - 1]
    now = evening(calendar, day)
    full = driver(known(market, now, calendar), now)
    assert full.tables["portfolio.nav"].height > 100
    for name, frame in full.tables.items():
        if name in OF_A_RUN:
            continue
        same_rows(
            tables[name], frame, full.contracts[name].key, f"walk and full run, {day}: {name}"
        )


def test_sectors_of_the_past_stay(walk: Steps) -> None:
    """What was attributed before a description changed is the same after it."""
    states = dict(walk)
    key, old = contract("portfolio.attribution").key, pl.col("date") <= date(2018, 12, 31)
    before, after = (states[d]["portfolio.attribution"] for d in (LEFT, TOLD))
    assert same_rows(before.filter(old), after.filter(old), key, "attribution") > 1_000
    groups = (set(frame["group"]) for frame in (before, states[ARRIVES]["portfolio.attribution"]))
    assert set.symmetric_difference(*groups) == {"unknown sector"}


# --- from when on ----------------------------------------------------------------------------------


def test_another_definition_is_computed_from_the_beginning(
    driver: Driver, calendar: TradingCalendar
) -> None:
    """``--from`` of a day does not leave what older code made before that day."""
    stage = next(s for s in driver.stages if s.name == "attribution")
    session = SimpleNamespace(
        settings=driver.settings, calendar=calendar, full=False, from_date=TOLD
    )

    def start(*, full: bool) -> date | None:
        found: date | None = stage._start(session, SimpleNamespace(full=full, dirty_from=None))
        return found

    assert start(full=True) is None
    assert start(full=False) == TOLD


def test_a_holding_that_stopped_trading_has_its_last_price(calendar: TradingCalendar) -> None:
    """A day's update reads back to the last bar before the statement of everything that is held."""
    from assets.portfolio import _since

    bars = {"DEAD": date(2018, 3, 1), "PAUSED": date(2019, 2, 1), "QUICK": date(2019, 5, 10)}
    lake = MemoryLake(calendar)
    lake.frames["clean.prices"] = pl.DataFrame(
        {"instrument_id": list(bars), "date": list(bars.values())}
    )
    work: Any = SimpleNamespace(session=SimpleNamespace(lake=lake), end=date(2019, 5, 10))
    start = date(2019, 4, 1)

    def since(held: str, stated: date) -> date | None:
        row = {"mandate": ["m"], "date": [stated], "instrument_id": [held]}
        return _since(work, pl.DataFrame(row), start)

    assert since("DEAD", date(2019, 5, 2)) == bars["DEAD"]
    assert since("PAUSED", date(2019, 3, 4)) == bars["PAUSED"]
    assert since("QUICK", date(2019, 5, 10)) == start
    assert since("DEAD", date(2019, 6, 3)) == start, "a statement of later days"


# --- ingestion -------------------------------------------------------------------------------------


@dataclass
class Vendor:
    """A source that gives what it holds and remembers what it was asked."""

    frames: RawFrames
    name: str = "vendor"

    def __post_init__(self) -> None:
        self.asked: list[date | None] = []

    def fetch(self, request: Request) -> RawFrames:
        self.asked.append(request.since)
        given = {n: request.clip(getattr(self.frames, n)) for n in ("prices", "series")}
        stamp = pl.lit(request.now).cast(pl.Datetime("us", "UTC")).alias("fetched_at")
        return replace(self.frames, **{n: f.with_columns(stamp) for n, f in given.items()})


class Ingestion:
    """Ingestion day by day into tables in memory."""

    def __init__(self, calendar: TradingCalendar) -> None:
        self.lake, self.calendar = MemoryLake(calendar), calendar
        self.previous: Any = None

    def run(self, vendor: Vendor, day: date, start: date | None = None) -> list[date | None]:
        """Fetch in the evening of ``day``; ``since`` of each question."""
        from assets import ingest
        from assets._shared.work import Work

        config = settings(time={"start": start})
        session: Any = SimpleNamespace(
            settings=config, lake=self.lake, calendar=self.calendar, source=vendor, full=False,
            now=evening(self.calendar, day), run=SimpleNamespace(run_id="r", previous=self.previous),
        )  # fmt: skip
        vendor.asked.clear()
        for table, frame in ingest.ingest.compute(Work(session, None)).items():
            self.lake.store(
                table, pl.concat([self.lake.read(table), contract(table).conform(frame)])
            )
        self.previous = SimpleNamespace(config=config.public())
        return list(vendor.asked)

    def days(self, symbol: str) -> list[date]:
        return self.lake.read("raw.prices").filter(pl.col("symbol") == symbol)["date"].to_list()


def vendor(calendar: TradingCalendar, until: date, *, without: tuple[str, ...] = ()) -> Vendor:
    """Two symbols and a monthly series over the sessions up to ``until``."""
    days = calendar.sessions(date(2019, 1, 2), until)
    keys = {"source": "vendor", "fetched_at": datetime(2019, 1, 1, tzinfo=UTC)}
    bars = [
        {**keys, "symbol": s, "date": d, "close": 50.0 + calendar.slot(d) % 7, "currency": "USD"}
        for s in ("OLD", "NEW") for d in days if s not in without
    ]  # fmt: skip
    values = [
        {**keys, "series": "ust_par", "tenor": "10Y", "date": d, "value": 2.0, "unit": "percent",
         "frequency": "day"}
        for d in days if "ust_par" not in without
    ]  # fmt: skip

    def conformed(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
        schema = contract(table).schema()
        return contract(table).conform(pl.DataFrame(rows, schema_overrides=schema) if rows else
                                       pl.DataFrame(schema=schema))  # fmt: skip

    empty = {n: contract(f"raw.{n}").empty() for n in ("instruments", "membership")}
    return Vendor(
        RawFrames(conformed("raw.prices", bars), conformed("raw.series", values), **empty)
    )


@pytest.fixture
def ingestion(calendar: TradingCalendar) -> Ingestion:
    return Ingestion(calendar)


SPRING, NEXT = date(2019, 4, 1), date(2019, 4, 2)


def test_a_day_asks_for_the_overlap_only(ingestion: Ingestion, calendar: TradingCalendar) -> None:
    assert ingestion.run(vendor(calendar, SPRING), SPRING) == [None]
    assert ingestion.run(vendor(calendar, NEXT), NEXT) == [calendar.offset(SPRING, -30)]


@pytest.mark.parametrize("what", ["NEW", "ust_par"])
def test_what_is_new_comes_with_its_history(
    what: str, ingestion: Ingestion, calendar: TradingCalendar
) -> None:
    ingestion.run(vendor(calendar, SPRING, without=(what,)), SPRING)
    assert ingestion.run(vendor(calendar, NEXT), NEXT)[-1] is None
    for table in ("raw.prices", "raw.series"):
        assert ingestion.lake.read(table)["date"].min() == date(2019, 1, 2)
    assert ingestion.days("NEW") == ingestion.days("OLD")


def test_what_was_not_kept_up_has_no_hole(ingestion: Ingestion, calendar: TradingCalendar) -> None:
    """A file that was not updated for longer than the overlap, and then was."""
    ingestion.run(vendor(calendar, date(2019, 1, 10)), date(2019, 1, 10))
    ingestion.run(vendor(calendar, SPRING, without=("NEW",)), SPRING)
    assert ingestion.days("NEW")[-1] == date(2019, 1, 10)
    ingestion.run(vendor(calendar, NEXT), NEXT)
    assert (
        ingestion.days("NEW") == ingestion.days("OLD") == calendar.sessions(date(2019, 1, 2), NEXT)
    )


def test_an_earlier_beginning_is_fetched(ingestion: Ingestion, calendar: TradingCalendar) -> None:
    ingestion.run(vendor(calendar, SPRING), SPRING, start=date(2019, 3, 1))
    assert ingestion.days("OLD")[0] == date(2019, 3, 1)
    ingestion.run(vendor(calendar, NEXT), NEXT, start=date(2019, 2, 1))
    assert ingestion.days("OLD")[0] == date(2019, 2, 1)
