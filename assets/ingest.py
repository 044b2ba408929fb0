"""Ingestion: what the source has and the lake has not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.utils.logging import get_logger

OVERLAP = 30
"""Sessions before the last stored bar that files are read again from, to notice restatements."""

LINES = 20
"""Reasons that are said in the log; all of them are in ``meta.failures``."""

_RAW = (
    "raw.prices", "raw.series", "raw.instruments", "raw.membership", "raw.fundamentals", "raw.macro",
    "raw.news", "raw.earnings",
)  # fmt: skip


def _anew(work: Work) -> bool:
    """Whether everything is wanted: asked for, or the data begin elsewhere than they did."""
    previous = work.session.run.previous
    told = None if previous is None else previous.config.get("time", {}).get("start")
    return work.session.full or told != work.settings.public()["time"]["start"]


def _since(work: Work) -> date | None:
    from wealthos_pipeline.data.sources.ingestion import early

    session = work.session
    mine = (pl.col("source") == session.source.name) & ~early()
    last = session.lake.scan("raw.prices").filter(mine)
    day = last.select(pl.col("date").max()).collect().item()
    return None if day is None else session.calendar.offset(day, -OVERLAP)


@stage(
    *(contract(t) for t in _RAW),
    contract("raw.rejected"),
    contract("meta.failures"),
    group="ingest",
    always=True,
    kinds=("deltalake",),
    owner="team:data",
    plots={"raw.series": "value"},
)
def ingest(work: Work) -> Mapping[str, pl.DataFrame]:
    """Asks the source for what is missing plus an overlap, and appends the rows that differ.

    A vendor that gives nothing while the lake has its bars is a failure in the table: the run goes on.
    """
    from wealthos_pipeline.data.sources import Request, ingestion

    session, time = work.session, work.settings.time
    anew = _anew(work)
    plans = getattr(session.source, "plans", False)
    stored = ingestion.Stored(
        session.lake,
        session.calendar,
        session.source.name,
        now=session.now,
        overlap=work.settings.fetch.overlap_sessions,
        symbols=getattr(session.source, "symbols", ()),
    )
    previous = session.run.previous
    request = Request(
        start=time.start,
        end=time.end,
        now=session.now,
        calendar=session.calendar,
        since=None if anew or plans else _since(work),
        full=anew,
        asked=previous.started_at if plans and previous is not None else None,
    )
    frames = ingestion.gather(
        session.source, session.lake, request, run_id=session.run.run_id, stored=stored
    )
    _say(frames["meta.failures"])
    return frames


def _say(failures: pl.DataFrame) -> None:
    """One line a reason, the commonest first; the names are in ``meta.failures``."""
    log = get_logger("ingest")
    names: dict[str, list[str]] = {}
    for symbol, reason in failures.select("symbol", "reason").iter_rows():
        words = reason if symbol == "*" else reason.replace(symbol, "…")
        names.setdefault(words, []).append("everything" if symbol == "*" else symbol)
    ordered = sorted(names.items(), key=lambda item: -len(item[1]))
    for reason, who in ordered[:LINES]:
        more = f" and {len(who) - 3} more" if len(who) > 3 else ""
        log.warning("%s: %s", ", ".join(who[:3]) + more, reason)
    if len(ordered) > LINES:
        log.warning("%d more reasons: see meta.failures", len(ordered) - LINES)


STAGES: tuple[Stage, ...] = (ingest,)
