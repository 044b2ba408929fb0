"""What a factor command is about: a factor by name or an expression, its values, its study."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.core.factor import Factor
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.factors import Library
    from wealthos_pipeline.factors.study import Study
    from wealthos_pipeline.utils.config import Settings

ADHOC = "expression"
"""Name of a factor that was typed."""

_WRITTEN = (
    "{0!r} is a word of the language and no factor. An expression is written in single quotes, with "
    "$ before a field: 'Mean($close, 20)'"
)

_COLUMNS = (
    "instrument_id", "date", "slot", "open", "high", "low", "close", "volume", "split_index", "tr_index",
    "dollar_volume", "flags", "known_at",
)  # fmt: skip


@dataclass(frozen=True)
class Bars:
    """What values are computed from and judged by; ``biases``: ``(name, title, detail)``."""

    prices: pl.DataFrame
    series: pl.DataFrame | None
    instruments: pl.DataFrame | None
    membership: pl.DataFrame | None
    regimes: pl.DataFrame | None
    statements: pl.DataFrame | None
    calendar: TradingCalendar
    biases: tuple[tuple[str, str, str], ...]
    source: str


@dataclass(frozen=True)
class Asked:
    """What of the bars to look at, and how."""

    horizons: tuple[int, ...]
    start: date | None = None
    end: date | None = None
    costs_bp: float = 10.0
    everyone: bool = False


def library(settings: Settings) -> Library:
    """Every factor of every set, and the own ones; faults of own files are in ``faults``."""
    from wealthos_pipeline import factors

    return factors.load(("all",), strict=False)


def resolve(text: str, settings: Settings, direction: int | None = None) -> Factor:
    """The factor called ``text``, or a nameless one of the expression ``text``."""
    from dataclasses import replace

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.core.asset import AssetClass
    from wealthos_pipeline.core.errors import FactorError
    from wealthos_pipeline.core.factor import Factor
    from wealthos_pipeline.factors import expression as language
    from wealthos_pipeline.factors.operators import FIELDS, LABELS, OPERATORS

    text = text.strip()
    if re.fullmatch(r"\w+", text):
        known = library(settings).factors
        if text not in known and (text in FIELDS or text in LABELS or text in OPERATORS):
            raise FactorError(_WRITTEN.format(text))
        factor = known[find("factor", text, known, "wealthos factors list --set all")]
        return factor if direction is None else replace(factor, direction=direction)
    try:
        language.parse(text)
    except FactorError as error:
        if "$" in text or not re.search(r"[(,]\s*[,)]", text):
            raise
        raise FactorError(
            f"{error}\nA shell takes $close away between double quotes: write the expression in "
            "single quotes, 'Mean($close, 20)'"
        ) from error
    return Factor(
        ADHOC, AssetClass.EQUITY, ADHOC, direction or 1, text, "typed at the prompt",
        expression=text, sets=(),
    )  # fmt: skip


def published(run: Published, calendar: TradingCalendar, factor: Factor) -> Bars:
    """The bars of a published run."""
    import polars as pl

    catalog = run.read("meta.catalog").filter(pl.col("kind") == "bias")
    fundamental = "Statement(" in (factor.expression or "") or "clean.fundamentals" in factor.inputs
    return Bars(
        run.snapshot.read("clean.prices", columns=_COLUMNS),
        run.read("clean.series"),
        run.read("clean.instruments"),
        run.read("clean.membership"),
        run.read("monitor.regime"),
        run.read("clean.fundamentals") if fundamental else None,
        calendar,
        tuple((n, t, d or "") for n, t, d in catalog.select("name", "title", "detail").iter_rows()),
        f"{run.manifest.source}, run {run.manifest.run_id[:8]}, data as of {run.manifest.as_of}",
    )


def table(path: Path, calendar: TradingCalendar) -> Bars:
    """The bars of a plain table; see ``cli.factors_panel``."""
    from wealthos_pipeline.cli.factors_panel import read

    prices = read(path, calendar)
    return Bars(prices, None, None, None, None, None, calendar, (), f"the table {path.name}")


def look(factor: Factor, bars: Bars, asked: Asked) -> tuple[Study, pl.DataFrame]:
    """The study of a factor over ``bars``, and its values. FactorError where it cannot be judged."""
    import polars as pl

    from wealthos_pipeline import factors
    from wealthos_pipeline.core.asset import AssetClass
    from wealthos_pipeline.core.errors import FactorError
    from wealthos_pipeline.data.processors import membership
    from wealthos_pipeline.factors.library import Family
    from wealthos_pipeline.factors.study import study

    family = Family(factor.asset_class, factor.family, (factor,))
    values = factors.compute(
        family,
        membership.traded(bars.prices),
        bars.series,
        instruments=bars.instruments,
        statements=bars.statements,
        calendar=bars.calendar,
        start=asked.start,
    )
    own = values["instrument_id"].unique().implode()
    prices = bars.prices.filter(pl.col("instrument_id").is_in(own))
    if factor.target or (values.height and prices.is_empty()):
        raise FactorError(
            f"{factor.name} is one number a day, the same for all names: there is nothing to rank. It is "
            "judged over time by a run: `wealthos factors show`"
        )
    universe = None
    if (
        factor.asset_class is AssetClass.EQUITY
        and bars.membership is not None
        and not asked.everyone
    ):
        universe = membership.universe(prices, bars.membership)
    found = study(
        values,
        prices,
        name=factor.name,
        direction=factor.direction,
        calendar=bars.calendar,
        horizons=asked.horizons,
        universe=universe,
        groups=bars.instruments,
        regimes=bars.regimes if bars.regimes is not None and bars.regimes.height else None,
        costs_bp=asked.costs_bp,
        end_known=None if asked.end is None else bars.calendar.known_at(asked.end),
    )
    return found, values
