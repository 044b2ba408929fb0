"""Raw tables: what to append, what is latest, and what could have been known at an instant.

Raw rows are never edited. A fetch appends a row only where the vendor says something else than it
said last; the versions of a key are told apart by ``fetched_at``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.data import contract as declared

if TYPE_CHECKING:
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

STAMP = "fetched_at"


def identity(contract: TableContract) -> list[str]:
    """The key without ``fetched_at``: what a row is about."""
    return [name for name in contract.key if name != STAMP]


def new_rows(
    existing: pl.DataFrame | None, fetched: pl.DataFrame, contract: TableContract
) -> pl.DataFrame:
    """The rows of ``fetched`` to append to ``existing``.

    A row is new when its key is, or when a value differs from the key's latest stored version.
    ``fetched_at``, ``known_at`` and the day in ``basis_vintage`` are not values. For bars, the unchanged
    neighbours of a changed bar come along: they tell a correction from a change of basis later
    (see ``effective``). A bar that was first given before its own day is stored again. A delivery of
    membership is whole: intervals of its universe that it lacks are stored again as ``withdrawn``.
    """
    fetched = contract.conform(fetched)
    if existing is None or not existing.height:
        return fetched
    key = identity(contract)
    names = [c for c in contract.column_names if c not in (*contract.key, "known_at")]
    before = latest(existing, contract).rename({n: f"_{n}" for n in [*names, STAMP]})
    joined = fetched.join(before, on=key, how="left", nulls_equal=True, maintain_order="left")
    known = pl.col(f"_{STAMP}").is_not_null()
    differs = [
        pl.col(n).is_null() != pl.col(f"_{n}").is_null()
        if n == "basis_vintage"
        else pl.col(n).ne_missing(pl.col(f"_{n}"))
        for n in names
    ]
    changed = known & pl.any_horizontal(differs)
    if contract.date_column == "date":
        stamped, before_stamped = pl.col(STAMP).dt.date(), pl.col(f"_{STAMP}").dt.date()
        changed |= known & (before_stamped < pl.col("date")) & (stamped >= pl.col("date"))
    joined = joined.with_columns((~known).alias("_new"), changed.alias("_changed"))
    keep = pl.col("_new") | pl.col("_changed")
    if contract.name == "raw.prices":
        by = ["source", "symbol"]  # `fetched` is sorted by symbol and date
        keep |= pl.col("_changed").shift(1, fill_value=False).over(by)
        keep |= pl.col("_changed").shift(-1, fill_value=False).over(by)
    new = joined.filter(keep).select(contract.column_names)
    if contract.name == "raw.membership":
        new = pl.concat([new, _withdrawn(existing, fetched, contract)])
    return contract.conform(new)


def _withdrawn(
    existing: pl.DataFrame, fetched: pl.DataFrame, contract: TableContract
) -> pl.DataFrame:
    """Intervals that ``fetched`` lacks though it gives others of their source and universe."""
    whose = ["source", "universe"]
    stamps = fetched.group_by(whose).agg(pl.col(STAMP).max().alias("_at"))
    standing = latest(existing, contract).filter(~pl.col("withdrawn").fill_null(value=False))
    return (
        standing.join(fetched, on=identity(contract), how="anti")
        .join(stamps, on=whose, how="inner")
        .with_columns(pl.col("_at").alias(STAMP), pl.lit(True).alias("withdrawn"))
        .select(contract.column_names)
    )


def latest(frame: pl.DataFrame, contract: TableContract) -> pl.DataFrame:
    """The last version of every key."""
    key = identity(contract)
    if not frame.select(key).is_duplicated().any():
        return frame
    last = pl.col(STAMP) == pl.col(STAMP).max().over(key)
    return frame.filter(last)


def with_known_at(
    frame: pl.DataFrame, calendar: TradingCalendar, table: str = "raw.prices"
) -> pl.DataFrame:
    """``frame`` with the instant ``known_at`` of every version: by rule for the first version of a
    key, ``fetched_at`` for later ones.

    A bar of a past date that arrives after the vendor had already given a later bar of the symbol
    is a correction, known from its fetch; a first load of history is not.
    """
    first = pl.col(STAMP) == pl.col(STAMP).min().over(identity(declared(table)))
    if table == "raw.rejected":  # stamped by the source
        return frame
    if table == "raw.prices":
        by = ["source", "symbol"]
        later = (
            frame.group_by(*by, "date")
            .agg(pl.col(STAMP).min().alias("_stamp"))
            .sort(*by, "date", descending=[False, False, True])
            .with_columns(pl.col("_stamp").cum_min().shift(1).over(by).alias("_later"))
            .drop("_stamp")
        )
        rule = bar_known_at(frame, calendar).join(
            later, on=[*by, "date"], how="left", maintain_order="left"
        )
        first &= (pl.col(STAMP) <= pl.col("_later")) | pl.col("_later").is_null()
    elif table == "raw.series":
        from wealthos_pipeline.data.processors.series import assumed_known_at as series_known_at

        rule = series_known_at(frame, calendar)
    elif table == "raw.macro":
        from wealthos_pipeline.data.processors.macro import assumed_known_at as macro_known_at

        rule = macro_known_at(frame)
    elif table in ("raw.fundamentals", "raw.news", "raw.earnings"):  # their versions have own rules
        from wealthos_pipeline.data.processors import earnings, fundamentals, news

        if table == "raw.earnings":
            stamped = earnings.with_known_at(frame, calendar)
        elif table == "raw.news":
            stamped = news.with_known_at(frame)
        else:
            stamped = fundamentals.with_known_at(frame)
        return stamped.select(*frame.columns, "known_at")
    elif table == "raw.membership":
        from wealthos_pipeline.data.processors.membership import assumed_known_at as entry_known_at

        rule = entry_known_at(frame, calendar)
        # an interval that an earlier delivery should have held, and did not, is a correction
        whose = ["source", "universe"]
        stamps = frame.select(*whose, STAMP).unique().sort(*whose, STAMP)
        before = stamps.with_columns(pl.col(STAMP).shift(1).over(whose).alias("_before"))
        rule = rule.join(before, on=[*whose, STAMP], how="left", maintain_order="left")
        first &= pl.col("_before").is_null() | (pl.col("start") > pl.col("_before").dt.date())
    else:  # descriptions are snapshots: the first one stands for the past too
        rule = frame.with_columns(
            pl.lit(datetime.min.replace(tzinfo=UTC) + timedelta(days=1))
            .cast(pl.Datetime("us", "UTC"))
            .alias("known_at")
        )
    known = pl.when(first).then("known_at").otherwise(pl.max_horizontal("known_at", STAMP))
    return rule.with_columns(known.alias("known_at")).select(*frame.columns, "known_at")


def bar_known_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` with ``slot, close_at, known_at`` of its ``date``: the session's official close
    plus lag. A date that is no session has no slot and is known when its day (UTC) is over."""
    over = (
        (pl.col("date") + pl.duration(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    return frame.join(calendar.frame(), on="date", how="left", maintain_order="left").with_columns(
        pl.col("known_at").fill_null(over)
    )


def as_of(
    frame: pl.DataFrame, instant: datetime, calendar: TradingCalendar, table: str = "raw.prices"
) -> pl.DataFrame:
    """The versions that could have been known at ``instant``.

    The first version of a key by the rule of its table (a bar: close plus lag), later ones from
    their fetch. The end of a membership that lay in the future is unknown (null), as is what was
    expected of a report where the row was fetched later. Bars that were fetched later come without
    the splits that their vendor had applied to them since.
    """
    out = with_known_at(frame, calendar, table).filter(pl.col("known_at") <= instant)
    if table == "raw.prices":
        out = _in_its_basis(frame, out, calendar.last_known(instant))
    if table == "raw.membership":
        ended = pl.col("end") < instant.astimezone(UTC).date()
        out = out.with_columns(pl.when(ended).then("end").alias("end"))
    if table == "raw.earnings":
        from wealthos_pipeline.data.processors.earnings import EXPECTED

        fetched = pl.col(STAMP) <= instant
        out = out.with_columns(pl.when(fetched).then(n).alias(n) for n in EXPECTED)
    return out.select(frame.columns)


def _in_its_basis(every: pl.DataFrame, known: pl.DataFrame, last: date) -> pl.DataFrame:
    """``known`` (rows of ``every``) with prices in the basis of the session ``last``: a vendor that was
    asked later has divided them by splits of later sessions, whose rows are not among the known."""
    from wealthos_pipeline.data.processors.corporate_actions import with_factors
    from wealthos_pipeline.data.processors.effective import FACTOR

    later = pl.col("split_ratio").is_not_null() & (pl.col("split_ratio") != 1.0)
    names = every.filter(later & (pl.col("date") > last)).select("source", "symbol").unique()
    ahead = (pl.col("basis_vintage") > last).fill_null(value=False)
    mine = known.filter(ahead).join(names, on=["source", "symbol"], how="semi")
    if not mine.height:
        return known
    key = ["source", "symbol", "date", STAMP]
    both = []
    for rows in (every, known):
        listed = rows.join(names, on=["source", "symbol"], how="semi").sort(key)
        listed = listed.with_columns(
            pl.concat_str("source", "symbol", separator="\0").alias("instrument_id")
        )
        both.append(with_factors(listed).select(*key, FACTOR))
    step = (
        both[1]
        .join(both[0], on=key, suffix="_all")
        .select(*key, (pl.col(f"{FACTOR}_all") / pl.col(FACTOR)).alias("_step"))
    )
    moved = ahead & (pl.col("_step").fill_null(1.0) != 1.0)
    prices = ("open", "high", "low", "close", "adj_close", "dividend")
    return (
        known.join(step, on=key, how="left", maintain_order="left")
        .with_columns(
            *(
                pl.when(moved).then(pl.col(n) * pl.col("_step")).otherwise(n).alias(n)
                for n in prices
            ),
            pl.when(moved)
            .then(pl.col("volume") / pl.col("_step"))
            .otherwise("volume")
            .alias("volume"),
            pl.when(moved).then(pl.lit(last)).otherwise("basis_vintage").alias("basis_vintage"),
        )
        .drop("_step")
    )
