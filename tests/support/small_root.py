"""A small published root with made-up numbers in every table that the command and the service read.

Six equities over 40 sessions, two factors with scores, one ridge model with fits, one mandate with
a backtest and a live decision, a bar that was restated, a row in quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import Column, contract, wide_contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import warehouse
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import Manifest
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.ml import registry
from wealthos_pipeline.ml.predictors.ridge import FittedRidge
from wealthos_pipeline.utils.config import Settings, load_settings

IDS = tuple(f"id{i}" for i in range(6))
SYMBOLS = ("AAPL", "AMD", "BAC", "CVX", "GE", "XOM")
SECTORS = ("Tech", "Tech", "Banks", "Energy", "Industry", "Energy")
FIRST = date(2020, 1, 2)
FACTORS = ("demo_up", "demo_down")
FAMILY = wide_contract(
    "factors.equity_demo",
    "Demo factors.",
    [Column(n, "f32", f"{n} title", nullable=True) for n in FACTORS],
)
SCORES = wide_contract(
    "factors.scores_equity",
    "Demo scores.",
    [Column(n, "f32", f"{n} score", nullable=True) for n in FACTORS],
)


@dataclass(frozen=True)
class SmallRoot:
    """Where it is and what was published, oldest first."""

    settings: Settings
    lake: Lake
    calendar: TradingCalendar
    runs: tuple[Manifest, ...]
    days: tuple[date, ...]


def build(
    folder: Path, calendar: TradingCalendar, *, sessions: int = 40, runs: int = 1
) -> SmallRoot:
    """Publish ``runs`` runs under ``folder/data``, each with one more session; the last one restates
    a bar if there are several."""
    settings = load_settings(root=folder / "data", reports=folder / "reports")
    lake = Lake(settings.root, calendar=calendar)
    lake.register(FAMILY, SCORES)
    days = calendar.sessions(FIRST, calendar.offset(FIRST, sessions + runs - 2))
    manifests = []
    for i in range(runs):
        upto = days[: sessions + i]
        manifests.append(publish(lake, settings, calendar, upto, restated=i > 0, number=i))
    return SmallRoot(settings, lake, calendar, tuple(manifests), tuple(days))


def publish(
    lake: Lake,
    settings: Settings,
    calendar: TradingCalendar,
    days: list[date],
    *,
    restated: bool,
    number: int,
) -> Manifest:
    """One run that holds everything up to the last of ``days``."""
    now = calendar.known_at(days[-1]) + timedelta(hours=1)
    with Run.open(lake, settings, now=now, run_id=f"run-{number}") as run:
        prices = bars(days, calendar, restated=restated)
        scores = made_scores(days, calendar)
        fits = [
            fit("walk_forward", days[0], (0.5, -0.25)),
            fit("live", days[-5 - number], (0.5, -0.25 + 0.1 * number)),
        ]
        said = predictions(scores, days, fits)
        lake.restate("clean.prices", prices, now=now)
        for name, frame in {
            "clean.instruments": instruments(days, calendar),
            "clean.quarantine": quarantine(days, now),
            "factors.equity_demo": scores,
            "factors.scores_equity": scores,
            "factors.summary": summary(),
            "models.registry": registry.frame(fits),
            "models.predictions": said,
            "models.evaluation": evaluation(days, calendar),
            "meta.catalog": catalog(),
            **portfolio(days, number),
        }.items():
            lake.replace(name, lake.contract(name).conform(frame))
        lake.append("record.issued", issued(said, days[-1], run.run_id, now, number))
        lake.append("meta.checks", checks(run.run_id, now))
        lake.replace("meta.coverage", coverage(days))
        for stage in ("scores", "predictions", "portfolios"):
            run.done(run.plan(stage, inputs=("clean.prices",), definition="v1"))
        manifest = run.publish(
            as_of=days[-1], source="sample", finished_at=now + timedelta(minutes=1)
        )
    warehouse.publish(lake, manifest)
    return manifest


def close(day: int, name: int) -> float:
    """The close of instrument ``name`` on session ``day``: distinct, positive, without noise."""
    return 50.0 + 10.0 * name + day * (1.0 + 0.1 * name)


def bars(days: list[date], calendar: TradingCalendar, *, restated: bool) -> pl.DataFrame:
    rows = []
    for d, day in enumerate(days):
        for i, name in enumerate(IDS):
            price = close(d, i) + (1.0 if restated and (d, i) == (10, 2) else 0.0)
            rows.append(
                {
                    "instrument_id": name, "date": day, "slot": calendar.slot(day), "close": price,
                    "split_ratio": 1.0, "split_index": 1.0, "tr_index": price / close(0, i), "flags": 0,
                    "currency": "USD", "source": "sample", "basis": "assumed",
                    "known_at": calendar.known_at(day),
                }
            )  # fmt: skip
    return contract("clean.prices").conform(pl.DataFrame(rows))


def instruments(days: list[date], calendar: TradingCalendar) -> pl.DataFrame:
    n = len(IDS)
    return pl.DataFrame(
        {
            "instrument_id": IDS, "symbol": SYMBOLS, "name": [f"{s} Inc." for s in SYMBOLS],
            "asset_class": ["equity"] * n, "sector": SECTORS, "exchange": ["XNYS"] * n,
            "currency": ["USD"] * n, "source": ["sample"] * n, "valid_from": [days[0]] * n,
            "static": [True] * n, "known_at": [calendar.known_at(days[0])] * n,
        }
    )  # fmt: skip


def quarantine(days: list[date], now: datetime) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "table": ["raw.prices"], "source": ["sample"], "symbol": ["GE"], "date": [days[3]],
            "fetched_at": [now], "rule": ["negative_price"], "detail": ["close is -1.0"],
            "known_at": [now],
        },
        schema_overrides={"fetched_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip


def made_scores(days: list[date], calendar: TradingCalendar) -> pl.DataFrame:
    rows = []
    for day in days:
        turn = calendar.slot(day) % len(IDS)
        for i, name in enumerate(IDS):
            up = (i + turn) % len(IDS) - 2.5
            down = None if i == 5 else float((2 * i + turn) % 5) - 2.0
            rows.append({"date": day, "instrument_id": name, "demo_up": up, "demo_down": down})
    schema = {
        "date": pl.Date,
        "instrument_id": pl.String,
        "demo_up": pl.Float32,
        "demo_down": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema)


def fit(kind: str, refit: date, coefficients: tuple[float, ...]) -> dict[str, object]:
    text = FittedRidge(FACTORS, coefficients).to_text()
    digest = registry.artefact_hash(text)
    return {
        "model_id": f"ridge.{kind}.{refit}.{digest[:8]}", "model": "ridge", "kind": kind,
        "refit_date": refit, "horizon": 20, "train_start": FIRST, "train_cutoff": refit, "rows": 60,
        "features": '["demo_up","demo_down"]', "params": "{}", "artefact": text,
        "artefact_hash": digest,
    }  # fmt: skip


def z_of(scores: pl.DataFrame, coefficients: tuple[float, float]) -> dict[str, float]:
    """z of one date, by NumPy alone: standardise features, add up, standardise."""

    def standard(x: np.ndarray) -> np.ndarray:
        return (x - np.nanmean(x)) / np.nanstd(x)

    ordered = scores.sort("instrument_id")
    total = np.zeros(ordered.height)
    for name, beta in zip(FACTORS, coefficients, strict=True):
        x = ordered[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        total += beta * np.nan_to_num(standard(x).astype(np.float32).astype(np.float64))
    return dict(zip(ordered["instrument_id"], standard(total).tolist(), strict=True))


def predictions(
    scores: pl.DataFrame, days: list[date], fits: list[dict[str, object]]
) -> pl.DataFrame:
    import json

    rows = []
    for made, day in ((fits[0], days[-2]), (fits[1], days[-1])):
        body = json.loads(str(made["artefact"]))
        betas = tuple(float.fromhex(c) for c in body["coefficients"])
        for name, z in z_of(scores.filter(pl.col("date") == day), betas).items():
            rows.append(
                {
                    "model": "ridge", "kind": made["kind"], "date": day, "instrument_id": name,
                    "horizon": 20, "prediction": z / 10, "z": z, "train_cutoff": made["train_cutoff"],
                    "model_id": made["model_id"],
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=contract("models.predictions").schema())


def evaluation(days: list[date], calendar: TradingCalendar) -> pl.DataFrame:
    n = len(days) - 22
    return pl.DataFrame(
        {
            "model": ["ridge"] * n, "horizon": [20] * n, "date": days[:n], "n": [6] * n,
            "ic": [0.02] * n, "rank_ic": [0.03] * n, "spread": [0.004] * n,
            "known_at": [calendar.known_at(d) for d in days[21 : 21 + n]],
        }
    )  # fmt: skip


def coverage(days: list[date]) -> pl.DataFrame:
    """Every bar is there, and one bar in six is an outlier on the last day."""
    n = len(days)
    return pl.DataFrame(
        {
            "date": days, "table": ["clean.prices"] * n, "rows": [6] * n, "expected": [6] * n,
            "stale": [0] * n, "outliers": [0] * (n - 1) + [1], "adjusted": [0] * n,
            "rejected": [0] * n,
        }
    )  # fmt: skip


def summary() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "factor": FACTORS, "universe": ["members"] * 2, "horizon": [20] * 2, "dates": [18] * 2,
            "mean_ic": [0.01, -0.02], "mean_rank_ic": [0.012, float("nan")],
            "t_newey_west": [0.5, None], "t_non_overlapping": [0.4, None],
            "detectable_ic": [0.045, 0.045], "mean_spread": [0.001, -0.002],
            "mean_turnover": [0.3, 0.4], "coverage": [1.0, 0.8],
        }
    )  # fmt: skip


def catalog() -> pl.DataFrame:
    rows = [
        ("bias", "static_sectors", "Sectors as of 2024-03-08, a snapshot", "one day's", None),
        ("bias", "survivorship", "Only survivors", "chosen in hindsight", None),
        ("factor", "demo_down", "Demo down", "formula", None),
        ("factor", "demo_missing", "Demo missing", "formula", "the sample has closes only"),
        ("factor", "demo_up", "Demo up", "formula", None),
        ("source", "sample", "The sample", "licence", None),
        *(("table", f"layer.table{i}", f"Table {i}", None, None) for i in range(9)),
    ]
    names = ["kind", "name", "title", "detail", "reason_missing"]
    return pl.DataFrame(
        rows, schema=names, orient="row", schema_overrides=dict.fromkeys(names, pl.String)
    )


def portfolio(days: list[date], number: int) -> dict[str, pl.DataFrame]:
    last, n = days[-1], len(days)
    live = {"mandate": "balanced", "run_kind": "live", "date": last}
    weights = np.array([0.30, 0.25, 0.20, 0.15, 0.10, 0.0]) + 0.01 * number * np.array(
        [1, -1, 0, 0, 0, 0]
    )
    targets = [
        live | {
            "instrument_id": IDS[i], "weight_before": 1 / 6, "weight": float(weights[i]),
            "weight_benchmark": 1 / 6, "alpha": 0.001 * i, "volatility": 0.2, "risk_contribution": 1 / 6,
        }
        for i in range(6)
    ]  # fmt: skip
    trades = [
        live | {
            "instrument_id": IDS[i], "side": "buy" if weights[i] > 1 / 6 else "sell",
            "weight_before": 1 / 6, "weight": float(weights[i]), "value": 1e7 * (weights[i] - 1 / 6),
            "units": 10.0, "cost": 100.0 + i, "alpha_part": 0.0, "risk_part": 0.0, "cost_part": 0.0,
            "constraint_part": 0.0, "reason": f"reason {i}",
        }
        for i in range(6)
    ]  # fmt: skip
    solve = live | {
        "status": "optimal", "objective_kind": "mean_variance", "objective": 0.01, "violation": 1e-9,
        "gap": 1e-9, "volatility": 0.15, "turnover": 0.2, "ic": 0.01, "message": None,
    }  # fmt: skip
    back = solve | {"run_kind": "backtest", "date": days[-3]}
    refused = live | {
        "mandate": "impossible", "status": "infeasible", "objective": None, "violation": None,
        "objective_kind": "mean_variance",
        "gap": None, "volatility": None, "turnover": None, "ic": None,
        "message": "the weights cannot add up to 1\nraise max_weight",
    }  # fmt: skip
    nav = [
        {
            "mandate": m, "run_kind": "backtest", "date": day, "nav": 1e7 * (1 + 0.001 * d),
            "return_net": None if d == 0 else 0.001, "return_gross": None if d == 0 else 0.0011,
            "cost": 1.0, "turnover": 0.01, "cash": 0.0, "names": 6,
        }
        for m in ("balanced", "equal_weight")
        for d, day in enumerate(days)
    ]  # fmt: skip
    risk = [
        {
            "mandate": "balanced", "run_kind": "backtest", "date": day, "volatility": 0.16,
            "var_95": 0.016, "var_99": 0.025, "cvar_95": 0.02, "cvar_99": 0.03,
        }
        for day in days[n - 5 :]
    ]  # fmt: skip
    effects = [
        {
            "mandate": "balanced", "run_kind": "backtest", "date": day, "scheme": scheme,
            "benchmark": against, "effect": effect, "group": group, "value": value,
        }
        for day in days[1:]
        for scheme, against, effect, group, value in (
            ("sector", "equal_weight", "allocation", "Energy", 0.0005),
            ("sector", "equal_weight", "selection", "Energy", -0.0004),
            ("sector", "equal_weight", "cost", "spread", -0.0001),
            ("sector", "equal_weight", "residual", "", 0.0),
            ("sector", "", "contribution", "Energy", 0.0011),
            ("sector", "", "cost", "spread", -0.0001),
            ("sector", "", "residual", "", 0.0),
        )
    ]  # fmt: skip
    solves = pl.DataFrame([solve, back, refused], schema=contract("portfolio.solves").schema())
    return {
        "portfolio.targets": pl.DataFrame(targets),
        "portfolio.trades": pl.DataFrame(trades),
        "portfolio.solves": solves,
        "portfolio.nav": pl.DataFrame(nav),
        "portfolio.attribution": pl.DataFrame(effects),
        "portfolio.risk": pl.DataFrame(risk),
    }


def issued(said: pl.DataFrame, day: date, run_id: str, now: datetime, number: int) -> pl.DataFrame:
    live = said.filter(pl.col("kind") == "live")
    rows = live.select(
        pl.lit(run_id).alias("run_id"), pl.lit("prediction").alias("kind"),
        pl.col("model").alias("mandate"), "instrument_id", "horizon", "date", pl.lit("z").alias("name"),
        pl.col("z").alias("value"), pl.col("model_id").alias("text"), pl.lit(now).alias("issued_at"),
    )  # fmt: skip
    targets = portfolio([day] * 5, number)["portfolio.targets"].select(
        pl.lit(run_id).alias("run_id"), pl.lit("target").alias("kind"), "mandate", "instrument_id",
        pl.lit(0, pl.Int32).alias("horizon"), "date", pl.lit("weight").alias("name"),
        pl.col("weight").alias("value"), pl.lit(None, pl.String).alias("text"),
        pl.lit(now).alias("issued_at"),
    )  # fmt: skip
    return contract("record.issued").conform(pl.concat([rows, targets], how="vertical_relaxed"))


def checks(run_id: str, now: datetime) -> pl.DataFrame:
    rows = {
        "run_id": [run_id] * 2, "table": ["clean.prices"] * 2, "check": ["positive", "fresh"],
        "column": ["close", ""], "severity": ["error", "warn"], "success": [True, False],
        "unexpected": [0, 1], "rows": [240, 240], "examples": [None, "[]"], "checked_at": [now] * 2,
    }  # fmt: skip
    return contract("meta.checks").conform(
        pl.DataFrame(rows, schema=contract("meta.checks").schema())
    )
