"""What became of the portfolios and what they risk: value at risk and its tests, stress, liquidity, risk
contributions, resampled paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assets._shared.held_watch import RowWatch
from assets._shared.stage import Stage, Work, stage
from assets._shared.work import VALUED
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.portfolio.var_methods import PRIMARY
from wealthos_pipeline.utils import written
from wealthos_pipeline.utils.code import file_hash
from wealthos_pipeline.utils.config import Settings, inputs_dir

if TYPE_CHECKING:
    from wealthos_pipeline.portfolio.books import Book

_BOOKS = (
    "portfolio.positions", "portfolio.nav", "portfolio.targets", "portfolio.trades",
    "portfolio.risk_exposures", "portfolio.risk_factors", "clean.prices", "clean.instruments",
)  # fmt: skip
"""What books are put together from, with whose risk they are looked at."""
_BACK = 30
"""Sessions that prices must reach before the first close looked at: a price of what is held, its volume."""


def _exceptions_in_band() -> RowWatch:
    """Whether losses exceeded the VaR that counts as often as it says (Kupiec, 5 %)."""
    return RowWatch(
        "portfolio.risk_tests",
        "exceptions_in_band",
        "losses exceed the VaR of portfolio.risk as often as it says",
        (pl.col("method") == PRIMARY) & (pl.col("kupiec_p") < 0.05),
        pl.format("{}, VaR {}: {}", "mandate", "level", "verdict"),
        lambda s: "warn",
    )


def _contributions_sum() -> RowWatch:
    """Whether names, and factors with specific risk, add up to the volatility, to 1e-12."""
    book = ("mandate", "run_kind", "date")
    names = pl.col("component").filter(pl.col("kind") == "name").sum().over(book)
    rest = pl.col("component").filter(pl.col("kind").is_in(["factor", "specific"])).sum().over(book)
    total = pl.col("component")
    off = ((names - total).abs() > 1e-12) | ((rest - total).abs() > 1e-12)
    return RowWatch(
        "portfolio.risk_contributions",
        "contributions_sum",
        "contributions of names, and of factors and specific risk, add up to the volatility",
        (pl.col("kind") == "total") & off,
        pl.format("{} {} on {}: parts do not add up to {}", *book, "component"),
        lambda s: "warn",
    )


@stage(
    contract("portfolio.risk"),
    contract("portfolio.risk_outcomes"),
    contract("portfolio.risk_methods"),
    group="portfolio",
    inputs=("portfolio.positions", "portfolio.nav", "clean.prices"),
    definition=lambda s: s.portfolio.var_sessions,
    rooms=("portfolio/performance.py",),
    reach=lambda s: 1,
    owner="team:portfolio",
    plots={"portfolio.risk": "var_99"},
)
def risk_of_holdings(work: Work) -> Mapping[str, pl.DataFrame]:
    """One-day VaR and CVaR for the holdings of each day, and what happened the day after."""
    from wealthos_pipeline.portfolio import performance

    lake = work.session.lake
    made = performance.var_forecasts(
        lake.read("portfolio.positions"),
        lake.read("portfolio.nav", start=work.back(2)),
        work.prices(back=work.settings.portfolio.var_sessions + 5, columns=VALUED),
        work.session.calendar,
        work.settings.portfolio,
        start=work.start,
        end=work.end,
    )
    outcomes = made.outcomes
    if work.start is not None:
        outcomes = outcomes.filter(pl.col("date") >= work.start)
    return {
        "portfolio.risk": made.risk,
        "portfolio.risk_outcomes": outcomes,
        "portfolio.risk_methods": made.methods,
    }


@stage(
    contract("portfolio.risk_tests"),
    group="portfolio",
    inputs=("portfolio.risk_methods", "portfolio.risk_outcomes"),
    rooms=("portfolio/var_exceptions.py",),
    whole=True,
    owner="team:portfolio",
    watch=_exceptions_in_band(),
)
def risk_tests(work: Work) -> Mapping[str, pl.DataFrame]:
    """Whether VaR and CVaR held, by method and level, with the power of each test and a verdict."""
    from wealthos_pipeline.portfolio.var_exceptions import var_exceptions

    lake = work.session.lake
    made = var_exceptions(lake.read("portfolio.risk_methods"), lake.read("portfolio.risk_outcomes"))
    return {"portfolio.risk_tests": made}


@stage(
    contract("portfolio.paths"),
    group="portfolio",
    inputs=("portfolio.nav",),
    rooms=("portfolio/paths.py",),
    whole=True,
    owner="team:portfolio",
)
def resampled_paths(work: Work) -> Mapping[str, pl.DataFrame]:
    """Where each portfolio may stand in some months: its returns resampled in blocks."""
    from wealthos_pipeline.portfolio import paths

    return {"portfolio.paths": paths.table(work.session.lake.read("portfolio.nav"))}


@stage(
    contract("portfolio.risk_contributions"),
    contract("portfolio.liquidity"),
    group="portfolio",
    inputs=_BOOKS,
    definition=lambda s: s.portfolio.liquidity_participation,
    rooms=("portfolio/contributions.py", "portfolio/liquidity.py"),
    snap="month",
    latest_only={
        "portfolio.risk_contributions": ("run_kind", "live"),
        "portfolio.liquidity": ("run_kind", "live"),
    },
    owner="team:portfolio",
    watch=_contributions_sum(),
)
def risk_contributions(work: Work) -> Mapping[str, pl.DataFrame]:
    """Whose risk it is, and how long it takes to sell: at month ends and at the latest close."""
    from wealthos_pipeline.portfolio import contributions, decision, liquidity, risk

    models = risk.from_frames(
        work.read("portfolio.risk_exposures", back=0), work.read("portfolio.risk_factors", back=0)
    )
    prices = work.prices(back=_BACK, columns=[*VALUED, "dollar_volume"])
    books = [*_books(work, prices, sorted(models)), *_live(work)]
    instruments = work.session.lake.read("clean.instruments")
    return {
        "portfolio.risk_contributions": contributions.contributions(
            books, models, lambda day: decision.labels(instruments, day).sector
        ),
        "portfolio.liquidity": liquidity.liquidity(
            books,
            prices,
            work.session.calendar,
            participation=work.settings.portfolio.liquidity_participation,
        ),
    }


@stage(
    contract("portfolio.stress"),
    group="portfolio",
    inputs=_BOOKS,
    definition=lambda s: [(p.name, file_hash(p)) for p in _scenarios(s)],
    rooms=("portfolio/stress.py",),
    whole=True,
    latest_only={"portfolio.stress": None},
    owner="team:portfolio",
)
def stress_tests(work: Work) -> Mapping[str, pl.DataFrame]:
    """What the holdings of the latest close would lose in past crises, factor shocks and own scenarios."""
    from wealthos_pipeline.portfolio import decision, risk, scenario_files, stress

    lake, end = work.session.lake, work.end
    models = risk.from_frames(
        lake.read("portfolio.risk_exposures", start=end, end=end),
        lake.read("portfolio.risk_factors", start=end, end=end),
    )
    if end not in models:
        return {"portfolio.stress": contract("portfolio.stress").empty()}
    since = work.session.calendar.offset(end, -_BACK)
    recent = lake.read("clean.prices", start=since, columns=list(VALUED))
    recent = recent.filter(pl.col("instrument_id").is_in(work.equities))
    names = decision.labels(lake.read("clean.instruments"), end)
    windows = {
        w.name: stress.window_returns(
            pl.concat(
                [
                    lake.read(
                        "clean.prices",
                        start=first,
                        end=last,
                        columns=["instrument_id", "date", "tr_index"],
                    ).filter(pl.col("instrument_id").is_in(work.equities))
                    for first, last in stress.ends(w)
                ]
            ),
            w,
        )
        for w in stress.WINDOWS
        if w.end <= end
    }
    market = stress.Market(models[end], names.symbol, names.sector, windows)
    made = stress.run(
        [*_books(work, recent, [end]), *_live(work)],
        market,
        scenario_files.read([p for p in _scenarios(work.settings) if not p.name.startswith("_")]),
    )
    return {"portfolio.stress": made}


def _scenarios(settings: Settings) -> list[Path]:
    """Files of scenarios of this run."""
    return written.files(settings.portfolio.scenarios or inputs_dir() / "scenarios")


def _books(work: Work, prices: pl.DataFrame, dates: Sequence[date]) -> list[Book]:
    """What the backtests hold at the closes of ``dates``."""
    from wealthos_pipeline.portfolio import books

    lake = work.session.lake
    if not dates:
        return []
    nav = lake.read("portfolio.nav", start=min(dates))
    nav = nav.filter(pl.col("run_kind") == "backtest")
    positions = lake.read("portfolio.positions")
    return books.backtest(positions, nav, prices, work.session.calendar, dates)


def _live(work: Work) -> list[Book]:
    """What the live mandates hold at the latest close."""
    from wealthos_pipeline.portfolio import books

    lake, end = work.session.lake, work.end
    targets = lake.read("portfolio.targets", start=end)
    return books.live(targets, lake.read("portfolio.trades", start=end), end)


STAGES: tuple[Stage, ...] = (
    risk_of_holdings,
    risk_tests,
    resampled_paths,
    risk_contributions,
    stress_tests,
)
