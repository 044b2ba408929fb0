"""A report in words: sections of blocks, in the order in which a manager reads them."""

from __future__ import annotations

import re
from dataclasses import replace

from wealthos_pipeline.reporting import (
    page_books,
    page_changes,
    page_glance,
    page_health,
    page_mandates,
    page_market,
)
from wealthos_pipeline.reporting.blocks import (
    Block,
    Column,
    Figures,
    Heading,
    Item,
    Items,
    Page,
    Section,
    Table,
    Text,
    cells,
    spared,
)
from wealthos_pipeline.reporting.report import (
    Proposal,
    Report,
    TradeLine,
)
from wealthos_pipeline.reporting.words import (
    count,
    day,
    number,
    percent,
    rough,
    sentence,
)

TOP = 3
"""Trades of a mandate that are explained one by one in the mail."""

SIDES = {"buy": "Buy", "sell": "Sell"}


def build(report: Report, charts: frozenset[str]) -> Page:
    """The page of ``report``; ``charts``: names of those that were drawn."""
    sections: tuple[Section, ...] = (
        Section("changes", "What changed", page_changes.changes(report)),
        Section("glance", "At a glance", page_glance.glance(report)),
        Section("trades", "Proposed trades", _trades(report)),
        Section("mandates", "Mandates", page_mandates.blocks(report, charts)),
        Section("portfolios", "Portfolio by portfolio", page_books.blocks(report, charts)),
        Section("market", "Market", page_market.market(report, charts)),
        Section("models", "Models and factors", page_market.skill(report, charts)),
        Section("health", "Data health", page_health.health(report, charts)),
        Section("provenance", "Where the data come from", page_health.provenance(report)),
    )
    sections = tuple(_aged(report, s) for s in sections)
    status = report.status.capitalize()
    loud = sum(a.severity != "info" for a in report.alerts)
    return Page(
        title=f"Morning note {day(report.date)}",
        subtitle=f"{report.source.title} · data as of {day(report.as_of)} · run {report.run}",
        preheader=f"{status}. {count(loud, 'alert')} to look at, "
        f"{count(sum(len(p.trades) for p in report.proposals), 'trade')} proposed. "
        f"Data as of {day(report.as_of)}.",
        lead=_status(report),
        sections=sections,
        footer=page_health.biases(report),
    )


def _aged(report: Report, section: Section) -> Section:
    """``section`` with what is older than the page said at its head."""
    ages = [a for a in report.ages if a.anchor == section.anchor]
    return replace(section, blocks=(*(Text(a.words, "warning") for a in ages), *section.blocks))


def _status(report: Report) -> tuple[Block, ...]:
    by = {s: sum(a.severity == s for a in report.alerts) for s in ("critical", "warning", "info")}
    p = report.market.p_turbulent
    tones = {"complete": "", "degraded": "warning", "blocked": "critical"}
    blocks: list[Block] = [
        Figures(
            (
                ("Status", report.status.capitalize(), _status_words(report), tones[report.status]),
                ("Data as of", day(report.as_of), f"run {report.run}", ""),
                (
                    "Alerts",
                    f"{by['critical']} / {by['warning']} / {by['info']}",
                    "critical / warning / info",
                    "critical" if by["critical"] else "",
                ),
                (
                    "Regime",
                    report.market.regime.capitalize(),
                    "not known yet" if p is None else f"{percent(p, 0)} chance of turbulence",
                    "",
                ),
            )
        )
    ]
    if report.past:
        blocks.append(
            Text(
                f"Rebuilt for {day(report.date)} from what was known after that close. There was no "
                "live run: decisions are the backtest's.",
                "muted",
            )
        )
    blocks += [
        Text(r, "critical" if report.status == "blocked" else "warning") for r in report.reasons
    ]
    shown = page_glance.evidence(report)
    if shown is not None:
        blocks.append(Items((shown,)))
    return tuple(blocks)


def _status_words(report: Report) -> str:
    if report.status == "complete":
        passed = sum(ok for _, ok, _, _ in report.health.checks)
        total = sum(n for _, _, n, _ in report.health.checks)
        return f"{passed} of {total} data checks passed" if total else "no checks on record"
    return count(len(report.reasons), "reason") + " below"


def _trades(report: Report) -> tuple[Block, ...]:
    if not report.proposals:
        return (Text("No mandate is set up: there is nothing to propose.", "muted"),)
    basis = page_glance.shared_basis(report)
    blocks: list[Block] = [Text(basis, "muted")] if basis else []
    for p in report.proposals:
        shown = replace(p, message=p.message.rstrip().removesuffix(basis).rstrip()) if basis else p
        blocks += _proposal(report, shown)
    return tuple(blocks)


def _proposal(report: Report, p: Proposal) -> list[Block]:
    when = f"{'live' if p.kind == 'live' else 'backtest'}, decided on the close of {day(p.decided)}"
    out: list[Block] = [Heading(p.title, when if p.decided else "")]
    if p.status in ("infeasible", "failed"):
        lead = (
            "This mandate is impossible as it is written, so nothing is proposed."
            if p.status == "infeasible"
            else "The optimisation failed, so nothing is proposed."
        )
        told = [x.strip(" -•\t") for x in p.message.splitlines() if x.strip()]
        out.append(Text(lead, "critical"))
        out += [Text(sentence(x)) for x in told]
        return out
    if p.status == "none":
        return [*out, Text(p.message, "muted")]
    if p.message:
        out.append(Text(sentence(p.message), "muted"))
    if p.status == "held":
        return [*out, Text("Nothing is proposed.")]
    if not p.trades:
        return [*out, Text("Nothing to trade: no change is worth its cost.")]
    ic = (
        ""
        if p.ic is None or " IC " in p.message
        else f", shrunk IC behind the alphas {number(p.ic, 3, sign=True)}"
    )
    out.append(
        Text(
            f"{count(len(p.trades), 'trade')}, {rough(p.traded, p.currency)} in all, one-way turnover "
            f"{percent(p.turnover)}, estimated cost {rough(p.cost, p.currency)}{ic}."
        )
    )
    top, rest = p.trades[:TOP], p.trades[TOP:]
    out.append(
        Items(
            tuple(
                Item(
                    SIDES.get(t.side, t.side),
                    f"{report.label(t.instrument)}  {percent(t.weight_before)} → {percent(t.weight)}",
                    f"{rough(abs(t.value), p.currency)}, cost {rough(t.cost, p.currency)}. "
                    + sentence(_why(t)),
                )
                for t in top
            ),
            spare=1,
        )
    )
    if rest:
        out += spared([_rest(report, p, rest)], 4)
    return out


def _why(trade: TradeLine) -> str:
    """The reason without the side and the weights, which already stand before it."""
    return re.sub(rf"^{re.escape(trade.side)} [^:]*→[^:]*: ", "", trade.reason)


def _rest(report: Report, p: Proposal, rest: tuple[TradeLine, ...]) -> Table:
    return Table(
        (
            Column("Name", right=False),
            Column("Side", right=False),
            Column("before"),
            Column("target"),
            Column(f"value, {p.currency}".rstrip(", ")),
            Column("units", wide=True),
            Column("cost", wide=True),
            Column("reason", right=False, full=True),
        ),
        tuple(
            cells(
                report.label(t.instrument),
                SIDES.get(t.side, t.side),
                percent(t.weight_before),
                percent(t.weight),
                number(t.value, 0, sign=True),
                number(t.units, 0, sign=True),
                number(t.cost, 0),
                sentence(_why(t)),
            )
            for t in rest
        ),
        title="The other trades",
        note="Weights in percent of net asset value; units at the decision's close.",
        mail_rows=7,
    )
