"""The US Treasury's daily par yield curve, a CSV a calendar year, without a key.

Newest day first; yields in percent a year, bond-equivalent. Tenors come and go (20 Yr from 1993, 30
Yr not from 2002 to 2006, 2 Mo from 2018, 4 Mo from 2022, 1.5 Month from 2025): a cell that is empty
or ``N/A`` is no value. A zero is a yield of zero; there were some.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import ClassVar

import polars as pl

from wealthos_pipeline.core.errors import SourceError, TransientError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources.base import Request, SourceInfo
from wealthos_pipeline.data.sources.fetching import Limits
from wealthos_pipeline.data.sources.rates import tenor
from wealthos_pipeline.data.sources.tabular import EMPTY
from wealthos_pipeline.data.sources.vendor import Vendor

HOST = "https://home.treasury.gov"
PATH = "resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/{year}/all"
KIND = "daily_treasury_yield_curve"
FIRST_YEAR = 1990
NEW_YEAR = timedelta(days=9)
"""A year's curve begins by then."""

SCHEMA = {"date": pl.Date, "tenor": pl.String, "value": pl.Float64}


class TreasuryVendor(Vendor):
    """Par yields: series ``ust_par``, tenors ``1M`` to ``30Y``, percent."""

    name: ClassVar[str] = "treasury"
    host: ClassVar[str] = HOST
    limits: ClassVar[Limits] = Limits(per_minute=60, concurrency=2, timeout=60.0)
    gives: ClassVar[tuple[str, ...]] = ("series",)

    def info(self) -> SourceInfo:
        return SourceInfo(
            name=self.name,
            title="US Treasury: daily par yield curve",
            licence="public domain (United States government)",
            provenance="home.treasury.gov, daily Treasury par yield curve rates by year, from 1990",
            live=True,
        )

    def parts(self, what: str, request: Request) -> Sequence[str]:
        """The current year, and back from it those that are not stored to their end."""
        last = min(d for d in (request.end, request.now.date()) if d is not None)
        first = FIRST_YEAR if request.start is None else max(FIRST_YEAR, request.start.year)
        stored = self._stored(request, "raw.series").filter(pl.col("series") == "ust_par")
        have = set() if request.full else set(stored["date"].unique().to_list())
        calendar = TradingCalendar("XNYS")
        ends = calendar.lasts(date(first, 1, 1), date(last.year - 1, 12, 31), "year")
        complete = {day.year for day in ends if day in have}
        return [str(y) for y in range(last.year, first - 1, -1) if y not in complete]

    def part(self, what: str, name: str, request: Request) -> pl.DataFrame:
        """One year of ``raw.series``, within the range asked for."""
        text = self.http.text(
            PATH.format(year=name),
            {"type": KIND, "field_tdr_date_value": name, "page": "", "_format": "csv"},
        )
        curve = read(text, int(name), request.now.date())
        if request.start is not None:
            curve = curve.filter(pl.col("date") >= request.start)
        if request.end is not None:
            curve = curve.filter(pl.col("date") <= request.end)
        return curve.with_columns(
            pl.lit("ust_par").alias("series"),
            pl.lit("percent").alias("unit"),
            pl.lit("day").alias("frequency"),
        )


def read(text: str, year: int, today: date) -> pl.DataFrame:
    """``date, tenor, value`` of one year's CSV, sorted.

    TransientError where the answer is empty or cut off: the curve of a year begins in its first days,
    at the end of the file. SourceError lists what cannot be read.
    """
    lines = [row for row in csv.reader(io.StringIO(text)) if row]
    young = year == today.year and today <= date(year, 1, 1) + NEW_YEAR
    if len(lines) < 2:
        if young:  # nothing was published yet
            return pl.DataFrame(schema=SCHEMA)
        raise TransientError(f"the Treasury's curve of {year} came without a single day")
    header = lines[0]
    tenors = {i: t for i, c in enumerate(header) if (t := tenor(c)) is not None}
    if header[0].strip().lower() != "date" or "10Y" not in tenors.values():
        raise SourceError(
            f"the Treasury's curve of {year} has another layout: expected Date, 1 Mo, …, 10 Yr; it "
            f"has: {', '.join(header)[:200]}"
        )
    faults: list[str] = []
    rows: list[tuple[date, str, float]] = []
    days: list[date] = []
    for number, line in enumerate(lines[1:], 2):
        day = _date(line[0])
        if len(line) != len(header):
            raise TransientError(
                f"the Treasury's curve of {year} is cut off: line {number} has {len(line)} of "
                f"{len(header)} columns"
            )
        if day is None or day.year != year:
            faults.append(f"line {number}: {line[0]!r} is no day of {year}")
            continue
        days.append(day)
        for i, name in tenors.items():
            cell = line[i].strip()
            if cell.lower() in EMPTY:
                continue
            try:
                rows.append((day, name, float(cell)))
            except ValueError:
                faults.append(f"line {number}, {header[i]}: {cell!r} is no number")
    if len(set(days)) < len(days):
        twice = sorted({d for d in days if days.count(d) > 1})
        faults.append(f"two rows for {twice[0]}")
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise SourceError(
            f"the Treasury's curve of {year} cannot be used: {'; '.join(faults[:5])}{more}"
        )
    if min(days) > date(year, 1, 1) + NEW_YEAR:
        raise TransientError(
            f"the Treasury's curve of {year} is cut off: it begins on {min(days)}, not in January"
        )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("date", "tenor")


def _date(text: str) -> date | None:
    for form in ("%m/%d/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return None
