"""Section 5: each portfolio by itself: its last decision and what stood behind it, risk by part, orders."""

from __future__ import annotations

from collections.abc import Sequence

from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Figures,
    Heading,
    Item,
    Items,
    Table,
    Text,
    cells,
    signed,
    spared,
)
from wealthos_pipeline.reporting.book import Book, Certificate, Waterfall
from wealthos_pipeline.reporting.book_charts import WORDS
from wealthos_pipeline.reporting.report import Report
from wealthos_pipeline.reporting.words import (
    NONE,
    count,
    day,
    line,
    money,
    number,
    percent,
    points,
    sentence,
)

BOUND = 3
"""Binding limits and breaches of a portfolio that the mail shows."""
NEAR = 5
"""Dates of held names that the mail shows."""
TOLERANCE = 1e-8
"""Violation up to which an answer counts as keeping every limit."""

STATUS_TONES = {
    "infeasible": "critical",
    "failed": "critical",
    "held": "warning",
    "softened": "warning",
}
CHARTS = (
    ("weights", "Weights of each portfolio at its decisions over ten years, stacked",
     "Target weights at each decision of the backtest: the largest names on average, all others together, "
     "and cash."),
    ("waterfall", "The active return of each portfolio as a sum of effects by sector",
     "From nothing to the return less that of 1/N by sector, linked so that the steps add up to it "
     "(selection with interaction). Blue adds, red takes away; percentage points."),
    ("waterfall_factor", "The active return of each portfolio as a sum of effects by risk factor",
     "The same by factor of the risk model: exposure less that of 1/N times the factor's return, and what "
     "the single names did beyond."),
    ("contributions", "Shares of each portfolio's forecast volatility by name, sector and factor",
     "Shares of the forecast volatility of what is held; each of the three ways adds up to the whole."),
    ("rolling", "Active return, volatility and tracking error of each portfolio over rolling years",
     "Each point looks back over 252 sessions. Net of costs."),
    ("stress", "What each portfolio would gain or lose in past crises and in scenarios",
     "Results of what is held now if it happened again, of net asset value."),
    ("frontier", "Expected return against volatility: single names, the frontier, target, held and 1/N",
     "The best expected return for each volatility that long-only weights within the mandate's cap could "
     "have, before costs; other limits and trading costs keep the target below it."),
)  # fmt: skip


def blocks(report: Report, charts: frozenset[str]) -> tuple[Block, ...]:
    """Charts of all portfolios, then one part a portfolio."""
    if not report.books:
        return (Text("No portfolio has been decided yet."),)
    out: list[Block] = [_overview(report.books)] if len(report.books) > 1 else []
    out += [Chart(name, alt, caption) for name, alt, caption in CHARTS if name in charts]
    for book in report.books:
        out += spared(_book(report, book), 6 if len(report.books) > 1 else 3)
    return tuple(out)


def _overview(books: Sequence[Book]) -> Table:
    """One row a portfolio: what was decided, what binds most, whether the targets comply, what is sent."""
    rows = []
    for b in books:
        c = b.certificate
        first = max(b.binding, key=lambda x: abs(x.price), default=None)
        kept = next(
            ((n, of) for stage, n, of in b.compliance.stages if stage == "target"), None
        ) if b.compliance else None  # fmt: skip
        missed = kept is not None and kept[0] < kept[1]
        rows.append(
            cells(
                b.title,
                Cell(c.status.capitalize(), STATUS_TONES.get(c.status, "")) if c else NONE,
                line(first.words) if first else NONE,
                Cell(f"{kept[0]} of {kept[1]}" if kept else NONE, "warning" if missed else ""),
                number(b.orders.orders, 0) if b.orders else NONE,
            )
        )
    return Table(
        (
            Column("Portfolio", right=False),
            Column("decision", right=False),
            Column("binds most", right=False),
            Column("limits kept"),
            Column("orders"),
        ),
        tuple(rows),
        title="All portfolios",
        note="Limits kept by the targets. Binds most: the limit whose loosening is worth most.",
    )


def _book(report: Report, b: Book) -> list[Block]:
    out: list[Block] = [Heading(b.title)]
    if b.certificate is not None:
        out.append(_certificate(b.certificate))
        if b.certificate.message:
            out.append(Text(sentence(b.certificate.message), "muted", full=True))
    out += _binding(b)
    out.append(Text(_holding(b), "muted"))
    out += _compliance(report, b)
    out += _orders(report, b)
    out += _attribution(b)
    out += _risk(report, b)
    out += _stress(report, b)
    out += _liquidity(report, b)
    out += _shortfall(b)
    out += _calendar(report, b)
    missing = {why for _, why in b.absent}
    if missing:
        out.append(Text(sentence("Left out: " + "; ".join(sorted(missing))), "muted", full=True))
    return out


def _certificate(c: Certificate) -> Figures:
    done = c.violation is not None
    kept = done and (c.violation or 0.0) <= TOLERANCE
    solver = ", ".join(
        x for x in (c.solver, f"{c.iterations} iterations" if c.iterations else "") if x
    )
    return Figures(
        (
            (
                "Last decision",
                c.status.capitalize(),
                f"{day(c.decided)}, {c.kind}",
                STATUS_TONES.get(c.status, ""),
            ),
            (
                "Largest violation",
                _tiny(c.violation),
                ("every limit is kept" if kept else "of a limit") if done else "nothing was solved",
                "" if kept or not done else "critical",
            ),
            ("Duality gap", _tiny(c.gap), "distance from the optimum", ""),
            ("Objective", c.objective_kind.replace("_", " ") or NONE, solver or "no solver", ""),
        )
    )


def _tiny(value: float | None) -> str:
    """A number that should be nearly 0; what is below the tolerance is not written out."""
    if value is None:
        return NONE
    if 0 < abs(value) <= TOLERANCE:
        return "below 10⁻⁸"
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-").replace("-", "−")


def _binding(b: Book) -> list[Block]:
    if not b.binding:
        return []
    rows = tuple(
        cells(
            line(x.words),
            Cell(
                NONE if abs(x.price) < 1e-12 else number(1e4 * x.price * 0.01, 2, sign=True),
                "" if abs(x.price) >= 1e-12 else "muted",
            ),
        )
        for x in b.binding
    )
    return [
        Table(
            (Column("What binds", right=False), Column("price, bp a point")),
            rows,
            title="Limits that bind",
            note="Price: basis points of return over the horizon that loosening the limit by one "
            "percentage point of its unit would add, net of risk and cost.",
            mail_rows=BOUND,
        )
    ]


def _holding(b: Book) -> str:
    if b.holding is None:
        return sentence(
            "The realised holding period is not known before a year"
            + (
                ""
                if b.holding_assumed is None
                else f"; decisions assume {number(b.holding_assumed, 0)} sessions"
            )
        )
    if b.holding_assumed is None:
        return f"Holdings were kept for {number(b.holding, 0)} sessions on average (1 / turnover)."
    ratio = b.holding / b.holding_assumed
    meaning = (
        "costs count in decisions about as they are paid"
        if 0.8 <= ratio <= 1.25
        else f"decisions charge {'more' if ratio > 1 else 'less'} cost a session than is paid: a "
        f"holding_period_days of {number(b.holding, 0)} in the mandate would match"
    )
    return sentence(
        f"Holding period: {number(b.holding_assumed, 0)} sessions assumed when deciding, "
        f"{number(b.holding, 0)} realised (1 / one-way turnover a session); {meaning}"
    )


def _compliance(report: Report, b: Book) -> list[Block]:
    if b.compliance is None:
        return []
    words = {"held": "what is held", "target": "the targets", "orders": "the rounded orders"}
    told = "; ".join(
        f"{words.get(stage, stage)}: {passed} of {n} limits kept"
        for stage, passed, n in b.compliance.stages
    )
    out: list[Block] = [
        Text(
            sentence(f"Before the trade of {day(b.compliance.date)}, {told}"),
            "warning" if any(p < n for s, p, n in b.compliance.stages if s != "held") else "",
        )
    ]
    if b.compliance.breaches:
        rows = tuple(
            cells(
                words.get(x.stage, x.stage).capitalize(),
                line(x.words),
                report.label(x.worst) if x.worst else NONE,
                number(x.value, 4),
                number(x.bound, 4),
            )
            for x in b.compliance.breaches
        )
        out.append(
            Table(
                (
                    Column("Stage", right=False),
                    Column("limit", right=False),
                    Column("where", right=False, full=True),
                    Column("is"),
                    Column("allowed"),
                ),
                rows,
                title="Limits that are missed",
                mail_rows=BOUND,
            )
        )
    return out


def _orders(report: Report, b: Book) -> list[Block]:
    o = b.orders
    if o is None:
        return []
    states = {
        "ready": "ready to send",
        "nothing": "nothing to trade",
        "breach": "not to be sent: limits fail after rounding",
        "refused": "refused",
    }
    text = (
        f"Orders of {day(o.date)}: {states.get(o.state, o.state)}; {count(o.orders, 'order')}, sells "
        f"{money(o.sells, b.currency)}, buys {money(o.buys, b.currency)}, modelled cost "
        f"{money(o.cost, b.currency)}"
    )
    if o.dropped:
        text += f"; {count(o.dropped, 'trade')} smaller than a lot left out"
    tone = "warning" if o.state in ("breach", "refused") else ""
    out: list[Block] = [Text(sentence(text), tone)]
    if o.message and o.state in ("breach", "refused"):
        out.append(Text(sentence(o.message), "muted"))
    if o.lines:
        out.append(
            Table(
                (
                    Column("Order", right=False),
                    Column("shares"),
                    Column("value"),
                    Column("cost"),
                    Column("why", right=False, full=True),
                ),
                tuple(
                    cells(
                        f"{'Buy' if side == 'buy' else 'Sell'} {report.label(name)}",
                        number(abs(shares), 0),
                        money(abs(value), b.currency),
                        money(cost, b.currency),
                        line(reason),
                    )
                    for side, name, shares, value, cost, reason in o.lines
                ),
                title=f"Orders in whole shares, the {count(len(o.lines), 'largest', 'largest')}",
                full=True,
            )
        )
    return out


def _attribution(b: Book) -> list[Block]:
    return [_effects(b, w) for w in b.waterfalls]


def _effects(b: Book, w: Waterfall) -> Table:
    rows = [cells(WORDS.get(label, label), signed(points(v, 2))) for label, v in w.steps]
    gap = abs(w.total - w.active)
    rows.append(cells("Sum of the effects", signed(points(w.total, 2))))
    rows.append(cells("Active return of the NAVs", signed(points(w.active, 2))))
    by = "risk factor" if w.scheme == "factor" else w.scheme
    return Table(
        (Column("Effect", right=False), Column(f"last {w.window}")),
        tuple(rows),
        title=f"{b.title}: active return by {by}",
        note=f"Sum and NAVs differ by {_tiny(gap)}; selection includes interaction.",
        totals=2,
        full=True,
    )


def _risk(report: Report, b: Book) -> list[Block]:
    if not b.risk_parts:
        return []
    kinds = {"name": "Names", "sector": "Sectors", "factor": "Factors", "specific": "Single names"}
    rows = []
    for kind in ("sector", "factor", "specific"):
        rows += [
            cells(
                kinds[kind] if kind == "specific" else p.name,
                kinds[kind],
                number(p.exposure, 3) if p.exposure is not None else NONE,
                percent(p.component, 2),
                signed(percent(p.share)),
            )
            for p in b.risk_parts
            if p.kind == kind
        ]
    return [
        Table(
            (
                Column("Part", right=False),
                Column("kind", right=False),
                Column("exposure"),
                Column("of volatility"),
                Column("share"),
            ),
            tuple(rows),
            title=f"{b.title}: parts of the forecast volatility",
            note=f"Holdings of {day(b.risk_date)}; volatility {percent(b.risk_total)} a year. Sectors add up to "
            "it, and so do factors with the single names' part.",
            full=True,
        )
    ]


def _stress(report: Report, b: Book) -> list[Block]:
    if not b.stress:
        return []
    rows = tuple(
        cells(
            s.title,
            signed(percent(s.pnl, 1, sign=True)),
            NONE
            if not s.worst or s.worst_pnl is None
            else f"{report.label(s.worst)} {percent(s.worst_pnl, 1, sign=True)}",
            percent(s.proxied, 0),
            line(s.detail),
        )
        for s in b.stress
    )
    return [
        Table(
            (
                Column("Scenario", right=False),
                Column("result"),
                Column("worst name"),
                Column("by proxy"),
                Column("what was assumed", right=False, full=True),
            ),
            rows,
            title=f"{b.title}: stress of the holdings of {day(b.stress_date)}",
            full=True,
        )
    ]


def _liquidity(report: Report, b: Book) -> list[Block]:
    q = b.liquidity
    if q is None:
        return []
    if q.days_50 is None:
        return [
            Text(
                sentence(
                    f"Days to liquidate are not known: {percent(q.unknown_weight, 0)} of net asset "
                    "value has no volume"
                ),
                "muted",
                full=True,
            )
        ]
    text = (
        f"Selling at {percent(q.participation, 0)} of the median dollar volume, half is sold in "
        f"{number(q.days_50, 1)} sessions, 90 % in {number(q.days_90, 1)}, all in {number(q.days_100, 1)}"
    )
    if q.slowest:
        text += f"; {report.label(q.slowest)} takes longest"
    if q.unknown_weight > 0:
        text += f"; {percent(q.unknown_weight, 0)} has no known volume and is not counted"
    return [Text(sentence(text), full=True)]


def _shortfall(b: Book) -> list[Block]:
    if not b.shortfall:
        return []
    rows = tuple(
        cells(
            day(s.decided),
            day(s.until),
            number(s.orders, 0),
            percent(s.filled, 0),
            money(s.total, b.currency),
            money(s.modelled, b.currency),
            "done" if s.done else "open",
        )
        for s in b.shortfall
    )
    return [
        Table(
            (
                Column("Decided", right=False),
                Column("measured to", right=False),
                Column("orders"),
                Column("filled"),
                Column("shortfall"),
                Column("modelled"),
                Column("state", right=False),
            ),
            rows,
            title=f"{b.title}: what execution cost",
            note="Shortfall: waiting, execution, fees and what was not executed, against the decision's "
            "close (Perold 1988).",
            full=True,
        )
    ]


def _calendar(report: Report, b: Book) -> list[Block]:
    if not b.calendar:
        return []
    words = {
        "ex_dividend": "Ex-dividend",
        "split": "Split",
        "earnings": "Earnings",
        "index_change": "Index",
        "expiry_of_override": "Override",
    }
    return [
        Items(
            tuple(
                Item(
                    words.get(d.kind, d.kind),
                    f"{day(d.date)} {report.label(d.instrument)}",
                    sentence(d.detail),
                )
                for d in b.calendar
            ),
            mail_rows=NEAR,
            full=True,
        )
    ]
