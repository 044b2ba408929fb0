"""``wealthos data quarantine``: what rules rejected, why, and how a person overrules one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.utils.config import Settings

NEIGHBOURS = 3
"""Sessions before and after a row that are shown with it."""

_LIST = "wealthos data quarantine"
_RAW = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")


def quarantine(
    rule: Annotated[str | None, typer.Option("--rule", help="One rule only.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="One symbol only.")] = None,
    on: Annotated[
        str | None, typer.Option("--date", help="One session only; with --symbol its neighbours.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", help="What a rule does and what tunes it.")
    ] = None,
    release: Annotated[
        str | None, typer.Option("--release", help="Use the row of this symbol (--date, --rule).")
    ] = None,
    take_back: Annotated[
        str | None, typer.Option("--take-back", help="Let the rule hold again for this symbol.")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", help="Who answers for a release.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why it is released.")] = "",
    limit: options.Limit = 20,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the raw rows that a rule rejected, explain the rule, release a row.

    The raw rows themselves are untouched. A released row is used from the next run on.
    """
    from wealthos_pipeline.cli.published import day

    settings = options.load(root)
    wanted = day(on, "--date")
    if explain is not None:
        _explain(settings, explain, as_json=as_json)
    elif release is not None or take_back is not None:
        if release is not None and take_back is not None:
            raise ConfigError("--release and --take-back contradict each other; use one of them")
        _speak(settings, release, take_back, wanted, rule, owner, reason, as_json=as_json)
    else:
        _show(settings, rule, symbol, wanted, limit, as_json=as_json)


def _show(
    settings: Settings,
    rule: str | None,
    symbol: str | None,
    on: date | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, frame, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.processors.rules import RULES

    run = open_last(settings)
    rows = run.read("clean.quarantine")
    if rule is not None:
        known = rows["rule"].unique().to_list()
        rows = rows.filter(pl.col("rule") == find("rule", rule, known, _LIST))
    if symbol is not None:
        known = rows["symbol"].unique().to_list()
        symbol = find("symbol", symbol, known, _LIST)
        rows = rows.filter(pl.col("symbol") == symbol)
    if on is not None:
        rows = rows.filter(pl.col("date") == on)
    rows = rows.sort("date", "table", "symbol", "rule", descending=[True, False, False, False])
    around = _around(run, symbol, on, rows) if symbol is not None and on is not None else None
    if as_json:
        body = rows.head(limit).to_dicts()
        emit(body if around is None else {"rejected": body, "raw": around.to_dicts()})
        return
    if not rows.height:
        note("nothing is in quarantine" if around is None else f"nothing of {symbol} on {on} is")
        return
    by_rule = rows.group_by("table", "rule").agg(
        pl.len().alias("rows"),
        pl.col("symbol").n_unique().alias("symbols"),
        pl.col("date").min().alias("first"),
        pl.col("date").max().alias("last"),
    )
    titles = {name: r.title for name, r in RULES.items()}
    what = pl.col("rule").replace_strict(titles, default="", return_dtype=pl.String).alias("what")
    frame(by_rule.sort("table", "rule").with_columns(what), title="By rule")
    shown = rows.head(limit).select("date", "table", "symbol", "rule", "detail")
    frame(shown, title=f"Newest {shown.height} of {rows.height:,}")
    if around is not None:
        frame(around, title=f"What the source gave of {symbol} around {on}")
    note("what a rule does: wealthos data quarantine --explain RULE")


def _around(run: Published, symbol: str, on: date, rows: pl.DataFrame) -> pl.DataFrame:
    """Raw bars of ``symbol`` near ``on``, with what became of each."""
    import polars as pl

    from wealthos_pipeline.cli.published import calendar

    sessions = calendar(run.settings)
    first, last = (sessions.offset(on, n) for n in (-NEIGHBOURS, NEIGHBOURS))
    bars = run.snapshot.scan("raw.prices").filter(
        (pl.col("symbol") == symbol) & pl.col("date").is_between(min(first, on), max(last, on))
    )
    key = ["source", "symbol", "date", "fetched_at"]
    said = rows.select(*key, "rule").group_by(key).agg(pl.col("rule").sort().str.join(", "))
    raw = bars.collect().join(said, on=key, how="left").sort("date", "fetched_at")
    kept = [c for c in _RAW if raw[c].null_count() < raw.height]
    stamp = pl.col("fetched_at").dt.strftime("%Y-%m-%d %H:%M")
    return raw.select("date", *kept, "source", stamp, pl.col("rule").alias("rejected by"))


def _explain(settings: Settings, name: str, *, as_json: bool) -> None:
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, facts
    from wealthos_pipeline.data.processors.rules import RULES

    rule = RULES[find("rule", name, RULES, "wealthos data quarantine --explain RULE")]
    tuned = {field: getattr(settings.cleaning, field) for field in rule.settings}
    off = rule.name in settings.cleaning.off
    body: dict[str, Any] = {
        "rule": rule.name,
        "kind": rule.kind,
        "title": rule.title,
        "what": rule.what,
        "settings": tuned,
        "switched_off": off,
        "why_it_cannot_be_switched_off": rule.needed or None,
        "why_it_cannot_be_released": rule.final or None,
    }
    if as_json:
        emit(body)
        return
    pairs: list[tuple[str, object]] = [
        ("what it does", f"{rule.kind}s: {rule.what}"),
        *((f"cleaning.{field}", value) for field, value in tuned.items()),
        (
            "switch off",
            f"no: {rule.needed}"
            if rule.needed
            else ("it is switched off" if off else f'cleaning.off = ["{rule.name}"]'),
        ),
    ]
    if rule.kind == "reject":
        how = f"no: {rule.final}" if rule.final else f"{_LIST} --release SYMBOL --date DAY --rule …"
        pairs.append(("release a row", how))
    facts(pairs, title=f"{rule.name}: {rule.title}")


def _speak(
    settings: Settings,
    release: str | None,
    take_back: str | None,
    on: date | None,
    rule: str | None,
    owner: str,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Write a release, or take one back, under the root's lock."""
    from wealthos_pipeline.cli.output import emit, out
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.data.processors import quarantine as room
    from wealthos_pipeline.data.storage.lock import lock

    if on is None or rule is None:
        lacking = [n for n, v in (("--date", on), ("--rule", rule)) if v is None]
        raise ConfigError(f"which row? Missing: {' and '.join(lacking)}. `{_LIST}` lists the rows")
    run = open_last(settings)
    now = datetime.now(UTC)
    with lock(run.lake.root, "release"):
        said = run.lake.read("raw.releases")
        if release is not None:
            rows = room.release(
                run.read("clean.quarantine"), said, symbol=release, day=on, rule=rule,
                owner=owner, reason=reason, now=now,
            )  # fmt: skip
        else:
            rows = room.take_back(
                said, symbol=take_back or "", day=on, rule=rule, owner=owner, reason=reason, now=now
            )
        run.lake.append("raw.releases", rows)
        run.lake.flush()
    if as_json:
        emit(rows.to_dicts())
        return
    name = release or take_back
    words = "is used" if release is not None else "is judged again"
    out().print(f"[green]✓[/green] {name} of {on} {words} from the next run on: `wealthos run`")
