"""Portfolios: backtests and live targets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from assets import model_life
from assets._shared.decided import decided_later
from assets._shared.fault_watch import FaultWatch
from assets._shared.resources import Session
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.code import file_hash
from wealthos_pipeline.utils.config import Settings, inputs_dir

CHECKS = {
    ("portfolio.targets", "weights_sum"): (
        "error",
        "the weights of every decision sum to its budget",
    ),
    ("portfolio.solves", "limits_hold"): (
        "error",
        "no answer misses a limit by more than 1e-8",
    ),
    ("portfolio.nav", "nav_adds_up"): (
        "error",
        "a value on every session, every unit of money in the events",
    ),
}
"""(Table, check) → its severity and what it says."""


def mandates(settings: Settings) -> list[Mandate]:
    """The mandates of this run."""
    from wealthos_pipeline.portfolio import mandates as room

    return room.load(settings.portfolio.mandates or inputs_dir() / "mandates")


def _mandate_files(settings: Settings) -> list[tuple[str, str]]:
    folder = settings.portfolio.mandates or inputs_dir() / "mandates"
    return [(p.name, file_hash(p)) for p in sorted(folder.glob("*.y*ml"))]


def spoken(
    work: Work, chosen: Sequence[Mandate], predictions: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and evaluation for ``chosen``, with those of champions where a mandate follows one."""
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.ml import serving

    lake, there = work.session.lake, model_life.policy(work.settings).slots
    followed = serving.slots([m.model for m in chosen])
    lost = [m for m, slot in followed.items() if slot not in there]
    if lost:
        raise ConfigError(
            f"mandates follow {', '.join(lost)}, but the promotion policy has only the slots "
            f"{', '.join(there)}; correct `model` in the mandate, or add the slot"
        )
    return serving.with_champion(
        predictions,
        lake.read("models.evaluation"),
        lake.read("models.champions"),
        [m.model for m in chosen],
    )


def _since(work: Work, holdings: pl.DataFrame, start: date | None) -> date | None:
    """From when on prices are read: ``start``, or earlier where something held stopped trading (``live.reach``)."""
    from wealthos_pipeline.portfolio import live

    if start is None:
        return None
    bars = work.session.lake.scan("clean.prices", columns=["instrument_id", "date"])
    return live.reach(bars, holdings, work.end, start)


def _proposed_too_late(session: Session) -> date | None:
    """The last session, where trades are proposed on it and newer prices should be here by now: a
    proposal that was good last evening is not good today."""
    work = Work(session, None)
    if not work.late:
        return None
    bars = session.lake.scan("portfolio.trades", columns=["date", "run_kind"])
    live = bars.filter((pl.col("run_kind") == "live") & (pl.col("date") == work.end))
    return work.end if live.select(pl.len()).collect().item() else None


def _due(session: Session, dirty: date | None) -> date | None:
    found = (_proposed_too_late(session), decided_later(session, dirty))
    return min((d for d in found if d is not None), default=None)


def stages(library: Library) -> tuple[Stage, ...]:
    """The stage of the portfolios: it reads the scores of ``library`` that mandates bound."""
    from wealthos_pipeline.factors import transforms
    from wealthos_pipeline.portfolio import mandates as room
    from wealthos_pipeline.utils.config import load_settings

    settings = load_settings()
    bound = room.factors_bound(settings.portfolio.mandates)
    tables = {
        table: [name for name in names if name in bound]
        for table, names in transforms.score_tables(library).items()
    }
    return (_portfolios({table: names for table, names in tables.items() if names}),)


def _portfolios(scores: Mapping[str, Sequence[str]]) -> Stage:
    from wealthos_pipeline.portfolio import checks, live, pipeline
    from wealthos_pipeline.portfolio.backtest import EQUAL_WEIGHT

    def portfolios(work: Work) -> Mapping[str, pl.DataFrame]:
        """Backtests of all mandates beside 1/N with costs, and today's targets and trades."""
        from wealthos_pipeline.data.processors import holdings_prices
        from wealthos_pipeline.factors import transforms

        lake, end = work.session.lake, work.end
        checked = lake.read("clean.holdings_prices")
        holdings = holdings_prices.settled(lake.read("clean.holdings"), checked)
        chosen = mandates(work.settings)
        back = pipeline.lookback(chosen, work.settings.portfolio)
        since = _since(work, holdings, work.back(back))
        prices = lake.read("clean.prices", start=since, columns=pipeline.PRICES)
        parts = [
            work.read(t, back=pipeline.LOOKBACK, columns=["date", "instrument_id", *names])
            for t, names in scores.items()
        ]
        prices = prices.filter(pl.col("instrument_id").is_in(work.equities))
        state = None
        if work.start is not None:
            state = {name: lake.read(f"portfolio.{name}") for name in ("positions", "nav")}
        predictions, evaluation = spoken(
            work, chosen, work.read("models.predictions", back=pipeline.LOOKBACK)
        )
        frames = pipeline.run(
            chosen,
            prices=prices,
            universe=work.universe(back=pipeline.LOOKBACK),
            predictions=predictions,
            evaluation=evaluation,
            instruments=lake.read("clean.instruments"),
            exposures=work.read("portfolio.risk_exposures", back=pipeline.LOOKBACK),
            factors=work.read("portfolio.risk_factors", back=pipeline.LOOKBACK),
            holdings=holdings,
            state=state,
            calendar=work.session.calendar,
            settings=work.settings.portfolio,
            start=work.start,
            end=end,
            late=work.late,
            lots=lake.read("clean.lots"),
            warnings=holdings_prices.warnings(checked),
            scores=transforms.side_by_side(parts) if parts else None,
        )
        written = (*chosen, EQUAL_WEIGHT)
        work.faults.update(
            {
                ("portfolio.targets", "weights_sum"): checks.weights_sum(
                    frames["targets"], frames["solves"], written
                ),
                ("portfolio.solves", "limits_hold"): checks.limits_hold(frames["solves"]),
                ("portfolio.nav", "nav_adds_up"): checks.accounts_add_up(
                    frames, state, prices, work.session.calendar
                ),
            }
        )
        versions = {table: lake.version(table) for table in inputs}
        proofs = frames[pipeline.CERTIFICATES].with_columns(
            pl.lit(work.session.run.run_id).alias("run_id"),
            pl.lit(json.dumps(versions, sort_keys=True)).alias("inputs"),
        )
        made = {f"portfolio.{name}": frames[name] for name in pipeline.TABLES}
        return {**made, "meta.certificates": proofs}

    inputs = (
        "clean.prices",
        "clean.membership",
        "clean.instruments",
        "clean.holdings",
        "clean.lots",
        "clean.holdings_prices",
        "models.predictions",
        "models.evaluation",
        "models.champions",
        "portfolio.risk_exposures",
        "portfolio.risk_factors",
        *scores,
    )
    return stage(
        *(contract(f"portfolio.{name}") for name in pipeline.TABLES),
        contract("meta.certificates"),
        group="portfolio",
        inputs=inputs,
        definition=lambda s: (
            _mandate_files(s),
            s.portfolio.model_dump(include={"ic_sessions", "ic_prior_sessions", "risk_sessions"}),
        ),
        rooms=("portfolio",),
        due=_due,
        kinds=("cvxpy", "deltalake"),
        owner="team:portfolio",
        checked=("portfolio.targets", "portfolio.nav"),
        plots={"portfolio.nav": "nav"},
        watch=FaultWatch(CHECKS),
        latest_only={f"portfolio.{name}": ("run_kind", "live") for name in live.DECIDED},
    )(portfolios)
