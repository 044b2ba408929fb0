"""Every risk model keeps the three properties of time, and a day's update equals the full run."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from pipeline import Driver, MemoryLake, settings
from properties import Result, instants, no_basis, no_peeking, no_repainting, raw_known, same_rows
from synthetic import END, RawMarket

from assets import risk as risk_assets
from assets._shared.work import Work
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar

KINDS = ("statistical", "fundamental", "ledoit_wolf", "ewma")
"""``oas`` differs from ``ledoit_wolf`` by one number, which has tests of its own."""
RISK = (
    "portfolio.risk_exposures",
    "portfolio.risk_factors",
    "portfolio.factor_returns",
    "portfolio.risk_quality",
)
SHORT = {"risk_sessions": 120, "risk_half_life": 60, "risk_factors": 4}


class Market:
    """Clean tables and scores, made once for the same rows at the same instant."""

    def __init__(self, calendar: TradingCalendar) -> None:
        self.plain = Driver(settings(), calendar, until=["factors.scores_equity"])
        self.known: dict[tuple[object, ...], MemoryLake] = {}

    def __call__(self, raw: RawMarket, now: datetime) -> MemoryLake:
        key = (now, *(f.hash_rows().sum() for f in (raw.prices, raw.series)), raw.prices.height)
        if key not in self.known:
            lake = self.plain.lake(raw)
            for stage in self.plain.stages:
                self.plain.step(lake, stage, now, None)
            self.known[key] = lake
        made = self.known[key]
        return MemoryLake(made.calendar, made.own, dict(made.frames))


class RiskPipeline:
    """The two stages of one kind of risk model over a market."""

    def __init__(self, kind: str, market: Market, calendar: TradingCalendar) -> None:
        config = settings(portfolio={**SHORT, "risk_model": kind})
        self.driver = Driver(config, calendar, until=[])
        self.driver.stages = list(risk_assets.stages(self.driver.library, config.portfolio))
        self.market = market

    def __call__(self, raw: RawMarket, now: datetime) -> Result:
        lake = self.market(raw, now)
        for stage in self.driver.stages:
            self.driver.step(lake, stage, now, None)
        return self.driver.result(lake)

    def advance(self, lake: MemoryLake, raw: RawMarket, now: datetime) -> Result:
        """As ``Driver.advance``, from where the market's tables differ."""
        lake.dirty = {}
        for table, frame in self.market(raw, now).frames.items():
            lake.store(table, frame)
        for stage in self.driver.stages:
            dirty = min(lake.dirty[t] for t in stage.inputs if t in lake.dirty)
            self.driver.step(lake, stage, now, dirty, full=False)
        return self.driver.result(lake)


@pytest.fixture(scope="module")
def market_of(calendar: TradingCalendar) -> Market:
    return Market(calendar)


@pytest.fixture(scope="module")
def end(calendar: TradingCalendar) -> datetime:
    return calendar.known_at(END) + timedelta(days=9, hours=7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_and_later_corrections_change_nothing(
    kind: str,
    market_of: Market,
    synthetic_raw: RawMarket,
    end: datetime,
    calendar: TradingCalendar,
) -> None:
    pipeline = RiskPipeline(kind, market_of, calendar)
    earlier, later = sorted(instants(calendar, date(2018, 10, 1), date(2019, 6, 3), 2, seed=17))
    compared = no_peeking(pipeline, synthetic_raw, earlier, end, calendar)
    assert all(compared[t] > 20 for t in RISK), compared
    compared = no_repainting(pipeline, synthetic_raw, earlier, later, calendar)
    assert all(compared[t] > 20 for t in RISK), compared


@pytest.mark.parametrize("kind", KINDS)
def test_a_day_more_equals_everything_again_bit_for_bit(
    kind: str, market_of: Market, synthetic_raw: RawMarket, calendar: TradingCalendar
) -> None:
    pipeline = RiskPipeline(kind, market_of, calendar)
    first = calendar.known_at(date(2019, 6, 27))
    raw = raw_known(synthetic_raw, first, calendar)
    lake = pipeline.market(raw, first)
    for stage in pipeline.driver.stages:
        pipeline.driver.step(lake, stage, first, None)
    for day in (date(2019, 6, 28), date(2019, 7, 1)):
        now = calendar.known_at(day)
        raw = raw_known(synthetic_raw, now, calendar)
        grown, again = pipeline.advance(lake, raw, now), pipeline(raw, now)
        for table in RISK:
            key = again.contracts[table].key
            assert same_rows(grown.tables[table], again.tables[table], key, f"{kind} {day}") > 20


@pytest.mark.parametrize("kind", ["statistical", "fundamental"])
def test_no_basis(
    kind: str, market_of: Market, synthetic_raw: RawMarket, calendar: TradingCalendar
) -> None:
    pipeline = RiskPipeline(kind, market_of, calendar)
    now = calendar.known_at(date(2019, 7, 1))
    raw = raw_known(synthetic_raw, now, calendar)
    symbols = raw.prices["symbol"].unique().sort().to_list()
    rng = np.random.default_rng(2)
    doubled = {s: 2.0 ** int(k) for s, k in zip(symbols, rng.integers(-3, 4, 99), strict=False)}
    assert min(no_basis(pipeline, raw, now, doubled, RISK).values()) > 100
    other = {s: float(k) for s, k in zip(symbols, rng.uniform(0.3, 3.0, 99), strict=False)}
    no_basis(pipeline, raw, now, other, RISK, relative=1e-6)


def test_a_fundamental_model_waits_for_the_scores_of_its_styles(
    market_of: Market, calendar: TradingCalendar
) -> None:
    stage = RiskPipeline("fundamental", market_of, calendar).driver.stages[0]
    assert {"factors.scores_equity", "clean.instruments"} <= set(stage.inputs)
    plain = risk_assets.STAGES[0]
    assert not any(t.startswith("factors.") for t in plain.inputs)


def test_a_kind_that_the_graph_was_not_made_for_is_refused(
    market_of: Market, synthetic_raw: RawMarket, end: datetime, calendar: TradingCalendar
) -> None:
    pipeline = RiskPipeline("fundamental", market_of, calendar)
    pipeline.driver.stages = list(risk_assets.STAGES)
    with pytest.raises(ConfigError, match="WEALTHOS_PORTFOLIO__RISK_MODEL"):
        pipeline(synthetic_raw, end)


def test_what_is_left_out_is_said(
    market_of: Market, synthetic_raw: RawMarket, end: datetime, calendar: TradingCalendar
) -> None:
    pipeline = RiskPipeline("fundamental", market_of, calendar)
    config = settings(
        portfolio={**SHORT, "risk_model": "fundamental", "risk_styles": ("momentum_12_1", "magic")}
    )
    session = SimpleNamespace(
        settings=config, lake=market_of(synthetic_raw, end), calendar=calendar, now=end
    )
    work = Work(session, None)  # type: ignore[arg-type]
    made = pipeline.driver.stages[0].compute(work)
    said = work.notes["portfolio.risk_exposures"]
    assert said["without magic"] == "no table of scores has it"
    assert said["without momentum_12_1"].startswith("fewer than half of the names have a score")
    factors = set(made["portfolio.risk_exposures"]["factor"])
    assert {"market", "momentum_12_1", "sector Energy", "specific"} <= factors
    assert made["portfolio.factor_returns"].filter(pl.col("t").is_not_null()).height > 1000
