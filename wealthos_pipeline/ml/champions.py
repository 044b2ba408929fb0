"""Champion and challengers: who stands for a slot from when on, by the policy and by people.

At each review session a slot's policy looks at the rank ICs that were known at that session's close:
the daily difference of challenger and champion, over the dates on which both were judged, tested with the
careful t of ``stats.mean_test`` (labels overlap by the horizon). What a person decided counts from the
first session at whose close it was known, and goes before the policy. The result is path-dependent through
the champion of before alone, so it can be carried on from any stored row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml.policy import Policy, Slot
from wealthos_pipeline.stats.mean_test import mean_test
from wealthos_pipeline.stats.sharpe import judge

CHANGES = ("appointed", "promoted", "rolled_back")
"""Decisions that name a champion anew."""

BOOK = "long_short"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A challenger against the champion, as known at a review.

    dates: on which both have a rank IC. difference: mean of theirs, challenger less champion. t, needed: of
    the difference, and what it has to be. against: what keeps it from being promoted; empty: nothing.
    psr, dsr: of its long-short net returns, NaN where the policy does not ask.
    """

    model: str
    dates: int
    difference: float
    t: float
    needed: float
    psr: float
    dsr: float
    against: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {
            n: (round(v, 12) if math.isfinite(v := getattr(self, n)) else None)
            for n in ("difference", "t", "needed", "psr", "dsr")
        }
        return {"model": self.model, "dates": self.dates, **numbers, "against": list(self.against)}


def decide(
    evaluation: pl.DataFrame,
    decisions: pl.DataFrame,
    policy: Policy,
    calendar: TradingCalendar,
    *,
    predicted: pl.DataFrame,
    end: date,
    known_until: datetime,
    start: date | None = None,
    before: pl.DataFrame | None = None,
    returns: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``models.champions`` of dates ≥ ``start``: one row a slot and review session, or person's word.

    evaluation: ``models.evaluation``; a review uses the rows known at its session's close.
    decisions: ``raw.model_decisions``; those decided later than ``known_until`` do not exist yet. A
        decision may have a date after ``end``: for the live portfolio it counts from the next run on.
    predicted: ``model, date`` of the walk-forward predictions. The first review is the first one on or
        after the first date of a candidate; the policy's ``initial`` is then appointed.
    before: ``models.champions`` as it stands; rows before ``start`` are carried on.
    returns: ``models.returns``, for policies that ask for a Sharpe ratio.
    A challenger without predictions on the day, or with too little evidence, is never promoted; nor is one
    that a person rolled back, until a person promotes it. A champion without predictions stays champion;
    the reason says who serves (``with_champion``).
    """
    table = contract("models.champions")
    rows: list[dict[str, Any]] = []
    said = decisions.filter(pl.col("decided_at") <= known_until)
    days = _days(predicted)
    for name, slot in sorted(policy.slots.items()):
        words = _words_of(said, name)
        reviews = _reviews(days, slot, calendar, end)
        state = _State(name, slot, _Skill(evaluation, slot), days, returns, calendar)
        if before is not None and start is not None:
            state.resume(before.filter((pl.col("slot") == name) & (pl.col("date") < start)), words)
        for day in sorted({*reviews, *words}):
            if start is not None and day < start:
                continue
            rows.append(state.spoken(day, words[day]) if day in words else state.review(day))
    made = pl.DataFrame(rows, schema=table.schema())
    return table.conform(made)


def champion_at(champions: pl.DataFrame, slot: str, day: date | None = None) -> str | None:
    """The champion of ``slot`` at the close of ``day`` (None: the last word that is known)."""
    mine = champions.filter(pl.col("slot") == slot).sort("date")
    if day is not None:
        mine = mine.filter(pl.col("date") <= day)
    return mine["champion"][-1] if mine.height else None


def faults(
    champions: pl.DataFrame, policy: Policy, calendar: TradingCalendar, end: date
) -> list[str]:
    """Where a slot has not exactly one champion from its first review on, in words."""
    said = []
    for name, slot in sorted(policy.slots.items()):
        mine = champions.filter((pl.col("slot") == name) & (pl.col("date") <= end))
        days = mine["date"].to_list()
        twice = sorted({d for d in days if days.count(d) > 1}) if len(set(days)) < len(days) else []
        said += [f"{name}: {d} has more than one champion" for d in twice]
        if days:
            have = set(days)
            lost = [d for d in calendar.firsts(min(days), end, slot.review) if d not in have]
            said += [f"{name}: no review on {d}" for d in lost]
    return said


def session_of(instant: datetime, calendar: TradingCalendar) -> date:
    """The first session at whose close something of ``instant`` is known."""
    last = calendar.last_known(instant)
    return last if calendar.known_at(last) == instant else calendar.offset(last, 1)


@dataclass
class _State:
    """One slot on its way through time."""

    name: str
    slot: Slot
    skill: _Skill
    days: Mapping[str, frozenset[date]]
    returns: pl.DataFrame | None
    calendar: TradingCalendar
    champion: str | None = None
    since: date | None = None
    line: list[str] = field(default_factory=list)
    """Champions so far, the last one last."""
    barred: set[str] = field(default_factory=set)

    def resume(self, rows: pl.DataFrame, words: Mapping[date, Mapping[str, Any]]) -> None:
        for row in rows.sort("date").iter_rows(named=True):
            if row["date"] in words:
                self._bar(words[row["date"]])
            self._follow(row["date"], row["champion"], row["decision"])

    def spoken(self, day: date, word: Mapping[str, Any]) -> dict[str, Any]:
        """A person's word: it stands, whatever the evidence."""
        self._bar(word)
        back = word["action"] == "rollback"
        decision = "rolled_back" if back else ("promoted" if self.champion else "appointed")
        if self.champion == word["model"]:
            decision = "kept"
        reason = f"{word['owner']}: {word['reason']}"
        row = self._row(day, word["model"], None, decision, word["owner"], reason, [])
        self._follow(day, word["model"], decision)
        return row | {"known_at": word["decided_at"]}

    def review(self, day: date) -> dict[str, Any]:
        """What the policy says at the close of ``day``."""
        if self.champion is None:
            first = str(self.slot.initial)
            reason = f"{first} is where the policy begins." + self._absence(first, day)
            row = self._row(day, first, None, "appointed", "policy", reason, [])
            self._follow(day, first, "appointed")
            return row
        found = self._evidence(day)
        seen = [e for e in found if e.dates]
        best = max(seen, key=lambda e: e.difference, default=None)
        able = [e for e in found if not e.against]
        absent = self._absence(self.champion, day)
        if not able:
            name, reason = self.champion, self._kept(best) + absent
            challenger = best.model if best else None
            return self._row(day, name, challenger, "kept", "policy", reason, found)
        winner = max(able, key=lambda e: e.difference)
        reason = (
            f"{winner.model} was better than {self.champion} by a mean rank IC of "
            f"{_signed(winner.difference)} over {winner.dates:,} dates (t {winner.t:.1f}, needed "
            f"{winner.needed:.1f})."
        )
        if not self.slot.automatic:
            reason += " The policy only recommends; `wealthos models promote` makes it champion."
            return self._row(
                day, self.champion, winner.model, "recommended", "policy", reason + absent, found
            )
        row = self._row(day, winner.model, winner.model, "promoted", "policy", reason, found)
        self._follow(day, winner.model, "promoted")
        return row

    def _evidence(self, day: date) -> list[Evidence]:
        others = [c for c in self.slot.candidates if c != self.champion]
        instant = self.calendar.known_at(day)
        assert self.champion is not None
        assert self.since is not None
        waited = self.calendar.slot(day) - self.calendar.slot(self.since)
        needed = required_t(self.slot.min_t, len(others))
        out = []
        for model in others:
            gap = self.skill.difference(model, self.champion, instant)
            n = int(np.isfinite(gap).sum())
            against: list[str] = []
            if model in self.barred:
                against.append("a person rolled it back")
            if day not in self.days.get(model, frozenset()):
                against.append("it has no prediction on the day")
            if n < self.slot.min_dates:
                against.append(f"{n} dates together, needed {self.slot.min_dates}")
            enough = n >= self.slot.min_dates
            test = mean_test(gap, int(self.slot.horizon or 1)) if enough else None
            mean = test.mean if test else (float(np.nanmean(gap)) if n else math.nan)
            t = test.t if test else math.nan
            if not mean >= self.slot.min_improvement:
                against.append(
                    f"better by {_signed(mean)}, needed {_signed(self.slot.min_improvement)}"
                )
            if test and not t >= needed:
                against.append(f"t {_signed(t, '.1f')}, needed {needed:.1f}")
            psr, dsr, lacking = self._sharpe(model, instant) if enough else (math.nan, math.nan, [])
            against += lacking
            if waited < self.slot.min_sessions_between_changes:
                against.append(
                    f"{waited} sessions since the last change, needed "
                    f"{self.slot.min_sessions_between_changes}"
                )
            out.append(Evidence(model, n, mean, t, needed, psr, dsr, tuple(against)))
        return out

    def _sharpe(self, model: str, instant: datetime) -> tuple[float, float, list[str]]:
        """PSR and DSR of the long-short book after costs, as the policy asks, and what is lacking."""
        asked = {"psr": self.slot.min_psr, "dsr": self.slot.min_deflated_sharpe}
        if all(v is None for v in asked.values()):
            return math.nan, math.nan, []
        net = {
            m: _net(self.returns, m, int(self.slot.horizon or 1), instant)
            for m in self.slot.candidates
        }
        ratios = [r for x in net.values() if math.isfinite(r := judge(x).ratio)]
        spread = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
        found = judge(net[model], trials=len(net), variance=spread)
        got = {"psr": found.psr, "dsr": found.dsr}
        lacking = [
            f"{words} Sharpe ratio {_plain(got[n])}, needed {limit:.2f}"
            for n, words in (("psr", "probabilistic"), ("dsr", "deflated"))
            if (limit := asked[n]) is not None and not got[n] >= limit
        ]
        return found.psr, found.dsr, lacking

    def _kept(self, best: Evidence | None) -> str:
        if best is None:
            return f"{self.champion} stays: nothing can be compared with it yet."
        return f"{self.champion} stays. {best.model}: {'; '.join(best.against)}."

    def _absence(self, champion: str, day: date) -> str:
        """Words where the champion has no prediction on the day: who serves instead."""
        if day in self.days.get(champion, frozenset()):
            return ""
        former = [m for m in reversed(self.line) if m != champion]
        able = next((m for m in former if day in self.days.get(m, frozenset())), None)
        words = f" {champion} has no prediction on {day}: it could not be fitted. "
        return words + (
            f"{able}, champion before it, serves until it has one."
            if able
            else "No champion before it has one, so nothing serves."
        )

    def _bar(self, word: Mapping[str, Any]) -> None:
        """Who may not be promoted by the policy after ``word``."""
        if word["action"] == "rollback" and self.champion and self.champion != word["model"]:
            self.barred.add(self.champion)
        self.barred.discard(word["model"])

    def _follow(self, day: date, champion: str, decision: str) -> None:
        if decision in CHANGES:
            self.since = day
            self.line.append(champion)
        self.champion = champion

    def _row(
        self,
        day: date,
        champion: str,
        challenger: str | None,
        decision: str,
        by: str,
        reason: str,
        evidence: Sequence[Evidence],
    ) -> dict[str, Any]:
        return {
            "slot": self.name,
            "date": day,
            "champion": champion,
            "challenger": challenger,
            "decision": decision,
            "decided_by": by,
            "reason": reason,
            "evidence": json.dumps([e.body() for e in evidence], separators=(",", ":")),
            "policy_hash": self.slot.hash,
            "known_at": self.calendar.known_at(day),
        }


class _Skill:
    """Rank ICs by model and date with the instants from which they were known."""

    def __init__(self, evaluation: pl.DataFrame, slot: Slot) -> None:
        rows = evaluation.filter(
            (pl.col("horizon") == slot.horizon) & pl.col("rank_ic").is_finite()
        ).sort("date")
        dates = rows["date"].unique().sort()
        self._of: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for (model,), part in rows.group_by("model", maintain_order=True):
            at = np.searchsorted(dates.to_physical().to_numpy(), part["date"].to_physical())
            value = np.full(len(dates), np.nan)
            known = np.full(len(dates), np.iinfo(np.int64).max)
            value[at] = part["rank_ic"].to_numpy()
            known[at] = part["known_at"].to_physical().to_numpy()
            self._of[str(model)] = (value, known)

    def difference(self, challenger: str, champion: str, instant: datetime) -> np.ndarray:
        """Challenger less champion by date, in order, NaN where not both were known at ``instant``; from
        the first date on which both were to the last."""
        if challenger not in self._of or champion not in self._of:
            return np.zeros(0)
        limit = pl.Series([instant]).cast(pl.Datetime("us", "UTC")).to_physical()[0]
        (a, a_known), (b, b_known) = self._of[challenger], self._of[champion]
        gap = np.where((a_known <= limit) & (b_known <= limit), a - b, np.nan)
        there = np.flatnonzero(np.isfinite(gap))
        return gap[there[0] : there[-1] + 1] if len(there) else np.zeros(0)


def required_t(min_t: float, challengers: int) -> float:
    """What t has to be where the best of ``challengers`` is looked at: the one-sided error rate of
    ``min_t`` is shared among them (Bonferroni)."""
    if challengers < 2:
        return min_t
    normal = NormalDist()
    return -normal.inv_cdf(normal.cdf(-min_t) / challengers)


def _net(returns: pl.DataFrame | None, model: str, horizon: int, instant: datetime) -> np.ndarray:
    if returns is None:
        return np.zeros(0)
    mine = returns.filter(
        (pl.col("model") == model)
        & (pl.col("horizon") == horizon)
        & (pl.col("book") == BOOK)
        & (pl.col("known_at") <= instant)
    )
    return mine.sort("date")["net"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _days(predicted: pl.DataFrame) -> dict[str, frozenset[date]]:
    """Dates with predictions, by model."""
    rows = predicted.select("model", "date").unique().sort("model", "date")
    return {
        str(model): frozenset(part["date"].to_list())
        for (model,), part in rows.group_by("model", maintain_order=True)
    }


def _reviews(
    days: Mapping[str, frozenset[date]], slot: Slot, calendar: TradingCalendar, end: date
) -> list[date]:
    first = min((min(days[c]) for c in slot.candidates if days.get(c)), default=None)
    return [] if first is None else calendar.firsts(first, end, slot.review)


def _words_of(decisions: pl.DataFrame, slot: str) -> dict[date, dict[str, Any]]:
    """The last word of a person on a slot, by the session from which it counts."""
    rows = decisions.filter(
        (pl.col("slot") == slot) & pl.col("action").is_in(["promote", "rollback"])
    ).sort("decided_at", "action", "model")
    return {row["date"]: row for row in rows.iter_rows(named=True)}


def _plain(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "not known"


def _signed(value: float, spec: str = ".4f") -> str:
    """A number as people write it, with a sign; a real minus."""
    if not math.isfinite(value):
        return "nothing"
    return format(value, f"+{spec}").replace("-", "−")
