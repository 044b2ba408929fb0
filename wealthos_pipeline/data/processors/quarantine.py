"""What rules took away or changed: ``clean.quarantine``, ``clean.adjustments``, and releases.

The raw row itself is untouched. The rules by name are in ``rules.RULES``. A person who knows better
releases a row that a rule rejected (``raw.releases``); it is used from that instant on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.data.processors.rules import RULES, releasable

RELEASABLE = tuple(r.name for r in RULES.values() if r.kind == "reject" and not r.final)
"""Rules whose rows a person may release."""

FIELDS = {"crossed": ("open", "high", "low"), "bad_volume": ("volume",)}
"""Columns that a repair takes away."""


def freed(rule: str) -> str:
    """Name of the column that says when a person released a row from ``rule``."""
    return f"{rule}_freed_at"


def collect(*frames: pl.DataFrame) -> pl.DataFrame:
    """The frames as one of ``clean.quarantine``, each row once."""
    table = contract("clean.quarantine")
    kept = [table.empty(), *(f.select(table.column_names) for f in frames if f.height)]
    return table.conform(pl.concat(kept).unique(table.key, keep="first", maintain_order=True))


def standing(releases: pl.DataFrame, table: str = "raw.prices") -> pl.DataFrame:
    """The releases of rows of ``table`` that were not taken back: the last word on each."""
    key = ["source", "symbol", "date", "rule"]
    words = releases.filter(pl.col("table") == table).sort(*key, "fetched_at")
    return words.unique(key, keep="last", maintain_order=True).filter("released")


def released(rows: pl.DataFrame, releases: pl.DataFrame | None) -> pl.DataFrame:
    """``rows`` of ``raw.prices`` with when each was released, a column a rule (``freed``)."""
    key = ["source", "symbol", "date"]
    said = None if releases is None else standing(releases)
    for rule in RELEASABLE:
        mine = None if said is None else said.filter(pl.col("rule") == rule)
        if mine is None or not mine.height:
            rows = rows.with_columns(
                pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(freed(rule))
            )
            continue
        when = mine.select(*key, pl.col("fetched_at").alias(freed(rule)))
        rows = rows.join(when, on=key, how="left", maintain_order="left")
    return rows


def logged(
    broken: Mapping[str, pl.DataFrame],
    judged: pl.DataFrame,
    prices: pl.DataFrame,
    releases: pl.DataFrame | None = None,
    more: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``clean.adjustments`` of the bars in ``prices``: what ``FIELDS`` were before they were taken
    away, and the rows that a person released.

    broken: bars as they were, by rule. judged: rows of ``raw.prices`` with ``freed`` columns.
    more: further rows without ``known_at`` (``events.logged``).
    """
    parts = [
        rows.select(
            "instrument_id",
            "date",
            pl.lit(rule).alias("rule"),
            pl.lit(field).alias("field"),
            pl.col(field).alias("before"),
            pl.lit(None, dtype=pl.Float64).alias("after"),
            _shape(field).alias("detail"),
        ).filter(pl.col("before").is_not_null())
        for rule, rows in broken.items()
        for field in FIELDS[rule]
    ]
    if releases is not None:
        said = standing(releases)
        mine = judged.join(said, on=["source", "symbol", "date"], how="semi").select(
            "source", "symbol", "date", "instrument_id"
        )
        parts.append(
            said.join(mine.unique(), on=["source", "symbol", "date"], how="inner")
            .with_columns(
                pl.format("{} overruled by {}: {}", "rule", "owner", "reason").alias("detail")
            )
            .group_by("instrument_id", "date")
            .agg(pl.col("detail").sort().str.join("; "))
            .select(
                "instrument_id",
                "date",
                pl.lit("released").alias("rule"),
                pl.lit("close").alias("field"),
                pl.lit(None, dtype=pl.Float64).alias("before"),
                pl.lit(None, dtype=pl.Float64).alias("after"),
                "detail",
            )
        )
    if more is not None:
        parts.append(more)
    return stamped(pl.concat(parts), prices)


def stamped(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """``rows`` of ``clean.adjustments`` without ``known_at``, known when their bar in ``prices``
    was; rows without a bar there are left out."""
    table = contract("clean.adjustments")
    keyed = prices.select("instrument_id", "date", "known_at", "close")
    return table.conform(
        rows.join(keyed, on=["instrument_id", "date"], how="inner")
        .with_columns(
            pl.when(pl.col("rule") == "released").then("close").otherwise("after").alias("after")
        )
        .select(table.column_names)
    )


def _shape(field: str) -> pl.Expr:
    if field == "volume":
        return pl.format("volume {}", "volume")
    words = (pl.col(n).cast(pl.String).fill_null("none") for n in ("open", "high", "low", "close"))
    return pl.format("open {}, high {}, low {}, close {}", *words)


def counts(
    prices: pl.DataFrame, rejected: pl.DataFrame, adjustments: pl.DataFrame
) -> dict[str, dict[str, int]]:
    """Rows rejected, values repaired and bars flagged, by rule, in words for people."""

    def by_rule(frame: pl.DataFrame) -> dict[str, int]:
        return dict(frame["rule"].value_counts(sort=False).sort("rule").iter_rows())

    flags = prices["flags"]
    bits = {str(f.name).lower(): int(((flags & int(f)) != 0).sum()) for f in Flag}
    return {
        "rows rejected": by_rule(rejected),
        "values repaired": by_rule(adjustments),
        "bars flagged": {name: n for name, n in bits.items() if n},
    }


def release(
    quarantined: pl.DataFrame,
    releases: pl.DataFrame,
    *,
    symbol: str,
    day: date,
    rule: str,
    owner: str,
    reason: str,
    now: datetime,
) -> pl.DataFrame:
    """Rows to append to ``raw.releases`` so that the rows of ``symbol`` on ``day`` that ``rule``
    rejected are used from the next run on.

    quarantined: ``clean.quarantine``. releases: ``raw.releases``. ConfigError when the rule's rows
    cannot be released, when there is no such row, and without an owner and a reason.
    """
    releasable(rule)
    mine = quarantined.filter((pl.col("symbol") == symbol) & (pl.col("date") == day))
    found = mine.filter((pl.col("rule") == rule) & (pl.col("table") == "raw.prices"))
    if not found.height:
        others = ", ".join(mine["rule"].unique().sort()) or "nothing"
        waits = _last_words(releases, symbol, day, rule).filter("released").height
        raise ConfigError(
            f"rule {rule!r} rejected no row of {symbol} on {day}; in quarantine for that day: "
            f"{others}."
            + (" It was released already; the next run uses it." if waits else "")
            + f" `wealthos data quarantine --symbol {symbol}` lists them."
        )
    return _word(found, owner, reason, now, released=True)


def take_back(
    releases: pl.DataFrame,
    *,
    symbol: str,
    day: date,
    rule: str,
    owner: str,
    reason: str,
    now: datetime,
) -> pl.DataFrame:
    """Rows to append to ``raw.releases`` so that a release stands no more. ConfigError if none does."""
    found = _last_words(releases, symbol, day, rule).filter("released")
    if not found.height:
        said = releases.filter("released").select("symbol", "date", "rule").unique().sort(pl.all())
        known = ", ".join(f"{s} {d} {r}" for s, d, r in said.head(5).iter_rows()) or "none"
        raise ConfigError(
            f"no release of {symbol} on {day} from rule {rule!r} stands; releases so far: {known}"
        )
    return _word(found, owner, reason, now, released=False)


def _last_words(releases: pl.DataFrame, symbol: str, day: date, rule: str) -> pl.DataFrame:
    mine = (pl.col("symbol") == symbol) & (pl.col("date") == day) & (pl.col("rule") == rule)
    key = ["table", "source", "symbol", "date", "rule"]
    return releases.filter(mine).sort(*key, "fetched_at").unique(key, keep="last")


def _word(
    rows: pl.DataFrame, owner: str, reason: str, now: datetime, *, released: bool
) -> pl.DataFrame:
    lacking = [n for n, v in (("--owner", owner), ("--reason", reason)) if not v.strip()]
    if lacking:
        raise ConfigError(f"who answers for it, and why? Missing: {' and '.join(lacking)}")
    key = ["table", "source", "symbol", "date", "rule"]
    return contract("raw.releases").conform(
        rows.select(key)
        .unique()
        .with_columns(
            pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            pl.lit(owner.strip()).alias("owner"),
            pl.lit(reason.strip()).alias("reason"),
            pl.lit(released).alias("released"),
        )
    )
