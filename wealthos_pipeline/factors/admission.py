"""Is a factor fit to be used? Asked once for every definition of a quant's own.

A factor is admitted when, on a part of the panel drawn by its definition's hash,

- it looks at nothing ahead: values up to a cut do not change when everything later is taken away;
- its lookback is enough: with that much history and no more, the bits are the same;
- it is a function of its input: asked twice, it says the same;
- it gives numbers, one a key, in time.

What this cannot see: a function that finds the future outside of the frame it is given (a file, a table
of the lake, the network), one that looks ahead on a few dates only and none of them was drawn, and a
definition chosen because of how it did. The live record sees them all: what was issued is kept and held
against what came (``record.issued``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.dated import compute_blocks
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.expression import parse, walk
from wealthos_pipeline.factors.library import Family, Fault, Library

NAMES = 40
"""Instruments of a factor's class that it is tried on."""

SESSIONS = 520
"""Sessions beyond the lookback that it is tried on."""

CUTS = 3
"""Random instants of each trial."""

SECONDS = 60.0
"""Longest that a factor may take over its trial panel."""


@dataclass(frozen=True, slots=True)
class Market:
    """What factors are computed from; see ``engine.compute``."""

    prices: pl.DataFrame
    series: pl.DataFrame | None
    instruments: pl.DataFrame | None
    calendar: TradingCalendar
    statements: pl.DataFrame | None = None

    def until(self, day: date) -> Market:
        """What was known at the bar of ``day``."""
        at = self.calendar.known_at(day)
        return replace(
            self,
            prices=self.prices.filter(pl.col("date") <= day),
            series=_known(self.series, at),
            statements=_known(self.statements, at),
        )

    def since(self, day: date) -> Market:
        """Without the bars before ``day``."""
        return replace(self, prices=self.prices.filter(pl.col("date") >= day))

    def values(self, family: Family, start: date | None = None) -> pl.DataFrame:
        return compute(
            family,
            self.prices,
            self.series,
            instruments=self.instruments,
            statements=self.statements,
            calendar=self.calendar,
            start=start,
        )

    def blocks(
        self, family: Family, start: date | None, *, memory_mb: int
    ) -> Iterator[pl.DataFrame]:
        """``values`` as blocks of dates of at most ``memory_mb`` each."""
        return compute_blocks(
            family,
            self.prices,
            self.series,
            instruments=self.instruments,
            statements=self.statements,
            calendar=self.calendar,
            start=start,
            memory_mb=memory_mb,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out for one factor. reason: why it was refused; of an admitted one a remark."""

    factor: Factor
    admitted: bool
    reason: str | None
    cuts: tuple[date, ...]
    names: int
    sessions: int


def examine(
    factor: Factor, market: Market, *, cuts: int = CUTS, seconds: float = SECONDS
) -> Verdict:
    """Try one factor on a part of ``market``. Never raises for what the factor does.

    market: as much history as there is, or at least ``SESSIONS`` sessions beyond the lookback.
    """
    family = Family(factor.asset_class, factor.family, (factor,))
    part = _part(factor, market)
    days = part.prices["date"].unique().sort()
    chosen = _cuts(factor, days, family.lookback, cuts)
    tried = (chosen, part.prices["instrument_id"].n_unique(), len(days))
    reason: str | None
    try:
        begun = time.monotonic()
        # the past first: a function that keeps what it was given has not seen the future yet
        first = part.until(chosen[0]).values(family) if factor.function and chosen else None
        whole = part.values(family)
        took = time.monotonic() - begun
        if took > seconds:
            reason = (
                f"too slow: {took:.0f} s for {tried[1]} instruments over {len(days)} sessions, "
                f"at most {seconds:.0f} s"
            )
            return Verdict(factor, False, reason, *tried)
        reason = next(_reasons(factor, family, part, first, whole, chosen), None)
    except Exception as error:  # whatever an own factor sets off must not stop a run
        return Verdict(factor, False, _words(factor, error), *tried)
    if reason is not None:
        return Verdict(factor, False, reason, *tried)
    remark = None
    if whole.height and whole[factor.name].null_count() == whole.height:
        remark = f"no value for {tried[1]} instruments over {len(days)} sessions"
    return Verdict(factor, True, remark, *tried)


def _reasons(
    factor: Factor,
    family: Family,
    market: Market,
    first: pl.DataFrame | None,
    whole: pl.DataFrame,
    cuts: Sequence[date],
) -> Iterator[str]:
    """Why the factor cannot be admitted, worst first. first: values up to the first cut, computed
    before the whole."""
    for cut in cuts:
        past = whole.filter(pl.col("date") <= cut)
        seen = market.until(cut).values(family) if first is None or cut != cuts[0] else first
        if odd := differs(factor.name, past, seen):
            yield f"looks ahead: {odd('with later data', 'without')}, cut at {cut}"
    if factor.function is not None and (odd := differs(factor.name, whole, market.values(family))):
        yield f"is not a function of its input: {odd('at first', 'when asked again')}"
    for cut in cuts:
        short = market.since(market.calendar.offset(cut, -family.lookback))
        late = whole.filter(pl.col("date") >= cut)
        if odd := differs(factor.name, late, short.values(family, start=cut)):
            yield (
                f"needs more than its lookback of {family.lookback} sessions: "
                f"{odd('with all of history', 'with that much')}. Declare more, and count sessions "
                "(column slot), not rows: an instrument can have gaps"
            )


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two computations, and how many there are."""

    where: str
    one: object
    other: object
    count: int

    def __call__(self, one: str, other: str) -> str:
        more = f" ({self.count} such values)" if self.count > 1 else ""
        return f"{self.where} is {self.one} {one}, {self.other} {other}{more}"


def differs(name: str, one: pl.DataFrame, other: pl.DataFrame) -> Difference | None:
    """Where a column of two frames by date and instrument differs in any bit; None: nowhere."""
    keys = ["date", "instrument_id"]
    both = one.select(*keys, name).join(
        other.select(*keys, name), on=keys, how="full", suffix="_other", coalesce=True
    )
    odd = both.filter(~pl.col(name).eq_missing(pl.col(f"{name}_other"))).sort(keys)
    if odd.is_empty():
        return None
    row = odd.row(0, named=True)
    a, b = ("missing" if v is None else v for v in (row[name], row[f"{name}_other"]))
    return Difference(f"{row['instrument_id']} on {row['date']}", a, b, odd.height)


def leaks(
    family: Family,
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    statements: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    cuts: Sequence[date],
) -> dict[str, str]:
    """Factor → first difference found, for the factors whose values up to a cut depend on later rows.

    For every session in ``cuts`` the family is computed from rows known at its bar alone, and
    compared bit for bit with the computation from everything.
    """
    market = Market(prices, series, instruments, calendar, statements)
    whole = market.values(family)
    out: dict[str, str] = {}
    for cut in cuts:
        past, seen = whole.filter(pl.col("date") <= cut), market.until(cut).values(family)
        for f in family.factors:
            if f.name not in out and (odd := differs(f.name, past, seen)):
                out[f.name] = f"{odd('with later data', 'without')}, cut at {cut}"
    return out


def compute_admitted(
    family: Family, market: Market, refused: Mapping[str, str], start: date | None
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Values of an own family without the factors in ``refused``, and what failed just now.

    A factor whose function fails on the day's data has no values then; the others have theirs. The
    columns of what was left out are missing.
    """
    kept = [f for f in family.factors if f.name not in refused]
    if not kept:
        return family.contract.empty(), {}
    try:
        return market.values(replace(family, factors=tuple(kept)), start), {}
    except Exception:
        failed: dict[str, str] = {}
        for f in kept:
            try:
                market.values(replace(family, factors=(f,)), start)
            except Exception as error:
                failed[f.name] = _words(f, error)
        if not failed:
            raise
    frame, more = compute_admitted(family, market, {**refused, **failed}, start)
    return frame, failed | more


def _words(factor: Factor, error: Exception) -> str:
    """An error in one line, without the factor's name."""
    if isinstance(error, FactorError):
        return str(error).removeprefix(f"{factor.name}: ")
    first = (str(error).strip().splitlines() or [""])[0]
    return f"its computation ended with {type(error).__name__}: {first}"


# --- the table of admissions ---------------------------------------------------------------------


def pending(library: Library, stored: pl.DataFrame, *, again: bool = False) -> list[Factor]:
    """Own factors that have not been tried under their definition; all of them if ``again``."""
    own = [f for f in library.factors.values() if "own" in f.sets]
    known = set() if again else set(stored.select("factor", "definition").iter_rows())
    return [f for f in own if (f.name, f.definition_hash) not in known]


def sessions(factors: Iterable[Factor]) -> int:
    """Sessions of history that trials of ``factors`` take at most."""
    need = [Family(f.asset_class, f.family, (f,)).lookback for f in factors]
    return max(need, default=0) + SESSIONS


def state(
    library: Library, stored: pl.DataFrame, verdicts: Iterable[Verdict], now: datetime
) -> pl.DataFrame:
    """``factors.admissions``: every own factor of the library, and what cannot even be read.

    stored: the table as it was; what was tried before under the same definition stands.
    """
    table = contract("factors.admissions")
    new = {
        v.factor.name: {
            **_row(v.factor),
            "admitted": v.admitted,
            "reason": v.reason,
            "cuts": ", ".join(map(str, v.cuts)),
            "instruments": v.names,
            "sessions": v.sessions,
            "checked_at": now,
        }
        for v in verdicts
    }
    old = {
        (r["factor"], r["definition"]): r
        for r in stored.iter_rows(named=True)
        if r["factor"] in library.factors
    }
    rows = []
    for f in library.factors.values():
        if "own" not in f.sets:
            continue
        row = new.get(f.name) or old.get((f.name, f.definition_hash))
        if row is not None:
            rows.append(row)
    before = {(r["factor"], r["reason"]): r["checked_at"] for r in stored.iter_rows(named=True)}
    rows += [
        {
            "factor": name,
            "definition": "",
            "table": "",
            "admitted": False,
            "reason": text,
            "checked_at": before.get((name, text), now),
        }
        for name, text in unreadable(library.faults).items()
    ]
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def unreadable(faults: Iterable[Fault]) -> Mapping[str, str]:
    """``file: factor`` (or the file alone) → what is wrong with it."""
    out: dict[str, str] = {}
    for fault in faults:
        name = f"{fault.home}: {fault.factor}" if fault.factor else fault.home
        out[name] = f"{out[name]}; {fault.text}" if name in out else fault.text
    return out


def refused(stored: pl.DataFrame, library: Library) -> dict[str, str]:
    """Factor → why it is not admitted, for the own factors of the library; untried ones are too."""
    found = {
        (r["factor"], r["definition"]): None if r["admitted"] else r["reason"]
        for r in stored.iter_rows(named=True)
    }
    out = {}
    for f in library.factors.values():
        if "own" in f.sets:
            reason = found.get((f.name, f.definition_hash), "it has not been tried yet")
            if reason is not None:
                out[f.name] = f"not admitted: {reason}"
    return out


def _row(factor: Factor) -> dict[str, object]:
    return {
        "factor": factor.name,
        "definition": factor.definition_hash,
        "table": factor.table,
    }


# --- trials ---------------------------------------------------------------------------------------


def _part(factor: Factor, market: Market) -> Market:
    """Some instruments of the factor's class and all others, over the last sessions; the same for a
    definition."""
    prices, identity = market.prices, pl.col("instrument_id")
    ids = pl.Series(dtype=pl.String) if market.instruments is None else market.instruments.filter(
        pl.col("asset_class") == factor.asset_class.value)["instrument_id"]  # fmt: skip
    of_class = identity.is_in((prices["instrument_id"] if ids.is_empty() else ids).implode())
    if (last := prices["date"].max()) is None:
        return market
    need = Family(factor.asset_class, factor.family, (factor,)).lookback + SESSIONS
    prices = prices.filter(pl.col("date") >= market.calendar.offset(last, -need))  # type: ignore[arg-type]
    names = prices.filter(of_class)["instrument_id"].unique().sort()
    rng = np.random.default_rng(int(factor.definition_hash, 16))
    if len(names) > NAMES:
        names = names.gather(np.sort(rng.permutation(len(names))[:NAMES]))
    wanted = [*names, *_named(factor, market.instruments)]
    return replace(market, prices=prices.filter(identity.is_in(wanted) | ~of_class))


def _named(factor: Factor, instruments: pl.DataFrame | None) -> list[str]:
    """Instruments that an expression calls by identity or symbol."""
    if not factor.expression:
        return []
    words = [p for n in walk(parse(factor.expression, factor.name)) for p in n.params
             if isinstance(p, str)]  # fmt: skip
    if instruments is None:
        return words
    called = pl.col("symbol").is_in(words) | pl.col("instrument_id").is_in(words)
    return instruments.filter(called)["instrument_id"].to_list()


def _cuts(factor: Factor, days: pl.Series, lookback: int, count: int) -> tuple[date, ...]:
    """Random sessions behind the warm-up, or in the later half where history is short."""
    if len(days) < 2:
        return ()
    rng = np.random.default_rng(int(factor.definition_hash, 16) + 1)
    first = min(lookback, len(days) // 2)
    places = first + rng.permutation(len(days) - 1 - first)[:count]
    return tuple(days[int(i)] for i in np.sort(places))


def _known(frame: pl.DataFrame | None, instant: datetime) -> pl.DataFrame | None:
    return None if frame is None else frame.filter(pl.col("known_at") <= instant)
