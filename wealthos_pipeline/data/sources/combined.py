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

    @property
    def plans(self) -> bool:
        """Whether the primary finds out by itself what is missing."""
        return getattr(self.primary, "plans", False)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that the primary is asked for."""
        return getattr(self.primary, "symbols", ())

    def fetch(self, request: Request) -> RawFrames:
        """The frames of all. SourceError where the primary gives nothing and nothing is stored."""
        first = or_stored(self.primary, request)
        failures = [_named(first.failures, self.primary.name)]
        rejected = [first.rejected]
        frames = {name: [getattr(first, name)] for name in SHARED}
        for source in self.others:
            try:
                got = source.fetch(request)
            except SourceError as error:
                failures.append(_named(_down(str(error), "what was stored before"), source.name))
                continue
            failures.append(_named(got.failures, source.name))
            for name in SHARED:
                frames[name].append(getattr(got, name))
            rejected.append(got.rejected.filter(pl.col("table") != "raw.prices"))
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
            live=infos[0].live,
        )


def or_stored(source: Source, request: Request) -> RawFrames:
    """What ``source`` gives. A vendor that gives nothing while its bars are stored is a failure in the
    table: the run goes on with those. Otherwise its SourceError is raised."""
    try:
        return source.fetch(request)
    except SourceError as error:
        if not getattr(source, "plans", False) or request.stored is None:
            raise
        bars = request.stored("raw.prices").filter(pl.col("source") == source.name)
        last = bars.filter(pl.col("date") <= request.now.date())["date"].max()
        if last is None:
            raise
        empty = {n: contract(f"raw.{n}").empty() for n in (*PRIMARY_ONLY, *SHARED)}
        return RawFrames(**empty, failures=_down(str(error), f"everything stored through {last!s}"))


def _down(words: str, kept: str) -> pl.DataFrame:
    return pl.DataFrame([("*", words, "everything", kept)], schema=FAILURES, orient="row")


def _gives(source: Source) -> tuple[str, ...]:
    return tuple(getattr(source, "gives", SHARED))


def _named(failures: pl.DataFrame, source: str) -> pl.DataFrame:
    return failures.with_columns(pl.lit(source).alias("source"))
