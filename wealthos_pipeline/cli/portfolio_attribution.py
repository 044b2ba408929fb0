"""``wealthos portfolio attribution``: where a mandate's return came from, in lines that add up."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from wealthos_pipeline.cli.published import Published

BENCHMARK = "equal_weight"
FACTOR = "factor"
GROUPED = ("allocation", "selection", "interaction", "contribution", "factor")
WORDS = {
    "specific": "single names",
    "trading": "trading within the day",
    "cost": "costs",
    "borrow": "borrow fees",
    "cash": "cash",
    "residual": "residual",
}


class Link(StrEnum):
    """Linking methods."""

    carino = "carino"
    menchero = "menchero"


class Each(StrEnum):
    """Lengths of parts of the period."""

    year = "year"
    quarter = "quarter"
    month = "month"


def attribution(
    mandate: Annotated[str, typer.Argument(help="Name of a mandate.")],
    since: Annotated[
        str | None, typer.Option("--from", help="First day of the period, e.g. 2021-01-01.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day of the period.")] = None,
    by: Annotated[
        str, typer.Option("--by", help="sector, factor, or another label: currency, exchange …")
    ] = "sector",
    link: Annotated[
        Link, typer.Option("--link", help="How daily effects are linked over the period.")
    ] = Link.carino,
    each: Annotated[
        Each | None, typer.Option("--each", help="One row a year, quarter or month.")
    ] = None,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="The mandate's own return, not less that of 1/N.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say where the return of a mandate less that of 1/N came from, over any period of its backtest.

    Without --from and --to, over all sessions that the last run has. The lines add up to the difference of the
    two compounded returns; what they leave is the residual.
    """
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import day, open_last
    from wealthos_pipeline.core.errors import PortfolioError
    from wealthos_pipeline.portfolio import linking

    run = open_last(options.load(root))
    nav = run.read("portfolio.nav")
    names = set(nav["mandate"]) - {BENCHMARK}
    name = find("mandate", mandate, names, "wealthos portfolio mandates")
    first, last = day(since, "--from"), day(until, "--to")
    against = "" if absolute else BENCHMARK
    rows = effects(run, nav, name, by, against, first, last)
    if rows.is_empty():
        raise PortfolioError(
            f"no session of {name} is attributed by {by} between {first or 'its start'} and "
            f"{last or 'its end'}; widen --from and --to, or `wealthos run` if the mandate is new"
        )
    lines = linking.linked(rows, nav, method=link.value, by=None if each is None else each.value)
    whole = _returns(nav, rows, name, against, each)
    if as_json:
        emit(
            {
                "mandate": name,
                "by": by,
                "benchmark": against or None,
                "link": link.value,
                "from": rows["date"].min(),
                "to": rows["date"].max(),
                "sessions": rows["date"].n_unique(),
                "effects": lines.select("period", "effect", "group", "value").to_dicts(),
                "totals": whole,
            }
        )
    elif each is None:
        _show(lines, whole[0], rows, name, by, link, absolute=absolute)
    else:
        _show_each(lines, whole, rows, name, by, link, each, absolute=absolute)


def effects(
    run: Published,
    nav: pl.DataFrame,
    mandate: str,
    by: str,
    against: str,
    first: date | None,
    last: date | None,
) -> pl.DataFrame:
    """Daily rows of the backtest: those of the run, or computed from its tables for another label."""
    import polars as pl

    from wealthos_pipeline.portfolio import attribution as room

    if by in room.SCHEMES:
        stored = run.snapshot.scan("portfolio.attribution").filter(
            (pl.col("mandate") == mandate)
            & (pl.col("run_kind") == "backtest")
            & (pl.col("scheme") == by)
            & (pl.col("benchmark") == against)
        )
        rows = stored.collect()
    else:
        from wealthos_pipeline.cli.published import calendar

        own = pl.col("mandate").is_in([mandate, BENCHMARK]) & (pl.col("run_kind") == "backtest")
        prices = run.snapshot.scan("clean.prices").select(
            "instrument_id", "date", "slot", "close", "split_index", "tr_index", "flags"
        )
        rows = room.daily(
            run.read("portfolio.positions").filter(own),
            nav.filter(own),
            prices.collect(),
            run.read("clean.instruments"),
            calendar(run.settings),
            schemes=(by,),
            charges=room.charges_of(run.read("portfolio.events").filter(own)),
        ).filter(pl.col("benchmark") == against)
    if first is not None:
        rows = rows.filter(pl.col("date") >= first)
    if last is not None:
        rows = rows.filter(pl.col("date") <= last)
    return rows


def _returns(
    nav: pl.DataFrame, rows: pl.DataFrame, mandate: str, against: str, each: Each | None
) -> list[dict[str, Any]]:
    """Compounded returns of the net asset values over the attributed sessions, by period."""
    import polars as pl

    from wealthos_pipeline.portfolio import linking

    days = rows.select("date").unique().sort("date")
    size = {None: None, Each.year: "1y", Each.quarter: "1q", Each.month: "1mo"}[each]
    days = days.with_columns(
        period=pl.lit(None, pl.Date) if size is None else pl.col("date").dt.truncate(size)
    )
    out = []
    for part in days.partition_by("period", maintain_order=True):
        grown = []
        for side in (mandate, against):
            own = nav.filter((pl.col("mandate") == side) & (pl.col("run_kind") == "backtest"))
            held = own.join(part, on="date", how="semi")["return_net"].to_numpy()
            grown.append(linking.compounded(held) if side else 0.0)
        out.append(
            {
                "period": part["period"][0],
                "return": grown[0],
                "benchmark_return": grown[1] if against else None,
                "active": grown[0] - grown[1],
            }
        )
    return out


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    text = f"{100 * value:+.{digits}f}"
    return (text.lstrip("+-") if not float(text) else text).replace("-", "−")


def _show(
    lines: pl.DataFrame,
    whole: dict[str, Any],
    rows: pl.DataFrame,
    mandate: str,
    by: str,
    link: Link,
    *,
    absolute: bool,
) -> None:
    """One table: groups with their effects, then the lines of the whole portfolio, then the sums."""
    import math

    from wealthos_pipeline.cli.output import note, table

    found = {(e, g): v for e, g, v in lines.select("effect", "group", "value").iter_rows()}
    kinds = [k for k in GROUPED if any(e == k for e, _ in found)]
    told = kinds if len(kinds) > 1 else []
    groups = sorted({g for e, g in found if e in kinds})
    body = []
    for g in groups:
        own = [found.get((k, g)) for k in kinds]
        together = _number(math.fsum(v for v in own if v is not None))
        body.append([g, *(map(_number, own) if told else ()), together])
    body.sort(key=lambda r: r[0])
    blank = [""] * len(told)
    for effect, words in WORDS.items():
        for (e, g), v in sorted(found.items()):
            if e == effect and (effect == "residual" or abs(v) >= 5e-8):
                shown = _tiny(v) if effect == "residual" else _number(v)
                body.append([f"{words}: {g}" if g else words, *blank, shown])
    total = math.fsum(found.values())
    body.append(["sum of the lines", *blank, _number(total)])
    what = "return of the mandate" if absolute else "active return of the NAVs"
    body.append([what, *blank, _number(whole["active"])])
    days = rows["date"].unique().sort()
    table(
        [by, *told, "points"],
        body,
        title=f"{mandate} by {by}, {days[0]} to {days[-1]}, {len(days):,} sessions "
        f"(percentage points, {link.value.capitalize()} linking)",
        right=[*told, "points"],
    )
    if absolute:
        note(f"net return {_number(whole['return'])} %")
    else:
        note(
            f"net return {_number(whole['return'])} %, 1/N {_number(whole['benchmark_return'])} %; sum and "
            f"NAVs differ by {_tiny(total - whole['active'])} points"
        )


def _tiny(value: float) -> str:
    """A residual, in percentage points."""
    return "0" if value == 0 else f"{100 * value:+.0e}".replace("-", "−")


def _show_each(
    lines: pl.DataFrame,
    whole: list[dict[str, Any]],
    rows: pl.DataFrame,
    mandate: str,
    by: str,
    link: Link,
    each: Each,
    *,
    absolute: bool,
) -> None:
    """One row a period: effects summed over groups, their sum and the NAVs'."""
    import math

    import polars as pl

    from wealthos_pipeline.cli.output import table

    order = [*GROUPED, *WORDS]
    kinds = [k for k in order if k in set(lines["effect"])]
    body = []
    for one in whole:
        part = lines.filter(pl.col("period") == one["period"])
        sums = {k: math.fsum(part.filter(pl.col("effect") == k)["value"].to_list()) for k in kinds}
        body.append(
            [
                _label(one["period"], each),
                *(_tiny(sums[k]) if k == "residual" else _number(sums[k], 2) for k in kinds),
                _number(math.fsum(sums.values()), 2),
                _number(one["active"], 2),
            ]
        )
    end = "return" if absolute else "active return"
    columns = [each.value, *kinds, "sum", end]
    table(
        columns,
        body,
        title=f"{mandate} by {by}: each {each.value} linked in itself (percentage points, "
        f"{link.value.capitalize()})",
        right=columns[1:],
    )


def _label(since: date, each: Each) -> str:
    if each is Each.year:
        return str(since.year)
    if each is Each.month:
        return f"{since:%Y-%m}"
    return f"{since.year} Q{(since.month + 2) // 3}"
