"""Ingestion: what the source has and the lake has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.utils.logging import get_logger

if TYPE_CHECKING:
    from wealthos_pipeline.data.sources import RawFrames
    from wealthos_pipeline.data.storage.lake import Lake

OVERLAP = 30
"""Sessions before the last stored bar that are fetched again, to notice restatements."""

_HISTORIES = {"raw.prices": ("source", "symbol"), "raw.series": ("source", "series", "tenor")}

_RAW = ("raw.prices", "raw.series", "raw.instruments", "raw.membership")


def _since(work: Work) -> date | None:
    session = work.session
    if session.full:
        return None
    last = session.lake.scan("raw.prices").filter(pl.col("source") == session.source.name)
    day = last.select(pl.col("date").max()).collect().item()
    previous = session.run.previous
    told = None if previous is None else previous.config.get("time", {}).get("start")
    if told != work.settings.public()["time"]["start"]:
        return None  # another beginning of the data
    return None if day is None else session.calendar.offset(day, -OVERLAP)


def _begins(lake: Lake, fetched: RawFrames, since: date) -> bool:
    """Whether something came of which the lake has nothing since ``since``: a new symbol or series, or
    one that was not kept up. Its history before ``since`` is missing then."""
    return any(
        getattr(fetched, table.removeprefix("raw."))
        .join(lake.read(table, start=since, columns=by), on=by, how="anti")
        .height
        for table, by in _HISTORIES.items()
    )


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
    """Asks the source for what is missing plus an overlap, and appends the rows that differ."""
    from wealthos_pipeline.data.processors import raw
    from wealthos_pipeline.data.sources import Request

    session, time = work.session, work.settings.time
    since = _since(work)
    request = Request(
        start=time.start,
        end=time.end,
        now=work.session.now,
        calendar=session.calendar,
        since=since,
    )
    fetched = session.source.fetch(request)
    if since is not None and _begins(session.lake, fetched, since):
        since = None
        fetched = session.source.fetch(replace(request, since=None))
    _say(fetched.failures)
    frames = {
        "raw.prices": fetched.prices,
        "raw.series": fetched.series,
        "raw.instruments": fetched.instruments,
        "raw.membership": fetched.membership,
        "raw.rejected": fetched.rejected,
    }
    failures = fetched.failures.unique(maintain_order=True).with_columns(
        pl.lit(session.run.run_id).alias("run_id"), pl.lit(session.source.name).alias("source")
    )
    return {"meta.failures": failures} | {
        name: raw.new_rows(
            session.lake.read(name, start=since if contract(name).date_column else None),
            frame,
            contract(name),
        )
        for name, frame in frames.items()
    }


def _say(failures: pl.DataFrame) -> None:
    """One line a reason; the names are in ``meta.failures``."""
    log = get_logger("ingest")
    for (reason,), part in failures.group_by("reason", maintain_order=True):
        names = part["symbol"].to_list()
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        log.warning("%s: %s", shown, reason)


STAGES: tuple[Stage, ...] = (ingest,)
