"""Rates of exchange from a person's file, beside a vendor: ``source.fx`` in the settings."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.sources.base import FAILURES, RawFrames, Request, SourceInfo

NAME = "fx_file"


class RatesOfExchange:
    """Series ``fx`` of a CSV: a column ``date`` and one a pair, such as ``GBPUSD``."""

    gives = ("series",)

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return NAME

    def info(self) -> SourceInfo:
        return SourceInfo(NAME, "Rates of exchange", "yours", f"your file {self.path.name}")

    def fetch(self, request: Request) -> RawFrames:
        """``raw.series`` in unit ``rate``. SourceError lists what is wrong with the file."""
        from wealthos_pipeline.data.sources import rates

        pairs, notes = rates.read_fx(self.path)
        failures = [(series, words, "series", "the later file") for series, words in notes]
        series = pairs.filter(pl.col("date") <= request.now.date()).with_columns(
            pl.lit(NAME).alias("source"),
            pl.lit("fx").alias("series"),
            pl.lit("rate").alias("unit"),
            pl.lit("day").alias("frequency"),
            pl.lit(request.now).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
        )
        empty = {n: contract(f"raw.{n}").empty() for n in ("prices", "instruments", "membership")}
        return RawFrames(
            **empty,
            series=contract("raw.series").conform(request.clip(series)),
            failures=pl.DataFrame(failures, schema=FAILURES, orient="row"),
        )
