"""From raw headlines to ``clean.news``: one row a story and instrument, as it was first published.

A story is known when the vendor says that it was published; where the vendor does not say, names an
instant after its own answer, or gives the story later than it should have, from the fetch. What is edited later keeps its first words: those
were the ones to act on. A symbol means the company that held it on the day of the story.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw, versions


def with_known_at(raw_news: pl.DataFrame) -> pl.DataFrame:
    """``raw_news`` with ``known_at``: publication if the vendor dates it, it lies before the fetch, and
    no earlier fetch of the symbol should have had the story; else the fetch. Later versions of a story:
    the fetch."""
    fetched = pl.col(raw.STAMP)
    by = ["source", "symbol"]
    stamps = raw_news.select(*by, raw.STAMP).unique().sort(*by, raw.STAMP)
    before = stamps.with_columns(pl.col(raw.STAMP).shift(1).over(by).alias("_before"))
    first = fetched == fetched.min().over("source", "news_id", "symbol")
    told = versions.published()
    new = pl.col("_before").is_null() | (told > pl.col("_before"))
    stamp = pl.when(first & new & pl.col("published_at").is_not_null()).then(told)
    return (
        raw_news.join(before, on=[*by, raw.STAMP], how="left", maintain_order="left")
        .with_columns(pl.min_horizontal(stamp.fill_null(fetched), fetched).alias("known_at"))
        .drop("_before")
    )


def clean(raw_news: pl.DataFrame, instruments: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """``clean.news`` as known at ``now``: stories about instruments.

    raw_news: all rows of ``raw.news``. instruments: ``clean.instruments``. ``date`` is the day of
    publication in UTC. Stories about symbols that no instrument held are left out.
    """
    table = contract("clean.news")
    believed = pl.col("published_at") <= pl.col(raw.STAMP)
    rows = with_known_at(raw_news).with_columns(
        pl.when(believed.fill_null(False))
        .then(pl.col("published_at"))
        .otherwise(pl.col(raw.STAMP))
        .dt.date()
        .alias("date"),
        pl.concat_str("source", "news_id", separator=":").alias("news_id"),
        pl.lit("observed").alias("basis"),
    )
    rows = versions.identified(rows.filter(pl.col("known_at") <= now), instruments, "date")
    first = rows.sort("news_id", "instrument_id", raw.STAMP, "known_at", "symbol").unique(
        ["news_id", "instrument_id"], keep="first", maintain_order=True
    )
    return table.conform(first.select(table.column_names))
