"""Cleaning: identity, bars with forward-chained indices, series, membership, holdings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import polars as pl

from assets._shared.held_watch import HoldingsWatch
from assets._shared.resources import Session
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.utils.config import Settings

_ROOMS = ("data/processors",)


def _clock(settings: Settings) -> tuple[str, int]:
    """What of the settings decides when something was known."""
    return settings.source.exchange, settings.time.known_lag_minutes


def _identity(settings: Settings) -> tuple[str, int, str, str]:
    """``_clock``, what a person wrote about symbols, and the source whose bars count."""
    from wealthos_pipeline.data.processors.instruments import overrides_hash
    from wealthos_pipeline.utils.config import inputs_dir

    told = overrides_hash(inputs_dir() / "instruments.csv")
    return *_clock(settings), told, settings.source.name


def _order(settings: Settings) -> tuple[str, ...]:
    """The sources, preferred ones first."""
    return (settings.source.name, *settings.source.also)


def _sources(settings: Settings) -> tuple[object, ...]:
    return *_clock(settings), *_order(settings)


_PUBLICATION = 66
"""Sessions within which every series is published (a monthly rate: a month after its month)."""


@stage(
    contract("clean.instruments"),
    group="clean",
    inputs=("raw.instruments", "raw.prices"),
    definition=_identity,
    rooms=_ROOMS,
    owner="team:data",
    checked=("clean.instruments",),
    whole=True,  # a bar of today can tell that a symbol of long ago was another's
)
def instruments(work: Work) -> Mapping[str, pl.DataFrame]:
    """Gives every symbol an identity, once; tells renamed and reused symbols apart."""
    from wealthos_pipeline.data.processors import instruments as room
    from wealthos_pipeline.utils.config import inputs_dir

    described = work.session.lake.read("raw.instruments")
    bars = work.session.lake.scan("raw.prices", columns=["source", "symbol", "date"])
    cleaned = room.clean(
        described,
        room.bar_dates(bars, described),
        work.session.lake.read("clean.instruments"),
        room.read_overrides(inputs_dir() / "instruments.csv"),
        calendar=work.session.calendar,
        prefer=work.settings.source.name,
    )
    return {"clean.instruments": cleaned}


def _state(work: Work, start: date) -> pl.DataFrame:
    """The last clean row of every instrument before ``start``.

    Nearly all are found in the last sessions; only names that paused longer are looked up in the
    whole history, so that a day costs what a day costs.
    """
    from wealthos_pipeline.data.processors import chain as room

    lake, end = work.session.lake, work.session.calendar.offset(start, -1)
    near = room.context_start(start, work.session.calendar)
    recent = lake.read("clean.prices", start=near, end=end, columns=room.STATE)
    registry = lake.read("clean.instruments").filter(pl.col("valid_from") < start)
    paused = registry.join(recent, on="instrument_id", how="anti")["instrument_id"].unique()
    if paused.len():
        older = lake.scan("clean.prices", end=end, columns=room.STATE)
        old = older.filter(pl.col("instrument_id").is_in(paused.to_list())).collect()
        recent = pl.concat([recent, old])
    return room.last_rows(recent, start)


def _cleaning(settings: Settings) -> tuple[object, ...]:
    """What decides which bars stand: the clock and the rules; unknown rules are refused here."""
    from wealthos_pipeline.data.processors import rules

    rules.switched_off(settings.cleaning)
    cleaning = settings.cleaning.model_dump(mode="json")
    return *_clock(settings), settings.source.currency, cleaning, _delistings()


def _delistings() -> str:
    """Hash of what a person wrote about delistings."""
    from wealthos_pipeline.data.processors import delistings
    from wealthos_pipeline.utils.code import file_hash
    from wealthos_pipeline.utils.config import inputs_dir

    return file_hash(inputs_dir() / delistings.FILE)


def _stated(session: Session) -> tuple[pl.DataFrame, list[str]]:
    """Delistings that a person stated, and names among them that no instrument has."""
    from wealthos_pipeline.data.processors import delistings
    from wealthos_pipeline.utils.config import inputs_dir

    names = session.lake.read("clean.instruments")
    stated = delistings.read(inputs_dir() / delistings.FILE, session.calendar)
    ends = delistings.resolved(stated, names, session.calendar)
    return ends, delistings.unmatched(stated, names)


def _told(session: Session) -> date | None:
    """First date of a stated delisting that became known since the run before."""
    from wealthos_pipeline.data.processors import delistings

    ends, _ = _stated(session)
    before = session.run.previous if ends.height else None
    return None if before is None else delistings.due(ends, before.started_at, session.now)


def _reach(settings: Settings) -> int:
    """Sessions before a bar within which it can take back the bar before."""
    from wealthos_pipeline.data.processors.spikes import REACH

    return REACH


@stage(
    contract("clean.prices"),
    contract("clean.quarantine"),
    contract("clean.adjustments"),
    group="clean",
    inputs=("raw.prices", "raw.series", "raw.rejected", "raw.releases", "clean.instruments"),
    definition=_cleaning,
    rooms=_ROOMS,
    reach=_reach,
    due=lambda session, dirty: _told(session),
    owner="team:data",
    checked=("clean.prices",),
    plots={"clean.prices": "tr_index"},
)
def prices(work: Work) -> Mapping[str, pl.DataFrame]:
    """Bars with forward-chained split and total-return indices; what a rule rejects is quarantined."""
    from wealthos_pipeline.data.processors import prices as room
    from wealthos_pipeline.data.processors import quarantine
    from wealthos_pipeline.data.processors import series as series_room

    lake = work.session.lake
    calendar, now = work.session.calendar, work.session.now
    series = lake.read("raw.series")
    ends, strangers = _stated(work.session)
    cleaned = room.clean(
        lake.read("raw.prices", start=room.context_start(work.start, calendar)),
        lake.read("clean.instruments"),
        calendar,
        now=now,
        previous=None if work.start is None else _state(work, work.start),
        start=work.start,
        cleaning=work.settings.cleaning,
        releases=lake.read("raw.releases"),
        base=work.settings.source.currency,
        series=series,
        ends=ends,
    )
    parts = [
        cleaned.quarantine,
        series_room.rejected(series, calendar, now=now),
        lake.read("raw.rejected"),
    ]
    if work.start is not None:
        parts = [part.filter(pl.col("date") >= work.start) for part in parts]
    rejected = pl.concat(parts)
    work.earlier("clean.prices", cleaned.earlier)
    bars = rejected.filter(pl.col("table") == "raw.prices")
    counts = quarantine.counts(cleaned.prices, bars, cleaned.adjustments)
    for words, by_rule in counts.items():
        work.note("clean.prices", words, by_rule)
    tables = rejected["table"].value_counts(sort=False).sort("table")
    work.note("clean.quarantine", "rows rejected by table", dict(tables.iter_rows()))
    if strangers:
        work.note("clean.prices", "delistings of unknown names", ", ".join(strangers))
    if cleaned.counts:
        work.note("clean.prices", "bars brought to another unit", cleaned.counts)
    return {
        "clean.prices": cleaned.prices,
        "clean.quarantine": rejected,
        "clean.adjustments": cleaned.adjustments,
    }


def _changed_gaps(session: Session, dirty: date | None) -> date | None:
    """First date of a stored gap that bars from ``dirty`` on, or a delisting just told, can change."""
    from wealthos_pipeline.data.processors import gaps as room

    told = _told(session)
    first = min((d for d in (dirty, told) if d is not None), default=None)
    if first is None:
        return None
    lake = session.lake
    bars = lake.scan("clean.prices", start=first, columns=["instrument_id"])
    alive = set(bars.select(pl.col("instrument_id").unique()).collect().to_series())
    moved = room.due(lake.read("clean.gaps"), alive, first, session.calendar)
    return min((d for d in (told, moved) if d is not None), default=None)


@stage(
    contract("clean.gaps"),
    group="clean",
    inputs=("clean.prices", "clean.quarantine", "clean.instruments", "raw.prices"),
    definition=_cleaning,
    rooms=_ROOMS,
    due=_changed_gaps,
    owner="team:data",
)
def gaps(work: Work) -> Mapping[str, pl.DataFrame]:
    """Sessions without a bar and why: holiday, halt, vendor, gap, delisting, or open still."""
    from wealthos_pipeline.data.processors import gaps as room
    from wealthos_pipeline.data.processors import row_rules

    lake, calendar, start = work.session.lake, work.session.calendar, work.start
    tuned = work.settings.cleaning
    ends, _ = _stated(work.session)
    names = lake.read("clean.instruments")
    found = room.find(
        lake.read(
            "clean.prices",
            start=room.context_start(start, calendar, tuned),
            columns=["instrument_id", "date", "slot", "flags", "known_at"],
        ),
        names,
        calendar,
        tuned,
        given=room.given(
            lake.scan("raw.prices", start=start).filter(row_rules.EMPTY).collect(),
            lake.read("clean.quarantine", start=start),
            names,
        ),
        ends=ends,
        now=work.session.now,
        start=start,
    )
    work.note("clean.gaps", "gaps", dict(found["kind"].value_counts().sort("kind").iter_rows()))
    lost = room.unknown_returns(found, names)
    if lost:
        work.note("clean.gaps", "delistings without a stated return", ", ".join(lost))
    return {"clean.gaps": found}


@stage(
    contract("clean.series"),
    group="clean",
    inputs=("raw.series",),
    definition=_sources,
    rooms=_ROOMS,
    reach=lambda s: _PUBLICATION,
    always=True,  # a value that is already here becomes known by the passing of time alone
    owner="team:data",
    checked=("clean.series",),
    plots={"clean.series": "value"},
)
def series(work: Work) -> Mapping[str, pl.DataFrame]:
    """Yields, volatility indices and rates, each stamped with when it could have been known."""
    from wealthos_pipeline.data.processors import series as room

    cleaned = room.clean(
        work.read("raw.series"),
        work.session.calendar,
        now=work.session.now,
        order=_order(work.settings),
    )
    if work.start is not None:
        cleaned = cleaned.filter(pl.col("date") >= work.start)
    return {"clean.series": cleaned}


@stage(
    contract("clean.macro"),
    group="clean",
    inputs=("raw.macro",),
    definition=_sources,
    rooms=_ROOMS,
    always=True,  # a value that is already here becomes known by the passing of time alone
    whole=True,  # a statistic is revised years after its period
    owner="team:data",
    checked=("clean.macro",),
    plots={"clean.macro": "value"},
)
def macro(work: Work) -> Mapping[str, pl.DataFrame]:
    """Published statistics, every version stamped with when it could have been known."""
    from wealthos_pipeline.data.processors import macro as room

    cleaned = room.clean(work.read("raw.macro"), now=work.session.now, order=_order(work.settings))
    return {"clean.macro": cleaned}


@stage(
    contract("clean.fundamentals"),
    group="clean",
    inputs=("raw.fundamentals", "clean.instruments"),
    definition=_sources,
    rooms=_ROOMS,
    checked=("clean.fundamentals",),
    whole=True,  # a figure is restated years after its period
    owner="team:data",
)
def fundamentals(work: Work) -> Mapping[str, pl.DataFrame]:
    """Figures of statements by instrument, every version stamped with when it could have been known."""
    from wealthos_pipeline.data.processors import fundamentals as room

    cleaned = room.clean(
        work.read("raw.fundamentals"),
        work.read("clean.instruments"),
        now=work.session.now,
        order=_order(work.settings),
    )
    return {"clean.fundamentals": cleaned}


@stage(
    contract("clean.earnings"),
    group="clean",
    inputs=("raw.earnings", "clean.instruments"),
    definition=_sources,
    rooms=_ROOMS,
    checked=("clean.earnings",),
    whole=True,
    owner="team:data",
)
def earnings(work: Work) -> Mapping[str, pl.DataFrame]:
    """What was expected of each report and what was reported, by when it was known."""
    from wealthos_pipeline.data.processors import earnings as room

    cleaned = room.clean(
        work.read("raw.earnings"),
        work.read("clean.instruments"),
        work.session.calendar,
        now=work.session.now,
        order=_order(work.settings),
    )
    return {"clean.earnings": cleaned}


@stage(
    contract("clean.news"),
    group="clean",
    inputs=("raw.news", "clean.instruments"),
    rooms=_ROOMS,
    checked=("clean.news",),
    whole=True,
    owner="team:data",
)
def news(work: Work) -> Mapping[str, pl.DataFrame]:
    """Headlines by instrument, as they were first published."""
    from wealthos_pipeline.data.processors import news as room

    cleaned = room.clean(
        work.read("raw.news"), work.read("clean.instruments"), now=work.session.now
    )
    return {"clean.news": cleaned}


@stage(
    contract("clean.membership"),
    group="clean",
    inputs=("raw.membership", "clean.instruments"),
    definition=_clock,
    rooms=_ROOMS,
    owner="team:data",
    checked=("clean.membership",),
    whole=True,  # a symbol's first bar gives its intervals of long before an instrument
)
def members(work: Work) -> Mapping[str, pl.DataFrame]:
    """Who was in which universe when. Names that left stay, with the day they left."""
    from wealthos_pipeline.data.processors import membership as room

    cleaned = room.clean(
        work.read("raw.membership"), work.read("clean.instruments"), work.session.calendar
    )
    return {"clean.membership": cleaned}


@stage(
    contract("clean.holdings"),
    contract("clean.lots"),
    group="clean",
    inputs=("clean.instruments",),
    definition=_clock,
    rooms=_ROOMS,
    owner="team:data",
    always=True,
)
def holdings(work: Work) -> Mapping[str, pl.DataFrame]:
    """Positions and tax lots that a person supplied as CSV; empty when none were."""
    from assets.portfolio import mandates
    from wealthos_pipeline.data.processors import holdings as room
    from wealthos_pipeline.utils.config import inputs_dir

    folder = work.settings.portfolio.holdings or inputs_dir() / "holdings"
    written = mandates(work.settings)
    read = room.statements(
        folder,
        work.session.lake.read("clean.instruments"),
        work.session.calendar,
        now=datetime.now(
            UTC
        ),  # a statement of tomorrow is a mistake, one after a rebuilt day is not
        long_only={m.name for m in written if m.long_only},
        base={m.name: m.base_currency for m in written},
    )
    lost = set(read.holdings["mandate"]) - {m.name for m in written}
    if lost:
        work.say("clean.holdings", "holdings of no mandate:", ", ".join(sorted(lost)))
    known = pl.col("known_at") <= work.session.now
    made = {
        "clean.holdings": read.holdings.filter(known),
        "clean.lots": read.lots.filter(known),
    }
    if work.start is not None:
        made = {name: rows.filter(pl.col("date") >= work.start) for name, rows in made.items()}
    return made


@stage(
    contract("clean.holdings_prices"),
    group="clean",
    inputs=("clean.holdings", "clean.prices", "clean.gaps"),
    definition=lambda s: s.portfolio.stale_sessions,
    rooms=_ROOMS,
    owner="team:data",
    whole=True,  # what is held today, at today's prices: a handful of rows
    watch=HoldingsWatch(),
)
def holdings_prices(work: Work) -> Mapping[str, pl.DataFrame]:
    """How well each supplied position can be priced: stale, delisted and unpriced ones with words."""
    from wealthos_pipeline.data.processors import holdings_prices as room

    lake, stated = work.session.lake, work.session.lake.read("clean.holdings")
    names = room.latest(stated, work.end)["instrument_id"].unique().to_list()
    bars = lake.scan("clean.prices", columns=room.WANTED).filter(
        pl.col("instrument_id").is_in(names)
    )
    checked = room.priced(
        stated,
        bars.collect(),
        lake.read("clean.gaps"),
        work.end,
        work.session.calendar,
        stale=work.settings.portfolio.stale_sessions,
    )
    for mandate, words in room.warnings(checked).items():
        work.note("clean.holdings_prices", mandate, words)
    return {"clean.holdings_prices": checked}


STAGES: tuple[Stage, ...] = (
    instruments,
    prices,
    gaps,
    series,
    macro,
    fundamentals,
    earnings,
    news,
    members,
    holdings,
    holdings_prices,
)
