"""What pulls at one name in one mandate's decision: the part of ``wealthos portfolio explain`` with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wealthos_pipeline.cli.published import Published


def pulled(run: Published, mandate: str, instrument: str) -> dict[str, Any]:
    """Decide again, and split the marginal utility of the name by where it comes from.

    A contribution is a return over the horizon per unit of weight: above 0 it speaks for more of the name. For a
    name that is free they sum to 0, which is what makes the target the optimum. ``contributions`` is empty where
    the name is no part of the decision, or there is no answer.
    """
    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.portfolio import limits, reasons, whatif

    q = inputs.ask(run, inputs.written(run.settings, mandate))
    found = inputs.solved(q)
    p = q.problem
    out: dict[str, Any] = {
        "mandate": q.mandate.name,
        "date": q.situation.date,
        "status": found.status,
        "message": q.named(" ".join((found.message, *found.given_way)).strip()),
        "horizon": p.horizon,
        "symbol": q.symbol(instrument),
        "before": None,
        "weight": None,
        "reason": None,
        "contributions": {},
        "limits": [],
    }
    if instrument not in p.ids:
        out["reason"] = "it is neither held nor in the universe of this decision"
        return out
    i, w = p.ids.index(instrument), found.weights
    out["before"] = float(p.w0[i])
    if found.status not in whatif.ANSWERED:
        return out
    out["weight"] = float(w[i])
    moved = abs(w[i] - p.w0[i]) > 1e-9
    say = reasons.of_trades if moved else reasons.of_untraded
    out["reason"] = q.named(say(p, w, found.parts, [i])[0])
    if found.parts is None:
        return out
    named = reasons.contributions(p, w, found.parts)
    out["contributions"] = {name: float(x[i]) for name, x in named.items() if abs(x[i]) > 1e-12}
    out["limits"] = [
        {"key": x.key, "limit": x.words, "price": found.multipliers[x.key]}
        for x in limits.of(p)
        if found.multipliers.get(x.key, 0.0) > 0
    ]
    return out


def show(body: dict[str, Any]) -> None:
    """Print it for people."""
    from wealthos_pipeline.cli.output import facts, note, table

    facts(
        [("status", body["status"]), ("decision", body["reason"] or body["message"])],
        title=f"{body['symbol']} in {body['mandate']}, decided again on {body['date']}",
    )
    if not body["contributions"]:
        return
    limits = {"alpha": "expected return", "upper": "the cap on one name", "lower": "its lowest weight",
              "budget": "what the money is worth elsewhere", "fixed": "what fixes it",
              "turnover": "the turnover cap", "volatility": "the volatility cap"}  # fmt: skip
    rows = sorted(body["contributions"].items(), key=lambda kv: (-abs(kv[1]), kv[0]))
    table(
        ["what pulls", "bp a unit", "towards"],
        [
            [
                limits.get(name, name),
                f"{1e4 * x:+.2f}".replace("-", "−"),
                "more" if x > 0 else "less",
            ]
            for name, x in rows
        ],
        title=f"Marginal utility over {body['horizon']} sessions",
        right=("bp a unit",),
    )
    note("they sum to 0: that is what makes this weight the best one")
