"""A primary source with others beside it: bars from the primary, the rest from all."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources.base import (
    FAILURES,
    Bias,
    RawFrames,
    Request,
    Source,
    SourceInfo,
)

PRIMARY_ONLY = ("prices", "instruments")
"""Bars and the descriptions that identify them come from one source."""

SHARED = ("series", "membership", "fundamentals", "macro", "news", "earnings")


class Combined:
    """``primary``, and of ``others`` what they give beside bars.

    One of the others that fails is a failure in the table; the run goes on with what is stored.
    """

    def __init__(self, primary: Source, others: Sequence[Source]) -> None:
        self.primary = primary
        self.others = tuple(others)

    @property
    def name(self) -> str:
        """Name of the primary source: the one in the column ``source`` of the bars."""
        return self.primary.name

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all, the primary's first."""
        return (self.primary.name, *(s.name for s in self.others))

    def fetch(self, request: Request) -> RawFrames:
        """The frames of all. SourceError where the primary can give nothing."""
        first = self.primary.fetch(request)
        failures = [_named(first.failures, self.primary.name)]
        rejected = [first.rejected]
        frames = {name: [getattr(first, name)] for name in SHARED}
        for source in self.others:
            try:
                got = source.fetch(request)
            except SourceError as error:
                failures.append(_named(_whole(source.name, str(error), request), source.name))
                continue
            failures.append(_named(got.failures, source.name))
            for name in SHARED:
                frames[name].append(getattr(got, name))
            rejected.append(got.rejected.filter(pl.col("table") == "raw.series"))
        return RawFrames(
            prices=first.prices,
            instruments=first.instruments,
            failures=pl.concat(failures, how="diagonal"),
            rejected=pl.concat(rejected),
            **{n: contract(f"raw.{n}").conform(pl.concat(parts)) for n, parts in frames.items()},
        )

    def info(self) -> SourceInfo:
        """Titles, licences, biases and gaps of all; what one of them gives is not missing."""
        infos = [self.primary.info(), *(s.info() for s in self.others)]
        biases: dict[str, Bias] = {}
        missing: dict[str, str] = {}
        for info in infos:
            for bias in info.biases:
                biases.setdefault(bias.name, bias)
        for name, reason in infos[0].missing.items():
            if not any(name in _gives(s) for s in self.others):
                missing[name] = reason
        return SourceInfo(
            name=self.name,
            title=" + ".join(i.title for i in infos),
            licence="; ".join(f"{i.name}: {i.licence}" for i in infos),
            provenance="; ".join(f"{i.name}: {i.provenance}" for i in infos),
            biases=tuple(biases.values()),
            missing=missing,
        )


def _gives(source: Source) -> tuple[str, ...]:
    return tuple(getattr(source, "gives", SHARED))


def _named(failures: pl.DataFrame, source: str) -> pl.DataFrame:
    if "source" in failures.columns:
        return failures
    return failures.with_columns(pl.lit(source).alias("source"))


def _whole(name: str, words: str, request: Request) -> pl.DataFrame:
    kept = None if request.stored is None else "what was stored before"
    return pl.DataFrame([("*", words, "everything", kept)], schema=FAILURES, orient="row")
