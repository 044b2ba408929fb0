"""Data checks: Great Expectations suites derived from the table contracts, plus market rules.

A rule measures something for each row (or each session) and bounds it. From a contract come: no
nulls where none are allowed, the key once, allowed words, ranges by unit, finite numbers, nothing
from the future. ``MARKET`` adds what only the market says. Severity ``error`` blocks what would move
money; ``warn`` is for people. Nothing is raised here: ``blocking_failures`` tells the caller.

Great Expectations is imported at the first call (2.5 to 4 CPU seconds), with its analytics off. Every
row is checked, but it first sees only the extremes of each measure (lowest, highest, a null, the
distinct words): a bound that they keep is kept by all. Where they fail it sees the whole column.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, cast

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.data import contract as declared
from wealthos_pipeline.utils.market_rules import MARKET
from wealthos_pipeline.utils.rules import Compared, Measure, Rule, Severity, coded, of

__all__ = [
    "MARKET",
    "Compared",
    "Measure",
    "Rule",
    "Severity",
    "beside",
    "blocking_failures",
    "in_words",
    "of",
    "rules",
    "validate",
]

LARGEST = 1.7976931348623157e308
EXAMPLES = 5
WIDE = 12
"""Tables with more float columns than this get one check of finiteness for all of them."""


UNITS: dict[str, tuple[float | None, float | None, bool, Severity]] = {
    "shares": (0.0, None, False, "error"),
    "ratio": (0.0, None, True, "error"),
    "index": (0.0, None, True, "error"),
    "sessions": (0.0, None, False, "error"),
    "probability": (0.0, 1.0, False, "error"),
    "decimal": (-10.0, 100.0, False, "warn"),
    "fraction of NAV": (-5.0, 5.0, False, "error"),
}
"""Unit of a column → lowest, highest, whether these are excluded, severity."""

SIGNED = {("portfolio.trades", "units"), ("clean.holdings", "units")}
"""Columns whose unit allows negative values: changes and short positions."""

AHEAD = ("clean.membership",)
"""Tables with rows that are to come: a list says today who joins tomorrow, and ``known_at`` says when
that counts."""

WORDS: dict[str, tuple[str, ...]] = {
    "asset_class": ("equity", "fixed_income", "cross_asset"),
    "basis": ("assumed", "observed"),
    "frequency": ("day", "week", "month", "quarter", "year"),
    "unit": ("percent", "index", "usd", "rate", "persons", "decimal"),
    "run_kind": ("live", "backtest", "research"),
    "side": ("buy", "sell"),
    "severity": ("info", "warning", "critical"),
}
"""Text column → the words that it may hold."""


def rules(contract: TableContract | str) -> list[Rule]:
    """The suite of a table: derived from its contract, then the market's rules for it."""
    table = declared(contract) if isinstance(contract, str) else contract
    key = table.key
    out = [Rule("unique_key", "", "error", _repeats(key), 0, 0)]
    floats = [c for c in table.columns if c.dtype in ("f64", "f32")]
    for c in table.columns:
        column = pl.col(c.name)
        if not c.nullable or c.name in key:
            given = column.is_not_null()
            if c in floats:
                given &= column.is_not_nan()
            present = pl.when(given).then(1.0)
            out.append(Rule("not_null", c.name, "error", of(present, *key), required=True))
        if c.name in WORDS and c.dtype == "str" and table.layer != "meta":
            out.append(Rule("known_word", c.name, "error", of(column), words=WORDS[c.name]))
        ranged = c.unit in UNITS and (table.name, c.name) not in SIGNED
        if ranged:
            low, high, strict, severity = UNITS[c.unit]
            bounds = (-LARGEST if low is None else low, LARGEST if high is None else high)
            out.append(Rule("in_range", c.name, severity, of(column, *key), *bounds, strict))
        elif c in floats and len(floats) <= WIDE:
            out.append(Rule("finite", c.name, "error", of(column, *key), -LARGEST, LARGEST))
    if len(floats) > WIDE:
        any_bad = pl.any_horizontal(pl.col(c.name).is_infinite() for c in floats).cast(pl.Float64)
        out.append(Rule("finite", "", "error", of(any_bad.fill_null(0.0), *key), 0, 0))
    if table.layer not in ("meta", "record") and table.column_names:
        if table.date_column == "date":
            out.append(Rule("not_after_now", "date", "error", _days_ahead(key), None, 0))
        if "known_at" in table.column_names and table.name not in AHEAD:
            out.append(Rule("not_after_now", "known_at", "error", _known_ahead(key), None, 0))
    return out + list(MARKET.get(table.name, ()))


def beside(contract: TableContract | str) -> tuple[str, ...]:
    """Other tables that the rules of a table read."""
    return tuple(sorted({name for rule in rules(contract) for name in rule.beside}))


def validate(
    contract: TableContract | str,
    frame: pl.DataFrame,
    *,
    run_id: str,
    now: datetime,
    rules: Sequence[Rule] | None = None,
    context: pl.DataFrame | None = None,
    beside: Mapping[str, pl.DataFrame] | None = None,
    highest: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """``meta.checks`` rows: each rule of the table (or of ``rules``) on the whole ``frame``.

    context: rows of the table before ``frame`` (its last sessions are enough). Without it the
        first session of ``frame`` has nothing to be compared with: growth and completeness of a
        single new day are then not judged.
    beside: the tables that ``beside`` names, as far as they are there. highest: check → the upper
        bound to use in place of the rule's own.

    ``unexpected`` counts what failed, ``examples`` shows up to five with where they are. A rule
    whose columns the frame does not have fails and says so.
    """
    table = declared(contract) if isinstance(contract, str) else contract
    suite = _rules(table) if rules is None else list(rules)
    suite = [replace(r, high=(highest or {}).get(r.check, r.high)) for r in suite]
    frame = frame.rechunk()
    measured: list[tuple[Rule, pl.DataFrame]] = []
    found: dict[int, tuple[bool, int, int, str | None]] = {}
    shared: dict[Measure | Compared, pl.DataFrame] = {}
    whole = frame
    if context is not None and context.height and frame.height:
        whole = pl.concat(
            [context.select(c for c in frame.columns if c in context.columns), frame],
            how="diagonal",
        )
    for i, rule in enumerate(suite):
        try:
            if rule.measure not in shared:
                rows = whole if rule.looks_back else frame
                if rule.beside:
                    at = cast("Compared", rule.measure)(rows, now, beside or {})
                else:
                    at = cast("Measure", rule.measure)(rows, now)
                if rule.looks_back and whole is not frame:
                    at = at.filter(pl.col("date") >= frame["date"].min())
                shared[rule.measure] = at
            at = shared[rule.measure]
            at = at if rule.where is None else at.filter(rule.where)
        except pl.exceptions.ColumnNotFoundError as error:
            missing = f"column not found: {str(error).splitlines()[0]}"
            found[i] = (False, frame.height, frame.height, json.dumps([missing]))
            at = pl.DataFrame({"value": []}, schema={"value": pl.Float64})
        measured.append((rule, at))
    todo = [i for i, (_, at) in enumerate(measured) if i not in found and at.height]
    found.update(_expect([(i, *measured[i]) for i in todo]))
    checks = [
        (
            run_id,
            table.name,
            rule.check,
            rule.column,
            rule.severity,
            *found.get(i, (True, 0, 0, None)),
            now.astimezone(UTC),
        )
        for i, (rule, _) in enumerate(measured)
    ]
    out = declared("meta.checks")
    names = [n for n in out.column_names if n not in ("unexpected", "rows", "success", "examples")]
    order = [*names[:5], "success", "unexpected", "rows", "examples", names[5]]
    return out.conform(
        pl.DataFrame(checks, schema={n: out.schema()[n] for n in order}, orient="row")
    )


def blocking_failures(checks: pl.DataFrame) -> pl.DataFrame:
    """The failed checks of severity ``error``."""
    return checks.filter(~pl.col("success") & (pl.col("severity") == "error"))


def in_words(checks: pl.DataFrame) -> str:
    """One line a failed check, errors first; empty when all passed."""
    failed = checks.filter(~pl.col("success")).sort("severity", "table", "check", "column")
    return "\n".join(
        f"{r['severity']}: {r['table']} {r['check']}{' of ' + r['column'] if r['column'] else ''}: "
        f"{r['unexpected']} of {r['rows']}, for example {r['examples'] or '(no example)'}"
        for r in failed.iter_rows(named=True)
    )


# --- measures ---------------------------------------------------------------------------------


def _repeats(key: tuple[str, ...]) -> Measure:
    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        same = coded(frame.select(key)).is_duplicated().cast(pl.Float64).alias("value")
        return frame.select(same, *key)

    return measure


def _days_ahead(key: tuple[str, ...]) -> Measure:
    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        ahead = (pl.col("date") - pl.lit(now.astimezone(UTC).date())).dt.total_days()
        return frame.select(ahead.cast(pl.Float64).alias("value"), *key)

    return measure


def _known_ahead(key: tuple[str, ...]) -> Measure:
    def measure(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
        at = pl.lit(now.astimezone(UTC)).cast(pl.Datetime("us", "UTC"))
        ahead = (pl.col("known_at") - at).dt.total_microseconds().cast(pl.Float64) / 1e6
        return frame.select(ahead.alias("value"), *key)

    return measure


_rules = rules


# --- Great Expectations -----------------------------------------------------------------------

Measured = tuple[int, Rule, pl.DataFrame]
Outcome = tuple[bool, int, int, str | None]


def _expect(measured: Sequence[Measured]) -> dict[int, Outcome]:
    """Rule number → success, failed rows, rows, examples."""
    if not measured:
        return {}
    out: dict[int, Outcome] = {i: (True, 0, at.height, None) for i, _, at in measured}
    extremes = {i: _extremes(rule, at) for i, rule, at in measured}
    size = max(len(v) for v in extremes.values())
    padded = {i: [*v, *[v[0]] * (size - len(v))] for i, v in extremes.items()}
    failed = {
        int(r.expectation_config.kwargs["column"]) for r in _run(measured, padded) if not r.success
    }
    for i, rule, at in measured:
        if i in failed:
            whole = at["value"].to_list() if rule.words else at["value"].cast(pl.Float64).to_numpy()
            out[i] = _outcome(next(iter(_run([(i, rule, at)], {i: whole}))), rule, at)
    return out


def _extremes(rule: Rule, at: pl.DataFrame) -> list[object]:
    """Values of the measure such that its rule holds for them only if it holds for all."""
    value = at["value"]
    if rule.words is not None:
        return value.drop_nulls().unique().sort().to_list() or [None]
    value = value.cast(pl.Float64).fill_nan(None)
    if rule.required and value.null_count():
        return [None, value.max()]
    return [value.min(), value.max()]


def _run(measured: Sequence[Measured], columns: dict[int, Any]) -> list[Any]:
    """Results of the rules on a frame with one column a rule, named by its number."""
    with _quiet():
        import great_expectations as gx
        import great_expectations.expectations as gxe
        import pandas as pd
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        memory = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # touch no disk
        context = gx.get_context(
            mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=memory)
        )
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        suite = gx.ExpectationSuite(
            name="suite", expectations=[_expectation(gxe, i, rule) for i, rule, _ in measured]
        )
        frame = pd.DataFrame(
            {str(i): _numbers_or_words(columns[i], rule) for i, rule, _ in measured}
        )
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        form = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES}
        return list(batch.validate(suite, result_format=form).results)


def _numbers_or_words(values: Any, rule: Rule) -> Any:
    import numpy as np

    return np.asarray(values, dtype=object if rule.words is not None else np.float64)


def _expectation(gxe: Any, i: int, rule: Rule) -> Any:
    if rule.words is not None:
        return gxe.ExpectColumnValuesToBeInSet(column=str(i), value_set=list(rule.words))
    if rule.required:
        return gxe.ExpectColumnValuesToNotBeNull(column=str(i))
    return gxe.ExpectColumnValuesToBeBetween(
        column=str(i),
        min_value=rule.low,
        max_value=rule.high,
        strict_min=rule.strict and rule.low is not None,
        strict_max=rule.strict and rule.high is not None,
    )


def _outcome(one: Any, rule: Rule, at: pl.DataFrame) -> Outcome:
    if "unexpected_count" not in one.result:
        return False, at.height, at.height, json.dumps([str(one.exception_info)[:500]])
    count = int(one.result["unexpected_count"])
    if rule.words is not None:
        bad = pl.col("value").is_not_null() & ~pl.col("value").is_in(list(rule.words))
        return False, count, at.height, _shown(at.filter(bad).unique(maintain_order=True))
    values = one.result["partial_unexpected_list"]
    where = pl.col("value").is_null() if rule.required else pl.col("value").is_in(values)
    return False, count, at.height, _shown(at.filter(where))


def _shown(rows: pl.DataFrame) -> str:
    return json.dumps(rows.head(EXAMPLES).to_dicts(), default=_text, ensure_ascii=False)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """No analytics, and the deprecations of the package's own imports not taken for ours."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in _NOISE:
            warnings.filterwarnings("ignore", message=message)
        yield


_NOISE = (
    r"module 'sre_(constants|parse)' is deprecated",  # imported by its file connector
)
