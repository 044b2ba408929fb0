"""What a live decision of the last published run was made from, for commands that decide again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import ConfigError, PortfolioError

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.core.mandate import Mandate
    from wealthos_pipeline.portfolio.problem import Problem, Solution
    from wealthos_pipeline.portfolio.situation import Situation
    from wealthos_pipeline.utils.config import Settings

TABLES = (
    "clean.prices", "clean.membership", "clean.instruments", "clean.holdings", "clean.lots",
    "clean.holdings_prices", "models.predictions", "models.evaluation", "models.champions",
    "portfolio.risk_exposures", "portfolio.risk_factors", "portfolio.positions", "portfolio.nav",
)  # fmt: skip
"""What the decision reads; their versions are its lineage."""


@dataclass(frozen=True, eq=False)
class Question:
    """A mandate in the situation of the last published run. warning: why nothing would be proposed live."""

    run: Published
    mandate: Mandate
    situation: Situation
    problem: Problem
    symbols: Mapping[str, str]
    warning: str | None

    @property
    def versions(self) -> dict[str, int | None]:
        """Version of each table that was read."""
        return {name: self.run.snapshot.version(name) for name in TABLES}

    def symbol(self, instrument: str) -> str:
        """What people call it."""
        return self.symbols.get(instrument, instrument)

    def named(self, text: str) -> str:
        """``text`` with symbols in the place of instrument ids."""
        import re

        ids = sorted(self.problem.ids, key=len, reverse=True)
        pattern = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, ids)) + r")(?![\w])")
        return pattern.sub(lambda m: self.symbol(m.group(1)), text)


def written(settings: Settings, name: str) -> Mandate:
    """The mandate called ``name`` as its file says now; ConfigError with the names that come close."""
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.portfolio import mandates as room
    from wealthos_pipeline.utils.config import inputs_dir

    found = {m.name: m for m in room.load(settings.portfolio.mandates or inputs_dir() / "mandates")}
    return found[find("mandate", name, found, "wealthos portfolio mandates")]


def from_file(path: Path) -> Mandate:
    """The mandate of one YAML file; ConfigError with every fault."""
    from wealthos_pipeline.utils import written

    if not path.is_file():
        raise ConfigError(f"--mandate-file {path} is not there")
    try:
        body = written.keys(path, "name, title, objective, max_weight")
    except ConfigError as error:
        raise ConfigError(f"{path} {error}") from None
    return _valid(body, str(path))


def is_field(key: str) -> bool:
    """Whether ``key`` (``max_turnover``, ``costs.impact``) is one of a mandate."""
    from wealthos_pipeline.core.mandate import Mandate

    return key.partition(".")[0] in Mandate.model_fields


def changed(mandate: Mandate, values: Mapping[str, Any]) -> Mandate:
    """The mandate with some fields at other values; ConfigError with every fault."""
    from wealthos_pipeline.utils.names import close

    body = mandate.model_dump(mode="python")
    for key, value in values.items():
        head, *rest = key.split(".")
        if head not in body:
            near = close(head, sorted(body))
            like = f" Did you mean {', '.join(near)}?" if near else ""
            raise ConfigError(
                f"a mandate has no key {head!r}.{like} See data/inputs/mandates for examples."
            )
        place: Any = body
        for part in [head, *rest][:-1]:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
            if not isinstance(place, dict):
                raise ConfigError(f"--set {key}: {part} holds no keys of its own")
        place[[head, *rest][-1]] = value
    return _valid(body, "--set")


def _valid(body: Mapping[str, Any], where: str) -> Mandate:
    from pydantic import ValidationError

    from wealthos_pipeline.core.mandate import Mandate
    from wealthos_pipeline.utils import written

    try:
        return Mandate.model_validate(dict(body))
    except ValidationError as error:
        faults = [f"  - {fault}" for fault in written.faults(error, Mandate)]
        raise ConfigError("\n".join([f"{where}: the mandate cannot be used:", *faults])) from None


def ask(run: Published, mandate: Mandate) -> Question:
    """The decision of ``mandate`` at the last close of ``run``, as a problem.

    PortfolioError where the run has no risk model of that date, or the portfolio has no value.
    """
    situation, obstacle = _situation(run, mandate)
    if situation.risk is None:
        raise PortfolioError(
            f"the published run has no risk model of {situation.date}. Make one with `wealthos run`."
        )
    if not situation.nav > 0:
        raise PortfolioError(
            obstacle or f"the net asset value is {situation.nav}, expected above 0"
        )
    from wealthos_pipeline.portfolio import decision

    problem = decision.problem(mandate, situation, situation.risk)
    return Question(run, mandate, situation, problem, run.symbols(), obstacle)


def solved(question: Question) -> Solution:
    """The answer: the optimum, or the rule's weights for 1/N."""
    from wealthos_pipeline.portfolio import formulation, optimization
    from wealthos_pipeline.portfolio.problem import Solution

    if question.mandate.objective == "equal_weight":
        w = formulation.one_over_n(question.problem)
        return Solution("rule", w, message="1/N of the universe.")
    return optimization.optimise(question.problem)


def _situation(run: Published, mandate: Mandate) -> tuple[Situation, str | None]:
    import polars as pl

    from wealthos_pipeline.cli.published import calendar as sessions
    from wealthos_pipeline.data.processors import holdings_prices, membership, staleness
    from wealthos_pipeline.ml import serving
    from wealthos_pipeline.portfolio import live, pipeline, risk
    from wealthos_pipeline.portfolio.backtest import State

    settings = run.settings.portfolio
    calendar, day = sessions(run.settings), run.manifest.as_of
    snapshot = run.snapshot
    instruments = run.read("clean.instruments")
    equities = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    checked = run.read("clean.holdings_prices")
    holdings = holdings_prices.settled(run.read("clean.holdings"), checked).filter(
        (pl.col("mandate") == mandate.name) & (pl.col("date") <= day)
    )
    prices = snapshot.read(
        "clean.prices",
        columns=pipeline.PRICES,
        start=_first(
            run, holdings, calendar.offset(day, -pipeline.lookback([mandate], settings)), day
        ),
        end=day,
    ).filter(pl.col("instrument_id").is_in(equities.implode()))
    flagged = prices.select("date", "instrument_id", "flags").filter(pl.col("date") == day)
    mine = (pl.col("mandate") == mandate.name) & (pl.col("run_kind") == "backtest")
    nav = snapshot.read("portfolio.nav", end=day).filter(mine)
    positions = snapshot.read("portfolio.positions", end=day).filter(mine)
    models = risk.from_frames(
        snapshot.read("portfolio.risk_exposures", start=day, end=day),
        snapshot.read("portfolio.risk_factors", start=day, end=day),
    )
    said, evaluation = serving.with_champion(
        snapshot.read("models.predictions", start=day, end=day),
        run.read("models.evaluation"),
        run.read("models.champions"),
        [mandate.model],
    )
    lots = "clean.lots" in snapshot.tables()
    return live.situate(
        mandate,
        date=day,
        prices=prices,
        universe=membership.universe(flagged, run.read("clean.membership")),
        predictions=said.filter(pl.col("kind") == "live"),
        evaluation=evaluation,
        instruments=instruments,
        risk_model=models.get(day),
        holdings=holdings if holdings.height else None,
        paper=State(positions, nav) if nav.height else None,
        calendar=calendar,
        settings=settings,
        late=staleness.late(calendar, day, run.manifest.started_at),
        lots=run.read("clean.lots") if lots else None,
        scores=_scores(run, mandate, day),
        warning=holdings_prices.warnings(checked).get(mandate.name, ""),
    )


def _first(run: Published, holdings: pl.DataFrame, start: date, day: date) -> date:
    """``start``, or earlier: the last bars before the statement, which price what has stopped trading."""
    import polars as pl

    stated: Any = holdings["date"].max() if holdings.height else None
    if stated is None:
        return start
    names = holdings.filter(pl.col("date") == stated)["instrument_id"].unique()
    bars = run.snapshot.scan("clean.prices").filter(
        pl.col("instrument_id").is_in(names.implode()) & (pl.col("date") <= day)
    )
    before = pl.col("date").filter(pl.col("date") <= stated).max()
    last = bars.group_by("instrument_id").agg(pl.coalesce(before, pl.col("date").min()))
    first: Any = last.select(pl.col("date").min()).collect().item()
    return start if first is None else min(start, first)


def _scores(run: Published, mandate: Mandate, day: date) -> dict[str, dict[str, float]]:
    """Scores of the factors that the mandate bounds, on ``day``, from whichever table has them."""
    from wealthos_pipeline.portfolio import pipeline

    wanted = {e.factor for e in mandate.exposures}
    out: dict[str, dict[str, float]] = {}
    for table in sorted(run.snapshot.tables()) if wanted else ():
        if not table.startswith("factors.scores_"):
            continue
        have = sorted(wanted & set(run.snapshot.contract(table).column_names))
        if have:
            columns = ["date", "instrument_id", *have]
            frame: pl.DataFrame = run.snapshot.read(table, columns=columns, start=day, end=day)
            out |= pipeline.scored(frame)
    return out
