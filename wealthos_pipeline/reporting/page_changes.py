"""Section 1: what changed since the run before, and why."""

from __future__ import annotations

from collections.abc import Sequence

from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Column,
    Item,
    Items,
    Table,
    Text,
    cells,
)
from wealthos_pipeline.reporting.report import Causes, Explained, Move, Report
from wealthos_pipeline.reporting.words import count, number, percent, sentence

SHOWN = 3
"""Explained moves of one owner in the mail; the full page has all that were kept."""

CAUSES = {
    "new bars": "new bars",
    "restated bars": "restated",
    "code or configuration": "code, settings",
    "model": "refit",
    "holdings": "holdings",
}
"""Causes as headings, in the order of the columns."""

KINDS = {
    "target": ("target weights that moved most, and why", 100),
    "prediction": ("predictions that moved most, and why", 1),
}
"""kind → title after its owner's name, scale."""


def changes(report: Report) -> tuple[Block, ...]:
    """Facts first, then the largest moves with causes where they could be computed."""
    c = report.changes
    out: list[Block] = []
    if c.causes is not None and not c.causes.why:
        out += _explained(report, c.causes)
    else:
        if c.causes is not None:
            out.append(
                Text(
                    f"The comparison with {c.causes.against} could not be made, so the causes of the "
                    f"changes are not known: {sentence(c.causes.why)}",
                    "warning",
                )
            )
        out += _unexplained(report)
    if c.against is not None and not c.why:
        new = sum(a.new for a in report.alerts)
        came = f"{count(new, 'new alert')}, marked below" if new else "No new alert"
        gone = f"{count(c.alerts_gone, 'alert')} no longer raised" if c.alerts_gone else "none gone"
        out.append(Text(f"{came}; {gone}."))
    return tuple(out)


def _explained(report: Report, c: Causes) -> list[Block]:
    out: list[Block] = [Text(f"Compared with {c.against}:")]
    out.append(Items(tuple(Item("", "", f) for f in c.facts)))
    if c.same:
        return out
    for kind in ("target", "prediction"):
        moves = [m for m in c.moves if m.kind == kind]
        owners = sorted({m.owner for m in moves})
        if moves:
            out += [_table(report, c, kind, o, [m for m in moves if m.owner == o]) for o in owners]
            out.append(Text(_note(c, kind), "muted"))
        else:
            out.append(Text(f"No {_WORDS[kind]} moved by {_LEAST[kind]} or more."))
    out += [Text(sentence(n), "muted") for n in c.notes]
    return out


_WORDS = {"target": "target weight", "prediction": "prediction"}
_LEAST = {"target": "0.05\u00a0% of net asset value", "prediction": "0.005 standard deviations"}


def _table(report: Report, c: Causes, kind: str, owner: str, moves: Sequence[Explained]) -> Table:
    """The moves of one mandate or model; a column a cause that did something."""
    title, scale = KINDS[kind]
    least = 0.005 / scale  # what is rounded to 0.00
    used = [
        cause for cause in CAUSES if any(abs(dict(m.parts).get(cause, 0.0)) >= least for m in moves)
    ]
    columns = (
        Column("Name", right=False),
        Column("before", wide=len(used) > 2),
        Column("now", wide=len(used) > 2),
        Column("change"),
        *(Column(CAUSES[cause]) for cause in used),
        Column("residual"),
    )

    def row(m: Explained) -> tuple[Cell, ...]:
        parts = dict(m.parts)
        return cells(
            report.label(m.instrument),
            number(scale * m.before, 2, sign=scale == 1),
            number(scale * m.after, 2, sign=scale == 1),
            Cell(number(scale * m.change, 2, sign=True), "strong"),
            *(number(scale * parts.get(cause, 0.0), 2, sign=True) for cause in used),
            Cell(
                number(scale * m.residual, 2, sign=True),
                "warning" if abs(m.residual) >= least else "muted",
            ),
        )

    turned = (c.turnover or {}).get(owner) if kind == "target" else None
    return Table(
        columns,
        tuple(row(m) for m in moves),
        title=f"{owner}: {title}",
        note="" if turned is None else f"One-way change over all names: {percent(turned)}.",
        mail_rows=SHOWN,
    )


def _note(c: Causes, kind: str) -> str:
    """What the columns mean, and what is left unexplained."""
    _, scale = KINDS[kind]
    left = scale * (c.residual or {}).get(kind, 0.0)
    unit = "percentage points" if kind == "target" else "standard deviations"
    unexplained = (
        f"Over all names at most {number(left, 2)} {unit} are left unexplained."
        if left >= 0.005
        else "The causes explain every change in full: no residual reaches 0.01."
    )
    if kind == "prediction":
        return (
            "Predictions are scores in standard deviations over the day's names. Each cause is put into "
            f"the stored model in turn. {unexplained}"
        )
    return (
        "Target weights in percent of net asset value. Each cause is put into the optimisation in "
        f"turn. {unexplained}"
    )


def _unexplained(report: Report) -> list[Block]:
    c = report.changes
    out: list[Block] = []
    if c.against is not None:
        out.append(Text(f"Compared with {c.against}."))
    if c.why:
        out.append(Text(c.why, "muted"))
    if c.facts:
        out.append(Text(" ".join(c.facts)))
    if c.against is None:
        return out
    if c.targets:
        moved = {m.owner for m in c.targets}
        turned = ", ".join(
            f"{o} {percent(v)}" for o, v in sorted((c.turnover or {}).items()) if o in moved
        )
        title, note = "Target weights that moved most", f"One-way change: {turned}."
        out.append(_moves(report, c.targets, title, "Mandate", 100, "% of NAV", note))
    else:
        out.append(Text("No target weight moved by 0.05\u00a0% or more."))
    if c.predictions:
        note = "z: the model's score in standard deviations over the date's names."
        out.append(
            _moves(report, c.predictions, "Predictions that moved most", "Model", 1, "z", note)
        )
    else:
        out.append(Text("No prediction moved."))
    return out


def _moves(
    report: Report,
    moves: tuple[Move, ...],
    title: str,
    owner: str,
    scale: int,
    unit: str,
    note: str,
) -> Table:
    return Table(
        (
            Column(owner, right=False),
            Column("Name", right=False),
            Column(f"before, {unit}"),
            Column("now"),
            Column("change"),
        ),
        tuple(
            cells(
                m.owner,
                report.label(m.instrument),
                number(scale * m.before, 2, sign=scale == 1),
                number(scale * m.after, 2, sign=scale == 1),
                number(scale * m.change, 2, sign=True),
            )
            for m in moves
        ),
        title=title,
        note=note,
        mail_rows=12,
    )
