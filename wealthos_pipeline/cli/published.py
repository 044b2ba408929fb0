"""What the commands read: the tables of one published run, never a half-written one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError, NoManifestError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.data.storage.manifest import Manifest, Snapshot
    from wealthos_pipeline.utils.config import Settings


@dataclass(frozen=True)
class Published:
    """The last published run of a root."""

    settings: Settings
    lake: Lake
    manifest: Manifest
    snapshot: Snapshot

    def read(self, table: str) -> pl.DataFrame:
        """A table of the run; one that the run does not have reads as empty."""
        return self.snapshot.read(table)

    def symbols(self) -> dict[str, str]:
        """``instrument_id`` → latest symbol; of several that had a symbol the present one comes last."""
        instruments = self.read("clean.instruments").sort("instrument_id", "valid_from")
        last = instruments.unique("instrument_id", keep="last", maintain_order=True)
        last = last.sort("valid_to", "instrument_id", nulls_last=True)
        return dict(last.select("instrument_id", "symbol").iter_rows())


def open_lake(settings: Settings) -> Lake:
    """The lake of a root that exists; NoManifestError where nothing was ever written."""
    if not (Path(settings.root) / "lake").is_dir():
        raise NoManifestError(
            f"there is no lake under {settings.root}. Make one with `wealthos run`, "
            "or name another root with --root."
        )
    from wealthos_pipeline.data.storage.lake import Lake

    return Lake(settings.root, block_mb=settings.machine.block_mb, calendar=calendar(settings))


def open_last(settings: Settings) -> Published:
    """The last published run; NoManifestError with the next step where there is none."""
    from wealthos_pipeline.data.storage import manifest as manifests

    lake = open_lake(settings)
    last = manifests.last_or_none(lake)
    if last is None:
        raise NoManifestError(
            f"no run has been published under {settings.root} yet. Start one with `wealthos run`."
        )
    return Published(settings, lake, last, manifests.Snapshot(lake, last))


def calendar(settings: Settings) -> TradingCalendar:
    """The exchange's calendar that the settings name."""
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    return TradingCalendar(settings.source.exchange, settings.time.known_lag_minutes)


def instant(text: str, sessions: TradingCalendar | None = None) -> datetime:
    """An instant from ISO text, UTC.

    A day means: when the bar of that session (else of the last one before it) was known, or the
    end of the day, whichever is later on a day without a session. Without a zone, UTC is meant.
    """
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            if sessions is not None and sessions.is_session(day):
                return sessions.known_at(day)
            return datetime.combine(day, time(23, 59, 59), UTC)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a date or an instant. Write 2008-09-15 or 2008-09-15T20:30:00+00:00."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def day(text: str | None, option: str) -> date | None:
    """A date from ISO text; ConfigError names the option."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not a date. Write it as 2008-09-15.") from None
