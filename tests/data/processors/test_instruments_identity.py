from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import instruments, prices

T0 = datetime(2024, 3, 8, 22, tzinfo=UTC)
RAW = contract("raw.instruments")


def described(symbol: str, sector: str | None = "Energy", fetched: datetime = T0) -> dict:
    return {
        "source": "v", "symbol": symbol, "fetched_at": fetched, "name": symbol, "sector": sector,
        "asset_class": "equity", "exchange": "XNYS", "currency": "USD",
    }  # fmt: skip


def keys(**first: date) -> pl.DataFrame:
    return pl.DataFrame({"source": "v", "symbol": list(first), "first_date": list(first.values())})


def test_identity_is_exchange_and_symbol_and_begins_with_the_first_bar(calendar):
    raw = RAW.conform(pl.DataFrame([described("AAPL"), described("NONE")]))
    out = instruments.clean(raw, keys(AAPL=date(2020, 1, 1)), calendar=calendar)
    assert out["instrument_id"].to_list() == ["XNYS:AAPL"]  # no bars: no identity yet
    assert out["valid_from"].item() == date(2020, 1, 2)  # first session
    assert out["known_at"].item() == calendar.known_at(date(2020, 1, 2))
    assert out["static"].item()


def test_identity_does_not_depend_on_how_much_history_is_loaded(calendar):
    raw = RAW.conform(pl.DataFrame([described("AAPL")]))
    short = instruments.clean(raw, keys(AAPL=date(2022, 1, 3)), calendar=calendar)
    long = instruments.clean(raw, keys(AAPL=date(1999, 1, 4)), short, calendar=calendar)
    again = instruments.clean(raw, keys(AAPL=date(2022, 1, 3)), long, calendar=calendar)
    assert short["instrument_id"].item() == long["instrument_id"].item()
    assert long["valid_from"].item() == date(1999, 1, 4)
    assert again.equals(
        long.with_columns(
            pl.lit(calendar.known_at(date(1999, 1, 4)))
            .cast(long.schema["known_at"])
            .alias("known_at")
        )
    )


def test_the_registry_forgets_nobody(calendar):
    raw = RAW.conform(pl.DataFrame([described("AAPL"), described("GONE")]))
    both = keys(AAPL=date(2020, 1, 2), GONE=date(2020, 1, 2))
    before = instruments.clean(raw, both, calendar=calendar)
    after = instruments.clean(
        raw.filter(pl.col("symbol") == "AAPL"), both, before, calendar=calendar
    )
    assert after.equals(before)


def test_a_new_sector_holds_from_the_session_after_it_was_seen(calendar):
    change = datetime(2024, 4, 5, 22, tzinfo=UTC)
    raw = RAW.conform(pl.DataFrame([described("A"), described("A", "Utilities", change)]))
    out = instruments.clean(raw, keys(A=date(2020, 1, 2)), calendar=calendar)
    assert out.select("sector", "valid_from", "valid_to").rows() == [
        ("Energy", date(2020, 1, 2), date(2024, 4, 5)),
        ("Utilities", date(2024, 4, 8), None),
    ]
    assert out["known_at"].to_list()[1] == change
    assert instruments.current(out)["sector"].to_list() == ["Utilities"]
    assert instruments.current(out, date(2024, 4, 5))["sector"].to_list() == ["Energy"]


def test_a_changed_symbol_is_one_instrument_with_one_chain(calendar, tmp_path):
    (tmp_path / "instruments.csv").write_text(
        "# comment\nsymbol,instrument_id,valid_from,valid_to\n"
        "FB,XNYS:META,,2022-06-08\nMETA,XNYS:META,2022-06-09,\n"
    )
    overrides = instruments.read_overrides(tmp_path / "instruments.csv")
    raw = RAW.conform(pl.DataFrame([described("FB"), described("META")]))
    days = calendar.sessions(date(2022, 6, 6), date(2022, 6, 10))
    bars = contract("raw.prices").conform(
        pl.DataFrame(
            {
                "source": "v",
                "symbol": ["FB"] * 3 + ["META"] * 2,
                "date": days,
                "fetched_at": [T0] * 5,
                "close": [10.0, 11.0, 12.0, 18.0, 20.0],
            }
        )
    )
    registry = instruments.clean(raw, bars, None, overrides, calendar=calendar)
    out = prices.clean(bars, registry, calendar, now=T0)
    assert out.quarantine.height == 0
    assert out.prices["instrument_id"].unique().to_list() == ["XNYS:META"]
    assert out.prices["tr_index"].to_list() == pytest.approx([1.0, 1.1, 1.2, 1.8, 2.0])


def test_a_reused_symbol_is_two_instruments(calendar):
    overrides = pl.DataFrame(
        [
            {"symbol": "X", "instrument_id": "XNYS:X.OLD", "valid_to": date(2022, 6, 7)},
            {"symbol": "X", "instrument_id": "XNYS:X", "valid_from": date(2022, 6, 8)},
        ],
        schema=instruments.OVERRIDES,
    )
    raw = RAW.conform(pl.DataFrame([described("X")]))
    days = calendar.sessions(date(2022, 6, 6), date(2022, 6, 9))
    frame = pl.DataFrame({"source": "v", "symbol": "X", "date": days})
    registry = instruments.clean(raw, frame, None, overrides, calendar=calendar)
    named = instruments.identify(frame, registry)
    assert named["instrument_id"].to_list() == ["XNYS:X.OLD"] * 2 + ["XNYS:X"] * 2
    assert named["date"].to_list() == days


def test_every_fault_of_the_overrides_is_named(tmp_path):
    path = tmp_path / "instruments.csv"
    path.write_text(
        "symbol,instrument_id,valid_from,valid_to,asset_class\n"
        "A,XNYS:A,2020-01-01,2021-01-01,equity\nA,XNYS:B,2020-06-01,,stock\n,XNYS:C,01/02/2020,,\n"
        "D,XNYS:D,2020-06-01,2020-01-01,equity\n"
    )
    with pytest.raises(ConfigError) as caught:
        instruments.read_overrides(path)
    text = str(caught.value)
    assert "row 4: symbol is empty" in text
    assert "'01/02/2020' is not YYYY-MM-DD" in text
    assert "'stock' is not one of" in text
    assert "'A': two rows hold on the same day" in text
    assert "row 5: valid_to 2020-01-01 is before valid_from 2020-06-01" in text
    assert instruments.read_overrides(tmp_path / "none.csv").height == 0


def test_the_overrides_that_are_shipped_can_be_read():
    from wealthos_pipeline.utils.config import inputs_dir

    assert instruments.read_overrides(inputs_dir() / "instruments.csv").columns == list(
        instruments.OVERRIDES
    )
    assert (inputs_dir() / "instruments.csv").is_file()


@pytest.mark.parametrize("spelling", ["BRK.B", "BRK-B", "brk/b", " BRK B "])
def test_spellings_of_share_classes_match(spelling):
    assert pl.select(instruments.normalised(pl.lit(spelling))).item() == "BRK.B"


def test_of_two_sources_in_one_lake_the_later_gives_the_bars(calendar):
    later = datetime(2024, 4, 5, 22, tzinfo=UTC)
    mine = {**described("A", fetched=later), "source": "files"}
    raw = RAW.conform(pl.DataFrame([described("A"), described("B"), mine]))
    day = date(2024, 3, 4)
    bars = contract("raw.prices").conform(
        pl.DataFrame(
            [
                {"source": s, "symbol": n, "date": day, "fetched_at": later, "close": c}
                for s, n, c in (("v", "A", 1.0), ("v", "B", 2.0), ("files", "A", 3.0))
            ]
        )
    )
    registry = instruments.clean(raw, bars, calendar=calendar)
    assert dict(registry.select("instrument_id", "source").rows()) == {
        "XNYS:A": "files",
        "XNYS:B": "v",
    }
    out = prices.clean(bars, registry, calendar, now=later)
    assert out.prices["close"].to_list() == [3.0, 2.0]
    assert out.quarantine.select("source", "symbol", "rule").rows() == [("v", "A", "other_source")]


@pytest.mark.parametrize(("asked", "closes"), [("old", [1.0] * 6), ("new", [2.0] * 2)])
def test_the_source_that_is_asked_counts_whichever_came_last(calendar, asked, closes):
    """From one vendor to another and back: the bars of the one that was left are not for ever."""
    days = calendar.sessions(date(2024, 3, 4), date(2024, 3, 11))
    late = datetime(2024, 3, 12, 22, tzinfo=UTC)
    raw = RAW.conform(
        pl.DataFrame(
            [{**described("A"), "source": "old"}, {**described("A", fetched=late), "source": "new"}]
        )
    )
    bars = contract("raw.prices").conform(
        pl.DataFrame(
            [
                {"source": s, "symbol": "A", "date": d, "fetched_at": late, "close": c}
                for s, c, given in (("old", 1.0, days), ("new", 2.0, days[1:3]))
                for d in given
            ]
        )
    )
    registry = instruments.clean(raw, bars, calendar=calendar, prefer=asked)
    assert registry["source"].to_list() == [asked]
    out = prices.clean(bars, registry, calendar, now=late)
    assert out.prices["close"].to_list() == closes
