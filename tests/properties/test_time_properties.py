"""No peeking, no repainting, no basis, and a day's update equal to the full run (DESIGN §3).

The pipeline is the graph's own stages over tables in memory (``support/pipeline.py``), on the seeded
market with gaps, listings, delistings, splits, dividends and corrections, and on a cut of the sample.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pipeline import Driver, settings
from properties import (
    OF_A_RUN,
    Pipeline,
    Result,
    first_correction,
    instants,
    no_basis,
    no_peeking,
    no_repainting,
    raw_known,
    same_rows,
)
from synthetic import END, RawMarket

from wealthos_pipeline.data.processors.calendar import TradingCalendar

MANDATES = {
    "balanced": "objective: mean_variance\nmodel: ridge\nmax_weight: 0.1\nsector_max_weight: 0.4\n",
    "calm": "objective: min_variance\nmodel: lightgbm\nmax_weight: 0.15\nmax_turnover: 0.3\n",
}


class Memo:
    """A pipeline that remembers: the same rows at the same instant are computed once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.known: dict[tuple[object, ...], Result] = {}

    def __call__(self, raw: RawMarket, now: datetime) -> Result:
        key = (now, *(f.hash_rows().sum() for f in (raw.prices, raw.series)), raw.prices.height)
        if key not in self.known:
            self.known[key] = self.pipeline(raw, now)
        return self.known[key]


@pytest.fixture(scope="module")
def mandates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mandates")
    for name, body in MANDATES.items():
        text = f"name: {name}\ntitle: Test {name}\nrebalance: month\n{body}"
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def whole(mandates: Path, calendar: TradingCalendar) -> Memo:
    """Raw rows to targets, backtests, risk and regime."""
    return Memo(Driver(settings(mandates), calendar))


@pytest.fixture(scope="module")
def whole_driver(whole: Memo) -> Driver:
    assert isinstance(whole.pipeline, Driver)
    return whole.pipeline


@pytest.fixture(scope="module")
def end(calendar: TradingCalendar) -> datetime:
    """Some days after the last bar, at an odd hour: nothing may depend on it."""
    return calendar.known_at(END) + timedelta(days=9, hours=7)


EARLIER, LATER = date(2018, 10, 1), date(2019, 7, 12)


@pytest.fixture(scope="module")
def moments(calendar: TradingCalendar) -> list[datetime]:
    """Two random instants, far enough in for models and backtests to exist."""
    return sorted(instants(calendar, EARLIER, LATER, 2, seed=3))


MUST_HAVE_ROWS = (
    "clean.prices", "clean.series", "factors.equity_momentum", "factors.scores_equity", "factors.performance",
    "models.predictions", "models.registry", "models.evaluation", "portfolio.risk_exposures",
    "portfolio.targets", "portfolio.nav", "portfolio.risk", "portfolio.attribution", "monitor.regime",
)  # fmt: skip


@pytest.mark.parametrize("which", [0, 1])
def test_no_peeking(
    which: int,
    whole: Memo,
    synthetic_raw: RawMarket,
    moments: list[datetime],
    end: datetime,
    calendar: TradingCalendar,
) -> None:
    compared = no_peeking(whole, synthetic_raw, moments[which], end, calendar)
    empty = [t for t in MUST_HAVE_ROWS if not compared.get(t)]
    assert empty == [], "nothing was compared for these"


def test_no_repainting(
    whole: Memo, synthetic_raw: RawMarket, moments: list[datetime], calendar: TradingCalendar
) -> None:
    earlier, later = moments
    compared = no_repainting(whole, synthetic_raw, earlier, later, calendar)
    assert compared["clean.prices"] > 10_000
    assert compared["portfolio.nav"] > 100


def test_a_correction_lies_between_the_moments(
    synthetic_raw: RawMarket, moments: list[datetime]
) -> None:
    """Otherwise the test of repainting would not have met one."""
    assert first_correction(synthetic_raw, *moments) is not None


def test_forward_chains_equal_a_plain_loop(
    whole: Memo, synthetic_raw: RawMarket, synthetic_prices: pl.DataFrame, end: datetime
) -> None:
    """``clean.prices`` against the independent construction in ``support/synthetic.py``."""
    ours = whole(synthetic_raw, end)
    names = ours.tables["clean.instruments"].select("instrument_id", "symbol").unique()
    made = ours.tables["clean.prices"].join(names, on="instrument_id").sort("symbol", "date")
    plain = synthetic_prices.sort("instrument_id", "date")
    assert made.select("symbol", "date").rows() == plain.select("instrument_id", "date").rows()
    for column in ("close", "split_index", "tr_index"):
        gap = (made[column] / plain[column] - 1).abs().max()
        assert gap < 1e-12, column


def scaled_columns(driver: Driver) -> dict[str, list[str]]:
    """Columns of factors that say that they need the traded price."""
    return {
        family.table: [f.name for f in family.factors if f.basis == "unadjusted"]
        for family in driver.library.families()
    }


@pytest.fixture(scope="module")
def factor_driver(calendar: TradingCalendar) -> Driver:
    return Driver(settings(), calendar, until=["factors.scores_equity"])


@pytest.mark.parametrize(
    ("scale", "relative"),
    [
        ({"SYN00": 4.0, "SYN02": 0.5, "SYN09": 8.0, "SYN10": 0.25, "SYN15": 1024.0}, None),
        ({"SYN01": 3.7, "SYN02": 0.013, "SYN27": 1.1, "SYN30": 29.0}, 1e-6),
    ],
    ids=["powers of two: bits", "other factors: 1e-6"],
)
def test_no_basis(
    scale: dict[str, float],
    relative: float | None,
    factor_driver: Driver,
    synthetic_raw: RawMarket,
    end: datetime,
) -> None:
    tables = [c.name for s in factor_driver.stages for c in s.contracts if c.layer == "factors"]
    skip = scaled_columns(factor_driver)
    skip["factors.scores_equity"] = [n for names in skip.values() for n in names]
    compared = no_basis(
        factor_driver, synthetic_raw, end, scale, tables, relative=relative, unadjusted=skip
    )
    assert compared["factors.equity_momentum"] > 10_000


def test_a_days_update_equals_the_full_run(
    whole_driver: Driver,
    whole: Memo,
    synthetic_raw: RawMarket,
    moments: list[datetime],
    calendar: TradingCalendar,
) -> None:
    """From one evening to a later one, over corrections, refits and rebalances: the same bits."""
    earlier, later = moments[0], moments[0] + timedelta(days=40)
    before, after = (raw_known(synthetic_raw, t, calendar) for t in (earlier, later))
    lake = whole_driver.lake(before)
    for stage in whole_driver.stages:
        whole_driver.step(lake, stage, earlier, None)
    updated = whole_driver.advance(lake, after, later)
    full = whole(after, later)
    assert full.tables["portfolio.nav"].height > 100
    for name, frame in full.tables.items():
        if name in OF_A_RUN:
            continue
        same_rows(
            updated.tables[name], frame, full.contracts[name].key, f"update and full run: {name}"
        )


@pytest.fixture(scope="module")
def sample_raw(calendar: TradingCalendar) -> RawMarket:
    """The sample's raw frames of 2014 to 2016."""
    from wealthos_pipeline.data import sources
    from wealthos_pipeline.data.sources import Request
    from wealthos_pipeline.utils.config import Settings, SourceSettings

    now = datetime(2017, 1, 2, tzinfo=UTC)
    got = sources.get(Settings(source=SourceSettings())).fetch(
        Request(
            start=date(2014, 1, 2), end=date(2016, 12, 30), now=now, calendar=calendar, since=None
        )
    )
    return RawMarket(got.prices, got.series, got.instruments, got.membership)


def test_no_peeking_and_no_repainting_on_the_sample(
    sample_raw: RawMarket, calendar: TradingCalendar
) -> None:
    """Real prices: cleaning, factors, scores, performance, risk."""
    wanted = ["factors.performance", "portfolio.risk_exposures", "monitor.signals"]
    pipeline = Memo(Driver(settings(), calendar, until=wanted))
    first, second = sorted(instants(calendar, date(2015, 6, 1), date(2016, 11, 1), 2, seed=5))
    compared = no_peeking(
        pipeline, sample_raw, first, calendar.known_at(date(2016, 12, 30)), calendar
    )
    assert compared["factors.scores_equity"] > 5_000
    assert compared["portfolio.risk_exposures"] > 100
    assert no_repainting(pipeline, sample_raw, first, second, calendar)["clean.prices"] > 5_000


def test_no_basis_on_the_sample(sample_raw: RawMarket, calendar: TradingCalendar) -> None:
    driver = Driver(settings(), calendar, until=["factors.scores_equity"])
    tables = [c.name for s in driver.stages for c in s.contracts if c.layer == "factors"]
    names = sample_raw.prices["symbol"].unique().sort()
    scale = {n: 2.0 ** (i % 7 - 3) for i, n in enumerate(names)}
    equities = sample_raw.instruments.filter(pl.col("asset_class") == "equity")["symbol"].to_list()
    compared = no_basis(
        driver, sample_raw, calendar.known_at(date(2016, 12, 30)),
        {n: f for n, f in scale.items() if n in equities}, tables,
        unadjusted=scaled_columns(driver),
    )  # fmt: skip
    assert compared["factors.scores_equity"] > 5_000
