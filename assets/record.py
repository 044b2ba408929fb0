"""Alerts, the record of what was issued, coverage and checks: the last tables before publication."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline import factors
from wealthos_pipeline.core.data import contract, history_contract
from wealthos_pipeline.core.data import load as declared
from wealthos_pipeline.utils.code import file_hash

_ISSUED = (
    "models.predictions",
    "portfolio.targets",
    "portfolio.trades",
    "portfolio.risk",
    "monitor.alerts",
)
_JUDGED = (
    "portfolio.nav",
    "portfolio.risk", "portfolio.risk_outcomes", "portfolio.solves", "portfolio.targets",
    "factors.performance", "models.evaluation", "models.drift", "models.live", "monitor.regime", "clean.quarantine", "clean.prices",
)  # fmt: skip


@stage(
    contract("meta.coverage"),
    group="publish",
    inputs=(
        "clean.prices",
        "clean.adjustments",
        "clean.quarantine",
        "factors.scores_equity",
        "clean.instruments",
        "clean.membership",
    ),
    rooms=("data/processors/coverage.py", "data/processors/health.py"),
    owner="team:data",
    checked=("meta.coverage",),
    plots={"meta.coverage": "rows"},
)
def coverage(work: Work) -> Mapping[str, pl.DataFrame]:
    """Bars and scores by session, beside the number of instruments alive, and what rules found."""
    from wealthos_pipeline.data.processors import coverage as room
    from wealthos_pipeline.data.processors import health

    calendar, keys = work.session.calendar, ["date", "instrument_id"]
    bars = work.read("clean.prices", back=room.ALIVE + 1, columns=keys)
    days = None if work.start is None else calendar.sessions(work.start, work.end)
    scores = work.read("factors.scores_equity", back=0, columns=["date"])
    equities = bars.filter(pl.col("instrument_id").is_in(work.equities))
    whole = room.coverage(bars, calendar, days)
    marks = health.marks(
        work.read("clean.prices", back=0, columns=["date", "flags"]),
        work.read("clean.adjustments", back=0),
        work.read("clean.quarantine", back=0),
        whole["date"].to_list(),
    )
    work.note("meta.coverage", "health by month", _heat(work, marks, whole))
    return {
        "meta.coverage": pl.concat(
            [
                whole.drop(marks.columns[1:]).join(marks, on="date", how="left"),
                room.coverage(equities, calendar, days, table="factors.scores_equity", rows=scores),
                room.members(bars, work.read("clean.membership"), calendar, days),
            ],
            how="diagonal",
        )
    }


def _heat(work: Work, marks: pl.DataFrame, whole: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The last months as text, for the UI: a line a mark, a character a month."""
    from wealthos_pipeline.data.processors import health

    new = whole.drop(marks.columns[1:]).join(marks, on="date", how="left")
    since = work.start
    old = work.read("meta.coverage") if since is not None else new.clear()
    kept = old.filter(pl.col("date") < since) if since is not None else old
    months = health.monthly(pl.concat([kept, new.select(kept.columns)]))
    lines = [
        f"{mark:<9} {line}  worst {100 * worst:.2f} %" for mark, line, worst in health.heat(months)
    ]
    body = "\n".join(lines)
    return dg.MetadataValue.md(
        f"```\n{body}\n```\nshare of bars: · none ░ 0.01 % ▒ 0.1 % ▓ 1 % █ 10 %"
    )


@stage(
    contract("monitor.alerts"),
    group="monitor",
    inputs=(
        *_JUDGED,
        "clean.series",
        "meta.coverage",
        "factors.admissions",
        "models.registry",
        "models.predictions",
        "models.champions",
    ),
    rooms=tuple(
        f"market_monitor/{name}.py"
        for name in ("alerts", "evidence", "known", "model_health", "rules")
    ),
    owner="team:portfolio",
    definition=lambda s: file_hash(s.root / "failures.jsonl"),
    latest_only={"monitor.alerts": None},
)
def alerts(work: Work) -> Mapping[str, pl.DataFrame]:
    """What a person should look at on the latest session, with severity and one sentence each."""
    from wealthos_pipeline.data.storage import failures
    from wealthos_pipeline.market_monitor import alerts as room

    session = work.session
    frames = room.gather(session.lake.read, dates=[work.end], calendar=session.calendar)
    frames["meta.checks"] = _checks(work)
    found = room.evaluate(
        frames,
        dates=[work.end],
        calendar=session.calendar,
        run_id=session.run.run_id,
        factors=tuple(session.library.factors.values()),
    )
    previous = session.run.previous
    failed = failures.read(work.settings.root, since=previous and previous.finished_at)
    told = [
        found,
        room.failed_runs(failed, work.end),
        room.refused_factors(session.lake.read("factors.admissions"), work.end),
        room.stale_fits(session.lake.read("models.registry"), work.end),
        _unserved(work),
    ]
    return {"monitor.alerts": pl.concat(told)}


def _unserved(work: Work) -> pl.DataFrame:
    """Slots and models without a live prediction for the latest session, where there are fits at all."""
    from wealthos_pipeline.market_monitor import alerts as room
    from wealthos_pipeline.ml.champions import champion_at

    lake, settings, end = work.session.lake, work.settings.models, work.end
    live = lake.read("models.predictions", start=end, end=end, columns=["model", "kind"])
    champions = lake.read("models.champions")
    slots = champions["slot"].unique().sort().to_list()
    return room.unserved(
        live.filter(pl.col("kind") == "live")["model"].unique().to_list(),
        settings.names,
        {slot: champion_at(champions, slot) for slot in slots},
        end,
    )


def _checks(work: Work) -> pl.DataFrame:
    """This run's check results, and for tables that it had no reason to check those that stand."""
    session = work.session
    made = [*session.checks, contract("meta.checks").empty()]
    new = pl.concat(made)
    previous = session.run.previous
    old = session.lake.read("meta.checks").filter(
        pl.col("run_id") == (previous.run_id if previous else ""),
        ~pl.col("table").is_in(new["table"].unique().to_list()),
    )
    return pl.concat([new, old.with_columns(pl.lit(session.run.run_id).alias("run_id"))])


@stage(
    contract("record.issued"),
    group="publish",
    inputs=_ISSUED,
    rooms=("data/storage/record.py",),
    owner="team:portfolio",
    kinds=("deltalake",),
)
def issued(work: Work) -> Mapping[str, pl.DataFrame]:
    """Every prediction, target, trade, alert and risk forecast as issued by this run, for good."""
    from wealthos_pipeline.data.storage import record

    lake, end = work.session.lake, work.end
    rows = record.rows(
        {name: lake.read(name, start=end, end=end) for name in _ISSUED},
        run_id=work.session.run.run_id,
        issued_at=work.session.now,
    )
    return {"record.issued": rows}


@stage(
    contract("meta.checks"),
    group="publish",
    inputs=("record.issued",),
    owner="team:data",
    always=True,
)
def checks(work: Work) -> Mapping[str, pl.DataFrame]:
    """The results of all data checks as they stand after this run."""
    return {"meta.checks": _checks(work)}


@stage(
    contract("meta.catalog"),
    group="publish",
    inputs=(
        "factors.summary",
        "factors.admissions",
        "models.registry",
        "clean.series",
        "clean.fundamentals",
        "clean.gaps",
    ),
    owner="team:data",
    always=True,
)
def catalog(work: Work) -> Mapping[str, pl.DataFrame]:
    """Tables, columns, factors, models, the source and its biases, in words; what is missing and why."""
    from wealthos_pipeline.data.sources import snapshots
    from wealthos_pipeline.data.storage import catalog as room
    from wealthos_pipeline.factors import admission

    session = work.session
    refused = admission.refused(session.lake.read("factors.admissions"), session.library)
    prices = session.lake.scan("clean.prices").select(pl.all().count()).collect().row(0, named=True)
    available = [name for name, filled in prices.items() if filled]
    pairs = session.lake.scan("clean.series", columns=["series", "tenor"]).unique().collect()
    series = pairs.select("series", "tenor").sort("series", "tenor").rows()
    reported = session.lake.scan("clean.fundamentals", columns=["metric"]).unique().collect()
    families = [family.contract for family in session.library.families()]
    fixed = list(declared().values())
    histories = [history_contract(c) for c in fixed if c.restatable]
    contracts = [*fixed, *histories, *families, *factors.scores_contracts(session.library)]
    return {
        "meta.catalog": room.build(
            contracts,
            factors=tuple(session.library.factors.values()),
            missing=session.library.missing_reasons(available, series, reported["metric"].to_list())
            | refused
            | session.failed_factors,
            info=snapshots.declared(session.source.info(), session.lake.read),
        )
    }


STAGES: tuple[Stage, ...] = (coverage, alerts, issued, checks, catalog)
