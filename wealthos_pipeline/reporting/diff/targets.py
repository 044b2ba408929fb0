"""Why each target weight changed, by solving the decision again with one cause after another.

Everything that a live decision is made from is published with its run, so each step below is a
solve of the mandate as it is written now:

1. A's inputs at A's date: differs from what was issued only if code or the mandate changed;
2. B's past at A's date (prices, scores under A's fit, the model's record, risk): restated bars,
   or code where nothing was restated;
3. B's date with A's fits and holdings: new bars;
4. B's fits and, where a mandate follows a champion, B's champion: model;
5. B's holdings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors import holdings_prices, membership, staleness
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.factors import transforms
from wealthos_pipeline.ml import serving
from wealthos_pipeline.reporting.diff.facts import Facts
from wealthos_pipeline.reporting.diff.moves import (
    CODE,
    HOLDINGS,
    MODEL,
    NEW,
    RESTATED,
    Numbers,
    Step,
)
from wealthos_pipeline.reporting.diff.predictions import Context, Walk, scores_at
from wealthos_pipeline.utils.config import PortfolioSettings

PRICES = (
    "instrument_id", "date", "slot", "open", "close", "volume", "dollar_volume", "dividend", "split_ratio",
    "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip
"""What the stage of the portfolios reads of them."""


@dataclass(frozen=True, slots=True)
class Supplied:
    """What a person supplied of positions, as a run has it: ``clean.holdings`` with delisted names settled,
    ``clean.lots``, and what should be known of a mandate's positions, by mandate."""

    holdings: pl.DataFrame
    lots: pl.DataFrame
    warnings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Market:
    """A run's data as a decision at ``day`` sees them; scores by factor and name; late: as in ``live.propose``."""

    day: date
    prices: pl.DataFrame
    universe: pl.DataFrame
    evaluation: pl.DataFrame
    instruments: pl.DataFrame
    positions: pl.DataFrame
    nav: pl.DataFrame
    risk: object | None
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    late: int = 0


def supplied(run: Snapshot) -> Supplied:
    """What the run's decisions started from."""
    checked = run.read("clean.holdings_prices")
    return Supplied(
        holdings_prices.settled(run.read("clean.holdings"), checked),
        run.read("clean.lots"),
        holdings_prices.warnings(checked),
    )


def market(
    run: Snapshot,
    day: date,
    context: Context,
    settings: PortfolioSettings,
    mandates: Sequence[Mandate],
    held: Sequence[pl.DataFrame] = (),
) -> Market:
    """Read what a decision of ``mandates`` at ``day`` needs, whichever holdings of ``held`` it starts from. The
    risk model is the stored one, else estimated."""
    from wealthos_pipeline.portfolio import live, pipeline, risk

    calendar = context.calendar
    instruments = run.read("clean.instruments")
    equities = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()

    def bars(start: date) -> pl.DataFrame:
        rows = run.read("clean.prices", columns=PRICES, start=start, end=day)
        return rows.filter(pl.col("instrument_id").is_in(equities.implode()))

    def members(rows: pl.DataFrame) -> pl.DataFrame:
        return membership.universe(
            rows.select("date", "instrument_id", "flags"), run.read("clean.membership")
        )

    stored = risk.from_frames(
        run.read("portfolio.risk_exposures", start=day, end=day),
        run.read("portfolio.risk_factors", start=day, end=day),
    )
    if day not in stored:
        since = calendar.offset(day, -risk.lookback(settings))
        long, styles = bars(since), None
        if settings.risk_model == "fundamental":
            styles = transforms.side_by_side(
                run.read(t, start=since, end=day)
                for t in run.tables()
                if t.startswith(transforms.SCORES)
            )
        stored = risk.estimate(
            long, members(long), [day], calendar, settings, scores=styles, instruments=instruments
        )
    start = calendar.offset(day, -pipeline.lookback(mandates, settings))
    closes = run.scan("clean.prices", columns=["instrument_id", "date"])
    prices = bars(min([start, *(live.reach(closes, h, day, start) for h in held)]))
    universe = members(prices).filter(pl.col("date") == day)
    kept = pl.col("run_kind") == "backtest"
    _, evaluation = serving.with_champion(
        contract("models.predictions").empty(),
        run.read("models.evaluation"),
        run.read("models.champions"),
        [m.model for m in mandates],
    )
    return Market(
        day,
        prices,
        universe,
        evaluation,
        instruments,
        run.read("portfolio.positions", end=day).filter(kept),
        run.read("portfolio.nav", end=day).filter(kept),
        stored.get(day),
        scores=pipeline.scored(_bound(scores_at(run, day), mandates)),
        late=staleness.late(calendar, day, run.manifest.started_at)
        if day == run.manifest.as_of
        else 0,
    )


def _bound(scores: pl.DataFrame, mandates: Sequence[Mandate]) -> pl.DataFrame:
    """The factors whose exposure a mandate bounds."""
    bound = {e.factor for m in mandates for e in m.exposures}
    return scores.select(c for c in scores.columns if c in ("date", "instrument_id") or c in bound)


def followed(
    said: Mapping[str, Numbers], champions: pl.DataFrame, mandates: Sequence[Mandate]
) -> dict[str, Numbers]:
    """``said`` by model, and under the name of each slot that a mandate follows what its last champion says
    (where it says nothing, the one before it)."""
    out = dict(said)
    for name, slot in serving.slots([m.model for m in mandates]).items():
        line = champions.filter(pl.col("slot") == slot).sort("date")["champion"]
        able = [m for m in line if m in said]
        if able:
            out[name] = said[able[-1]]
    return out


def predictions(z: Numbers, model: str, horizon: int, day: date) -> pl.DataFrame:
    """``models.predictions`` rows that say ``z``."""
    names = sorted(z)
    rows = {
        "model": [model] * len(names),
        "kind": ["live"] * len(names),
        "date": [day] * len(names),
        "instrument_id": names,
        "horizon": [horizon] * len(names),
        "prediction": [z[n] for n in names],
        "z": [z[n] for n in names],
        "train_cutoff": [day] * len(names),
        "model_id": [""] * len(names),
    }
    table = contract("models.predictions")
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def solve(
    mandate: Mandate,
    at: Market,
    z: Mapping[str, Numbers],
    horizon: int,
    held: Supplied,
    context: Context,
    settings: PortfolioSettings,
) -> Numbers:
    """Target weights of one decision; the drifted weights where it has no solution."""
    from wealthos_pipeline.portfolio import live
    from wealthos_pipeline.portfolio.backtest import State

    said = [predictions(numbers, m, horizon, at.day) for m, numbers in sorted(z.items())]
    empty = contract("models.predictions").empty()
    own = held.holdings.filter((pl.col("mandate") == mandate.name) & (pl.col("date") <= at.day))
    positions = at.positions.filter(pl.col("mandate") == mandate.name)
    nav = at.nav.filter(pl.col("mandate") == mandate.name)
    proposal = live.propose(
        mandate,
        date=at.day,
        prices=at.prices,
        universe=at.universe,
        predictions=pl.concat([empty, *said]),
        evaluation=at.evaluation,
        instruments=at.instruments,
        risk_model=at.risk,  # type: ignore[arg-type]
        holdings=own if own.height else None,
        paper=State(positions, nav) if nav.height else None,
        calendar=context.calendar,
        settings=settings,
        late=at.late,
        lots=held.lots,
        scores=at.scores,
        warning=held.warnings.get(mandate.name, ""),
    )
    return dict(proposal.targets.select("instrument_id", "weight").iter_rows())


def walks(
    mandates: Sequence[Mandate],
    a: Snapshot,
    b: Snapshot,
    facts: Facts,
    models: Mapping[str, Walk],
    context: Context,
    settings: PortfolioSettings,
) -> dict[str, Walk]:
    """The way of every mandate's targets from A to B."""
    day_a = a.manifest.as_of
    horizon = context.models.horizon
    held_a, held_b = supplied(a), supplied(b)
    stated = (held_a.holdings, held_b.holdings)

    def at(run: Snapshot, day: date) -> Market:
        return market(run, day, context, settings, mandates, stated)

    at_a, at_b = (at(run, run.manifest.as_of) for run in (a, b))
    past = at(b, day_a) if facts.past_changed or facts.stages else None

    line_a, line_b = (run.read("models.champions") for run in (a, b))

    def z(index: int) -> dict[str, Numbers]:
        """The models' numbers after ``index`` steps from the end; -1 is B's fits and champion."""
        said = {m: (w.start if index == 0 else w.steps[index].numbers) for m, w in models.items()}
        return followed(said, line_b if index == -1 else line_a, mandates)

    out = {}
    for mandate in mandates:

        def weights(
            seen: Market, said: dict[str, Numbers], held: Supplied, m: Mandate = mandate
        ) -> Numbers:
            return solve(m, seen, said, horizon, held, context, settings)

        steps = []
        if past is not None:
            cause = RESTATED if facts.past_changed else CODE
            steps.append(Step(cause, weights(past, z(-3), held_a)))
        steps.append(Step(NEW, weights(at_b, z(-2), held_a)))
        steps.append(Step(MODEL, weights(at_b, z(-1), held_a)))
        steps.append(Step(HOLDINGS, weights(at_b, z(-1), held_b)))
        start = weights(at_a, z(0), held_a)
        changed = "portfolios" in facts.stages or "risk_model" in facts.stages
        out[mandate.name] = Walk(start, CODE if changed else None, tuple(steps))
    return out
