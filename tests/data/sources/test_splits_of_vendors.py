"""A split between two fetches, from a vendor of traded prices and from one of adjusted prices.

Both end in the same clean bars: the past does not move, the split is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time

import alpha_vantage_payloads
import finnhub_payloads
import polars as pl
import pytest
from wire import Bar, Wire, bars

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices, raw
from wealthos_pipeline.data.sources import Request
from wealthos_pipeline.data.sources.alpha_vantage import AlphaVantage
from wealthos_pipeline.data.sources.finnhub import Finnhub
from wealthos_pipeline.data.sources.vendor import Vendor
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

TABLE = contract("raw.prices")
BEFORE, SPLIT, PAID = date(2024, 6, 26), date(2024, 6, 27), date(2024, 6, 28)
KEYS = KeySettings(finnhub="sesame", alpha_vantage="sesame")  # type: ignore[arg-type]


def scaled(bar: Bar, factor: float) -> Bar:
    """The bar in a basis in which a share is worth ``factor`` times as much."""
    assert bar.open is not None
    assert bar.high is not None
    assert bar.low is not None
    assert bar.volume is not None
    return replace(
        bar,
        close=bar.close * factor,
        open=bar.open * factor,
        high=bar.high * factor,
        low=bar.low * factor,
        volume=bar.volume / factor,
    )


@pytest.fixture
def traded(calendar) -> list[Bar]:
    """Bars as traded; four for one on the day of the split."""
    days = calendar.sessions(date(2023, 9, 1), PAID)
    whole = bars(days, [100 + 0.25 * i for i in range(len(days))])
    return [scaled(b, 0.25) if b.date >= SPLIT else b for b in whole]


def serve_alpha_vantage(wire: Wire, rows: Sequence[Bar], today: date) -> None:
    """Traded prices; the adjusted closes before an event contain it as soon as it is there."""
    cut = 1 - 0.5 / rows[-2].close
    split = 4.0 if today >= SPLIT else 1.0
    paid = cut if today >= PAID else 1.0
    known = [
        replace(
            b,
            adj_close=b.close / (split if b.date < SPLIT else 1) * (paid if b.date < PAID else 1),
        )
        for b in rows
        if b.date <= today
    ]
    company = alpha_vantage_payloads.Company("AAA", known, {SPLIT: 4.0}, {PAID: 0.5})
    alpha_vantage_payloads.serve(wire, company)


def serve_finnhub(wire: Wire, rows: Sequence[Bar], today: date) -> None:
    """Prices adjusted for the splits up to today, and the lists of events up to today."""
    split = today >= SPLIT
    known = [scaled(b, 0.25) if split and b.date < SPLIT else b for b in rows if b.date <= today]
    company = finnhub_payloads.Company(
        "AAA",
        known,
        splits={SPLIT: (4, 1)} if split else {},
        dividends={PAID: 0.5} if today >= PAID else {},
    )
    finnhub_payloads.serve(wire, company)


def profiles(source: str) -> pl.DataFrame:
    """``raw.instruments`` of the one name."""
    row = {
        "source": source,
        "symbol": "AAA",
        "fetched_at": datetime.combine(BEFORE, time(22), UTC),
        "asset_class": "equity",
        "exchange": "XNYS",
        "currency": "USD",
    }
    return contract("raw.instruments").conform(pl.DataFrame([row]))


VENDORS = [(AlphaVantage, serve_alpha_vantage), (Finnhub, serve_finnhub)]


@pytest.mark.faults
@pytest.mark.parametrize(("vendor", "serve"), VENDORS, ids=[v.name for v, _ in VENDORS])
def test_a_split_between_two_fetches_moves_nothing_before_it(
    vendor: type[Vendor],
    serve: Callable[[Wire, Sequence[Bar], date], None],
    traded: list[Bar],
    calendar,
    fault_row,
):
    have = TABLE.empty()
    clean: list[pl.DataFrame] = []
    for today in (BEFORE, SPLIT, PAID):
        now = datetime.combine(today, time(22), UTC)
        with Wire() as wire:
            serve(wire, traded, today)
            source = vendor(
                SourceSettings(name=vendor.name, symbols=("AAA",), gives=("prices",)),
                FetchSettings(base_url=wire.url, per_minute=1e6),
                KEYS,
            )
            stored = {"raw.prices": raw.latest(have, TABLE)}
            got = source.fetch(
                Request(
                    None, None, now, calendar,
                    stored=lambda t, s=stored: s.get(t, contract(t).empty()),
                )
            )  # fmt: skip
        assert got.failures.height == 0, "a listed split is no news"
        assert got.prices.height == (len(traded) - 2 if today == BEFORE else 12)
        have = pl.concat([have, raw.new_rows(have, got.prices, TABLE)])
        names = instruments.clean(
            profiles(vendor.name), have.select("source", "symbol", "date"), calendar=calendar
        )
        clean.append(prices.clean(have, names, calendar, now=now).prices)
    first, _, last = clean
    assert last.height == len(traded)
    same = ["date", "close", "volume", "split_index", "tr_index", "known_at", "basis"]
    assert last.head(first.height).select(same).equals(first.select(same))
    assert last["close"].to_list() == pytest.approx([b.close for b in traded], rel=1e-12)
    assert last["volume"].to_list() == pytest.approx([b.volume for b in traded], rel=1e-12)
    assert last.filter(pl.col("split_ratio") != 1)["date", "split_ratio"].rows() == [(SPLIT, 4.0)]
    after = last.filter(pl.col("date") >= SPLIT)
    assert after["split_index"].to_list() == [4.0, 4.0]
    grown = traded[-1].close + 0.5
    ratio = last["tr_index"][-1] / last["tr_index"][-2]
    assert ratio == pytest.approx(grown / traded[-2].close, rel=1e-9)
    fault_row(vendor.name, "a split between two fetches", "nothing: it is an event, not news",
              "every bar before it, bit for bit")  # fmt: skip
