"""What a person decides about models: rows of ``raw.model_decisions``, and what stands of them.

Rows are only ever added. A decision counts from the first session at whose close it was known; for the
live portfolio, from the next run on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import integrity
from wealthos_pipeline.ml.champions import champion_at, session_of
from wealthos_pipeline.ml.policy import Policy

_DATES = ("refit_date", "train_start", "train_cutoff")
_INSTANTS = ("stale_since",)


def promote(
    champions: pl.DataFrame,
    policy: Policy,
    *,
    slot: str,
    model: str,
    owner: str,
    reason: str,
    now: datetime,
    calendar: TradingCalendar,
) -> pl.DataFrame:
    """The row that makes ``model`` champion of ``slot``.

    ConfigError for a slot that the policy does not have, a model that is none of its candidates or is
    champion already, and without an owner and a reason.
    """
    candidates = _slot(policy, slot)
    if model not in candidates:
        raise ConfigError(
            f"{model} is no candidate of the slot {slot}; candidates: {', '.join(candidates)}. Add it to "
            "the promotion policy first."
        )
    if champion_at(champions, slot) == model:
        raise ConfigError(f"{model} is champion of {slot} already; nothing was written")
    return _row("promote", slot, model, owner, reason, now, calendar)


def rollback(
    champions: pl.DataFrame,
    policy: Policy,
    *,
    slot: str,
    owner: str,
    reason: str,
    now: datetime,
    calendar: TradingCalendar,
    to: str | None = None,
) -> pl.DataFrame:
    """The row that gives ``slot`` back to the champion before the present one, or to the model ``to``.

    ConfigError where there was no other champion, for a model that never was one, and as in ``promote``.
    """
    _slot(policy, slot)
    line = champions.filter(pl.col("slot") == slot).sort("date")["champion"].to_list()
    if not line:
        raise ConfigError(
            f"the slot {slot} has no champion yet: no review has been. `wealthos run` makes one."
        )
    former = [m for m in reversed(line) if m != line[-1]]
    if not former:
        raise ConfigError(
            f"{line[-1]} is the only champion that {slot} ever had, so there is none to go back to. "
            f"`wealthos models promote NAME --slot {slot}` names another; `wealthos models rollback "
            f"--model {line[-1]}` goes back to an earlier fit of it."
        )
    if to is not None and to not in former:
        raise ConfigError(
            f"{to} was not champion of {slot} before {line[-1]}; there were: "
            f"{', '.join(dict.fromkeys(former))}"
        )
    return _row("rollback", slot, to or former[0], owner, reason, now, calendar)


def pin(
    fit: Mapping[str, Any], *, owner: str, reason: str, now: datetime, calendar: TradingCalendar
) -> pl.DataFrame:
    """The row by which a fit (a row of ``models.registry`` of any run) serves until it is unpinned.

    ModelError where the fit is damaged or of another version; ConfigError without owner and reason.
    """
    integrity.check(fit)
    body = json.dumps(
        {k: _plain(v) for k, v in sorted(fit.items()) if v is not None}, separators=(",", ":")
    )
    return _row(
        "pin",
        "",
        str(fit["model"]),
        owner,
        reason,
        now,
        calendar,
        model_id=str(fit["model_id"]),
        row=body,
    )


def unpin(
    decisions: pl.DataFrame,
    model: str,
    *,
    owner: str,
    reason: str,
    now: datetime,
    calendar: TradingCalendar,
) -> pl.DataFrame:
    """The row that lets ``model`` be refitted again. ConfigError where no fit of it is pinned."""
    standing = pins(decisions, now)
    if model not in standing:
        known = ", ".join(f"{m} ({r['model_id']})" for m, r in standing.items()) or "none"
        raise ConfigError(f"no fit of {model} is pinned; pinned: {known}")
    fit = str(standing[model]["model_id"])
    return _row("unpin", "", model, owner, reason, now, calendar, model_id=fit)


def pins(decisions: pl.DataFrame, at: datetime) -> dict[str, dict[str, Any]]:
    """Model → the row of ``models.registry`` that is pinned for it at ``at``; models in order of name."""
    said = decisions.filter(
        (pl.col("decided_at") <= at) & pl.col("action").is_in(["pin", "unpin"])
    ).sort("model", "decided_at", "action")
    last = said.unique("model", keep="last", maintain_order=True)
    found = last.filter(pl.col("action") == "pin").sort("model")
    return {r["model"]: _fit(r["row"]) for r in found.iter_rows(named=True)}


def _fit(text: str) -> dict[str, Any]:
    """A row of ``models.registry`` from its JSON, with the contract's types."""
    body = json.loads(text)
    for name in _DATES:
        if name in body:
            body[name] = date.fromisoformat(body[name])
    for name in _INSTANTS:
        if name in body:
            body[name] = datetime.fromisoformat(body[name])
    names = contract("models.registry").column_names
    return {name: body.get(name) for name in names}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value


def _slot(policy: Policy, slot: str) -> tuple[str, ...]:
    if slot not in policy.slots:
        raise ConfigError(
            f"the promotion policy has no slot {slot!r}; it has: {', '.join(policy.slots)}"
        )
    return policy.slots[slot].candidates


def _row(
    action: str,
    slot: str,
    model: str,
    owner: str,
    reason: str,
    now: datetime,
    calendar: TradingCalendar,
    **more: str,
) -> pl.DataFrame:
    lacking = [n for n, v in (("--owner", owner), ("--reason", reason)) if not v.strip()]
    if lacking:
        raise ConfigError(f"who answers for it, and why? Missing: {' and '.join(lacking)}")
    table = contract("raw.model_decisions")
    row = {
        "decided_at": now.astimezone(UTC),
        "date": session_of(now, calendar),
        "action": action,
        "slot": slot,
        "model": model,
        "owner": owner.strip(),
        "reason": reason.strip(),
        **more,
    }
    return table.conform(pl.DataFrame([row], schema={k: table.schema()[k] for k in row}))
