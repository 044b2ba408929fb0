"""A mandate backtested on the published data, without being stored: for ``wealthos backtest``. That it was tried
is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError, PortfolioError

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.core.mandate import Mandate
    from wealthos_pipeline.portfolio.backtest import Backtest, Scores
    from wealthos_pipeline.portfolio.panel import Panel

RUN_KIND = "research"
_PRICES = (
    "instrument_id", "date", "slot", "open", "close", "dollar_volume", "dividend", "split_ratio",
    "split_index", "tr_index", "flags",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Trial:
    """A mandate and 1/N over the same sessions."""

    made: Backtest
    benchmark: Backtest

    @property
    def nav(self) -> pl.DataFrame:
        import polars as pl

        return pl.concat([self.made.nav, self.benchmark.nav])


def run(
    published: Published,
    mandate: Mandate,
    start: date | None,
    end: date | None,
    progress: Callable[[int, int], None] | None = None,
) -> Trial:
    """The backtest of ``mandate`` from cash, and of 1/N from the same session on; nothing is written but that
    this was tried (``raw.trials``).

    PortfolioError where no session has a risk model, or where the accounts do not add up.
    """
    import polars as pl

    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.cli.trials import count
    from wealthos_pipeline.data.processors import membership
    from wealthos_pipeline.ml import serving, trials
    from wealthos_pipeline.portfolio import accounts, backtest, panel, risk

    sessions, settings = calendar(published.settings), published.settings.portfolio
    instruments = published.read("clean.instruments")
    equities = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    prices = published.snapshot.read("clean.prices", columns=_PRICES).filter(
        pl.col("instrument_id").is_in(equities.implode())
    )
    traded = membership.traded(prices).select("date", "instrument_id")
    universe = membership.universe(traded, published.read("clean.membership"))
    predictions, evaluation = serving.with_champion(
        published.read("models.predictions").filter(pl.col("kind") == "walk_forward"),
        published.read("models.evaluation"),
        published.read("models.champions"),
        [mandate.model],
    )
    models = risk.from_frames(
        published.read("portfolio.risk_exposures"), published.read("portfolio.risk_factors")
    )
    bars: Panel = panel.build(prices, sessions)

    def backtested(m: Mandate, begin: date | None, seen: Scores | None) -> Backtest:
        return backtest.run(
            m, bars, universe, predictions, evaluation, instruments, models, sessions, settings,
            start=begin, end=end, scores=seen, run_kind=RUN_KIND,
            progress=progress if m is mandate else None,
        )  # fmt: skip

    made = backtested(mandate, start, _scores(published, mandate, models))
    if not made.nav.height:
        raise PortfolioError(
            f"{mandate.name} cannot be backtested between {start or 'the first bar'} and "
            f"{end or 'the last'}: no rebalance date there has a risk model; choose a longer period"
        )
    residuals = accounts.reconcile(made.events, made.positions, made.nav, bars)
    if faults := accounts.faults(residuals, made.nav):
        raise PortfolioError("the accounts do not add up: " + "; ".join(faults))
    count(published, trials.of_backtests([mandate], made.nav))
    return Trial(made, backtested(backtest.EQUAL_WEIGHT, made.nav["date"][0], None))


def _scores(published: Published, mandate: Mandate, models: object) -> Scores | None:
    """Scores of the factors that the mandate bounds, by date; None where there are none in the tables."""
    if not mandate.exposures:
        return None
    import polars as pl

    from wealthos_pipeline import factors
    from wealthos_pipeline.factors import transforms
    from wealthos_pipeline.portfolio import pipeline

    wanted = {e.factor for e in mandate.exposures}
    parts = []
    for table, names in transforms.score_tables(factors.load(("all",), strict=False)).items():
        mine = [n for n in names if n in wanted]
        if mine:
            columns = ["date", "instrument_id", *mine]
            parts.append(published.snapshot.read(table, columns=columns))
    if not parts:
        return None
    days = transforms.side_by_side(parts).partition_by("date", as_dict=True)
    empty = next(iter(days.values())).clear() if days else pl.DataFrame()
    return lambda day: pipeline.scored(days.get((day,), empty))


def told(events: pl.DataFrame, symbols: dict[str, str]) -> pl.DataFrame:
    """Events for a person: symbols, and amounts in the base currency."""
    import polars as pl

    from wealthos_pipeline.portfolio.accounts import money

    order = events.sort("mandate", "date", "seq")
    return order.select(
        "mandate", "run_kind", "date", "seq", "kind", "instrument_id",
        pl.col("instrument_id").replace_strict(symbols, default=None, return_dtype=pl.String).alias("symbol"),
        "units", "price", pl.Series("amount", money(order["amount"].to_numpy())), "note",
    )  # fmt: skip


def check_period(start: date | None, end: date | None) -> None:
    """ConfigError where the period is empty."""
    if start is not None and end is not None and start > end:
        raise ConfigError(f"--from {start} is after --to {end}; swap them")
