"""Portfolios: backtests and live targets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from assets._shared.resources import Session
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.utils.code import file_hash
from wealthos_pipeline.utils.config import Settings, inputs_dir

_PRICES = (
    "instrument_id", "date", "slot", "open", "close", "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip
_PATHS = ("targets", "solves", "trades", "positions", "nav")


def mandates(settings: Settings) -> list[Mandate]:
    """The mandates of this run."""
    from wealthos_pipeline.portfolio import mandates as room

    return room.load(settings.portfolio.mandates or inputs_dir() / "mandates")


def _mandate_files(settings: Settings) -> list[tuple[str, str]]:
    folder = settings.portfolio.mandates or inputs_dir() / "mandates"
    return [(p.name, file_hash(p)) for p in sorted(folder.glob("*.y*ml"))]


def _since(work: Work, holdings: pl.DataFrame, start: date | None) -> date | None:
    """``start``, or the earliest of the last bars before the statements of holdings that count today:
    they give a price to what has stopped trading, and the splits since."""
    mine = holdings.filter(pl.col("date") <= work.end)
    stated = mine.group_by("mandate").agg(pl.col("date").max())["date"].min()
    if start is None or not isinstance(stated, date):
        return start
    bars = work.session.lake.scan(
        "clean.prices", columns=["instrument_id", "date"], end=max(stated, start)
    ).filter(pl.col("instrument_id").is_in(mine["instrument_id"].unique().to_list()))
    before = pl.col("date").filter(pl.col("date") <= stated).max()
    last = bars.group_by("instrument_id").agg(pl.coalesce(before, pl.col("date").min()))
    first = last.select(pl.col("date").min()).collect().item()
    return start if first is None else min(start, first)


def _proposed_too_late(session: Session) -> date | None:
    """The last session, where trades are proposed on it and newer prices should be here by now: a
    proposal that was good last evening is not good today."""
    work = Work(session, None)
    if not work.late:
        return None
    bars = session.lake.scan("portfolio.trades", columns=["date", "run_kind"])
    live = bars.filter((pl.col("run_kind") == "live") & (pl.col("date") == work.end))
    return work.end if live.select(pl.len()).collect().item() else None


@stage(
    *(contract(f"portfolio.{name}") for name in _PATHS),
    group="portfolio",
    inputs=(
        "clean.prices",
        "clean.membership",
        "clean.instruments",
        "clean.holdings",
        "models.predictions",
        "models.evaluation",
        "portfolio.risk_exposures",
        "portfolio.risk_factors",
    ),
    definition=lambda s: (
        _mandate_files(s),
        s.portfolio.model_dump(include={"ic_sessions", "ic_prior_sessions"}),
    ),
    rooms=("portfolio",),
    due=lambda session, dirty: _proposed_too_late(session),
    kinds=("cvxpy", "deltalake"),
    owner="team:portfolio",
    checked=("portfolio.targets", "portfolio.nav"),
    plots={"portfolio.nav": "nav"},
    latest_only={
        f"portfolio.{name}": ("run_kind", "live") for name in ("targets", "solves", "trades")
    },
)
def portfolios(work: Work) -> Mapping[str, pl.DataFrame]:
    """Backtests of all mandates beside 1/N with costs, and today's targets and trades."""
    from wealthos_pipeline.portfolio import pipeline

    holdings = work.session.lake.read("clean.holdings")
    since = _since(work, holdings, work.back(pipeline.LOOKBACK))
    prices = work.session.lake.read("clean.prices", start=since, columns=_PRICES)
    frames = pipeline.run(
        mandates(work.settings),
        prices=prices.filter(pl.col("instrument_id").is_in(work.equities)),
        universe=work.universe(back=pipeline.LOOKBACK),
        predictions=work.read("models.predictions", back=pipeline.LOOKBACK),
        evaluation=work.read("models.evaluation"),
        instruments=work.session.lake.read("clean.instruments"),
        exposures=work.read("portfolio.risk_exposures", back=pipeline.LOOKBACK),
        factors=work.read("portfolio.risk_factors", back=pipeline.LOOKBACK),
        holdings=holdings,
        state={name: work.session.lake.read(f"portfolio.{name}") for name in ("positions", "nav")}
        if work.start is not None
        else None,
        calendar=work.session.calendar,
        settings=work.settings.portfolio,
        start=work.start,
        end=work.end,
        late=work.late,
    )
    return {f"portfolio.{name}": frames[name] for name in _PATHS}


STAGES: tuple[Stage, ...] = (portfolios,)
