"""Publication: the manifest makes the run visible; warehouse, report and mail follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets._shared.describe import asset_key
from assets._shared.resources import Session, SessionResource
from assets._shared.stage import FRESH
from wealthos_pipeline.utils.logging import get_logger

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.manifest import Manifest

_LOG = get_logger("stage")


def _timed(name: str, work: Callable[[], dict[str, Any]]) -> dg.MaterializeResult:
    started = time.perf_counter()
    _LOG.info("started", extra={"stage": name})
    metadata = work()
    _LOG.info(
        "finished",
        extra={
            "stage": name,
            "seconds": time.perf_counter() - started,
            "note": str(metadata.get("note", "")),
        },
    )
    return dg.MaterializeResult(metadata=metadata)


def _manifest(session: Session) -> Manifest:
    """This run's manifest, or the last complete one when only the report is made again."""
    from wealthos_pipeline.core.errors import NoManifestError
    from wealthos_pipeline.data.storage import manifest as room

    found = session.manifest or room.last(session.lake)
    if found is None:
        raise NoManifestError(
            f"nothing has been published under {session.settings.root}; start with `wealthos run`"
        )
    return found


def publication(tables: Iterable[str]) -> list[dg.AssetsDefinition]:
    """The assets after the last table: manifest → warehouse, report → mail."""

    @dg.asset(
        key=["publish", "manifest"],
        group_name="publish",
        deps=[asset_key(t) for t in tables],
        kinds={"deltalake"},
        owners=["team:data"],
        freshness_policy=FRESH,
    )
    def manifest(session: SessionResource) -> dg.MaterializeResult:
        """One row in `meta.runs`, appended last: from here on readers see this run, whole."""
        s = session.current

        def work() -> dict[str, Any]:
            import polars as pl

            last = s.lake.scan("clean.prices").select(pl.col("date").max()).collect().item()
            if last is None:
                from wealthos_pipeline.core.errors import SourceError

                raise SourceError(
                    f"source {s.settings.source.name!r} gave no usable bar; see clean.quarantine "
                    "(`wealthos data quarantine`) for what was rejected"
                )
            s.manifest = s.run.publish(as_of=last, source=s.source.name, finished_at=s.clock)
            return {
                "run": s.manifest.run_id,
                "as of": str(last),
                "configuration": s.manifest.config_hash,
                "code": s.manifest.code_version,
                "tables": dg.MetadataValue.json(s.manifest.tables),
            }

        return _timed("manifest", work)

    @dg.asset(
        key=["publish", "warehouse"],
        group_name="publish",
        deps=[manifest],
        kinds={"duckdb"},
        owners=["team:data"],
        freshness_policy=FRESH,
    )
    def warehouse(session: SessionResource) -> dg.MaterializeResult:
        """The DuckDB file that analysts open: built aside, swapped in by one rename."""
        s = session.current

        def work() -> dict[str, Any]:
            from wealthos_pipeline.data.storage import warehouse as room

            path = room.publish(s.lake, _manifest(s))
            return {"file": dg.MetadataValue.path(str(path)), "bytes": path.stat().st_size}

        return _timed("warehouse", work)

    @dg.asset(
        key=["publish", "report"],
        group_name="publish",
        deps=[manifest],
        kinds={"html"},
        owners=["team:portfolio"],
        freshness_policy=FRESH,
    )
    def report(session: SessionResource) -> dg.MaterializeResult:
        """The portfolio manager's page: what changed and why, trades, risk, alerts, health."""
        s = session.current

        def work() -> dict[str, Any]:
            from wealthos_pipeline.data.sources import snapshots
            from wealthos_pipeline.data.storage.manifest import Snapshot
            from wealthos_pipeline.reporting import produce

            run = Snapshot(s.lake, _manifest(s))
            folder = produce.report(
                run,
                settings=s.settings,
                info=snapshots.declared(s.source.info(), run.read),
                library=s.library,
                calendar=s.calendar,
            )
            return {"folder": dg.MetadataValue.path(str(folder))}

        return _timed("report", work)

    @dg.asset(
        key=["publish", "mail"],
        group_name="publish",
        deps=[report, warehouse],
        kinds={"email"},
        owners=["team:portfolio"],
    )
    def mail(session: SessionResource) -> dg.MaterializeResult:
        """The report as an e-mail: written as `.eml`, sent when a mail server is configured."""
        s = session.current

        def work() -> dict[str, Any]:
            from wealthos_pipeline.reporting import produce

            path, delivered = produce.deliver(_manifest(s), settings=s.settings)
            return {"message": dg.MetadataValue.path(str(path)), "note": delivered}

        return _timed("mail", work)

    return [manifest, warehouse, report, mail]
