"""Section 4: how the mandates did, what they risk, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wealthos_pipeline.data.sources import snapshots
from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Heading,
    Table,
    Text,
    cells,
    signed,
    spared,
)
from wealthos_pipeline.reporting.report import Attribution, MandateReport, Report, Track
from wealthos_pipeline.reporting.words import count, day, number, percent, points

SIDE_BY_SIDE = 4
"""Mandates in one table."""

NAMES = 5
"""Names of a portfolio shown in the mail."""

EXACT = 5e-9
"""Decimals: attribution and net asset values that differ by less, 0.00005 basis points, agree."""

EFFECTS = {
    "allocation": "Sector allocation",
    "selection": "Selection in sectors",
    "interaction": "Interaction",
    "trading": "Trading within the day",
    "cost": "Costs",
    "borrow": "Borrow fees",
    "cash": "Cash",
    "residual": "Residual",
}


def blocks(report: Report, charts: frozenset[str]) -> tuple[Block, ...]:
    """Performance, charts, risk, contributions, attribution."""
    known = [m for m in report.mandates if m.track is not None]
    out: list[Block] = [
        Text(f"{m.title}: {m.why}", "muted") for m in report.mandates if m.track is None and m.why
    ]
    if not known:
        out.append(
            Text("No mandate has a net asset value yet, so there is no performance to show.")
        )
        return tuple(out)
    for i, part in enumerate(_chunks(known)):
        out += spared([_performance(part)], 2 if i else 0)
    if "nav" in charts:
        out.append(
            Chart(
                "nav",
                "Growth of each mandate and of 1/N of the same universe, and their drawdowns",
                "Growth of 1 net of costs (log scale) and drawdown, backtest. 1/N: the same universe in "
                "equal parts, rebalanced monthly with the same costs.",
            )
        )
    out.append(Heading("Risk"))
    for i, part in enumerate(_chunks(known)):
        out += spared([_risk(part)], 2 if i else 0)
        out += spared([_exceptions(part)], 5)
    if "var" in charts:
        out.append(
            Chart(
                "var",
                "Daily results against the 99 % value at risk forecast the day before",
                "Result of the next session (grey) against minus the 99 % VaR forecast at the close "
                "before (line); exceptions are marked. Shaded: 2008 and 2020.",
            )
        )
    held = [m for m in known if any(c.weight for c in m.contributions)]
    if held:
        out.append(Heading("Where the risk comes from"))
        if "risk" in charts:
            out.append(
                Chart(
                    "risk",
                    "Weight and share of variance of the largest contributors, by mandate",
                    "Target weight (light) and share of the portfolio's variance (dark), the "
                    "largest contributors.",
                )
            )
        for m in held:
            out += spared([_contributions(report, m)], 5)
    out += _attributions(report, known)
    return tuple(out)


def _chunks(mandates: Sequence[MandateReport]) -> list[Sequence[MandateReport]]:
    return [mandates[i : i + SIDE_BY_SIDE] for i in range(0, len(mandates), SIDE_BY_SIDE)]


def _header(part: Sequence[MandateReport], bench: bool) -> tuple[Column, ...]:
    return (
        Column("", right=False),
        *(Column(m.name) for m in part),
        *((Column("1/N"),) if bench else ()),
    )


def _performance(part: Sequence[MandateReport]) -> Table:
    tracks = [m.track for m in part if m.track is not None]
    bench = next((m.benchmark for m in part if m.benchmark is not None), None)
    every: list[Track] = [*tracks, *([bench] if bench else [])]
    rows: list[tuple[Cell, ...]] = []

    def row(label: str, value: Callable[[Track], str]) -> None:
        rows.append(cells(label, *(signed(value(t)) for t in every)))

    for window in tracks[0].returns:
        rows.append(
            cells(
                f"Return, {window}",
                *(signed(percent(t.returns[window], sign=True)) for t in every),
            )
        )
    row("Return since start p.a.", lambda t: percent(t.annual_return, sign=True))
    row("Volatility p.a.", lambda t: percent(t.volatility))
    row("Sharpe ratio", lambda t: number(t.sharpe, 2))
    over = [t for t in every if t.sharpe_excess is not None]
    if over:
        row("… over the risk-free rate", lambda t: number(t.sharpe_excess, 2))
    row("Drawdown now", lambda t: percent(t.drawdown))
    row("Largest drawdown", lambda t: percent(t.max_drawdown))
    row("… reached on", lambda t: day(t.max_drawdown_at))
    row("Turnover p.a., one-way", lambda t: percent(t.turnover, 0))
    row("Costs p.a.", lambda t: percent(t.cost, 2))
    row("Holding period, sessions", lambda t: number(t.holding, 0))
    assumed = [number(m.holding_assumed, 0) for m in part if m.track is not None]
    rows.append(cells("… assumed when deciding", *assumed, *(["–"] if bench else [])))
    row("Names held", lambda t: number(t.names, 0))
    starts = sorted({t.start for t in tracks})
    return Table(
        _header(part, bench is not None),
        tuple(rows),
        title="Performance net of costs",
        note=f"Backtest from {' / '.join(day(s) for s in starts)} to {day(tracks[0].end)}; total return, "
        "fills at the next close. p.a.: a year of 252 sessions. Sharpe: √252 × mean / standard "
        f"deviation of daily returns, nothing deducted{_risk_free(over)}. Cash earns nothing. Holding "
        "period: 1 / one-way turnover a session.",
    )


def _risk_free(over: Sequence[Track]) -> str:
    """For which sessions a risk-free rate is known, in words."""
    if not over:
        return "; no risk-free rate is known"
    last = max(t.risk_free_until for t in over if t.risk_free_until is not None)
    least = min(t.risk_free_share for t in over)
    if least >= 1:
        return "; then the same over the risk-free rate"
    return (
        f"; then the same over the risk-free rate on the {percent(least, 0)} of sessions for which one "
        f"is known, to {day(last)}"
    )


def _risk(part: Sequence[MandateReport]) -> Table:
    lines = (
        ("Volatility p.a., forecast", "volatility", 1),
        ("VaR 95 %", "var_95", 2),
        ("VaR 99 %", "var_99", 2),
        ("CVaR 95 %", "cvar_95", 2),
        ("CVaR 99 %", "cvar_99", 2),
    )
    dates = sorted({m.risk.date for m in part if m.risk is not None})
    at = (
        f"Forecast at the close of {' / '.join(day(d) for d in dates)}"
        if dates
        else "No forecast yet"
    )
    return Table(
        _header(part, False),
        tuple(
            cells(
                label,
                *(percent(getattr(m.risk, name) if m.risk else None, digits) for m in part),
            )
            for label, name, digits in lines
        ),
        title="One session ahead",
        note=f"{at}, for the holdings of that close; losses in percent of net asset value.",
    )


def _exceptions(part: Sequence[MandateReport]) -> Table:
    keys = list(dict.fromkeys((e.level, e.window) for m in part for e in m.exceptions))
    found = {(m.name, e.level, e.window): e for m in part for e in m.exceptions}
    rows = []
    for level, window in keys:
        row: list[str | Cell] = [f"VaR {level:.0%}, {window}".replace("%", "\u00a0%")]
        for m in part:
            e = found.get((m.name, level, window))
            if e is None:
                row.append(Cell("–", "muted"))
                continue
            p = "–" if e.p is None else _p(e.p)
            row.append(
                Cell(
                    f"{e.observed}\u00a0/\u00a0{number(e.expected, 1 if e.expected < 30 else 0)} (p\u00a0{p})",
                    "warning" if e.p is not None and e.p < 0.05 else "",
                )
            )
        rows.append(cells(*row))
    return Table(
        _header(part, False),
        tuple(rows),
        title="VaR exceptions, observed / expected",
        note="p: Kupiec's test that the number is right; below 0.05 the forecast was wrong more often "
        "(or less) than it said. Results of the frozen holdings of each forecast.",
    )


def _p(value: float) -> str:
    return "<\u00a00.001" if value < 0.001 else number(value, 3 if value < 0.1 else 2)


def _contributions(report: Report, m: MandateReport) -> Table:
    effective = sum(c.weight**2 for c in m.contributions)
    shown = [c for c in m.contributions if abs(c.weight) >= 5e-5 or abs(c.share) >= 5e-4]
    words = f"{count(len(shown), 'name')}"
    if effective > 0:
        words += f", effectively {number(1 / effective, 1)} (1 / Σw²)"
    return Table(
        (
            Column("Name", right=False),
            Column("weight"),
            Column("1/N"),
            Column("share of variance"),
        ),
        tuple(
            cells(
                report.label(c.instrument),
                percent(c.weight),
                percent(c.benchmark),
                signed(percent(c.share)),
            )
            for c in shown
        ),
        title=m.title,
        note=f"Target portfolio of {day(m.contributions_at)}: {words}.",
        mail_rows=NAMES,
    )


def _attributions(report: Report, known: Sequence[MandateReport]) -> list[Block]:
    out: list[Block] = [Heading("Where the difference to 1/N comes from")]
    windows = list(dict.fromkeys(a.window for m in known for a in m.attribution))
    if not windows:
        return [*out, Text("No attribution is known yet.", "muted")]
    for window in windows:
        for i, part in enumerate(_chunks(known)):
            table = _attribution(part, window)
            if table is not None:
                out += spared([table], 3 if i else 0)
    gaps = [abs(a.total - a.active) for m in known for a in m.attribution if a.active is not None]
    check = ""
    if gaps and max(gaps) < EXACT:
        check = " The sum of the effects is the active return of the net asset values."
    elif gaps:
        check = f" The two totals differ by at most {number(1e4 * max(gaps), 4)} basis points."
    out.append(
        Text(
            "Percentage points: daily effects linked by Carino's method, so that they add up to the "
            "difference of the two compounded returns; each number is rounded on its own."
            f"{check}",
            "muted",
        )
    )
    last = windows[-1]
    titles = [b.title for b in report.source.biases if b.name == snapshots.SECTORS]
    static = "".join(f" ({t[0].lower()}{t[1:]})" for t in titles)
    for m in known:
        out += [_sectors(m, a, static) for a in m.attribution if a.window == last and a.sectors]
    return out


def _attribution(part: Sequence[MandateReport], window: str) -> Table | None:
    """Effects of each mandate in percentage points, with the line that they sum to."""
    found: dict[str, Attribution] = {
        m.name: a for m in part for a in m.attribution if a.window == window
    }
    here = [m for m in part if m.name in found]
    if not here:
        return None
    effects = list(dict.fromkeys(e for a in found.values() for e, _ in a.effects))
    values = {name: dict(a.effects) for name, a in found.items()}
    # a row of zeros says nothing; that nothing is left unexplained does
    effects = [
        e
        for e in effects
        if e == "residual" or any(abs(values[m.name].get(e, 0.0)) >= 5e-5 for m in here)
    ]
    rows = [
        cells(
            EFFECTS.get(e, e),
            *(signed(points(values[m.name].get(e), 2)) for m in here),
        )
        for e in effects
    ]
    rows.append(
        cells(
            "Sum of the effects",
            *(signed(points(found[m.name].total, 2)) for m in here),
        )
    )
    rows.append(
        cells(
            "Active return of the NAVs",
            *(signed(points(found[m.name].active, 2)) for m in here),
        )
    )
    return Table(
        _header(here, False),
        tuple(rows),
        title=f"Last {window}",
        totals=2,
    )


def _sectors(m: MandateReport, a: Attribution, static: str) -> Table:
    rows = [
        cells(
            sector,
            signed(points(allocation, 2)),
            signed(points(selection, 2)),
            signed(points(allocation + selection, 2)),
        )
        for sector, allocation, selection in a.sectors
    ]
    left = sum(x for _, x, _ in a.sectors)
    right = sum(x for _, _, x in a.sectors)
    rows.append(cells("Sum", points(left, 2), points(right, 2), points(left + right, 2)))
    return Table(
        (
            Column("Sector", right=False),
            Column("allocation"),
            Column("selection and interaction"),
            Column("together"),
        ),
        tuple(rows),
        title=f"{m.title}: by sector, last {a.window}{static}",
        totals=1,
        full=True,
    )
