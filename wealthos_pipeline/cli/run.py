"""``wealthos run``: one pass over the whole graph."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import Settings


def run(
    source: Annotated[
        str | None,
        typer.Option("--source", help="sample, files, yahoo, finnhub, … (default: sample)."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", help="Your panel of prices: Parquet or CSV.")
    ] = None,
    sectors: Annotated[Path | None, typer.Option("--sectors", help="CSV: symbol, sector.")] = None,
    membership: Annotated[
        Path | None, typer.Option("--membership", help="CSV: ticker, start, end (first day out).")
    ] = None,
    rates: Annotated[
        Path | None, typer.Option("--rates", help="CSV or folder: date, one column a tenor.")
    ] = None,
    vix: Annotated[Path | None, typer.Option("--vix", help="CSV: date, …, close.")] = None,
    fx: Annotated[
        Path | None, typer.Option("--fx", help="CSV: date, one column a pair such as GBPUSD.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="What a vendor is asked for: AAPL,MSFT.")
    ] = None,
    universe: Annotated[
        Path | None, typer.Option("--universe", help="The same as a CSV with a column symbol.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="A source beside it, e.g. treasury; may be repeated."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="First session to use, e.g. 2010-01-04.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", help="Last session to use.")] = None,
    job: Annotated[
        str, typer.Option("--job", help="daily, retrain, backfill or report.")
    ] = "daily",
    now: Annotated[
        str | None, typer.Option("--now", help="Pretend that it is this instant (ISO, UTC).")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Recompute from this session on, changed or not.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Recompute everything, not only what is missing.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the whole graph: data in, report and warehouse out.

    Only what is missing is computed. What was published before stays readable throughout; the new
    run becomes visible at its very end.
    """
    from wealthos_pipeline.cli.published import calendar, day, instant
    from wealthos_pipeline.core.errors import ConfigError

    if path is not None and source is None:
        source = "files"
    overrides = options.flags(
        root,
        source={
            "name": source,
            "path": _absolute(path),
            "sectors": _absolute(sectors),
            "membership": _absolute(membership),
            "rates": _absolute(rates),
            "vix": _absolute(vix),
            "fx": _absolute(fx),
            "symbols": _words(symbols),
            "universe": _absolute(universe),
            "also": _words(*also) if also else None,
        },
        time={"start": day(start, "--start"), "end": day(end, "--end")},
    )
    from wealthos_pipeline.utils.config import load_settings

    settings = load_settings(**overrides)
    at = None if now is None else instant(now, calendar(settings))
    _refuse_missing(settings)
    if at is not None:
        _refuse_backwards(settings, at)
    since = day(from_, "--from")
    if job == "backfill" and since is None and not full:
        raise ConfigError(
            "a backfill needs to know from when on: add --from 2020-01-02, or --full."
        )
    summary = perform(job, settings, overrides, now=at, full=full, from_date=since, quiet=as_json)
    if as_json:
        from wealthos_pipeline.cli.output import emit

        emit(summary)


def perform(
    job: str,
    settings: Settings,
    overrides: dict[str, Any],
    *,
    now: datetime | None,
    full: bool,
    from_date: date | None,
    quiet: bool,
) -> dict[str, Any]:
    """Execute ``job`` with progress, print what was made, and return it."""
    import time
    import uuid

    from wealthos_pipeline.cli.execution import execute
    from wealthos_pipeline.cli.progress import StageDisplay
    from wealthos_pipeline.cli.summary import collect, show
    from wealthos_pipeline.core.errors import ConfigError, LockedError
    from wealthos_pipeline.data.storage.lock import refuse_held

    # before the graph knows of it: a run that is turned away would show every check as failed
    refuse_held(settings.root)
    run_id = str(uuid.uuid4())
    begun = time.monotonic()
    with StageDisplay(
        f"wealthos {job} · {settings.source.name} → {settings.root}", quiet=quiet
    ) as d:
        try:
            execute(
                job,
                settings,
                overrides,
                d,
                now=now,
                full=full,
                from_date=from_date,
                run_id=run_id,
            )
        except (ConfigError, LockedError):
            raise  # nothing was begun, and the one who asked reads why
        except Exception as error:
            _tell(settings, job, run_id, error, now)
            raise
    summary = collect(settings, job=job, seconds=time.monotonic() - begun)
    if not quiet:
        show(summary)
    return summary


def _tell(
    settings: Settings, job: str, run_id: str, error: Exception, now: datetime | None
) -> None:
    """Write the failure down and send the notice of a blocked day; its own faults are only logged."""
    from datetime import UTC

    from wealthos_pipeline.cli.output import note
    from wealthos_pipeline.core.errors import WealthOSError
    from wealthos_pipeline.reporting import produce

    said = str(error) if isinstance(error, WealthOSError) else f"{type(error).__name__}: {error}"
    try:
        path, sentence = produce.failed(
            settings, job=job, run_id=run_id, message=said, at=now or datetime.now(UTC)
        )
    except (WealthOSError, OSError) as second:
        note(f"the notice of the blocked run could not be made: {second}")
    else:
        note(f"notice: {path} ({sentence})")


def _refuse_backwards(settings: Settings, now: datetime) -> None:
    """ConfigError where the root holds a run of a later time: its record would be out of order."""
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import ConfigError, NoManifestError

    try:
        last = open_last(settings).manifest
    except NoManifestError:
        return
    if now < last.started_at:
        raise ConfigError(
            f"--now {now:%Y-%m-%dT%H:%M} lies before the last run of {settings.root}, which is of "
            f"{last.started_at:%Y-%m-%dT%H:%M}. Use another --root, or rebuild the page of that day "
            f"with `wealthos report --as-of {now:%Y-%m-%d}`."
        )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().resolve()


def _words(*texts: str | None) -> list[str] | None:
    """Words separated by commas or blanks; None where nothing was said."""
    said = [t for t in texts if t is not None]
    return [w for t in said for w in t.replace(",", " ").split()] if said else None


def _refuse_missing(settings: Settings) -> None:
    """ConfigError for every input file, key or symbol that is not there, before the graph is loaded."""
    from wealthos_pipeline.core.errors import ConfigError

    files = ("path", "sectors", "membership", "rates", "vix", "fx", "universe")
    named = {n: getattr(settings.source, n) for n in files}
    missing = [f"--{n} {p}" for n, p in named.items() if p is not None and not p.exists()]
    if missing:
        raise ConfigError(f"no such file: {'; '.join(missing)}. Check the path and try again.")
    if settings.source.name == "files" and settings.source.path is None:
        raise ConfigError(
            "the source 'files' needs a panel: add --path PANEL (Parquet or CSV, wide or long)."
        )
    asked = (settings.source.name, *settings.source.also)
    keyless = [
        f"{name} (set the environment variable WEALTHOS_KEYS__{name.upper()})"
        for name in asked
        if settings.keys.lacks(name)
    ]
    if keyless:
        raise ConfigError(f"no key for {', '.join(keyless)}.")
    from wealthos_pipeline.data import sources

    sources.get(settings)  # ConfigError: unknown names, a vendor without symbols
