"""A user's own files: a price panel, and if wanted sectors, membership, rates, FX and VIX.

The panel is one file, or a folder of files that arrived one after another (``landing``). The raw
table tells new bars, corrections and changes of basis apart from one fetch to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, SourceError
from wealthos_pipeline.data.processors import membership
from wealthos_pipeline.data.processors.instruments import normalised
from wealthos_pipeline.data.sources import landing, rates, tabular
from wealthos_pipeline.data.sources import panel as panels
from wealthos_pipeline.data.sources.base import (
    FAILURES,
    Bias,
    RawFrames,
    Request,
    SourceInfo,
    complete,
)
from wealthos_pipeline.utils.config import SourceSettings

NAME = "files"
UNIVERSE = "default"

_SECTORS = {
    "symbol": ("ticker", "code"),
    "sector": ("gics_sector", "sector_name", "industry_sector"),
    "name": ("security", "company", "company_name", "long_name"),
    "asset_class": ("class", "type"),
}
_MEMBERS = {
    "symbol": ("ticker", "code"),
    "start": ("start_date", "from", "added", "date_added", "valid_from"),
    "end": ("end_date", "to", "removed", "date_removed", "valid_to"),
}
LAST_DAY = "valid_to"
"""The name of a column of ends that are the last day in; under other names it is the first day out."""


class FilesSource:
    """The panel named in the settings, with the files beside it."""

    def __init__(self, settings: SourceSettings) -> None:
        if settings.path is None:
            raise ConfigError(
                "the source 'files' needs a panel: `--path PANEL` or source.path in the settings "
                "(Parquet or CSV, long or wide)"
            )
        self.settings = settings
        self.path = settings.path
        self._facts: _Facts | None = None

    @property
    def name(self) -> str:
        return NAME

    def fetch(self, request: Request) -> RawFrames:
        """Rows of the panel and the files beside it.

        PanelError lists everything that makes the panel unusable, SourceError what makes a file
        beside it unusable. ``failures`` lists symbols that one file has and another has not.
        """
        panel, failures = self._panel()
        facts = self._facts = _facts(panel, self.settings, request.now.date())
        stamp = pl.lit(request.now).cast(pl.Datetime("us", "UTC")).alias("fetched_at")
        source = pl.lit(NAME).alias("source")
        rows, early = complete(panel.rows, request)
        currency = pl.lit(self.settings.currency)
        if "currency" in rows.columns:
            currency = pl.col("currency").fill_null(self.settings.currency)
        prices = request.clip(rows).with_columns(
            source,
            stamp,
            currency.alias("currency"),
            pl.lit(facts.vintage, dtype=pl.Date).alias("basis_vintage"),
        )
        instruments = self._instruments(panel, failures).with_columns(source, stamp)
        membership = self._membership(panel, failures).with_columns(source, stamp)
        series = request.clip(self._series(failures)).with_columns(source, stamp)
        rejected = request.clip(pl.concat([panel.rejected, early])).with_columns(
            source,
            stamp,
            pl.lit("raw.prices").alias("table"),
            pl.lit(request.now).cast(pl.Datetime("us", "UTC")).alias("known_at"),
        )
        return RawFrames(
            prices=contract("raw.prices").conform(prices),
            series=contract("raw.series").conform(series),
            instruments=contract("raw.instruments").conform(instruments),
            membership=contract("raw.membership").conform(membership),
            failures=pl.DataFrame(failures, schema=["symbol", "reason"], orient="row")
            if failures
            else pl.DataFrame(schema=FAILURES),
            rejected=contract("clean.quarantine").conform(rejected),
        )

    def info(self) -> SourceInfo:
        """What is known about the panel; reads it when it has not been fetched."""
        if self._facts is None:
            self._facts = _facts(self._panel()[0], self.settings, date.max)
        return _info(self._facts, self.settings)

    def _panel(self) -> tuple[panels.Panel, list[tuple[str, str]]]:
        if self.path.is_dir():
            return landing.read(self.path)
        return panels.read(self.path), []

    def _instruments(self, panel: panels.Panel, failures: list[tuple[str, str]]) -> pl.DataFrame:
        symbols = pl.DataFrame({"symbol": panel.symbols}).with_columns(
            normalised(pl.col("symbol")).alias("_name")
        )
        described = pl.DataFrame(
            schema={
                "_name": pl.String,
                "name": pl.String,
                "sector": pl.String,
                "asset_class": pl.String,
            }
        )
        if self.settings.sectors is not None:
            described = _read_sectors(self.settings.sectors)
        out = symbols.join(described, on="_name", how="left", maintain_order="left")
        if self.settings.sectors is not None:
            lost = out.filter(pl.col("sector").is_null())["symbol"]
            failures += [(s, f"no sector in {self.settings.sectors.name}") for s in lost]
        return out.select(
            "symbol",
            "name",
            "sector",
            pl.col("asset_class").fill_null("equity"),
            pl.lit(self.settings.exchange).alias("exchange"),
            pl.lit(self.settings.currency).alias("currency"),
        )

    def _membership(self, panel: panels.Panel, failures: list[tuple[str, str]]) -> pl.DataFrame:
        path = self.settings.membership
        if path is None:
            return contract("raw.membership").empty().drop("source", "fetched_at")
        members = _read_members(path)
        have = pl.DataFrame({"symbol": panel.symbols}).with_columns(
            normalised(pl.col("symbol")).alias("_name")
        )
        named = members.with_columns(normalised(pl.col("symbol")).alias("_name"))
        lost = named.join(have, on="_name", how="anti")["symbol"].unique().sort()
        failures += [
            (s, f"in {path.name} but without prices: its returns are missing") for s in lost
        ]
        never = have.join(named, on="_name", how="anti")["symbol"].sort()
        failures += [(s, f"has prices but is never a member in {path.name}") for s in never]
        return members.with_columns(pl.lit(UNIVERSE).alias("universe"))

    def _series(self, failures: list[tuple[str, str]]) -> pl.DataFrame:
        parts = [contract("raw.series").empty().drop("source", "fetched_at")]
        order = parts[0].columns
        if self.settings.rates is not None:
            curve, notes = rates.read_par_yields(self.settings.rates)
            failures += notes
            parts.append(_as_series(curve, "ust_par", pl.col("tenor"), "percent").select(order))
        if self.settings.fx is not None:
            pairs, notes = rates.read_fx(self.settings.fx)
            failures += notes
            parts.append(_as_series(pairs, "fx", pl.col("tenor"), "rate").select(order))
        if self.settings.vix is not None:
            vix = rates.read_vix(self.settings.vix)
            parts.append(_as_series(vix, "vix", pl.lit(""), "index").select(order))
        return pl.concat(parts)


def _as_series(frame: pl.DataFrame, name: str, tenor: pl.Expr, unit: str) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(name).alias("series"),
        tenor.alias("tenor"),
        pl.lit(unit).alias("unit"),
        pl.lit("day").alias("frequency"),
    )


def _read_sectors(path: Path) -> pl.DataFrame:
    columns, frame, _ = _beside(path, _SECTORS, ("symbol", "sector"))
    texts = {
        name: frame[columns[name]].cast(pl.String).str.strip_chars()
        if name in columns
        else pl.Series([None] * frame.height, dtype=pl.String)
        for name in _SECTORS
    }
    out = pl.DataFrame(texts).with_columns(pl.all().replace("", None)).drop_nulls("symbol")
    classes = ("equity", "fixed_income", "cross_asset")
    known = pl.col("asset_class").str.to_lowercase().str.replace_all(" ", "_")
    return out.select(
        normalised(pl.col("symbol")).alias("_name"),
        "name",
        "sector",
        pl.when(known.is_in(classes)).then(known).alias("asset_class"),
    ).unique("_name", keep="first", maintain_order=True)


def _read_members(path: Path) -> pl.DataFrame:
    """``symbol, start, end``, the end as the last day in.

    The file's end is the day a removal takes effect, the first day out; called ``valid_to``, as in
    ``clean.membership``, it is the last day in.
    """
    columns, frame, first = _beside(path, _MEMBERS, ("symbol", "start"))
    start, fault = tabular.dates(frame[columns["start"]], first)
    faults = [fault] if fault else []
    end = pl.Series("end", [None] * frame.height, dtype=pl.Date)
    if "end" in columns:
        end, fault = tabular.dates(frame[columns["end"]], first)
        faults += [fault] if fault else []
        if tabular.plain(columns["end"]) != LAST_DAY:
            end = end.dt.offset_by("-1d")
    symbol = frame[columns["symbol"]].cast(pl.String).str.strip_chars()
    if not faults:
        empty = symbol.is_null() | (symbol == "") | start.is_null()
        if empty.any():
            where = ", ".join(str(i + first) for i in empty.arg_true().head(tabular.SHOWN))
            faults.append(f"symbol or start is empty in {empty.sum()} rows (row {where} …)")
        faults += membership.faults(symbol, start, end, first)
    if faults:
        raise SourceError(
            f"{path.name} cannot be used as membership:\n" + "\n".join(f"  - {f}" for f in faults)
        )
    out = pl.DataFrame({"symbol": symbol, "start": start, "end": end})
    # an interval of no day is none
    out = out.filter(pl.col("end").is_null() | (pl.col("end") >= pl.col("start")))
    return out.unique(maintain_order=True).sort("symbol", "start")


def _beside(
    path: Path, synonyms: dict[str, tuple[str, ...]], needed: tuple[str, ...]
) -> tuple[dict[str, str], pl.DataFrame, int]:
    table = tabular.read(path)
    columns, faults = tabular.match(table.frame.columns, synonyms)
    faults += [
        f"no column {n!r} (or {', '.join(synonyms[n])}); it has: {', '.join(table.frame.columns)}"
        for n in needed
        if n not in columns
    ]
    if faults:
        raise SourceError(f"{path.name} cannot be used:\n" + "\n".join(f"  - {f}" for f in faults))
    return columns, table.frame, table.first


@dataclass(frozen=True, slots=True)
class _Facts:
    symbols: int
    rows: int
    first: date
    last: date
    fields: tuple[str, ...]
    ignored: tuple[str, ...]
    rejected: int
    vintage: date | None


def _facts(panel: panels.Panel, settings: SourceSettings, today: date) -> _Facts:
    adjusted = panels.is_adjusted(panel) if settings.adjusted is None else settings.adjusted
    days = panel.rows.filter(pl.col("date") <= today)["date"]
    first, last = days.min(), days.max()
    return _Facts(
        symbols=panel.rows["symbol"].n_unique(),
        rows=panel.rows.height,
        first=first if isinstance(first, date) else panel.last,
        last=last if isinstance(last, date) else panel.last,
        fields=panel.fields,
        ignored=panel.ignored,
        rejected=panel.rejected.height,
        vintage=(last if isinstance(last, date) else panel.last) if adjusted else None,
    )


def _info(facts: _Facts, settings: SourceSettings) -> SourceInfo:
    assert settings.path is not None
    biases = [
        Bias(
            "survivorship",
            "Names that died may be missing",
            "A panel collected later usually holds the survivors. "
            + (
                f"{settings.membership.name} says who was a member when; members without prices "
                "are listed among the failures of the fetch."
                if settings.membership
                else "No membership file was given: every name counts on every day it has a bar."
            ),
        )
    ]
    if facts.vintage is not None:
        what = "adjusted closes" if "adj_close" in facts.fields else "closes"
        biases.append(
            Bias(
                "back_adjustment",
                f"Prices are back-adjusted as of {facts.vintage}",
                f"Total returns come from the ratios of the {what}. Past price levels are not those "
                "traded, so rules on price levels and traded value are distorted.",
            )
        )
    if "adj_close" not in facts.fields and "dividend" not in facts.fields:
        biases.append(
            Bias(
                "dividends",
                "Dividends are not given",
                "Returns are total returns only if the closes already include dividends.",
            )
        )
    if settings.sectors:
        biases.append(
            Bias(
                "static_sectors",
                "Sectors are one snapshot",
                f"Those of {settings.sectors.name} are used for all dates, before they were known.",
            )
        )
    absent = {
        f: f"the panel {settings.path.name} has no such column"
        for f in panels.NUMERIC
        if f not in facts.fields and f != "close"
    }
    absent["market_cap"] = "a price panel has no shares outstanding"
    for name, given, flag in (
        ("sector", settings.sectors, "sectors"),
        ("membership", settings.membership, "membership"),
        ("yield_curve", settings.rates, "rates"),
        ("vix", settings.vix, "vix"),
    ):
        if given is None:
            absent[name] = f"no {flag} file was given (source.{flag})"
    extra = f"; columns not used: {', '.join(facts.ignored)}" if facts.ignored else ""
    bad = f"; {facts.rejected} contradicting duplicates rejected" if facts.rejected else ""
    return SourceInfo(
        name=NAME,
        title=f"Panel {settings.path.name}: {facts.symbols} symbols, {facts.first} to {facts.last}",
        licence="the user's own file; its terms are not known to this program",
        provenance=f"{settings.path.name}, {facts.rows} rows{extra}{bad}",
        biases=tuple(biases),
        missing=absent,
    )
