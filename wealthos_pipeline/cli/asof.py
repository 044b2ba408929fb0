"""The report of a past day, rebuilt from what could have been known on it.

A scratch root gets the raw rows known at that evening, and the whole graph but ingestion runs on it
with the clock set to then. What arrives later has no way in, so the page is the same whenever it is
made.
"""

from __future__ import annotations

import shutil
import uuid
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.cli.execution import given
from wealthos_pipeline.core.errors import ConfigError, NoManifestError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.utils.config import Settings

JOB = "from_raw"


def rebuild(settings: Settings, as_of: date, *, quiet: bool = False) -> Path:
    """The report of ``as_of`` under ``<reports>/asof/<date>/``; returns its path.

    Raises ConfigError for a day without a session or before the data begin, NoManifestError where
    nothing was ingested.
    """
    from wealthos_pipeline.cli.execution import execute
    from wealthos_pipeline.cli.progress import StageDisplay
    from wealthos_pipeline.cli.published import calendar, open_lake
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.utils.config import load_settings
    from wealthos_pipeline.utils.places import latest_report

    sessions = calendar(settings)
    if not sessions.is_session(as_of):
        raise ConfigError(
            f"{as_of} was not a session of {sessions.exchange}; the last one before it was "
            f"{sessions.offset(as_of, 0)}."
        )
    now = sessions.known_at(as_of)
    source = open_lake(settings)
    scratch = Path(settings.root) / "asof" / as_of.isoformat()
    shutil.rmtree(scratch, ignore_errors=True)
    with StageDisplay(f"report as of {as_of}", quiet=quiet) as display:
        display.say("selecting what was known")
        copied = copy_known(source, Lake(scratch, calendar=sessions), now, sessions)
        if not copied.get("raw.prices"):
            raise ConfigError(
                f"no bar was known on {as_of}: {first_bar(source)}. Choose a later day."
            )
        overrides = remembered(settings, source)
        overrides |= {"root": str(scratch), "reports": str(scratch / "reports")}
        # a page of the past goes to nobody
        overrides["mail"] = {"host": None}
        then = load_settings(**overrides)
        execute(JOB, then, overrides, display, now=now, run_id=name_of(as_of, then))
    made = latest_report(then.reports)
    if made is None:
        raise NoManifestError(f"the rebuilt run made no report for {as_of}; see {scratch}")
    place = Path(settings.reports) / "asof" / as_of.isoformat()
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made.parent, place)
    return place / made.name


def remembered(settings: Settings, lake: Lake) -> dict[str, Any]:
    """Nested settings of the rebuilt run: what the last published run was told on its command line,
    and what is set now over it."""
    from wealthos_pipeline.data.storage.manifest import last_or_none

    last = last_or_none(lake)
    told = {} if last is None else given(Path(settings.root), last.run_id)
    now = settings.model_dump(mode="json", exclude={"mail"}, exclude_unset=True)
    for part, values in now.items():
        both = isinstance(values, dict) and isinstance(told.get(part), dict)
        told[part] = told[part] | values if both else values
    return told


def name_of(as_of: date, settings: Settings) -> str:
    """The run's id: the same for the same day and settings, so that the same page comes out."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"wealthos as of {as_of} {settings.config_hash}"))


def copy_known(
    source: Lake, target: Lake, now: datetime, sessions: TradingCalendar
) -> dict[str, int]:
    """Append to ``target`` the raw rows that could have been known at ``now``; rows by table."""
    from wealthos_pipeline.data.processors import raw

    copied: dict[str, int] = {}
    for table in source.tables():
        if not table.startswith("raw."):
            continue
        known = raw.as_of(source.read(table), now, sessions, table)
        copied[table] = known.height
        if known.height:
            target.append(table, known)
    return copied


def first_bar(lake: Lake) -> str:
    """When the raw bars begin, in words."""
    import polars as pl

    dates: pl.DataFrame = lake.scan("raw.prices").select(pl.col("date").min()).collect()
    first = dates.item()
    return "nothing has been ingested yet" if first is None else f"the data begin on {first}"
