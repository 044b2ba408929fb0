"""Sections 5 and 6: the market, and what models and factors have shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from wealthos_pipeline.market_monitor.evidence import ic_words
from wealthos_pipeline.market_monitor.scanner import title as signal_title
from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Heading,
    Item,
    Items,
    Table,
    Text,
    cells,
    signed,
    spared,
)
from wealthos_pipeline.reporting.report import Level, Report, SignalLine, Skill
from wealthos_pipeline.reporting.words import count, day, number, percent

PICKS = 5


def market(report: Report, charts: frozenset[str]) -> tuple[Block, ...]:
    """Regime, levels, scan, curve, ranked names."""
    m = report.market
    out: list[Block] = []
    if m.p_turbulent is None:
        out.append(
            Text("Regime: unknown, there is less than two years of returns before the year began.")
        )
    else:
        out.append(
            Text(
                f"Regime: {m.regime} since {day(m.regime_since)}; filtered probability of turbulence "
                f"{percent(m.p_turbulent, 0)}. Parameters from returns up to {day(m.refit_date)} only."
            )
        )
    if "regime" in charts:
        out.append(
            Chart(
                "regime",
                "Filtered probability of the turbulent regime over time",
                "Filtered (not smoothed) probability of the turbulent state of the equal-weight "
                "universe, refitted each January on ten years before it.",
            )
        )
    if m.levels:
        out.append(_levels(m.levels))
    if m.curve:
        out.append(Text(_slope(m.curve, m.curve_date)))
        out.append(_curve(report))
        if "curve" in charts:
            out.append(
                Chart(
                    "curve",
                    "US Treasury par yield curve now, a month and a year before",
                    f"US Treasury par yields on {day(m.curve_date)}, 21 and 252 sessions before, percent.",
                )
            )
    else:
        out.append(Text(f"No yield curve: {m.no_curve}.", "muted"))
    out.append(Heading("Market scan", f"signals of {day(report.date)}"))
    if m.counts:
        found = ", ".join(
            f"{count(n, signal_title(s).lower(), _plural(signal_title(s).lower()))}"
            for s, n in m.counts.items()
        )
        out.append(Text(f"{found[0].upper()}{found[1:]}."))
        out.append(_signals(report, m.signals))
    else:
        out.append(Text("No name met a rule of the scan on this session.", "muted"))
    out.append(Heading("Ranked by the models", f"scores of {day(m.opportunities_at)}"))
    if m.opportunities:
        shared = _shared([p.note for p in m.opportunities])
        lead = "Factor scores are in standard deviations, + where the factor's direction is met."
        out.append(Text(f"{lead} {shared}".strip()))
        out.append(
            Items(
                tuple(
                    Item(
                        str(p.rank),
                        f"{report.label(p.instrument)}  {number(p.score, 2, sign=True)}",
                        _note(report, p.instrument, p.note.removesuffix(shared)),
                    )
                    for p in m.opportunities
                ),
                mail_rows=PICKS,
            )
        )
    else:
        out.append(Text("No name is ranked yet.", "muted"))
    return tuple(out)


def _plural(words: str) -> str:
    return words + "s" if not words.endswith("y") else words[:-1] + "ies"


def _shared(notes: Sequence[str]) -> str:
    """The last sentences that all notes have in common: said once instead of on every line."""
    tails = {note[at:] for note in notes if (at := note.find("Evidence: ")) >= 0}
    return tails.pop() if len(tails) == 1 and len(notes) > 1 else ""


def _slope(curve: Sequence[tuple[str, float, float | None, float | None]], at: date | None) -> str:
    """Level and slope in one sentence."""
    now = {tenor: value for tenor, value, _, _ in curve}
    words = f"US Treasury par yields on {day(at)}: "
    words += ", ".join(
        f"{t} {number(now[t], 2)}\u00a0%" for t in ("3M", "2Y", "10Y", "30Y") if t in now
    )
    if "2Y" in now and "10Y" in now:
        slope = 100 * (now["10Y"] - now["2Y"])
        shape = "inverted" if slope < 0 else "upward"
        words += f"; 2Y to 10Y {number(slope, 0, sign=True)}\u00a0bp, {shape}"
    return words + "."


def _note(report: Report, instrument: str, note: str) -> str:
    """The note without the name that already stands before it."""
    return note.removeprefix(f"{report.label(instrument)}: ")


def _levels(levels: Sequence[Level]) -> Table:
    def change(now: float, before: float | None, unit: str) -> Cell:
        if before is None:
            return Cell("–", "muted")
        if unit == "percent":
            return Cell(f"{number(100 * (now - before), 0, sign=True)}\u00a0bp")
        return signed(percent(now / before - 1 if before else None, sign=True))

    units = {"percent": "\u00a0%", "usd": "\u00a0USD"}
    return Table(
        (
            Column("", right=False),
            Column("date", wide=True),
            Column("value"),
            Column("1 month"),
            Column("1 year"),
        ),
        tuple(
            cells(
                x.label,
                day(x.date),
                (
                    percent(x.value, 2)
                    if x.unit == "decimal"
                    else number(x.value, 2) + units.get(x.unit, "")
                ),
                change(x.value, x.month, x.unit),
                change(x.value, x.year, x.unit),
            )
            for x in levels
        ),
        title="Levels",
        note="Changes over 21 and 252 sessions: percent, for yields basis points.",
    )


def _curve(report: Report) -> Table:
    m = report.market
    return Table(
        (
            Column("Tenor", right=False),
            Column("yield, %"),
            Column("1 month, bp"),
            Column("1 year, bp"),
        ),
        tuple(
            cells(
                tenor,
                number(now, 2),
                number(None if month is None else 100 * (now - month), 0, sign=True),
                number(None if year is None else 100 * (now - year), 0, sign=True),
            )
            for tenor, now, month, year in m.curve
        ),
        title=f"US Treasury par yields, {day(m.curve_date)}",
        full=True,
    )


def _signals(report: Report, signals: Sequence[SignalLine]) -> Table:
    ratio = {"volatility_spike", "volume_spike"}
    return Table(
        (
            Column("Name", right=False),
            Column("Signal", right=False),
            Column("value"),
            Column("threshold"),
        ),
        tuple(
            cells(
                report.label(s.instrument),
                signal_title(s.signal),
                *(
                    (f"{number(s.value, 1)} ×", f"{number(s.threshold, 1)} ×")
                    if s.signal in ratio
                    else (
                        signed(percent(s.value, sign=True)),
                        percent(s.threshold, sign=True) if s.threshold else "0",
                    )
                ),
            )
            for s in signals
        ),
        mail_rows=8,
    )


def skill(report: Report, charts: frozenset[str]) -> tuple[Block, ...]:
    """What the models and factors have shown, and what this panel could show at all."""
    out: list[Block] = []
    judged = [s.all.detectable for s in (*report.models, *report.factors) if s.all.detectable]
    if report.models:
        for s in report.models:
            out.append(
                Text(ic_words(s.all, f"{s.title}, {s.horizon} sessions ahead, out of sample"))
            )
    else:
        out.append(Text("No model has a scored prediction yet.", "muted"))
    if judged:
        least = min(judged)
        out.append(
            Text(
                f"This panel cannot detect an IC below {least:.3f} in any of its models and factors: "
                "smaller ones drown in noise (2.8 standard errors, 80 % power at 5 %)."
            )
        )
    if report.models:
        out.append(_skill_table(report.models, "Models, walk-forward", ""))
        fitted = "; ".join(f"{s.title}: {s.fitted}" for s in report.models if s.fitted)
        if fitted:
            out.append(Text(f"{fitted}.", "muted"))
    if "ic" in charts:
        out.append(
            Chart(
                "ic",
                "Mean rank IC of each model and factor beside the smallest that could be detected",
                "Mean rank IC (dots; filled where |t| is at least 1.96) over the ICs that are too small for this "
                "panel to detect (bars: ± 2.8 conservative standard errors).",
            )
        )
    if report.factors:
        many = sum(s.all.distinguishable for s in report.factors)
        chance = 0.05 * len(report.factors)
        table = _skill_table(
            report.factors,
            "Factors",
            f"{many} of {len(report.factors)} have |t| ≥ 1.96; chance alone would give about "
            f"{number(chance, 1)}. IC times the factor's expected direction. ",
        )
        out += spared([table], 7 if "ic" in charts else 5)
    else:
        out.append(Text("No factor has a known outcome yet.", "muted"))
    return tuple(out)


def _skill_table(rows: Sequence[Skill], title: str, lead: str) -> Table:
    return Table(
        (
            Column("", right=False),
            Column("rank IC"),
            Column("t"),
            Column("detectable"),
            Column("last 252", wide=True),
            Column("spread", wide=True),
            Column("dates", wide=True),
        ),
        tuple(
            cells(
                Cell(s.title, "" if s.all.distinguishable else "muted"),
                signed(number(s.all.mean, 3, sign=True)),
                number(s.all.t, 1, sign=True),
                number(s.all.detectable, 3),
                signed(number(s.recent.mean, 3, sign=True)),
                signed(percent(s.spread, 2, sign=True)),
                number(s.all.n, 0),
            )
            for s in rows
        ),
        title=title,
        note=f"{lead}t: the weaker of Newey–West (2h lags) and non-overlapping. Detectable: smallest IC "
        "that this panel can show. Spread: mean return of the top fifth minus the bottom fifth over "
        f"the horizon of {' / '.join(str(h) for h in sorted({s.horizon for s in rows}))} sessions, "
        "before costs.",
        mail_rows=24,
    )
