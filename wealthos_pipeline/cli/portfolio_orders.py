"""``wealthos portfolio orders``, ``shortfall`` and ``book``: from decisions to orders, and from fills back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published

_Mandate = Annotated[str | None, typer.Argument(help="Name of a mandate; all without it.")]


def orders(
    mandate: _Mandate = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the orders as CSV.")] = None,
    fractional: Annotated[
        bool, typer.Option("--fractional", help="As decided, without rounding to whole shares.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Although limits fail after rounding; they are printed.")
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Print or export the orders of the last decision: whole lots, sells before buys, leftover cash.

    Refused where there is no decision to trade on, where prices are stale, and where a limit of the mandate
    fails after rounding.
    """
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import PortfolioError
    from wealthos_pipeline.portfolio import orders as room

    run = open_last(options.load(root))
    lists = run.read("portfolio.order_lists").sort("mandate")
    if mandate is not None:
        name = find("order list", mandate, lists["mandate"], "wealthos portfolio orders")
        lists = lists.filter(pl.col("mandate") == name)
    bodies = run.read("portfolio.orders")
    failed = run.read("portfolio.compliance").filter(
        ~pl.col("passed") & (pl.col("stage") == ("target" if fractional else "orders"))
    )
    against = {
        row["mandate"]: _against(run, row, failed, fractional=fractional, force=force)
        for row in lists.iter_rows(named=True)
    }
    ready = [m for m, words in against.items() if words is None]
    if not ready and (mandate is not None or out is not None):
        said = "\n".join(f"  {m}: {words}" for m, words in against.items())
        raise PortfolioError(f"there are no orders to send:\n{said or '  no list was made'}")
    chosen = bodies.filter(pl.col("mandate").is_in(ready))
    chosen = room.fractional(chosen) if fractional else chosen.filter(pl.col("shares") > 0)
    rows = chosen.sort("mandate", "sequence")
    if out is not None:
        from wealthos_pipeline.reporting import order_file

        order_file.write(rows, run.symbols(), out)
    if as_json:
        emit(
            [
                row
                | {
                    "refused": against[row["mandate"]],
                    "orders": rows.filter(pl.col("mandate") == row["mandate"]).to_dicts(),
                    "breaches": failed.filter(pl.col("mandate") == row["mandate"]).to_dicts(),
                }
                for row in lists.iter_rows(named=True)
            ]
        )
        return
    for row in lists.iter_rows(named=True):
        mine = rows.filter(pl.col("mandate") == row["mandate"])
        _shown(run, row, mine, against[row["mandate"]], failed, fractional=fractional)
    if out is not None:
        note(f"{rows.height} orders written to {out}")


def _against(
    run: Published, row: dict[str, Any], failed: pl.DataFrame, *, fractional: bool, force: bool
) -> str | None:
    """What stands against sending a list; None where nothing does."""
    import polars as pl

    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.data.processors.staleness import late
    from wealthos_pipeline.portfolio import compliance
    from wealthos_pipeline.portfolio import orders as room
    from wealthos_pipeline.portfolio.live import too_late

    if row["decision"] not in room.SENDABLE or row["state"] == room.REFUSED:
        return f"the decision is {row['decision']}. {row['message'] or ''}".strip()
    behind = late(calendar(run.settings), row["date"], datetime.now(UTC))
    if behind:
        return too_late(row["date"], behind)
    done = _not_in_the_statement(run, row["mandate"], row["date"])
    if done is not None and not force:
        return done
    softened = fractional and row["decision"] == "softened"  # what gave way was allowed to
    missed = failed.filter(pl.col("mandate") == row["mandate"])
    if missed.height and not force and not softened:
        words = "; ".join(compliance.failed(missed))
        return f"limits fail {'at the targets' if fractional else 'after rounding'}: {words}. Send them all the same with --force."
    if row["state"] == room.NOTHING and not fractional:
        return "the decision trades nothing that makes a whole lot"
    return None


def _not_in_the_statement(run: Published, mandate: str, day: Any) -> str | None:
    """What was executed after the statement that the decision started from: the same trades would be sent again."""
    import polars as pl

    stated = run.read("clean.holdings").filter(
        (pl.col("mandate") == mandate) & (pl.col("date") <= pl.lit(day))
    )
    fills = run.read("clean.fills").filter(pl.col("mandate") == mandate)
    since = stated["date"].max()
    later = fills.filter(pl.col("session") > pl.lit(since)) if stated.height else fills.clear()
    if not later.height:
        return None
    return (
        f"{later.height} fills since the statement of {since!s} are not in it, so trades already done would be "
        f"sent again. Supply a new statement (`wealthos portfolio book {mandate}` shows what it should "
        "say) and start `wealthos run`, or use --force."
    )


def _shown(
    run: Published,
    row: dict[str, Any],
    mine: pl.DataFrame,
    against: str | None,
    failed: pl.DataFrame,
    *,
    fractional: bool,
) -> None:
    """One list on the terminal."""
    import polars as pl

    from wealthos_pipeline.cli.output import facts, frame, note
    from wealthos_pipeline.portfolio import compliance

    pairs: list[tuple[str, object]] = [
        ("decided at the close of", row["date"]),
        ("decision", row["decision"]),
    ]
    if against is not None:
        facts([*pairs, ("no orders", against)], title=row["mandate"])
        return
    sells = float(mine.filter(pl.col("side") == "sell")["value"].sum())
    buys = float(mine.filter(pl.col("side") == "buy")["value"].sum())
    cost = float(mine["cost"].fill_null(0.0).sum())
    left = row["cash_before"] + sells - buys - cost
    pairs += [
        ("net asset value", f"{row['nav']:,.0f}"),
        ("sells", f"{sells:,.0f}"),
        ("buys", f"{buys:,.0f}"),
        ("estimated cost", f"{cost:,.0f}"),
        ("cash before", f"{row['cash_before']:,.0f}"),
        ("cash left over", f"{left:,.0f}; the decision leaves {row['cash_target']:,.0f}"),
    ]  # fmt: skip
    if row["dropped"] and not fractional:
        pairs.append(
            ("left out", f"{row['dropped']} trades that make no whole lot or cannot be paid")
        )
    if row["message"]:
        pairs.append(("in words", row["message"]))
    facts(pairs, title=row["mandate"])
    shown = mine.with_columns(pl.col("instrument_id").replace(run.symbols()).alias("symbol")).select(
        "sequence", "side", "symbol", "shares", "price", "value", "cost", "participation", "weight_before",
        "weight_after", "reason", "order_id",
    )  # fmt: skip
    formats = {"shares": ",.4f" if fractional else ",.6g", "price": ",.2f", "value": ",.0f", "cost": ",.0f",
               "participation": ".2%", "weight_before": ".2%", "weight_after": ".2%"}  # fmt: skip
    if not fractional:
        whole = mine.select((pl.col("shares") == pl.col("shares").round(0)).all()).item()
        formats["shares"] = ",.0f" if whole else ",.2f"
    frame(shown, formats=formats)
    for words in compliance.failed(failed.filter(pl.col("mandate") == row["mandate"])):
        note(f"limit missed: {words}")


def shortfall(
    mandate: _Mandate = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what executed orders lost on their way to the market, beside the modelled cost (Perold 1988)."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, frame, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.portfolio import shortfall as room

    run = open_last(options.load(root))
    rows = run.read("portfolio.shortfall")
    if mandate is not None and rows.height:
        name = find("mandate with fills", mandate, rows["mandate"], "wealthos portfolio shortfall")
        rows = rows.filter(pl.col("mandate") == name)
    total = room.summary(rows)
    if as_json:
        emit({"lists": total.to_dicts(), "orders": rows.to_dicts()})
        return
    if not rows.height:
        note("no fills have come back; put them into data/inputs/fills (see its README)")
        return
    money = dict.fromkeys(
        ("value", "delay", "execution", "fees", "opportunity", "total", "modelled"), ",.0f"
    )
    formats = {**money, "filled": ".1%", "total_bp": ".1f", "modelled_bp": ".1f"}
    frame(total, title="By order list", formats=formats)
    last = rows.sort("until").unique("order_id", keep="last", maintain_order=True)
    shown = last.with_columns(pl.col("instrument_id").replace(run.symbols()).alias("symbol")).select(
        "mandate", "date", "symbol", "side", "ordered", "filled", "decision_price", "average_price", "delay",
        "execution", "fees", "opportunity", "total", "modelled",
    )  # fmt: skip
    formats = {
        **money,
        "ordered": ",.0f",
        "filled": ",.0f",
        "decision_price": ",.2f",
        "average_price": ",.2f",
    }
    frame(shown.sort("mandate", "date", "symbol"), title="By order", formats=formats)


def book(
    mandate: Annotated[str, typer.Argument(help="Name of a mandate.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the holdings that the last statement and the fills since imply, to compare with the custodian's."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, frame
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import PortfolioError
    from wealthos_pipeline.portfolio import book as room

    run = open_last(options.load(root))
    holdings = run.read("clean.holdings")
    if not holdings.height:
        raise PortfolioError(
            "no holdings were supplied; put a statement into data/inputs/holdings and start `wealthos run`"
        )
    name = find(
        "statement of holdings", mandate, holdings["mandate"], "wealthos portfolio mandates"
    )
    mine = holdings.filter(pl.col("mandate") == name)
    fills = run.read("clean.fills").filter(pl.col("mandate") == name)
    names = {*mine["instrument_id"], *fills["instrument_id"]}
    prices = (
        run.snapshot.scan("clean.prices")
        .filter(pl.col("instrument_id").is_in(sorted(names)))
        .select("instrument_id", "date", "close", "split_index")
        .collect()
    )
    since, rows = room.implied(mine, fills, prices, run.manifest.as_of)
    if as_json:
        emit(
            {
                "mandate": name,
                "statement": since,
                "as_of": run.manifest.as_of,
                "book": rows.to_dicts(),
            }
        )
        return
    shown = rows.with_columns(
        pl.col("instrument_id").replace(run.symbols()).alias("symbol")
    ).select("symbol", "stated", "traded", "units", "price", "price_date", "value", "weight")
    units = dict.fromkeys(("stated", "traded", "units"), ",.2f")
    frame(
        shown,
        title=f"{name}: the statement of {since} and the fills since, at the close of {run.manifest.as_of}",
        formats={**units, "price": ",.2f", "value": ",.0f", "weight": ".1%"},
    )
