"""Factors given as Python functions: what they get, and what they may give back.

A function gets one frame and gives one back. The frame has a row where an instrument has a bar, sorted
by date and instrument:

=================  ==========================================================================
``date``           session
``slot``           number of the session in the exchange's calendar: gaps are seen here
``instrument_id``  instrument
``open`` … ``close``  ``$open`` … ``$close``: forward-adjusted, Float64
``volume``         ``$volume``, shares of the first bar's basis
``dollar_volume``  close × volume as traded, currency
``raw_close``      close as traded
=================  ==========================================================================

It holds every instrument of the factor's asset class from some date on: at least ``lookback`` sessions
before the first value wanted, often more. So what a value is must not depend on where the frame begins,
nor on where it ends. Back come ``date, instrument_id, value``, one row a key at most; a key that is
not there, a null and what is not finite is a missing value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor

if TYPE_CHECKING:
    from wealthos_pipeline.factors.panel import Panel

FIELDS = ("open", "high", "low", "close", "volume", "dollar_volume", "raw_close")


def frame_of(panel: Panel) -> pl.DataFrame:
    """What a function gets for a panel."""
    return panel.frame.select("date", "instrument_id").with_columns(
        pl.Series("slot", panel.slot),
        *(pl.Series(n, panel.values(n), nan_to_null=True) for n in FIELDS),
    )


def called(factor: Factor, frame: pl.DataFrame) -> pl.DataFrame:
    """``date, instrument_id`` and the factor's Float32 column, from its function.

    FactorError when the function raises, or gives anything but what the module's text says; the
    message holds the function's own words.
    """
    assert factor.function is not None
    try:
        out = factor.function(frame)
    except (Exception, SystemExit) as error:  # exit() in it would end the whole run
        what = str(error).strip().splitlines()
        raise FactorError(
            f"{factor.name}: its function raised {type(error).__name__}"
            f"{_place(error)}{': ' + what[0] if what else ''}"
        ) from error
    wanted = "expected a frame with date, instrument_id, value"
    if isinstance(out, pl.LazyFrame):
        raise FactorError(
            f"{factor.name}: its function gave a LazyFrame, {wanted}: call .collect()"
        )
    if isinstance(out, pl.Expr):
        raise FactorError(
            f"{factor.name}: its function gave an expression, {wanted}: "
            "return frame.select('date', 'instrument_id', value=…)"
        )
    if not isinstance(out, pl.DataFrame):
        raise FactorError(f"{factor.name}: its function gave {_type(out)}, {wanted}")
    if absent := [n for n in ("date", "instrument_id", "value") if n not in out.columns]:
        raise FactorError(
            f"{factor.name}: its function gave a frame without {', '.join(absent)}, {wanted}; "
            f"it has {', '.join(out.columns[:12])}"
        )
    types = {n: out.schema[n] for n in ("date", "instrument_id", "value")}
    if types["date"] != pl.Date or types["instrument_id"] != pl.String:
        raise FactorError(
            f"{factor.name}: its function gave date as {types['date']} and instrument_id as "
            f"{types['instrument_id']}; hand them back as they came (Date and String)"
        )
    if not (types["value"].is_numeric() or types["value"] in (pl.Boolean, pl.Null)):
        raise FactorError(
            f"{factor.name}: its function gave value as {types['value']}; expected numbers"
        )
    keys = out.select("date", "instrument_id")
    if (twice := keys.is_duplicated()).any():
        day, name = keys.filter(twice).row(0)
        raise FactorError(
            f"{factor.name}: its function gave several values for one instrument and date, "
            f"such as {name} on {day}"
        )
    value = pl.col("value").cast(pl.Float64).cast(pl.Float32, strict=False)
    return out.select(
        "date", "instrument_id", pl.when(value.is_finite()).then(value).alias(factor.name)
    )


def _type(value: object) -> str:
    kind = type(value)
    return "nothing (None)" if value is None else f"{kind.__module__}.{kind.__name__}"


def _place(error: BaseException) -> str:
    """``" (file, line n)"`` of the deepest frame outside of installed packages."""
    place, trace = "", error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if "site-packages" not in path and not path.startswith("<") and path != __file__:
            place = f" ({path.rsplit('/', 1)[-1]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
