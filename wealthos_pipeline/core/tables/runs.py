"""What was issued, and the bookkeeping of runs."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

RECORD = (
    TableContract(
        "record.issued",
        "Every prediction, target, trade, alert and risk forecast as it was issued. Never rewritten.",
        (
            _C("run_id", "str", "run that issued it"),
            _C("kind", "str", "prediction, target, trade, alert or risk"),
            _C("mandate", "str", "mandate or model; '' where neither applies"),
            _C("instrument_id", "str", "instrument, or subject of the alert"),
            _C("horizon", "i32", "horizon; 0 where none", "sessions"),
            _C("date", "date", "session it was decided on"),
            _C("name", "str", "which number: z, weight, var_95, the alert's rule, …"),
            _C("value", "f64", "the number", "", True),
            _C("text", "str", "words that went with it", nullable=True),
            _C("issued_at", "instant", "when the run issued it"),
        ),
        ("run_id", "kind", "mandate", "instrument_id", "horizon", "name"),
        "date",
        append_only=True,
    ),
)

META = (
    TableContract(
        "meta.runs",
        "One row a complete run, appended last: the manifest that makes it visible.",
        (
            _C("run_id", "str", "run"),
            _C("started_at", "instant", "start"),
            _C("finished_at", "instant", "end"),
            _C("as_of", "date", "last session of the data"),
            _C("source", "str", "source"),
            _C("tables", "str", "JSON: version of every table after the run"),
            _C("consumed", "str", "JSON: by stage, input versions and definition hash"),
            _C("code_version", "str", "package version + hash of the source"),
            _C("config_hash", "str", "hash of the resolved settings without secrets and paths"),
            _C("config", "str", "JSON of the resolved settings without secrets and paths"),
            _C("lock_hash", "str", "hash of requirements.lock"),
            _C("lake_version", "i32", "layout version of the lake"),
        ),
        ("run_id",),
        sort=("finished_at", "run_id"),
        append_only=True,
    ),
    TableContract(
        "meta.catalog",
        "Every table, column and factor with its words: what it is, where it came from, what is missing.",
        (
            _C("kind", "str", "table, column, factor, source, bias or missing"),
            _C("name", "str", "name, unique within its kind"),
            _C("title", "str", "one line"),
            _C("detail", "str", "unit, formula, reference, licence", nullable=True),
            _C("reason_missing", "str", "why values are null, where they are", nullable=True),
        ),
        ("kind", "name"),
    ),
    TableContract(
        "meta.coverage",
        "Bars and factor values by session; for bars, what happened to them.",
        (
            _C("date", "date", "session"),
            _C("table", "str", "table"),
            _C("rows", "i64", "rows of the session"),
            _C("expected", "i64", "instruments alive on the session", "", True),
            _C("stale", "i64", "bars unchanged and not traded", "", True),
            _C("outliers", "i64", "bars with an extreme move or volume", "", True),
            _C("adjusted", "i64", "bars with a value that a rule changed", "", True),
            _C("rejected", "i64", "raw rows that a rule kept out", "", True),
        ),
        ("date", "table"),
        "date",
    ),
    TableContract(
        "meta.checks",
        "Results of the data checks as they stood after each run.",
        (
            _C("run_id", "str", "run"),
            _C("table", "str", "table"),
            _C("check", "str", "expectation"),
            _C("column", "str", "column; '' for the whole table"),
            _C("severity", "str", "error (blocks) or warn"),
            _C("success", "bool", "passed"),
            _C("unexpected", "i64", "rows that failed"),
            _C("rows", "i64", "rows looked at"),
            _C("examples", "str", "JSON of up to five failing values", nullable=True),
            _C("checked_at", "instant", "when"),
        ),
        ("run_id", "table", "check", "column"),
        append_only=True,
    ),
    TableContract(
        "meta.certificates",
        "One row a live decision that a run made: how well its answer is proved, and from which inputs.",
        (
            _C("run_id", "str", "run"),
            _C("mandate", "str", "mandate"),
            _C("date", "date", "decision date"),
            _C("status", "str", "as in portfolio.solves"),
            _C("solver", "str", "solver and version", nullable=True),
            _C("iterations", "i32", "of the solver", "", True),
            _C("seconds", "f64", "wall time of the solve", "s", True),
            _C("objective", "f64", "value of the objective", "", True),
            _C("violation", "f64", "largest violation of any limit, in its unit", "", True),
            _C("gap", "f64", "duality gap, or the gap to the bound of an integer search", "", True),
            _C("inputs", "str", "JSON: version of every table that the decision read"),
        ),
        ("run_id", "mandate"),
        append_only=True,
    ),
    TableContract(
        "meta.failures",
        "What a source could not give in full, by run: symbols without prices, sectors or membership.",
        (
            _C("run_id", "str", "run"),
            _C("source", "str", "source"),
            _C("symbol", "str", "symbol, series or file"),
            _C("reason", "str", "in the source's words"),
            _C("what", "str", "what was asked for: prices, news, …", nullable=True),
            _C("kept", "str", "what stands in its place, if anything", nullable=True),
        ),
        ("run_id", "source", "symbol", "reason"),
        append_only=True,
    ),
)
