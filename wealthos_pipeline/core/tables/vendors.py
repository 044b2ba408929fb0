"""What vendors give beside bars: statements, macro, news, earnings dates; and the log of repairs.

Statements, macro values and earnings are revised. Every version is a row of its own here, with the
``known_at`` from which it could have been known; what was known at T is, for each value, its last
row with ``known_at <= T`` (``data.processors.versions``).
"""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

_SOURCE = _C("source", "str", "vendor or file that gave the row")
_SYMBOL = _C("symbol", "str", "the vendor's symbol")
_FETCHED = _C("fetched_at", "instant", "when this pipeline received it")
_VINTAGE = _C("vintage", "str", "the vendor's name of this version: filing or date; '' if none")
_PUBLISHED = _C("published_at", "instant", "publication as the vendor dates it", "", True)
_BASIS = _C(
    "basis", "str", "assumed (by rule) or observed (the vendor dates it, or the fetch does)"
)
_METRIC = _C("metric", "str", "what is measured, e.g. revenue, net_income, total_equity")
_PERIOD = _C("period", "str", "year, quarter, ttm, or point for a snapshot")
_PERIOD_END = _C("period_end", "date", "last day of the period")
_HOUR = _C("hour", "str", "before, during or after the session; unknown")
_EPS = (
    _C("eps_estimate", "f64", "expected earnings per share", "currency", True),
    _C("eps_actual", "f64", "reported earnings per share", "currency", True),
    _C("revenue_estimate", "f64", "expected revenue", "currency", True),
    _C("revenue_actual", "f64", "reported revenue", "currency", True),
    _C("currency", "str", "ISO 4217", nullable=True),
)
_STORY = (
    _C("headline", "str", "headline"),
    _C("summary", "str", "summary", nullable=True),
    _C("url", "str", "where it was published", nullable=True),
    _C("publisher", "str", "who published it", nullable=True),
)

RAW_VENDORS = (
    TableContract(
        "raw.fundamentals",
        "Figures from statements and profiles as the vendor gave them; every version is kept.",
        (
            _SOURCE,
            _SYMBOL,
            _METRIC,
            _PERIOD,
            _PERIOD_END,
            _VINTAGE,
            _FETCHED,
            _C("value", "f64", "value", "currency, shares or ratio", True),
            _C("currency", "str", "ISO 4217", nullable=True),
            _C("form", "str", "form of the filing, e.g. 10-K", nullable=True),
            _PUBLISHED,
        ),
        ("source", "symbol", "metric", "period", "period_end", "vintage", "fetched_at"),
        append_only=True,
    ),
    TableContract(
        "raw.macro",
        "Published statistics that are revised, as the vendor gave them, by vintage.",
        (
            _SOURCE,
            _C("series", "str", "name of the series, e.g. cpi, unemployment_rate"),
            _C("date", "date", "first day of the period that the value describes"),
            _VINTAGE,
            _FETCHED,
            _C("value", "f64", "value", "as unit says", True),
            _C("unit", "str", "percent, index, usd, persons, decimal"),
            _C("frequency", "str", "day, week, month, quarter or year"),
            _PUBLISHED,
        ),
        ("source", "series", "date", "vintage", "fetched_at"),
        "date",
        append_only=True,
    ),
    TableContract(
        "raw.news",
        "Headlines as the vendor gave them.",
        (
            _SOURCE,
            _C("news_id", "str", "the vendor's number of the story"),
            _SYMBOL,
            _FETCHED,
            _PUBLISHED,
            *_STORY,
        ),
        ("source", "news_id", "symbol", "fetched_at"),
        append_only=True,
    ),
    TableContract(
        "raw.earnings",
        "Dates of earnings reports, estimates and actuals, as the vendor gave them.",
        (
            _SOURCE,
            _SYMBOL,
            _PERIOD_END,
            _FETCHED,
            _C("report_date", "date", "day of the report, past or expected", "", True),
            _HOUR,
            *_EPS,
        ),
        ("source", "symbol", "period_end", "fetched_at"),
        append_only=True,
    ),
    TableContract(
        "raw.releases",
        "Rows that a person released from quarantine, with owner and reason.",
        (
            _C("table", "str", "raw table of the row"),
            _SOURCE,
            _C("symbol", "str", "symbol or series"),
            _C("date", "date", "session of the row"),
            _C("rule", "str", "rule that is overruled"),
            _FETCHED,
            _C("owner", "str", "who answers for it"),
            _C("reason", "str", "why"),
            _C("released", "bool", "false takes an earlier release back"),
        ),
        ("table", "source", "symbol", "date", "rule", "fetched_at"),
        "date",
        append_only=True,
    ),
)

CLEAN_VENDORS = (
    TableContract(
        "clean.fundamentals",
        "Figures of statements by instrument, every version with the instant from which it was known.",
        (
            _C("instrument_id", "str", "instrument"),
            _METRIC,
            _PERIOD,
            _PERIOD_END,
            _C("value", "f64", "value", "currency, shares or ratio", True),
            _C("currency", "str", "ISO 4217", nullable=True),
            _C("form", "str", "form of the filing", nullable=True),
            _C("source", "str", "source"),
            _BASIS,
            _known("filing; by rule where the vendor does not date it; a revision: its own filing"),
        ),
        ("instrument_id", "metric", "period", "period_end", "known_at"),
        "period_end",
        "column",
    ),
    TableContract(
        "clean.macro",
        "Published statistics, every version with the instant from which it was known.",
        (
            _C("series", "str", "name of the series"),
            _C("date", "date", "first day of the period that the value describes"),
            _C("value", "f64", "value", "as unit says"),
            _C("unit", "str", "percent, index, usd, persons, decimal"),
            _C("frequency", "str", "day, week, month, quarter or year"),
            _C("source", "str", "source"),
            _BASIS,
            _known("publication"),
        ),
        ("series", "date", "known_at"),
        "date",
        "column",
    ),
    TableContract(
        "clean.news",
        "Headlines by instrument.",
        (
            _C("news_id", "str", "source and the vendor's number of the story"),
            _C("instrument_id", "str", "instrument"),
            _C("date", "date", "day of publication, UTC"),
            *_STORY,
            _C("source", "str", "source"),
            _BASIS,
            _known("publication; the fetch where the vendor does not date it"),
        ),
        ("news_id", "instrument_id"),
        "date",
        "column",
        sort=("date", "news_id", "instrument_id"),
    ),
    TableContract(
        "clean.earnings",
        "Earnings reports past and expected, every version with the instant from which it was known.",
        (
            _C("instrument_id", "str", "instrument"),
            _PERIOD_END,
            _C("report_date", "date", "day of the report, past or expected", "", True),
            _HOUR,
            *_EPS,
            _C("source", "str", "source"),
            _BASIS,
            _known("of an actual: the report; of a date or an estimate: the fetch"),
        ),
        ("instrument_id", "period_end", "known_at"),
        "period_end",
        "column",
    ),
    TableContract(
        "clean.gaps",
        "Runs of sessions in which a listed instrument has no bar, and why.",
        (
            _C("instrument_id", "str", "instrument"),
            _C("date", "date", "first session without a bar"),
            _C("until", "date", "last session without a bar; null while it lasts", "", True),
            _C("sessions", "i32", "sessions without a bar", "sessions"),
            _C("kind", "str", "holiday, halt, gap, vendor, delisting or open"),
            _C("detail", "str", "what the kind rests on"),
            _known("when the kind could be told"),
        ),
        ("instrument_id", "date"),
        "date",
        "column",
    ),
    TableContract(
        "clean.adjustments",
        "What a rule changed on the way from raw to clean: the value before and after, and why.",
        (
            _C("instrument_id", "str", "instrument"),
            _C("date", "date", "session of the row"),
            _C("rule", "str", "name of the rule"),
            _C("field", "str", "column that was changed"),
            _C("before", "f64", "value in the raw row", "", True),
            _C("after", "f64", "value that is used; null if none is", "", True),
            _C("detail", "str", "what was found"),
            _known("when the rule could be applied"),
        ),
        ("instrument_id", "date", "rule", "field"),
        "date",
        "column",
    ),
)
