"""Where the return of each day came from: by groups (Brinson–Fachler), by risk factors, and in full.

Effects of session t are computed on the holdings at the close of t − 1 (after its fills, see ``held``),
so they are what was held overnight; r is the total return of t, dividends included. With W and R the
weights and returns of a group in the portfolio (p) and in the benchmark (b), and R_b the benchmark's
return on its own start-of-day holdings, cash included (Brinson & Fachler, "Measuring non-US equity
portfolio performance", 1985), a grouping scheme (``sector`` and every other label) has

- allocation ``(W_p − W_b)(R_b,group − R_b)``, selection ``W_b (R_p,group − R_b,group)``, interaction
  ``(W_p − W_b)(R_p,group − R_b,group)``; a group that one side does not hold has the other's return
  there, and R_b where the benchmark does not hold it. A name's group is that of its description on
  the day;
- cash: the same allocation term for money, which returns 0, and the interest that it earned.

The scheme ``factor`` (see ``factor_effects``) has one line a factor of the risk model known at t − 1,
``(x_p − x_b) f`` with exposures ``x = Σ w B`` and the factor's return f of the day, and one line ``specific``.

Both have the lines that are no group's: trading (what intraday fills made against the start-of-day
holdings; 0 with fills at the close), cost (over the value of the day before, with a minus sign; by kind
where the charges are given), borrow (fees on shorts) and residual (the return minus everything above;
rounding only, always shown).

Effects against a benchmark add up to the active net return; those against '' (nothing) to the portfolio's
own: there a group's line is its contribution ``Σ w r``. Sums over names run in the order of their identities, one
after the other: bits depend neither on where the computation starts nor on what else was ever held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import held as holdings
from wealthos_pipeline.portfolio.accounts import TICKS
from wealthos_pipeline.portfolio.factor_effects import FactorDays, factor_days
from wealthos_pipeline.portfolio.grouping import Grouping, grouping
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel

FACTOR = "factor"
"""The scheme of risk factors; every other scheme is a column of ``clean.instruments`` or a mapping."""
SCHEMES = ("sector", FACTOR)
EFFECTS = (
    "allocation", "selection", "interaction", "contribution", "factor", "specific", "trading", "cost",
    "borrow", "cash", "residual",
)  # fmt: skip
COSTS = ("commission", "spread", "impact")
_KEYS = ("mandate", "run_kind")


@dataclass(frozen=True, eq=False)
class Effects:
    """Brinson–Fachler effects, one value a group (and any leading dimensions)."""

    allocation: Floats
    selection: Floats
    interaction: Floats


def brinson_fachler(
    w_p: Floats, w_b: Floats, r_p: Floats, r_b: Floats, total_b: Floats | float
) -> Effects:
    """Effects by group (last axis). Returns of a group that is not held are ignored.

    w_p, w_b: weights. r_p, r_b: group returns. total_b: the benchmark's whole return.
    """
    total = np.asarray(total_b)[..., None]
    r_b = np.where(w_b != 0.0, r_b, total)
    r_p = np.where(w_p != 0.0, r_p, r_b)
    return Effects(
        allocation=(w_p - w_b) * (r_b - total),
        selection=w_b * (r_p - r_b),
        interaction=(w_p - w_b) * (r_p - r_b),
    )


def from_contributions(
    w_p: Floats, w_b: Floats, c_p: Floats, c_b: Floats, total_b: Floats
) -> Effects:
    """The same from contributions ``c = Σ w r`` by group: also right where longs and shorts of a group
    cancel, so that it has a result and no return. What no return explains is interaction."""
    r_p = np.divide(c_p, w_p, out=np.zeros_like(c_p), where=w_p != 0.0)
    r_b = np.divide(c_b, w_b, out=np.zeros_like(c_b), where=w_b != 0.0)
    e = brinson_fachler(w_p, w_b, r_p, r_b, total_b)
    odd = ((w_p == 0.0) & (c_p != 0.0)) | ((w_b == 0.0) & (c_b != 0.0))
    if not odd.any():
        return e
    whole = (c_p - c_b) - (w_p - w_b) * total_b[..., None]
    rest = whole - e.allocation - e.selection
    return Effects(e.allocation, e.selection, np.where(odd, rest, e.interaction))


def daily(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    schemes: Sequence[str] = ("sector",),
    mappings: Mapping[str, pl.DataFrame] | None = None,
    models: Mapping[date, RiskModel] | None = None,
    factor_returns: pl.DataFrame | None = None,
    charges: pl.DataFrame | None = None,
    benchmark: str = "equal_weight",
    absolute: bool = True,
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """``portfolio.attribution`` rows of every mandate but the benchmark, dates in [start, end].

    positions, nav: rows of mandates and benchmark, reaching one session before ``start``
    (positions: the last snapshot before it). prices: rows reaching ``backtest.LOOKBACK`` sessions
    before ``start``, of everything held and, for the scheme ``factor``, of the names of the risk models.
    A session counts if portfolio and benchmark have a value on it and on the one before.

    schemes: ``factor``, names of ``mappings``, columns of ``instruments``. mappings: scheme →
    ``instrument_id, group`` and, where groups change, ``valid_from``. models: risk models by date, those of
    month ends count; needed for ``factor``, whose lines begin the session after the first of them.
    factor_returns: ``date, factor, value``, used on dates that have all factors of the model; else they
    are estimated (see ``factor_effects``). charges: ``mandate, run_kind, date, kind, amount``, kinds
    ``commission, spread, impact, borrow`` (paid) and ``interest`` (earned), in currency. absolute: also
    the effects against nothing (``benchmark`` ''). PortfolioError for a scheme that cannot be computed.
    """
    table = contract("portfolio.attribution")
    panel = build(prices, calendar)
    if not panel.dates or not nav.height or not positions.height:
        return table.empty()
    moves = _moves(panel)
    last = len(panel.dates) - 1
    if end is not None:
        last = min(last, panel.row(calendar.slot(end)))
    first = 1 if start is None else max(panel.row(calendar.slot(start)), 1)
    if start is not None and not calendar.is_session(start):
        first += 1
    groupings = {
        s: _grouping(s, instruments, mappings or {}, panel) for s in schemes if s != FACTOR
    }
    factors = None
    if FACTOR in schemes:
        if models is None:
            raise PortfolioError(
                "the scheme 'factor' needs risk models; hand in models= (risk.from_frames of "
                "portfolio.risk_exposures and portfolio.risk_factors)"
            )
        factors = factor_days(models, panel, calendar, first, last, factor_returns)

    books = {
        (str(key[0]), str(key[1])): part
        for key, part in nav.sort("date").partition_by(*_KEYS, as_dict=True).items()
    }
    paid = {} if charges is None else _charges(charges)
    sides: dict[tuple[str, str], _Side] = {}
    for h in holdings.of(positions, nav, panel, calendar):
        key = (h.mandate, h.run_kind)
        side = _Side.of(h, books[key], paid.get(key), moves, panel, calendar, first, last)
        if side is not None:
            sides[key] = side
    frames = [table.empty()]
    for scheme in schemes:
        summed = {
            key: side.by_factor(factors)
            if scheme == FACTOR and factors is not None
            else side.by_group(groupings[scheme])
            for key, side in sides.items()
        }
        for key, side in sorted(sides.items(), key=lambda item: item[0]):
            mandate, run_kind = key
            other = (benchmark, run_kind)
            if mandate == benchmark:
                continue
            if other in sides:
                lines = _active(side, sides[other], summed[key], summed[other])
                frames.append(lines.frame(mandate, run_kind, scheme, benchmark, panel))
            if absolute:
                frames.append(_own(side, summed[key]).frame(mandate, run_kind, scheme, "", panel))
    return table.conform(pl.concat(frames))


def charges_of(events: pl.DataFrame) -> pl.DataFrame:
    """``charges`` of ``daily`` from rows of ``portfolio.events``: paid in currency, interest earned."""
    return (
        events.filter(pl.col("kind").is_in([*COSTS, "borrow", "interest"]))
        .group_by(*_KEYS, "date", "kind")
        .agg(pl.col("amount").sum())  # of integers: the order does not matter
        .with_columns(
            amount=pl.when(pl.col("kind") == "interest")
            .then(pl.col("amount"))
            .otherwise(-pl.col("amount"))
            / TICKS
        )
        .sort(*_KEYS, "date", "kind")
    )


@dataclass(frozen=True, eq=False)
class _Sums:
    """A portfolio by scheme: weights (None for factors) and contributions, lines × sessions.

    known: sessions on which the scheme can be told. specific: what the lines leave of ``Σ w r``.
    """

    labels: tuple[str, ...]
    weights: Floats | None
    contributions: Floats
    known: NDArray[np.bool_]
    specific: Floats | None = None
    used: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class _Side:
    """Start-of-day holdings of one portfolio on its sessions, ``rows`` of a panel, and its returns.

    columns: of the panel, N. weights, contributions: N × T, of the close before and of the session.
    cash, net, gross: T. charged: kind → T, over the value before.
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: Floats
    contributions: Floats
    total: Floats
    cash: Floats
    net: Floats
    gross: Floats
    charged: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        h: holdings.Held,
        book: pl.DataFrame,
        charges: pl.DataFrame | None,
        moves: Floats,
        panel: Panel,
        calendar: TradingCalendar,
        first: int,
        last: int,
    ) -> _Side | None:
        slots = np.array([panel.row(calendar.slot(d)) for d in book["date"]], dtype=np.int64)
        T = len(panel.dates)
        net, gross, value = (np.full(T, np.nan) for _ in range(3))
        inside = (slots >= 0) & (slots < T)
        for out, column in ((net, "return_net"), (gross, "return_gross"), (value, "nav")):
            out[slots[inside]] = book[column].fill_null(float("nan")).to_numpy()[inside]
        # the close before must be held too, and the session must have a return
        follows = np.flatnonzero(np.diff(h.rows) == 1)
        rows = h.rows[follows + 1]
        keep = (rows >= first) & (rows <= last) & np.isfinite(net[rows]) & np.isfinite(gross[rows])
        follows, rows = follows[keep], rows[keep]
        if not len(rows):
            return None
        weights = np.ascontiguousarray(h.weights[follows].T)
        gained = np.ascontiguousarray(moves[np.ix_(rows, h.columns)].T) * weights
        charged: dict[str, Floats] = {}
        if charges is not None:
            for (kind,), part in charges.partition_by("kind", as_dict=True).items():
                own = np.zeros(T)
                where = np.array([panel.row(calendar.slot(d)) for d in part["date"]])
                ok = (where >= 0) & (where < T)
                own[where[ok]] = part["amount"].to_numpy()[ok]
                charged[str(kind)] = own[rows] / value[rows - 1]
        return cls(
            h.columns, rows, weights, gained, _in_order(gained), 1.0 - _in_order(weights), net[rows],
            gross[rows], charged,
        )  # fmt: skip

    def by_group(self, g: Grouping) -> _Sums:
        """Weights and contributions of each group."""
        shape = (len(g.labels), len(self.rows))
        weights, contributions = np.zeros(shape), np.zeros(shape)
        for i, column in enumerate(self.columns):
            for group, lo, hi in g.spells(int(column), self.rows):
                weights[group, lo:hi] += self.weights[i, lo:hi]
                contributions[group, lo:hi] += self.contributions[i, lo:hi]
        return _Sums(g.labels, weights, contributions, np.ones(len(self.rows), dtype=np.bool_))

    def by_factor(self, f: FactorDays) -> _Sums:
        """Exposure times return of each factor, and what is left."""
        exposures = f.exposures(self.columns, self.weights, self.rows)
        contributions = exposures * f.returns[:, self.rows]
        return _Sums(
            f.factors,
            None,
            contributions,
            f.known[self.rows],
            self.total - _in_order(contributions),
            f.used[:, self.rows],
        )

    def cost_lines(self) -> list[tuple[str, str, Floats]]:
        """Cost by kind and what the kinds leave of it, and borrow; all with a minus sign."""
        told = [k for k in COSTS if k in self.charged]
        borrow = self.charged.get("borrow", np.zeros(len(self.rows)))
        rest = (self.net - self.gross) + borrow
        for kind in told:
            rest = rest + self.charged[kind]
        lines = [("cost", kind, -self.charged[kind]) for kind in told]
        return [*lines, ("cost", "", rest), ("borrow", "", -borrow)]

    @property
    def interest(self) -> Floats:
        return self.charged.get("interest", np.zeros(len(self.rows)))


@dataclass(frozen=True, eq=False)
class _Lines:
    """Values by line and session, with what is kept of them."""

    rows: NDArray[np.int64]
    lines: list[tuple[str, str, Floats, NDArray[np.bool_]]]

    def frame(
        self, mandate: str, run_kind: str, scheme: str, benchmark: str, panel: Panel
    ) -> pl.DataFrame:
        keep = np.concatenate([k for *_, k in self.lines])
        line = np.repeat(np.arange(len(self.lines)), len(self.rows))[keep]
        day = np.tile(self.rows, len(self.lines))[keep]
        labels = {
            name: pl.Series(name, [x[i] for x in self.lines], dtype=pl.String).gather(line)
            for i, name in ((0, "effect"), (1, "group"))
        }
        return pl.DataFrame(
            {
                "date": pl.Series(panel.dates, dtype=pl.Date).gather(day),
                **labels,
                "value": np.concatenate([v for _, _, v, _ in self.lines])[keep],
            }
        ).select(
            pl.lit(mandate).alias("mandate"),
            pl.lit(run_kind).alias("run_kind"),
            "date",
            pl.lit(scheme).alias("scheme"),
            pl.lit(benchmark).alias("benchmark"),
            "effect",
            "group",
            "value",
        )


def _closed(
    rows: NDArray[np.int64],
    whole: Floats,
    lines: list[tuple[str, str, Floats, NDArray[np.bool_]]],
    rest: Sequence[tuple[str, str, Floats]],
    known: NDArray[np.bool_],
) -> _Lines:
    """Lines with those of the whole portfolio and the residual against ``whole``."""
    every = np.ones(len(rows), dtype=np.bool_)
    for effect, group, value in rest:
        # a kind of charge has a row where there is one; cash, trading and cost always
        told = value != 0.0 if effect == "borrow" or group else every
        lines.append((effect, group, value, told))
    explained = np.zeros(len(rows))
    for _, _, value, kept in lines:
        explained += np.where(kept, value, 0.0)
    lines.append(("residual", "", whole - explained, every))
    return _Lines(rows, [(e, g, v, k & known) for e, g, v, k in lines])


def _own(p: _Side, s: _Sums) -> _Lines:
    """Contributions of one portfolio to its own net return."""
    there = s.used if s.weights is None else (s.weights != 0.0) | (s.contributions != 0.0)
    assert there is not None
    effect = "contribution" if s.weights is not None else "factor"
    lines = [(effect, g, s.contributions[j], there[j]) for j, g in enumerate(s.labels)]
    rest = [("cash", "", p.interest), ("trading", "", (p.gross - p.total) - p.interest)]
    if s.specific is not None:
        rest.insert(0, ("specific", "", s.specific))
    return _closed(p.rows, p.net, lines, [*rest, *p.cost_lines()], s.known)


def _active(p: _Side, b: _Side, s_p: _Sums, s_b: _Sums) -> _Lines:
    """Effects of ``p`` against ``b`` on the sessions that both have."""
    rows, i, j = np.intersect1d(p.rows, b.rows, assume_unique=True, return_indices=True)
    c_p, c_b = s_p.contributions[:, i], s_b.contributions[:, j]
    total_b = b.total[j] + b.interest[j]
    interest = p.interest[i] - b.interest[j]
    lines: list[tuple[str, str, Floats, NDArray[np.bool_]]] = []
    rest: list[tuple[str, str, Floats]] = []
    if s_p.weights is not None and s_b.weights is not None:
        w_p, w_b = s_p.weights[:, i], s_b.weights[:, j]
        e = from_contributions(w_p.T, w_b.T, c_p.T, c_b.T, total_b)
        there = (w_p != 0.0) | (w_b != 0.0) | (c_p != 0.0) | (c_b != 0.0)
        for effect in ("allocation", "selection", "interaction"):
            values = np.ascontiguousarray(getattr(e, effect).T)
            lines += [(effect, g, values[k], there[k]) for k, g in enumerate(s_p.labels)]
        rest.append(("cash", "", (p.cash[i] - b.cash[j]) * (0.0 - total_b) + interest))
    elif s_p.specific is not None and s_b.specific is not None and s_p.used is not None:
        lines += [("factor", g, c_p[k] - c_b[k], s_p.used[k, i]) for k, g in enumerate(s_p.labels)]
        rest += [("specific", "", s_p.specific[i] - s_b.specific[j]), ("cash", "", interest)]
    trading = ((p.gross - p.total) - p.interest)[i] - ((b.gross - b.total) - b.interest)[j]
    rest.append(("trading", "", trading))
    mine = {(e, g): v[i] for e, g, v in p.cost_lines()}
    theirs = {(e, g): v[j] for e, g, v in b.cost_lines()}
    none = np.zeros(len(rows))
    for line in dict.fromkeys((*mine, *theirs)):
        rest.append((*line, mine.get(line, none) - theirs.get(line, none)))
    return _closed(rows, p.net[i] - b.net[j], lines, rest, s_p.known[i] & s_b.known[j])


def _moves(panel: Panel) -> Floats:
    """Total return of each session, 0 where a name has no bar: it keeps its last price."""
    seen = np.isfinite(panel.tr)
    rows = np.arange(len(panel.dates), dtype=np.int64)[:, None]
    last = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    tr = np.where(last >= 0, np.take_along_axis(panel.tr, np.maximum(last, 0), axis=0), np.nan)
    out = np.zeros_like(tr)
    out[1:] = tr[1:] / tr[:-1] - 1.0
    return np.where(np.isfinite(out), out, 0.0)


def _in_order(lines: Floats) -> Floats:
    """Sum over lines (lines × sessions), one line after the other."""
    out = np.zeros(lines.shape[1])
    for line in lines:
        out += line
    return out


def _charges(charges: pl.DataFrame) -> dict[tuple[str, str], pl.DataFrame]:
    """Amounts by mandate and run kind, one row a date and kind, summed in order."""
    known = {*COSTS, "borrow", "interest"}
    if strange := sorted(set(charges["kind"].unique()) - known):
        raise PortfolioError(
            f"charges of the kinds {', '.join(strange)}; expected {', '.join(sorted(known))}"
        )
    rows = charges.sort(*_KEYS, "date", "kind", "amount")
    summed = rows.group_by(*_KEYS, "date", "kind", maintain_order=True).agg(pl.col("amount").sum())
    return {
        (str(key[0]), str(key[1])): part
        for key, part in summed.partition_by(*_KEYS, as_dict=True).items()
    }


def _grouping(
    scheme: str, instruments: pl.DataFrame, mappings: Mapping[str, pl.DataFrame], panel: Panel
) -> Grouping:
    if scheme in mappings:
        return grouping(mappings[scheme].rename({"group": "label"}), scheme, panel)
    if scheme not in instruments.columns:
        kinds = [c for c, t in instruments.schema.items() if t == pl.String]
        raise PortfolioError(
            f"there is no label {scheme!r} to attribute by; clean.instruments has "
            f"{', '.join(sorted(kinds))}; own groups are handed in as mappings="
        )
    return grouping(
        instruments.select("instrument_id", "valid_from", pl.col(scheme).alias("label")),
        scheme,
        panel,
    )
