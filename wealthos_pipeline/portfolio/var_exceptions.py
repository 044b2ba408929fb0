"""Did the forecasts of value at risk and CVaR hold? One row a portfolio, method and level, in words too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract

LEVELS = (95, 99)
LIGHT = 250
"""Forecasts that the traffic light looks at: a year, as the Basel Committee's."""
ENOUGH = 0.8
"""A test with less power than this cannot acquit."""
SIZE = 0.05


def var_exceptions(risk: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``portfolio.risk_tests``: the columns of its contract, p-values and powers with it.

    risk: rows of ``portfolio.risk_methods`` or ``portfolio.risk``. outcomes: ``portfolio.risk_outcomes``. Only forecasts
    with a known outcome count, and none of cash alone. The tests are those of ``stats.var_tests`` and
    ``stats.es_tests``.
    """
    table = contract("portfolio.risk_tests")
    if "method" not in risk.columns:
        risk = risk.with_columns(pl.lit(None, dtype=pl.String).alias("method"))
    risk = risk.with_columns(pl.col("method").fill_null(""))
    keys = ["mandate", "run_kind", "method"]
    judged = outcomes.filter(pl.col("exception_95").is_not_null())
    rows = []
    for (mandate, run_kind, method), part in (
        risk.sort(*keys, "date").partition_by(*keys, as_dict=True, maintain_order=True).items()
    ):
        known = part.join(
            judged.select("mandate", "run_kind", "date", "pnl_next"),
            on=["mandate", "run_kind", "date"],
            how="inner",
        ).sort("date")
        for level in LEVELS:
            rows.append(
                {"mandate": mandate, "run_kind": run_kind, "method": method, "level": level / 100}
                | _row(known.drop_nulls(f"var_{level}"), level)
            )
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def _row(known: pl.DataFrame, level: int) -> dict[str, Any]:
    from wealthos_pipeline.stats import es_tests, var_tests

    n, p = known.height, round(1.0 - level / 100.0, 12)
    pnl = known["pnl_next"].to_numpy()
    var, cvar = (known[f"{c}_{level}"].to_numpy() for c in ("var", "cvar"))
    hits = -pnl > var
    k = int(hits.sum())
    row: dict[str, Any] = {
        "date": known["date"].max() if n else None,
        "forecasts": n,
        "exceptions": k,
        "expected": n * p,
        "rate": k / n if n else None,
    }
    if n >= 2:
        number = var_tests.kupiec(k, n, p)
        chain = var_tests.christoffersen(hits, p)
        tail = es_tests.acerbi_szekely(pnl, var, cvar, p)
        row |= {
            "kupiec_lr": number.statistic,
            "kupiec_p": number.p_value,
            "independence_p": chain.independence.p_value,
            "conditional_p": chain.conditional.p_value,
            "light": var_tests.traffic_light(int(hits[-LIGHT:].sum()), min(n, LIGHT), p),
            "z1": tail.z1,
            "z1_p": tail.p1,
            "z2": tail.z2,
            "z2_p": tail.p2,
            "power_kupiec": var_tests.kupiec_power(n, p, 2 * p),
            "power_independence": var_tests.independence_power(n - n % 50 if n > 500 else n, p),
            "power_z1": tail.power_z1,
            "power_z2": tail.power_z2,
        }
        row = {
            c: None if isinstance(v, float) and not math.isfinite(v) else v for c, v in row.items()
        }
    return row | {"verdict": verdict(row, np.float64(p))}


def verdict(row: dict[str, Any], probability: float) -> str:
    """What the tests say, and whether they could have said anything else."""
    n, k, expected = row["forecasts"], row["exceptions"], row["expected"]
    if n < 2:
        return "no forecast has an outcome yet"
    faults = []
    if row["kupiec_p"] < SIZE:
        side = "more" if k > expected else "fewer"
        faults.append(
            f"{side} exceptions than {probability:.0%}".replace("%", " %")
            + f": {k} where {expected:.1f} were expected ({_p(row['kupiec_p'])})"
        )
    if row["independence_p"] < SIZE:
        faults.append(f"exceptions come in clusters ({_p(row['independence_p'])})")
    if row["z1_p"] is not None and row["z1_p"] < SIZE:
        faults.append(f"losses beyond VaR are larger than CVaR says ({_p(row['z1_p'])})")
    if faults:
        return "; ".join(faults)
    power = row["power_kupiec"]
    if power < ENOUGH:
        return (
            f"cannot tell: only {expected:.3g} exceptions expected ({k} seen), and twice the rate would be "
            f"noticed with a chance of {100 * power:.0f} %"
        )
    return (
        f"as often as it says: {k} exceptions where {expected:.1f} were expected; twice the rate would have "
        f"been noticed with a chance of {100 * power:.0f} %"
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
