"""``wealthos runs``: what was published, newest first."""

from __future__ import annotations

from typing import Any

from wealthos_pipeline.cli import options


def runs(
    limit: options.Limit = 20, root: options.Root = None, as_json: options.AsJson = False
) -> None:
    """List the published runs, newest first."""
    from wealthos_pipeline.cli.output import emit, note, short_run, table
    from wealthos_pipeline.cli.published import open_lake
    from wealthos_pipeline.data.storage import manifest as manifests

    settings = options.load(root)
    history = manifests.history(open_lake(settings))
    newest = sorted(history, key=lambda m: (m.finished_at, m.run_id), reverse=True)[:limit]
    rows: list[dict[str, Any]] = [
        {
            "run": m.run_id,
            "as_of": m.as_of,
            "source": m.source,
            "finished_at": m.finished_at,
            "seconds": round((m.finished_at - m.started_at).total_seconds(), 1),
            "tables": len(m.tables),
            "code": m.code_version,
            "config": m.config_hash,
        }
        for m in newest
    ]
    if as_json:
        emit(rows)
        return
    table(
        ["run", "as of", "source", "finished (UTC)", "code", "settings"],
        [
            [
                short_run(r["run"]),
                str(r["as_of"]),
                r["source"],
                f"{r['finished_at']:%Y-%m-%d %H:%M}",
                r["code"],
                r["config"][:8],
            ]
            for r in rows
        ],
    )
    if len(rows) > 1:
        note("compare two of them: wealthos diff previous last")
