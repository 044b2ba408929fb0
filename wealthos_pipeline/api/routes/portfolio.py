"""Mandates: what they hold, what is proposed, what it may cost."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from wealthos_pipeline.api.access import Published
from wealthos_pipeline.api.asof import AsOf, instant, last_session, refused
from wealthos_pipeline.api.models import (
    MandateEntry,
    MandatePage,
    NavPage,
    NavPoint,
    Portfolio,
    Proposal,
    Risk,
    Solve,
    Target,
)
from wealthos_pipeline.api.models.portfolio import Binding, Checked, RunKind
from wealthos_pipeline.api.pages import Cursor, Limit, page
from wealthos_pipeline.api.problems import ProblemError, unknown
from wealthos_pipeline.api.store import Reader

router = APIRouter(prefix="/v1", tags=["portfolio"])

Kind = Annotated[RunKind, Query(description="live proposals or the backtest")]
_SYMBOL = (
    "(SELECT instrument_id, arg_max(symbol, valid_from) AS symbol "
    "FROM clean.instruments GROUP BY instrument_id)"
)


_LIST = refused("the list is of the published run. One mandate takes it: /v1/portfolio/{mandate}.")


@router.get("/portfolio", summary="Every mandate", dependencies=[Depends(_LIST)])
def mandates(published: Published, limit: Limit = 1000, cursor: Cursor = None) -> MandatePage:
    """Mandates by name with the state of their last live decision."""
    rows, following = page(
        published,
        """
        SELECT mandate, list_sort(list(DISTINCT run_kind)) AS run_kinds,
               max(date) FILTER (WHERE run_kind = 'live' AND status IS NOT NULL) AS last_decision,
               arg_max(status, date) FILTER (WHERE run_kind = 'live') AS status
        FROM (
            SELECT mandate, run_kind, date, status FROM portfolio.solves
            UNION ALL SELECT DISTINCT mandate, run_kind, NULL, NULL FROM portfolio.nav
        ) GROUP BY mandate
        """,
        [],
        key=("mandate",),
        types=("VARCHAR",),
        limit=limit,
        cursor=cursor,
    )
    return MandatePage(
        run_id=published.run.run_id,
        next_cursor=following,
        items=tuple(MandateEntry(**row) for row in rows),
    )


@router.get("/portfolio/{mandate}", summary="A mandate as of its last decision")
def portfolio(
    mandate: str, published: Published, kind: Kind = "live", as_of: AsOf = None
) -> Portfolio:
    """Net asset value, targets, proposed trades, what binds, whether limits are kept, and risk.

    A live mandate has no net asset value of its own before it has a record; ``nav`` is then null.
    With `as_of`: the last decision of a session known then. Of live decisions the latest is kept here;
    what was issued before is in /v1/data/record.issued.
    """
    _known(published, mandate)
    last = last_session(published, instant(as_of))
    of: list[object] = [mandate, kind, last or date.max]
    _decided(published, mandate, kind, last)
    targets = published.rows(
        f"""
        SELECT t.instrument_id, symbol, weight_before, weight, weight_benchmark, alpha, volatility,
               risk_contribution
        FROM portfolio.targets t LEFT JOIN {_SYMBOL} i USING (instrument_id)
        WHERE mandate = ? AND run_kind = ? AND date <= ?
          AND date = (SELECT max(date) FROM portfolio.solves
                      WHERE mandate = ? AND run_kind = ? AND date <= ?)
        ORDER BY weight DESC, instrument_id
        """,
        of + of,
    )
    trades = published.rows(
        f"""
        SELECT t.instrument_id, symbol, side, weight_before, weight, value, units, cost, reason
        FROM portfolio.trades t LEFT JOIN {_SYMBOL} i USING (instrument_id)
        WHERE mandate = ? AND run_kind = ? AND date <= ?
          AND date = (SELECT max(date) FROM portfolio.solves
                      WHERE mandate = ? AND run_kind = ? AND date <= ?)
        ORDER BY abs(value) DESC, instrument_id
        """,
        of + of,
    )
    decided = (
        "(SELECT max(date) FROM portfolio.solves WHERE mandate = ? AND run_kind = ? AND date <= ?)"
    )
    binding = published.rows(
        f"""
        SELECT {", ".join(f'"{c}"' for c in Binding.model_fields)} FROM portfolio.binding
        WHERE mandate = ? AND run_kind = ? AND date <= ? AND date = {decided}
        ORDER BY abs(price) DESC NULLS LAST, "limit"
        """,
        of + of,
    )
    compliance = published.rows(
        f"""
        SELECT {", ".join(f'"{c}"' for c in Checked.model_fields)} FROM portfolio.compliance
        WHERE mandate = ? AND run_kind = ? AND date <= ? AND date = {decided}
        ORDER BY passed, stage, "limit"
        """,
        of + of,
    )
    nav = _last(published, "portfolio.nav", tuple(NavPoint.model_fields), of)
    solve = _last(published, "portfolio.solves", tuple(Solve.model_fields), of)
    risk = _last(published, "portfolio.risk", tuple(Risk.model_fields), of)
    static = published.column(
        "SELECT title FROM meta.catalog WHERE kind = 'bias' AND name = 'static_sectors'"
    )
    return Portfolio(
        run_id=published.run.run_id,
        mandate=mandate,
        run_kind=kind,
        as_of=published.run.as_of,
        nav=None if nav is None else NavPoint(**nav),
        solve=None if solve is None else Solve(**solve),
        targets=tuple(Target(**row) for row in targets),
        trades=tuple(Proposal(**row) for row in trades),
        binding=tuple(Binding(**row) for row in binding),
        compliance=tuple(Checked(**row) for row in compliance),
        risk=None if risk is None else Risk(**risk),
        sector_static=next(iter(static), None),
    )


@router.get("/portfolio/{mandate}/nav", summary="Net asset value by session")
def nav_series(
    mandate: str,
    published: Published,
    kind: Kind = "backtest",
    as_of: AsOf = None,
    start: Annotated[date | None, Query(description="first session")] = None,
    end: Annotated[date | None, Query(description="last session")] = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> NavPage:
    """The series in order of date."""
    _known(published, mandate)
    known = last_session(published, instant(as_of))
    rows, following = page(
        published,
        f"""
        SELECT {", ".join(NavPoint.model_fields)} FROM portfolio.nav
        WHERE mandate = ? AND run_kind = ?
          AND date >= coalesce(?, DATE '0001-01-01') AND date <= coalesce(?, DATE '9999-12-31')
          AND date <= coalesce(?, DATE '9999-12-31')
        """,
        [mandate, kind, start, end, known],
        key=("date",),
        types=("DATE",),
        limit=limit,
        cursor=cursor,
    )
    return NavPage(
        run_id=published.run.run_id,
        mandate=mandate,
        run_kind=kind,
        next_cursor=following,
        items=tuple(NavPoint(**row) for row in rows),
    )


def _known(reader: Reader, mandate: str) -> None:
    names = reader.column(
        "SELECT DISTINCT mandate FROM portfolio.nav UNION SELECT DISTINCT mandate FROM portfolio.solves"
    )
    if mandate not in names:
        raise unknown("mandate", mandate, names, "/v1/portfolio")


def _decided(reader: Reader, mandate: str, kind: RunKind, last: date | None) -> None:
    """404 in words where live decisions of the time are not kept here."""
    if last is None or kind != "live":
        return
    of = [mandate, kind]
    asked = "SELECT min(date) FROM portfolio.solves WHERE mandate = ? AND run_kind = ?"
    (first,) = reader.column(asked, of)
    if first is not None and first > last:
        raise ProblemError(
            404,
            "No such decision",
            f"of the live decisions of {mandate!r} the latest is kept here, of {first}. What was "
            f"issued by {last} is in /v1/data/record.issued?end={last}; kind=backtest has all dates.",
            kind="urn:wealthos:problem:no-decision",
        )


def _last(
    reader: Reader, table: str, columns: tuple[str, ...], of: list[object]
) -> dict[str, Any] | None:
    rows = reader.rows(
        f"SELECT {', '.join(columns)} FROM {table} WHERE mandate = ? AND run_kind = ? "
        "AND date <= ? ORDER BY date DESC LIMIT 1",
        of,
    )
    return rows[0] if rows else None
