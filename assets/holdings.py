"""From decisions to orders, and from fills to what the way to the market cost; dates of held names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from assets import portfolio
from assets._shared.held_watch import ComplianceWatch
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.code import file_hash
from wealthos_pipeline.utils.config import Settings, inputs_dir

_OWNER = "team:portfolio"


def stages(library: Library) -> tuple[Stage, ...]:
    """Every stage: the scores of ``library`` that mandates bound are read where targets are checked."""
    return (*computed(library), *RECORDED)


def computed(library: Library) -> tuple[Stage, ...]:
    """The stages that are a function of the data alone."""
    from wealthos_pipeline.factors import transforms
    from wealthos_pipeline.portfolio import mandates as room
    from wealthos_pipeline.utils.config import load_settings

    bound = room.factors_bound(load_settings().portfolio.mandates)
    tables = {
        table: [name for name in names if name in bound]
        for table, names in transforms.score_tables(library).items()
    }
    return (_orders({table: names for table, names in tables.items() if names}), dates)


def _orders(scores: Mapping[str, Sequence[str]]) -> Stage:
    def order_lists(work: Work) -> Mapping[str, pl.DataFrame]:
        """Compliance before the trade, and the orders of the last decisions in whole lots."""
        from wealthos_pipeline.data.processors import holdings_prices, membership
        from wealthos_pipeline.factors import transforms
        from wealthos_pipeline.portfolio import pipeline, pretrade, risk

        lake, end, calendar = work.session.lake, work.end, work.session.calendar
        checked = lake.read("clean.holdings_prices")
        holdings = holdings_prices.settled(lake.read("clean.holdings"), checked)
        chosen = portfolio.mandates(work.settings)
        back = pipeline.lookback(chosen, work.settings.portfolio)
        since = portfolio._since(work, holdings, calendar.offset(end, -back))
        prices = lake.read("clean.prices", start=since, columns=pipeline.PRICES)
        prices = prices.filter(pl.col("instrument_id").is_in(work.equities))
        parts = [
            lake.read(t, start=end, columns=["date", "instrument_id", *names])
            for t, names in scores.items()
        ]
        models = risk.from_frames(
            lake.read("portfolio.risk_exposures", start=end, end=end),
            lake.read("portfolio.risk_factors", start=end, end=end),
        )
        predictions, evaluation = portfolio.spoken(
            work, chosen, lake.read("models.predictions", start=end)
        )
        made = pretrade.run(
            chosen,
            {name: lake.read(f"portfolio.{name}") for name in pretrade.STORED},
            end=end,
            universe=membership.universe(
                membership.traded(prices.filter(pl.col("date") == end)),
                lake.read("clean.membership"),
            ),
            predictions=predictions,
            holdings=holdings,
            risk_model=models.get(end),
            prices=prices,
            evaluation=evaluation,
            instruments=lake.read("clean.instruments"),
            calendar=calendar,
            settings=work.settings.portfolio,
            late=work.late,
            warnings=holdings_prices.warnings(checked),
            lots=lake.read("clean.lots"),
            scores=pipeline.scored(transforms.side_by_side(parts)) if parts else None,
        )
        for row in made["order_lists"].iter_rows(named=True):
            words = row["message"] or f"{row['orders']} orders, {row['dropped']} left out"
            work.note("portfolio.orders", row["mandate"], f"{row['state']}: {words}")
        return {f"portfolio.{name}": rows for name, rows in made.items()}

    return stage(
        contract("portfolio.compliance"),
        contract("portfolio.orders"),
        contract("portfolio.order_lists"),
        group="portfolio",
        inputs=(
            "portfolio.targets", "portfolio.solves", "portfolio.trades", "portfolio.positions",
            "portfolio.nav", "portfolio.risk_exposures", "portfolio.risk_factors", "clean.holdings",
            "clean.lots", "clean.holdings_prices", "clean.prices", "clean.membership", "clean.instruments",
            "models.predictions", "models.evaluation", "models.champions", *scores,
        ),
        definition=lambda s: (portfolio._mandate_files(s), s.portfolio.compliance),
        rooms=("portfolio/pretrade.py",),
        owner=_OWNER,
        checked=("portfolio.orders",),
        whole=True,  # of the last decisions alone
        watch=ComplianceWatch(),
    )(order_lists)  # fmt: skip


@stage(
    contract("portfolio.calendar"),
    group="portfolio",
    inputs=(
        "portfolio.targets", "clean.prices", "clean.earnings", "clean.membership", "clean.instruments",
    ),
    definition=portfolio._mandate_files,
    rooms=("portfolio/events_calendar.py",),
    owner=_OWNER,
    whole=True,  # around the last session alone
)  # fmt: skip
def dates(work: Work) -> Mapping[str, pl.DataFrame]:
    """Ex-dates, splits, reports, index changes and ends of overrides of held names, where known."""
    from wealthos_pipeline.portfolio import events_calendar as room

    lake, end = work.session.lake, work.end
    columns = ["instrument_id", "date", "dividend", "split_ratio", "currency", "known_at"]
    start = end - timedelta(days=room.BEHIND)
    prices = lake.read("clean.prices", start=start, columns=columns)
    earnings, members = lake.read("clean.earnings"), lake.read("clean.membership")
    work.note("portfolio.calendar", "not known", "; ".join(room.unknown(earnings, members, prices)))
    found = room.upcoming(
        portfolio.mandates(work.settings),
        lake.read("portfolio.targets", start=end),
        prices=prices,
        earnings=earnings,
        membership=members,
        instruments=lake.read("clean.instruments"),
        end=end,
        calendar=work.session.calendar,
    )
    return {"portfolio.calendar": found}


@stage(
    contract("record.orders"),
    group="publish",
    inputs=("portfolio.orders",),
    rooms=("portfolio/orders.py",),
    owner=_OWNER,
    kinds=("deltalake",),
)
def issued_orders(work: Work) -> Mapping[str, pl.DataFrame]:
    """Every order as issued, for good: what fills are matched with."""
    from wealthos_pipeline.portfolio import orders as room

    lake = work.session.lake
    rows = room.issued(
        lake.read("portfolio.orders"),
        lake.read("record.orders"),
        run_id=work.session.run.run_id,
        issued_at=work.session.now.astimezone(UTC),
    )
    return {"record.orders": rows}


def _first(rows: pl.DataFrame) -> date | None:
    day = rows["date"].min()
    return day if isinstance(day, date) else None


def _fill_files(settings: Settings) -> list[tuple[str, str]]:
    folder = settings.portfolio.fills or inputs_dir() / "fills"
    return [(p.name, file_hash(p)) for p in sorted(folder.glob("*.csv"))]


@stage(
    contract("clean.fills"),
    group="clean",
    inputs=("record.orders", "clean.instruments", "clean.prices"),
    definition=_fill_files,
    rooms=("data/processors/fills.py",),
    owner="team:data",
    checked=("clean.fills",),
    whole=True,  # a file may be corrected years later
    always=True,  # a fill of today becomes known by the passing of time alone
)
def fills(work: Work) -> Mapping[str, pl.DataFrame]:
    """What was executed of the orders, as a person supplied it; empty when nothing was."""
    from wealthos_pipeline.data.processors import fills as room

    lake = work.session.lake
    folder = work.settings.portfolio.fills or inputs_dir() / "fills"
    record = lake.read("record.orders") if any(_fill_files(work.settings)) else None
    if record is None:
        return {"clean.fills": contract("clean.fills").empty()}
    columns = ["instrument_id", "date", "low", "high", "close", "split_index"]
    prices = lake.scan("clean.prices", columns=columns, start=_first(record)).filter(
        pl.col("instrument_id").is_in(record["instrument_id"].unique().to_list())
    )
    read = room.read(
        folder,
        record,
        lake.read("clean.instruments"),
        prices.collect(),
        work.session.calendar,
        now=datetime.now(UTC),  # an execution of tomorrow is a mistake
    )
    return {"clean.fills": read.filter(pl.col("known_at") <= work.session.now)}


@stage(
    contract("portfolio.shortfall"),
    group="portfolio",
    inputs=("clean.fills", "record.orders", "clean.prices"),
    rooms=("portfolio/shortfall.py", "portfolio/orders.py"),
    owner=_OWNER,
    whole=True,  # lists of orders with fills: a handful of names and days each
)
def shortfalls(work: Work) -> Mapping[str, pl.DataFrame]:
    """What each order lost on its way to the market, beside the cost that was modelled."""
    from wealthos_pipeline.portfolio import orders, shortfall

    lake = work.session.lake
    executed = lake.read("clean.fills")
    if executed.is_empty():
        return {"portfolio.shortfall": contract("portfolio.shortfall").empty()}
    record = orders.last_issued(lake.read("record.orders"))
    columns = ["instrument_id", "date", "open", "close", "dividend", "split_index"]
    prices = lake.scan("clean.prices", columns=columns, start=_first(executed)).filter(
        pl.col("instrument_id").is_in(record["instrument_id"].unique().to_list())
    )
    rows = shortfall.shortfall(record, executed, prices.collect(), work.session.calendar, work.end)
    return {"portfolio.shortfall": rows}


RECORDED: tuple[Stage, ...] = (issued_orders, fills, shortfalls)
"""What was issued by runs, and what came back: nothing that could be computed again."""
