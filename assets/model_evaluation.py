"""How the models did: by date, as books of names, and over all that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from assets._shared.held_watch import RowWatch
from assets._shared.resources import Session
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.config import Settings

_BARS = ["instrument_id", "date", "slot", "tr_index", "flags", "known_at"]
_EXACT = 1e-12
_BALANCE = 0.5
"""How far long and short may drift apart within a holding period before somebody should look."""


def stages(library: Library) -> tuple[Stage, ...]:
    """The stages that judge models, in order."""
    return evaluation, _returns(library), model_summary


@dataclass(frozen=True)
class Watches:
    """Several checks of the tables of one stage."""

    every: tuple[RowWatch, ...]

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        return [s for w in self.every for s in w.specs(contract)]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        for w in self.every:
            yield from w.idle(session, contract)

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        for w in self.every:
            yield from w.results(work, contract, frame)

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        return {}


def _correlations_in_range() -> Watches:
    """Correlations lie between −1 and 1."""
    key = ("model", "horizon", "date")
    both = (pl.col("ic").abs() > 1) | (pl.col("rank_ic").abs() > 1)
    return Watches(
        (
            RowWatch(
                "models.evaluation",
                "ic_in_range",
                "information coefficients lie between −1 and 1",
                both,
                pl.format("{}, horizon {}, {}: IC {}, rank IC {}", *key, "ic", "rank_ic"),
                lambda s: "error",
            ),
            RowWatch(
                "models.evaluation_lags",
                "ic_in_range",
                "information coefficients lie between −1 and 1",
                pl.col("rank_ic").abs() > 1,
                pl.format(
                    "{}, horizon {}, lag {}, {}: rank IC {}", *key[:2], "lag", "date", "rank_ic"
                ),
                lambda s: "error",
            ),
        )
    )


def _books_add_up() -> Watches:
    """Net is gross less cost; books hold what they say."""
    key = ("model", "book", "horizon", "date")
    off = (pl.col("gross") - pl.col("cost") - pl.col("net")).abs() > _EXACT
    above = (pl.col("long") > 1 + _EXACT) | (pl.col("short") != 0) | (pl.col("long") < 0)
    apart = (pl.col("long") - pl.col("short")).abs() > _BALANCE
    neutral = pl.col("book") == "long_short"
    return Watches(
        (
            RowWatch(
                "models.returns",
                "net_is_gross_less_cost",
                "net returns are gross returns less costs, and costs are not negative",
                off | (pl.col("cost") < 0),
                pl.format("{} {}, horizon {}, {}: parts do not add up", *key),
                lambda s: "error",
            ),
            RowWatch(
                "models.returns",
                "weights_as_stated",
                "long-only books hold at most what they are worth and nothing short; long-short ones as "
                "much short as long, within what drifts in a holding period",
                pl.when(neutral).then(apart).otherwise(above),
                pl.format("{} {}, horizon {}, {}: long {}, short {}", *key, "long", "short"),
                lambda s: "warn",
            ),
        )
    )


def _too_good() -> RowWatch:
    """Results that nobody should believe before they have been looked into."""
    from wealthos_pipeline.ml.evaluation.words import SUSPICIOUS_IC, SUSPICIOUS_SHARPE

    return RowWatch(
        "models.summary",
        "not_too_good_to_be_true",
        f"no mean rank IC above {SUSPICIOUS_IC} and no net Sharpe ratio above {SUSPICIOUS_SHARPE:g}: else an "
        "investigation is due before the number is used",
        pl.col("t").is_not_null()
        & ((pl.col("mean_rank_ic") > SUSPICIOUS_IC) | (pl.col("sharpe_net") > SUSPICIOUS_SHARPE)),
        pl.format(
            "{}, horizon {}: rank IC {}, net Sharpe {}; an investigation is due: leak tests, membership, "
            "single-name dominance",
            "model",
            "horizon",
            pl.col("mean_rank_ic").round(4),
            pl.col("sharpe_net").round(2),
        ),
        lambda s: "warn",
    )


def _specs(settings: Settings) -> list[ModelSpec]:
    from wealthos_pipeline.ml import specs

    return specs.load(settings.models)


def _horizons(settings: Settings) -> list[int]:
    return sorted({m.horizon for m in _specs(settings)})


def _judged(settings: Settings) -> list[tuple[str, bool, int]]:
    """Name, whether it predicts probabilities, and horizon of each model."""
    from wealthos_pipeline.ml import predictors

    return [(m.name, predictors.family(m.family).probability, m.horizon) for m in _specs(settings)]


def _joined(table: str, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of all horizons; none where there is no model."""
    return pl.concat([contract(table).empty(), *parts])


@stage(
    contract("models.evaluation"),
    contract("models.evaluation_lags"),
    contract("models.evaluation_bins"),
    group="models",
    inputs=("models.predictions", "clean.prices"),
    definition=_judged,
    rooms=("ml/evaluation/together.py", "factors/labels.py"),
    reach=lambda s: max(60, *_horizons(s)) + 2,
    plots={"models.evaluation": "rank_ic"},
    watch=_correlations_in_range(),
)
def evaluation(work: Work) -> Mapping[str, pl.DataFrame]:
    """How the walk-forward predictions did, each date known when its outcome is: IC, spread and turnover,
    rank IC with shorter and longer outcomes, what came of each tenth of the names."""
    from wealthos_pipeline.ml import evaluation as room

    classifiers = [name for name, probability, _ in _judged(work.settings) if probability]
    predictions = work.read("models.predictions", back=1)
    bars = work.prices(back=1, columns=_BARS)
    parts = [
        room.judge_by_date(
            predictions,
            bars,
            work.session.calendar,
            horizon,
            start=work.start,
            known_until=work.session.now,
            classifiers=classifiers,
        )
        for horizon in _horizons(work.settings)
    ]
    return {
        "models.evaluation": _joined("models.evaluation", [p.evaluation for p in parts]),
        "models.evaluation_lags": _joined("models.evaluation_lags", [p.lags for p in parts]),
        "models.evaluation_bins": _joined("models.evaluation_bins", [p.bins for p in parts]),
    }


def _returns(library: Library) -> Stage:
    from wealthos_pipeline.factors import transforms
    from wealthos_pipeline.ml import evaluation as room

    held = transforms.score_tables(library)
    benchmarks = room.benchmark_columns(
        list(library.factors.values()), [n for names in held.values() for n in names]
    )
    wanted = {c for c, _ in benchmarks.values()}
    tables = {t: sorted(wanted & set(names)) for t, names in held.items() if wanted & set(names)}

    @stage(
        contract("models.returns"),
        group="models",
        inputs=("models.predictions", *tables, "clean.prices", "clean.membership"),
        definition=lambda s: (s.factors.costs_bp, _horizons(s), sorted(benchmarks.items())),
        rooms=("ml/evaluation/book_returns.py", "data/processors/membership.py"),
        plots={"models.returns": "net"},
        watch=_books_add_up(),
        name="model_returns",
    )
    def returns(work: Work) -> Mapping[str, pl.DataFrame]:
        """What books that follow the models would have earned after costs, beside momentum, reversal and
        1/N of the same universe."""
        horizons = _horizons(work.settings)
        back = room.lookback(max(horizons, default=0))
        key = ["date", "instrument_id"]
        scores = [work.read(t, back=back, columns=[*key, *names]) for t, names in tables.items()]
        predictions = work.read("models.predictions", back=back)
        bars = work.prices(back=back, columns=_BARS)
        universe = work.universe(back=back)
        parts = [
            room.returns(
                predictions,
                bars,
                universe,
                work.session.calendar,
                horizon,
                costs_bp=work.settings.factors.costs_bp,
                scores=transforms.side_by_side(scores) if scores else None,
                benchmarks=benchmarks,
                start=work.start,
                known_until=work.session.now,
            )
            for horizon in horizons
        ]
        return {"models.returns": _joined("models.returns", parts)}

    return returns


@stage(
    contract("models.decay"),
    contract("models.calibration"),
    contract("models.summary"),
    group="models",
    inputs=(
        "models.evaluation",
        "models.evaluation_lags",
        "models.evaluation_bins",
        "models.returns",
        "factors.performance",
        "record.trials",
    ),
    rooms=("ml/evaluation", "ml/trials.py"),
    whole=True,
    watch=_too_good(),
)
def model_summary(work: Work) -> Mapping[str, pl.DataFrame]:
    """Each model in one row, with what it is worth after costs and after counting everything that was tried;
    how fast its predictions decay; whether what it predicts is what comes."""
    from wealthos_pipeline.ml import evaluation as room
    from wealthos_pipeline.ml import trials

    lake = work.session.lake
    returns, tried = lake.read("models.returns"), lake.read("record.trials")
    performance = lake.read(
        "factors.performance", columns=["factor", "universe", "horizon", "date", "spread"]
    )
    names = [m.name for m in _specs(work.settings)]
    # the factors' own shortest horizon: what record.trials saw of them, whatever the model's is
    shortest = min(work.settings.factors.horizons)
    books = room.matrix(returns.filter(pl.col("model").is_in(names)), "long_short", common=False)
    blocks = [trials.Block(books.values), trials.spreads(performance, shortest)]
    deflation = trials.deflation(tried, "model", blocks)
    return {
        "models.decay": room.decay(lake.read("models.evaluation_lags")),
        "models.calibration": room.calibrate(lake.read("models.evaluation_bins")),
        "models.summary": room.summarise(
            lake.read("models.evaluation"),
            returns,
            dict.fromkeys(_horizons(work.settings), deflation),
        ),
    }
