"""Alerts: rules as data, each with severity and one sentence.

A rule measures something on a date with what was known after its close; its ``levels`` turn the
measure into a severity. What is absent from ``frames`` is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final, Literal, Protocol

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor.known import known

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Need:
    """What a rule reads of a table: columns and sessions before the date (None: all history)."""

    columns: tuple[str, ...]
    sessions: int | None = None


INPUTS: Final[Mapping[str, Need]] = {
    "portfolio.nav": Need(("mandate", "run_kind", "date", "nav")),
    "portfolio.risk": Need(("mandate", "run_kind", "date", "var_95", "var_99"), 10),
    "portfolio.risk_outcomes": Need(
        (
            "mandate",
            "run_kind",
            "date",
            "pnl_next",
            "exception_95",
            "exception_99",
            "known_at",
        ),
        520,
    ),
    "portfolio.solves": Need(("mandate", "run_kind", "date", "status", "message"), 80),
    "portfolio.targets": Need(
        ("mandate", "run_kind", "date", "instrument_id", "weight", "risk_contribution"), 80
    ),
    "factors.performance": Need(
        ("factor", "universe", "horizon", "date", "rank_ic", "known_at"), None
    ),
    "models.drift": Need(
        (
            "model",
            "date",
            "subject",
            "psi",
            "psi_limit",
            "stability",
            "stability_low",
            "stability_high",
            "turnover",
            "turnover_before",
            "drifted",
            "known_at",
        ),
        30,
    ),
    "models.live": Need(("model", "horizon", "date", "rank_ic", "expected_rank_ic", "known_at")),
    "monitor.regime": Need(("date", "p_turbulent", "regime"), 5),
    "clean.prices": Need(("instrument_id", "date", "slot", "known_at"), 40),
    "clean.series": Need(("series", "tenor", "date", "frequency", "known_at")),
    "clean.quarantine": Need(("table", "symbol", "date", "rule", "known_at"), 5),
    "meta.coverage": Need(("date", "table", "rows"), 40),
    "meta.checks": Need(
        ("run_id", "table", "check", "column", "severity", "success", "unexpected", "rows")
    ),
}
"""Tables that ``evaluate`` can use, with the columns and history that it wants."""


class Read(Protocol):
    """``read(table, start=…, columns=…)`` gives a frame."""

    def __call__(
        self, table: str, *, start: date | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something measured: ``measure`` is compared with the levels, ``value`` is stored."""

    subject: str
    measure: float
    value: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """``levels``: (least measure, severity), rising; ``parameter``: what ``judge`` takes, if any."""

    name: str
    title: str
    levels: tuple[tuple[float, Severity], ...]
    judge: Callable[[State, Rule], Iterable[Finding]]
    parameter: float = 0.0

    def severity(self, measure: float) -> Severity | None:
        """The severity that ``measure`` reaches; None below every level."""
        reached: Severity | None = None
        for least, severity in self.levels:
            if measure >= least:
                reached = severity
        return reached


@dataclass(frozen=True)
class State:
    """What was known after the close of ``day``, table by table."""

    day: date
    calendar: TradingCalendar
    frames: Mapping[str, pl.DataFrame]
    run_id: str
    factors: Mapping[str, Factor]
    last: bool

    def table(self, name: str) -> pl.DataFrame | None:
        """Rows known on the day; None where the table was not given or is empty."""
        return self._known.get(name)

    @cached_property
    def _known(self) -> dict[str, pl.DataFrame]:
        rows = {
            name: known(name, frame, self.day, self.calendar) for name, frame in self.frames.items()
        }
        return {name: frame for name, frame in rows.items() if frame.height}

    def backtest(self, name: str) -> Iterator[tuple[str, pl.DataFrame]]:
        """(mandate, its backtest rows by date)."""
        frame = self.table(name)
        if frame is None:
            return
        frame = frame.filter(pl.col("run_kind") == "backtest").sort("mandate", "date")
        for (mandate,), rows in frame.group_by("mandate", maintain_order=True):
            yield str(mandate), rows

    def decided(self, name: str) -> Iterator[tuple[str, pl.DataFrame]]:
        """(mandate, rows of its latest decision); live before backtest on the same date."""
        frame = self.table(name)
        if frame is None:
            return
        frame = frame.filter(pl.col("run_kind").is_in(["live", "backtest"])).sort(
            "mandate", "date", "run_kind"
        )
        for (mandate,), rows in frame.group_by("mandate", maintain_order=True):
            end = rows.row(-1, named=True)
            yield (
                str(mandate),
                rows.filter(
                    (pl.col("date") == end["date"]) & (pl.col("run_kind") == end["run_kind"])
                ),
            )


def needed_from(table: str, day: date, calendar: TradingCalendar) -> date | None:
    """First date of ``table`` that judging ``day`` needs; None: all of it."""
    sessions = INPUTS[table].sessions
    return None if sessions is None else calendar.offset(day, -sessions)


def gather(
    read: Read, *, dates: Sequence[date], calendar: TradingCalendar
) -> dict[str, pl.DataFrame]:
    """What ``evaluate`` needs for ``dates``, through ``read``."""
    first = min(dates)
    return {
        table: read(
            table,
            columns=list(need.columns),
            start=needed_from(table, first, calendar),
        )
        for table, need in INPUTS.items()
    }


def evaluate(
    frames: Mapping[str, pl.DataFrame],
    *,
    dates: Sequence[date],
    calendar: TradingCalendar,
    run_id: str = "",
    factors: Iterable[Factor] = (),
    rules: Sequence[Rule] | None = None,
) -> pl.DataFrame:
    """Alerts of ``dates`` (``monitor.alerts``), each from what was known after that close.

    frames: table name → frame, for (some of) ``INPUTS``. ``run_id``: whose data checks count; they
        are reported on the last date. ``factors``: definitions, for their direction and title.
    """
    from wealthos_pipeline.market_monitor.rules import RULES

    rows: list[dict[str, object]] = []
    defined = {f.name: f for f in factors}
    for day in sorted(set(dates)):
        state = State(day, calendar, frames, run_id, defined, day == max(dates))
        for rule in RULES if rules is None else rules:
            for found in rule.judge(state, rule):
                severity = rule.severity(found.measure)
                if severity is not None:
                    rows.append(
                        {
                            "date": day,
                            "alert": rule.name,
                            "subject": found.subject,
                            "severity": severity,
                            "text": found.text,
                            "value": found.value,
                        }
                    )
    out = contract("monitor.alerts")
    if not rows:
        return out.empty()
    return out.conform(pl.DataFrame(rows, schema=out.schema()))


def failed_runs(failures: pl.DataFrame, day: date) -> pl.DataFrame:
    """One critical alert a run that failed since the last complete one.

    failures: ``run_id, job, message, at`` (data.storage.failures.read).
    """
    return contract("monitor.alerts").conform(
        failures.select(
            pl.lit(day).alias("date"),
            pl.lit("run_failed").alias("alert"),
            pl.concat_str(pl.lit("run "), pl.col("run_id").str.slice(0, 8)).alias("subject"),
            pl.lit("critical").alias("severity"),
            pl.format(
                "The job {} failed at {} UTC: {}",
                "job",
                pl.col("at").dt.strftime("%Y-%m-%d %H:%M"),
                pl.col("message").str.split("\n").list.first(),
            ).alias("text"),
            pl.lit(None, dtype=pl.Float64).alias("value"),
        )
    )


def refused_factors(admissions: pl.DataFrame, day: date) -> pl.DataFrame:
    """One warning an own factor, or file of such, that was left out.

    admissions: ``factors.admissions``.
    """
    return contract("monitor.alerts").conform(
        admissions.filter(~pl.col("admitted"))
        .unique("factor", keep="first", maintain_order=True)
        .select(
            pl.lit(day).alias("date"),
            pl.lit("factor_left_out").alias("alert"),
            pl.col("factor").alias("subject"),
            pl.lit("warning").alias("severity"),
            pl.format("Your own {} is left out: {}", "factor", "reason").alias("text"),
            pl.lit(None, dtype=pl.Float64).alias("value"),
        )
    )


def unserved(
    live: Sequence[str], wanted: Sequence[str], champions: Mapping[str, str | None], day: date
) -> pl.DataFrame:
    """One critical alert a slot whose champion has no live prediction for ``day``, and one warning a model that
    should have some and is no such champion.

    live: models with live predictions for ``day``. wanted: models that the run trains. champions: slot → the
    champion, None before the first review.
    """
    rows: list[dict[str, object]] = []
    there, told = set(live), set()
    for slot, champion in sorted(champions.items()):
        if champion is None or champion in there:
            continue
        told.add(champion)
        words = (
            f"{champion}, champion of {slot}, has no live prediction for {day}: mandates that follow the slot "
            "get those of a champion before it, or none. The check every_model_fitted says why; "
            "`wealthos models rollback` or `promote` names another."
        )
        rows.append({"subject": slot, "severity": "critical", "text": words})
    for model in dict.fromkeys(wanted):
        if model in there or model in told:
            continue
        words = f"{model} has no live prediction for {day}; the check every_model_fitted says why."
        rows.append({"subject": model, "severity": "warning", "text": words})
    out = contract("monitor.alerts")
    shape = {c: out.schema()[c] for c in ("subject", "severity", "text")}
    return out.conform(
        pl.DataFrame(rows, schema=shape).select(
            pl.lit(day).alias("date"),
            pl.lit("no_prediction").alias("alert"),
            "subject",
            "severity",
            "text",
            pl.lit(None, dtype=pl.Float64).alias("value"),
        )
    )


def stale_fits(registry: pl.DataFrame, day: date) -> pl.DataFrame:
    """One warning a model of which fits in use saw rows that were restated since.

    registry: ``models.registry``.
    """
    stale = (
        registry.filter(pl.col("stale_since").is_not_null())
        .group_by("model")
        .agg(
            pl.len().alias("fits"),
            pl.col("stale_since").max(),
            pl.col("refit_date").min().alias("first"),
            pl.col("refit_date").max().alias("last"),
        )
        .sort("model")
    )
    return contract("monitor.alerts").conform(
        stale.select(
            pl.lit(day).alias("date"),
            pl.lit("stale_fits").alias("alert"),
            pl.col("model").alias("subject"),
            pl.lit("warning").alias("severity"),
            pl.format(
                "{} fits of {} ({} to {}) were trained on rows restated since, last on {}; "
                "they stand until `wealthos run --full`.",
                "fits",
                "model",
                "first",
                "last",
                pl.col("stale_since").dt.strftime("%Y-%m-%d"),
            ).alias("text"),
            pl.col("fits").cast(pl.Float64).alias("value"),
        )
    )
