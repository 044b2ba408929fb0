"""``fake_lake_frames``: every table that a report reads, seeded, through the contracts.

20 names, 2004–2022, with turbulent stretches in 2008 and 2020; weights, NAVs, VaR and attribution
are worked out from the same returns, so that what must add up does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources.base import Bias, SourceInfo
from wealthos_pipeline.market_monitor import opportunity, regime, scanner
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]

FIRST, LAST = date(2004, 1, 2), date(2022, 12, 28)
RUN, BEFORE = "20221228T213000Z-b2", "20221227T213000Z-a1"
SYMBOLS = [
    "AAPL",
    "AMD",
    "BAC",
    "BBY",
    "CVX",
    "GE",
    "HD",
    "JNJ",
    "JPM",
    "KO",
    "LLY",
    "MRK",
    "MSFT",
    "PEP",
    "PFE",
    "PG",
    "RRC",
    "UNH",
    "WMT",
    "XOM",
]
SECTORS = ("Technology", "Financials", "Energy", "Health Care", "Consumer Staples")
FACTOR_TITLES = {
    "momentum_12_1": ("12-month momentum, skipping the last month", 1, 0.012),
    "momentum_6_1": ("6-month momentum, skipping the last month", 1, 0.006),
    "reversal_5": ("5-day reversal", -1, -0.016),
    "reversal_21": ("21-day reversal", -1, -0.01),
    "volatility_60": ("60-day volatility", -1, 0.02),
    "beta_252": ("Beta to the universe, 252 sessions", -1, 0.015),
    "idio_vol_60": ("Specific volatility, 60 sessions", -1, 0.01),
    "max_return_21": ("Largest daily return of 21 sessions", -1, 0.008),
    "trend_120": ("Slope of log price, 120 sessions", 1, 0.004),
    "rsi_14": ("Relative strength index, 14 sessions", -1, -0.004),
    "high_52w_distance": ("Distance to the 52-week high", 1, 0.011),
    "skew_120": ("Skewness of daily returns, 120 sessions", -1, 0.0),
}
MANDATES = (
    Mandate(name="core_equity", title="Core equity, ridge alphas", live=True),
    Mandate(name="minimum_variance", title="Minimum variance", objective="min_variance"),
    Mandate(name="impossible", title="A mandate that cannot be met", max_volatility=0.01),
)


def instrument(symbol: str) -> str:
    return f"XNYS:{symbol}"


class Lake:
    """Frames by table name, read as the lake reads them."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.reads: list[str] = []

    def __call__(
        self, table: str, *, start: date | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        declared = contract(table)
        self.reads.append(table)
        frame = self.frames.get(table, declared.empty())
        if start is not None and declared.date_column:
            frame = frame.filter(pl.col(declared.date_column) >= start)
        return frame.select(columns or list(declared.column_names))


def fake_frames(names: Sequence[str] = tuple(SYMBOLS), *, first: date = FIRST) -> Frames:
    """All tables. More names than ``SYMBOLS`` may be asked for, with a later ``first``."""
    rng = np.random.default_rng(20221228)
    calendar = TradingCalendar()
    days = calendar.frame(first, LAST)
    dates = days["date"].to_list()
    ids = [instrument(s) for s in names]
    ret = _returns(rng, dates, len(ids))
    frames: Frames = {}
    prices = _prices(days, ids, ret)
    frames["clean.prices"] = prices
    frames["clean.instruments"] = _instruments(names, calendar, first)
    frames["clean.series"] = _series(rng, days)
    frames["monitor.regime"] = regime.filtered(regime.market_returns(prices), calendar)
    frames["monitor.signals"] = scanner.scan(prices, start=calendar.offset(LAST, -30))
    frames["factors.performance"] = _performance(rng, days)
    frames |= _models(rng, days, ids)
    frames |= _portfolio(rng, days, ids, names, ret)
    scores = _scores(rng, ids)
    frames["monitor.opportunities"] = opportunity.rank(
        frames["models.predictions"].filter(pl.col("date") == LAST),
        scores,
        calendar=calendar,
        evaluation=frames["models.evaluation"],
        factors=fake_factors(),
        instruments=frames["clean.instruments"],
    )
    frames |= _meta(days, frames)
    frames["record.issued"] = _record(rng, frames)
    return frames


def fake_factors() -> tuple[Factor, ...]:
    return tuple(
        Factor(
            name=name,
            asset_class=AssetClass.EQUITY,
            family="fake",
            direction=direction,
            title=title,
            reference="a test",
            expression="$close",
        )
        for name, (title, direction, _) in FACTOR_TITLES.items()
    )


def fake_info() -> SourceInfo:
    return SourceInfo(
        name="sample",
        title="Sample: 20 US stocks, 1990–2022",
        licence="BSD-3-Clause, as the packages that carry the files",
        provenance="Adjusted closes from the data sets of skfolio; indices from arch",
        biases=(
            Bias("survivorship", "Survivorship", "20 survivors chosen in hindsight"),
            Bias("back_adjustment", "Back-adjustment", "closes adjusted on 2023-01-01 <later>"),
            Bias("price_index", "Price index", "the index has no dividends & flatters comparisons"),
        ),
        missing={
            "volume": "the sample has closes only",
            "yield_curve": "the sample has no Treasury curve, only monthly AAA and BAA yields",
        },
    )


def _returns(rng: np.random.Generator, dates: list[date], n: int) -> np.ndarray:
    crisis = np.array(
        [
            (d.year == 2008 and d.month > 8)
            or (d.year == 2020 and d.month in (2, 3, 4))
            or (d.year == 2009 and d.month < 4)
            for d in dates
        ]
    )
    slow = 1 + 0.25 * np.sin(np.arange(len(dates)) / 260)
    market = (
        0.0005 + 0.008 * slow * np.where(crisis, 3.2, 1.0) * rng.standard_t(5, len(dates)) / 1.29
    )
    market = np.where(crisis, market - 0.0012, market)
    beta = 0.5 + 1.0 * rng.random(n)
    own = (0.008 + 0.012 * rng.random(n)) * rng.standard_t(5, (len(dates), n)) / 1.29
    out: np.ndarray = np.clip(market[:, None] * beta + own, -0.4, 0.4)
    out[0] = 0
    return out


def _prices(days: pl.DataFrame, ids: list[str], ret: np.ndarray) -> pl.DataFrame:
    tr = np.cumprod(1 + ret, axis=0)
    parts = [
        days.select("date", "slot", "known_at").with_columns(
            instrument_id=pl.lit(name),
            close=pl.Series(np.round(40 * tr[:, i], 4)),
            split_ratio=pl.lit(1.0),
            split_index=pl.lit(1.0),
            tr_index=pl.Series(tr[:, i]),
            flags=pl.lit(0, pl.Int32),
            currency=pl.lit("USD"),
            source=pl.lit("sample"),
            basis=pl.lit("assumed"),
        )
        for i, name in enumerate(ids)
    ]
    return contract("clean.prices").conform(pl.concat(parts))


def _instruments(names: Sequence[str], calendar: TradingCalendar, first: date) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "instrument_id": [instrument(s) for s in names],
            "symbol": list(names),
            "name": [f"{s} <Inc> & Co" for s in names],
            "asset_class": "equity",
            "sector": [SECTORS[i % len(SECTORS)] for i in range(len(names))],
            "exchange": "XNYS",
            "currency": "USD",
            "source": "sample",
            "valid_from": first,
            "static": True,
            "known_at": calendar.known_at(first),
        }
    )
    return contract("clean.instruments").conform(frame)


def _series(rng: np.random.Generator, days: pl.DataFrame) -> pl.DataFrame:
    n = days.height
    level = 3 + np.cumsum(0.03 * rng.standard_normal(n)) / 3
    parts = []
    for k, tenor in enumerate(
        ["1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y"]
    ):
        parts.append(
            ("ust_par", tenor, "percent", level + 0.12 * k - 0.3 + 0.02 * rng.standard_normal(n), n)
        )
    parts.append(("vix", "", "index", 15 * np.exp(np.sin(np.arange(n) / 90) / 2), n))
    parts.append(("wti", "", "usd", 50 * np.exp(np.sin(np.arange(n) / 300) / 2), n - 12))
    frames = [
        days[:length].select("date", "known_at").with_columns(
            series=pl.lit(series), tenor=pl.lit(tenor), unit=pl.lit(unit),
            value=pl.Series(np.round(values[:length], 2)), frequency=pl.lit("day"),
            source=pl.lit("sample"), basis=pl.lit("assumed"),
        )
        for series, tenor, unit, values, length in parts
    ]  # fmt: skip
    return contract("clean.series").conform(pl.concat(frames))


def _labelled(days: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """Dates whose label is known by the last session, with its ``known_at``."""
    known = days["known_at"].to_list()
    m = days.height - 1 - horizon
    return days[:m].select("date").with_columns(known_at=pl.Series(known[1 + horizon :]))


def _smooth(rng: np.random.Generator, n: int, horizon: int) -> np.ndarray:
    noise = rng.standard_normal(n + horizon)
    return np.convolve(noise, np.ones(horizon) / np.sqrt(horizon), "valid")[:n]


def _performance(rng: np.random.Generator, days: pl.DataFrame) -> pl.DataFrame:
    parts = []
    for horizon in (5, 20):
        base = _labelled(days, horizon)[260:]
        for name, (_, _, mean) in FACTOR_TITLES.items():
            ic = mean + 0.23 * _smooth(rng, base.height, horizon)
            parts.append(
                base.with_columns(
                    factor=pl.lit(name), universe=pl.lit("all"),
                    horizon=pl.lit(horizon, pl.Int32), n=pl.lit(20, pl.Int32),
                    rank_ic=pl.Series(ic), ic=pl.Series(ic * 0.9),
                    spread=pl.Series(0.002 + 0.01 * ic),
                )
            )  # fmt: skip
    return contract("factors.performance").conform(pl.concat(parts))


def _models(rng: np.random.Generator, days: pl.DataFrame, ids: list[str]) -> Frames:
    base = _labelled(days, 20)[min(1000, days.height // 2) :]
    evaluation, predictions, registry = [], [], []
    for model, mean in (("ridge", 0.014), ("lightgbm", 0.006)):
        ic = mean + 0.22 * _smooth(rng, base.height, 20)
        evaluation.append(
            base.with_columns(
                model=pl.lit(model), horizon=pl.lit(20, pl.Int32), n=pl.lit(20, pl.Int32),
                rank_ic=pl.Series(ic), ic=pl.Series(ic), spread=pl.Series(0.004 + 0.02 * ic),
            )
        )  # fmt: skip
        last = days["date"].tail(30).to_list()
        z = rng.standard_normal(len(ids))
        for d in last:
            z = 0.9 * z + 0.4 * rng.standard_normal(len(ids))
            for kind in ("walk_forward", "live") if d == last[-1] else ("walk_forward",):
                predictions.append(
                    pl.DataFrame(
                        {
                            "model": model, "kind": kind, "date": d, "instrument_id": ids,
                            "horizon": 20, "prediction": 0.01 * z, "z": z,
                            "train_cutoff": date(2021, 12, 1), "model_id": f"{model}-x",
                        }
                    )
                )  # fmt: skip
        years = sorted({d.year for d in base["date"]})
        registry.append(
            pl.DataFrame(
                {
                    "model_id": [f"{model}-{y}" for y in years], "model": model,
                    "kind": "walk_forward", "refit_date": [date(y, 1, 4) for y in years],
                    "horizon": 20, "train_start": [date(y - 4, 1, 4) for y in years],
                    "train_cutoff": [date(y - 1, 12, 1) for y in years], "rows": 9000,
                    "features": "[]", "params": "{}", "artefact": "{}", "artefact_hash": "00",
                }
            )
        )  # fmt: skip
    return {
        "models.evaluation": contract("models.evaluation").conform(pl.concat(evaluation)),
        "models.predictions": contract("models.predictions").conform(pl.concat(predictions)),
        "models.registry": contract("models.registry").conform(pl.concat(registry)),
    }


def _scores(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    columns = {f: rng.standard_normal(len(ids)).astype(np.float32) for f in FACTOR_TITLES}
    return pl.DataFrame({"date": LAST, "instrument_id": ids, **columns})


def _portfolio(
    rng: np.random.Generator,
    days: pl.DataFrame,
    ids: list[str],
    names: Sequence[str],
    ret: np.ndarray,
) -> Frames:
    dates = days["date"].to_list()
    n, m = ret.shape
    start = 252
    equal = np.full(m, 1 / m)
    sector = [SECTORS[i % len(SECTORS)] for i in range(m)]
    vol = ret.std(axis=0)
    books = {
        "core_equity": np.clip(equal * np.exp(0.8 * rng.standard_normal(m)), 0, 0.15),
        "minimum_variance": vol**-2.0,
        "equal_weight": equal,
    }
    books = {k: w / w.sum() for k, w in books.items()}
    rebalances = [t for t in range(start, n) if dates[t].month != dates[t - 1].month]
    out: dict[str, list[pl.DataFrame]] = {}

    def add(table: str, frame: pl.DataFrame | dict[str, object]) -> None:
        out.setdefault(table, []).append(pl.DataFrame(frame) if isinstance(frame, dict) else frame)

    cov = np.cov(ret[-504:].T)
    for name, w in books.items():
        gross = ret[start:] @ w
        cost = np.zeros(n - start)
        turn = np.zeros(n - start)
        for t in rebalances:
            turn[t - start] = 0.08
            cost[t - start] = 0.08 * 2 * 0.0005
        net = gross - cost
        nav = 1e7 * np.cumprod(1 + net)
        run = {"mandate": name, "run_kind": "backtest"}
        add("portfolio.nav", {
            **run, "date": dates[start:], "nav": nav, "return_net": net, "return_gross": gross,
            "cost": cost * nav, "turnover": turn, "cash": 0.0, "names": m,
        })  # fmt: skip
        ewma = np.empty(n - start)
        v = gross[:60].var()
        for i, r in enumerate(gross):
            v = 0.94 * v + 0.06 * r * r
            ewma[i] = np.sqrt(v)
        add("portfolio.risk", {
            **run, "date": dates[start:], "volatility": ewma * np.sqrt(252), "var_95": 1.65 * ewma,
            "var_99": 2.5 * ewma, "cvar_95": 2.2 * ewma, "cvar_99": 3.1 * ewma,
        })  # fmt: skip
        nxt = gross[1:]
        add("portfolio.risk_outcomes", {
            **run, "date": dates[start:-1], "pnl_next": nxt,
            "exception_95": -nxt > 1.65 * ewma[:-1], "exception_99": -nxt > 2.5 * ewma[:-1],
            "known_at": days["known_at"][start + 1 :],
        })  # fmt: skip
        share = w * (cov @ w) / (w @ cov @ w)
        for kind, decisions in (("backtest", rebalances), ("live", [n - 1])):
            for t in decisions:
                drift = w * np.exp(0.05 * rng.standard_normal(m))
                drift /= drift.sum()
                run = {"mandate": name, "run_kind": kind, "date": dates[t]}
                add("portfolio.targets", {
                    **run, "instrument_id": ids, "weight_before": drift, "weight": w,
                    "weight_benchmark": 1 / m, "alpha": 0.001 * rng.standard_normal(m),
                    "volatility": vol * np.sqrt(252), "risk_contribution": share,
                })  # fmt: skip
                add("portfolio.solves", {
                    **run, "status": "optimal", "objective": 0.01, "violation": 1e-9, "gap": 1e-9,
                    "volatility": 0.15, "turnover": float(np.abs(w - drift).sum() / 2),
                    "ic": 0.006, "message": None,
                })  # fmt: skip
                if name == "equal_weight" or t < n - 70:
                    continue
                value = 1e7 * (w - drift)
                add("portfolio.trades", {
                    **run, "instrument_id": ids, "side": np.where(value > 0, "buy", "sell"),
                    "weight_before": drift, "weight": w, "value": value, "units": value / 40,
                    "cost": np.abs(value) * 0.0005, "alpha_part": 0.001, "risk_part": -0.0004,
                    "cost_part": -0.0005, "constraint_part": 0.0,
                    "reason": [f"expects +0.4 % over 20 sessions; lowers risk & adds <{s}>" for s in names],
                })  # fmt: skip
        if name == "equal_weight":
            continue
        for t in range(n - 300, n):
            active = float(net[t - start] - 0)
            bench = float(ret[t] @ equal - (0.08 * 2 * 0.0005 if t in rebalances else 0.0))
            rows: list[tuple[str, str, float]] = []
            total = 0.0
            for s in SECTORS:
                k = np.array([x == s for x in sector])
                wp, wb = w[k].sum(), equal[k].sum()
                rb = ret[t][k] @ equal[k] / wb
                rp = ret[t][k] @ w[k] / wp
                for effect, value in (
                    ("allocation", (wp - wb) * (rb - ret[t] @ equal)),
                    ("selection", wb * (rp - rb)),
                    ("interaction", (wp - wb) * (rp - rb)),
                ):
                    rows.append((effect, s, float(value)))
                    total += float(value)
            charged = -(float(cost[t - start]) - (0.08 * 2 * 0.0005 if t in rebalances else 0.0))
            rows.append(("cost", "", charged))
            rows.append(("residual", "", active - bench - total - charged))
            add("portfolio.attribution", {
                "mandate": name, "run_kind": "backtest", "date": dates[t],
                "effect": [r[0] for r in rows], "group": [r[1] for r in rows],
                "value": [r[2] for r in rows],
            })  # fmt: skip
    for kind, t in (("backtest", rebalances[-1]), ("live", n - 1)):
        add("portfolio.solves", {
            "mandate": "impossible", "run_kind": kind, "date": dates[t], "status": "infeasible",
            "objective": None, "violation": None, "gap": None, "volatility": None, "turnover": None,
            "ic": None,
            "message": "Volatility must stay at or below 1 %, but the calmest portfolio has 12.4 %; "
            "least change that is enough: 12.4 %.\nWeights must sum to 100 %; least change that is "
            "enough: a budget of 8.1 %.",
        })  # fmt: skip
    return {
        table: contract(table).conform(
            pl.concat(
                [
                    p.cast({k: v for k, v in contract(table).schema().items() if k in p.columns})
                    for p in parts
                ]
            )
        )
        for table, parts in out.items()
    }


def _meta(days: pl.DataFrame, frames: Frames) -> Frames:
    last = days["date"][-1]
    coverage = pl.concat(
        [
            frames["clean.prices"].group_by("date").agg(pl.len().alias("rows")).with_columns(table=pl.lit(t), expected=pl.lit(20 if t == "clean.prices" else 21))
            for t in ("clean.prices", "factors.scores_equity")
        ]
    ).with_columns(pl.col("rows").cast(pl.Int64))  # fmt: skip
    at = datetime(2022, 12, 28, 22, tzinfo=UTC)
    checks = [
        {
            "run_id": RUN, "table": t, "check": c, "column": col, "severity": "error",
            "success": True, "unexpected": 0, "rows": 20, "examples": "[]", "checked_at": at,
        }
        for t in ("clean.prices", "clean.series", "models.predictions", "portfolio.targets")
        for c, col in (("not_null", "date"), ("unique_key", ""), ("positive", "close"))
    ]  # fmt: skip
    runs = [
        {
            "run_id": run, "started_at": at - timedelta(days=d), "finished_at": at - timedelta(days=d),
            "as_of": day, "source": "sample", "tables": "{}", "consumed": "{}", "code_version": "abc",
            "config_hash": Settings().config_hash, "config": json.dumps({}), "lock_hash": "00",
            "lake_version": 1,
        }
        for run, d, day in ((BEFORE, 1, date(2022, 12, 27)), (RUN, 0, last))
    ]  # fmt: skip
    quarantine = {
        "table": "raw.prices", "source": "sample", "symbol": "GE", "date": date(2009, 3, 9),
        "fetched_at": datetime(2022, 12, 1, tzinfo=UTC), "rule": "spike", "detail": "x",
        "known_at": datetime(2009, 3, 10, tzinfo=UTC),
    }  # fmt: skip
    return {
        "meta.coverage": contract("meta.coverage").conform(coverage),
        "meta.checks": contract("meta.checks").conform(pl.DataFrame(checks)),
        "meta.runs": contract("meta.runs").conform(pl.DataFrame(runs)),
        "clean.quarantine": contract("clean.quarantine").conform(pl.DataFrame([quarantine])),
    }


def _record(rng: np.random.Generator, frames: Frames) -> pl.DataFrame:
    """What the two runs issued: the second is what the tables say, the first a little different."""
    issued = contract("record.issued")
    targets = frames["portfolio.targets"].filter(
        (pl.col("run_kind") == "live") & (pl.col("mandate") != "equal_weight")
    )
    said = frames["models.predictions"].filter(pl.col("kind") == "live")
    parts = []
    for run, day, shake in ((BEFORE, date(2022, 12, 27), 1.0), (RUN, LAST, 0.0)):
        at = datetime.combine(day, datetime.min.time(), tzinfo=UTC) + timedelta(hours=22)
        for kind, frame, owner, name, column, size in (
            ("target", targets, "mandate", "weight", "weight", 0.01),
            ("prediction", said, "model", "z", "z", 0.3),
        ):
            value = frame[column].to_numpy() + shake * size * rng.standard_normal(frame.height)
            parts.append(
                frame.select(pl.col(owner).alias("mandate"), "instrument_id").with_columns(
                    run_id=pl.lit(run), kind=pl.lit(kind), date=pl.lit(day), name=pl.lit(name),
                    horizon=pl.lit(20 if kind == "prediction" else 0, pl.Int32),
                    value=pl.Series(value), text=pl.lit(None, pl.String), issued_at=pl.lit(at),
                )
            )  # fmt: skip
        parts.append(
            pl.DataFrame(
                {
                    "mandate": "", "instrument_id": ["impossible", "wti"], "run_id": run,
                    "kind": "alert", "date": day,
                    "name": ["mandate_infeasible", "stale_series"], "horizon": 0, "value": None,
                    "text": "critical: words", "issued_at": at,
                }
            ).with_columns(pl.col("issued_at").cast(pl.Datetime("us", "UTC")))
        )  # fmt: skip
    cast = [p.cast({k: v for k, v in issued.schema().items() if k in p.columns}) for p in parts]
    return issued.conform(pl.concat([p.select(issued.column_names) for p in cast]))


@pytest.fixture(scope="session")
def fake_lake_frames() -> Frames:
    """Every table that a report reads. Do not change the frames: copy the dict."""
    return fake_frames()


@pytest.fixture(scope="session")
def lake_of() -> Callable[[Frames], Lake]:
    """Frames → ``read`` callable."""
    return Lake


@pytest.fixture(scope="session")
def source_info() -> SourceInfo:
    return fake_info()


@pytest.fixture(scope="session")
def factor_definitions() -> tuple[Factor, ...]:
    return fake_factors()


@pytest.fixture(scope="session")
def mandate_definitions() -> tuple[Mandate, ...]:
    return MANDATES
