"""Section 2: what a manager should know if nothing else is read."""

from __future__ import annotations

from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Column,
    Heading,
    Item,
    Items,
    Table,
    Text,
    cells,
    signed,
)
from wealthos_pipeline.reporting.page_mandates import EFFECTS
from wealthos_pipeline.reporting.report import (
    Alert,
    Exceptions,
    MandateReport,
    Proposal,
    Report,
    Track,
)
from wealthos_pipeline.reporting.words import day, line, number, percent, points

CRISES = ("2008", "2020")
LEVEL = 0.99


def glance(report: Report) -> tuple[Block, ...]:
    """The sentences, the mandates side by side, the alerts."""
    out: list[Block] = []
    said = [s for s in (*risk(report), *attribution(report)) if s is not None]
    if said:
        out.append(Items(tuple(said)))
    table = _mandates(report)
    if table is not None:
        out.append(table)
    if report.alerts:
        out.append(Heading("Alerts"))
        out.append(Items(tuple(_alert(report, a) for a in report.alerts), mail_rows=8))
    else:
        out.append(Text("No alert was raised.", "muted"))
    return tuple(out)


def evidence(report: Report) -> Item | None:
    """What skill this panel could show at all, and what the best model has shown."""
    judged = [s.all.detectable for s in (*report.models, *report.factors) if s.all.detectable]
    if not judged:
        return None
    survivors = next((b for b in report.source.biases if b.name == "survivorship"), None)
    least = f"cannot detect an IC below {min(judged):.3f}"
    if survivors is not None and survivors.title[:1].isdigit():
        head = f"{survivors.title} cannot show alpha; this panel {least}."
    else:
        head = f"This panel {least}." + (f" {survivors.title}." if survivors else "")
    known = [s for s in report.models if s.all.mean is not None]
    if not known:
        return Item("", head, "No model has been judged yet.")
    best = max(known, key=lambda s: (s.all.mean or 0.0, s.name))
    verdict = (
        "distinguishable from 0"
        if best.all.distinguishable
        else "not distinguishable from chance: what follows shows process and risk, not skill"
    )
    which = {1: "The model", 2: "The better model"}.get(len(known), "The best model")
    return Item(
        "",
        head,
        f"{which}, {best.name}, has a mean rank IC of {number(best.all.mean, 3, sign=True)} out of "
        f"sample, {verdict}.",
    )


def risk(report: Report) -> tuple[Item | None, ...]:
    """What the calmest mandate saves and costs against 1/N, and how its VaR held in the crises."""
    known = [
        (m, m.track, m.benchmark)
        for m in report.mandates
        if m.track is not None and m.benchmark is not None and m.track.volatility is not None
    ]
    if not known:
        return ()
    m, mine, bench = min(known, key=lambda x: (x[1].volatility or 0.0, x[0].name))
    return price_of_risk(m.name, mine, bench), crises(m)


def price_of_risk(name: str, mine: Track, bench: Track) -> Item | None:
    """Volatility, drawdown and return against 1/N in one sentence."""
    if (
        mine.volatility is None
        or not bench.volatility
        or mine.annual_return is None
        or bench.annual_return is None
    ):
        return None
    saved = 1 - mine.volatility / bench.volatility
    gap = mine.annual_return - bench.annual_return
    less = "less" if saved >= 0 else "more"
    price = (
        f"at the price of {number(-100 * gap, 1)} percentage points of return a year"
        if gap < 0
        else f"with {number(100 * gap, 1)} percentage points more return a year"
    )
    return Item(
        "",
        f"{name}: {percent(abs(saved), 0)} {less} volatility than 1/N, {price}.",
        f"Since {day(mine.start)}, net of costs: volatility {percent(mine.volatility)} against "
        f"{percent(bench.volatility)}, largest drawdown {percent(mine.max_drawdown)} against "
        f"{percent(bench.max_drawdown)}, return {percent(mine.annual_return)} against "
        f"{percent(bench.annual_return)} a year.",
    )


def crises(m: MandateReport) -> Item | None:
    """VaR exceptions through 2008 and 2020 in one sentence."""
    found = {e.window: e for e in m.exceptions if e.level == LEVEL}
    inside = [found[w] for w in CRISES if w in found]
    if not inside:
        return None
    parts = [
        f"{e.observed} in {e.window} where {number(e.expected, 1)} were expected" for e in inside
    ]
    wrong = [e for e in inside if e.p is not None and e.p < 0.05 and e.observed > e.expected]
    whole = found.get("since start")
    head = (
        f"VaR understated the risk of {' and '.join(e.window for e in wrong)}."
        if wrong
        else f"VaR held through {' and '.join(e.window for e in inside)}."
    )
    return Item(
        "",
        head,
        f"{m.name}, losses beyond the 99\u00a0% VaR: {' and '.join(parts)}{_whole(whole)}.",
    )


def _whole(e: Exceptions | None) -> str:
    return f"; {e.observed} since the start ({number(e.expected, 0)} expected)" if e else ""


def attribution(report: Report) -> tuple[Item, ...]:
    """For each mandate, where its difference to 1/N came from over the longest window."""
    out = []
    for m in report.mandates:
        if not m.attribution or m.track is None:
            continue
        a = m.attribution[-1]
        large = sorted(a.effects, key=lambda x: (-abs(x[1]), x[0]))
        parts = ", ".join(
            f"{EFFECTS.get(e, e).lower()} {points(v, 2)}" for e, v in large if abs(v) >= 5e-5
        )
        gap = abs(a.total - a.active) if a.active is not None else None
        check = (
            ""
            if gap is None
            else "; together they are the difference of the net asset values"
            if gap < 5e-7
            else f"; {points(gap, 2)} are not explained"
        )
        if not parts:
            parts, check = "no part of the difference reaches a hundredth of a point", ""
        verb = "ahead of" if a.total >= 0 else "behind"
        out.append(
            Item(
                "",
                f"{m.name}: {points(abs(a.total), 2).lstrip('+')} {verb} 1/N over {a.window}.",
                f"{parts[:1].upper()}{parts[1:]}{check}.",
            )
        )
    return tuple(out)


def _alert(report: Report, alert: Alert) -> Item:
    new = "new · " if alert.new else ""
    text = line(named(report, alert.text)).removesuffix(shared_basis(report)).rstrip()
    return Item(alert.severity, "", new + text, alert.severity)


def shared_basis(report: Report) -> str:
    """The sentence that every live proposal's message ends with: said once for all of them."""
    told = [p.message.rstrip() for p in report.proposals if p.kind == "live"]
    if len(told) < 2:
        return ""
    last = {" ".join(t.split()).rstrip(".").rpartition(". ")[2] for t in told}
    found = last.pop()
    return f"{found}." if not last and found and all(t.endswith(f"{found}.") for t in told) else ""


def named(report: Report, text: str) -> str:
    """Ids of instruments, factors and mandates at a sentence's head as symbols and titles."""
    head, space, rest = text.partition(" ")
    bare = head.rstrip(":")
    titles = {f.name: f.title for f in report.factors} | {m.name: m.title for m in report.mandates}
    label = report.labels.get(bare) or titles.get(bare)
    return text if label is None else f"{label}{head[len(bare) :]}{space}{rest}"


def _mandates(report: Report) -> Table | None:
    rows = [_row(report, m) for m in report.mandates]
    if not rows:
        return None
    return Table(
        (
            Column("Mandate", right=False),
            Column("1 month"),
            Column("over 1/N"),
            Column("1 year"),
            Column("over 1/N"),
            Column("Drawdown", wide=True),
            Column("VaR 99\u00a0%", wide=True),
            Column("To trade"),
        ),
        tuple(rows),
        note="Backtest net of costs, against 1/N of the same universe with the same costs. VaR: one "
        "session ahead. To trade: one-way share of net asset value.",
    )


def _row(report: Report, m: MandateReport) -> tuple[Cell, ...]:
    proposal = next((p for p in report.proposals if p.mandate == m.name), None)
    trade = _to_trade(proposal)
    if m.track is None:
        return cells(m.title, *(Cell("–", "muted") for _ in range(6)), trade)
    out: list[str | Cell] = [m.title]
    for window in ("1 month", "1 year"):
        mine = m.track.returns.get(window)
        other = m.benchmark.returns.get(window) if m.benchmark else None
        gap = None if mine is None or other is None else mine - other
        out += [signed(percent(mine, sign=True)), signed(points(gap))]
    out.append(percent(m.track.drawdown))
    out.append(percent(m.risk.var_99 if m.risk else None, 2))
    return cells(*out, trade)


def _to_trade(proposal: Proposal | None) -> Cell:
    if proposal is None:
        return Cell("–", "muted")
    if proposal.status in ("infeasible", "failed"):
        return Cell("impossible" if proposal.status == "infeasible" else "failed", "critical")
    if not proposal.trades:
        return Cell("nothing", "muted")
    return Cell(percent(proposal.turnover))
