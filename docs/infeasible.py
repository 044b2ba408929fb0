"""Writes ``docs/portfolio/infeasible.md``: what a person reads when a mandate cannot be met.

Every answer on the page is that of the program, on 20 US stocks of skfolio's data set to 2022-12-28 (the
sample of a first run). ``python docs/infeasible.py`` writes the page; a test says when it is out of date.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import yaml

from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.portfolio import formulation, risk
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import Problem, Solution
from wealthos_pipeline.portfolio.situation import Labels, Situation
from wealthos_pipeline.utils.config import PortfolioSettings

PAGE = Path(__file__).resolve().parent / "portfolio" / "infeasible.md"
SESSIONS = 500
SECTORS = {
    "Technology": ("AAPL", "AMD", "MSFT"),
    "Financials": ("BAC", "JPM"),
    "Energy": ("CVX", "RRC", "XOM"),
    "Health Care": ("JNJ", "LLY", "MRK", "PFE", "UNH"),
    "Staples": ("KO", "PEP", "PG", "WMT"),
    "Consumer": ("BBY", "HD"),
    "Industrials": ("GE",),
}
CASES = (
    (
        "Calmer than stocks can be",
        "All money in stocks, and a volatility that no mix of them has.",
        """
        name: calm
        title: Fully invested, at most 10 % volatility
        objective: min_variance
        max_weight: 0.15
        max_volatility: 0.10
        """,
        {},
    ),
    (
        "A floor that an override keeps out of reach",
        "More than a quarter of the portfolio is to be in Technology, at most 10 % in a name, and somebody has decided "
        "that AAPL is not to be bought before its results.",
        """
        name: more_technology
        title: More than a quarter in Technology
        max_weight: 0.10
        max_turnover: 0.30
        groups:
          - {name: technology, sector: Technology, min_weight: 0.28}
        overrides:
          - {symbol: AAPL, action: do_not_trade, owner: A. Person, reason: results on 2 February,
             expires: 2023-02-02}
        """,
        dict.fromkeys(("BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO", "LLY", "MRK"), 0.1)
        | {"AAPL": 0.04, "MSFT": 0.06},
    ),
    (
        "Too few names, and what gives way",
        "Six names of at most 15 % do not come to 100 %. Here the mandate says what may give way: the "
        "number of names before the cap on one of them.",
        """
        name: concentrated
        title: At most six names
        objective: min_variance
        max_weight: 0.15
        max_names: 6
        soften: [names, upper]
        """,
        {},
    ),
)  # fmt: skip


def answers() -> list[tuple[str, str, str, Problem, Solution]]:
    """Heading, words, YAML, problem and answer of each mandate."""
    out = []
    for heading, words, text, held in CASES:
        body = "\n".join(line[8:] for line in text.strip("\n").splitlines()).rstrip()
        mandate = Mandate.model_validate(yaml.safe_load(body))
        situation = _situation(held)
        assert situation.risk is not None
        problem = formulation.problem(mandate, situation, situation.risk)
        out.append((heading, words, body, problem, optimise(problem)))
    return out


def page() -> str:
    """The text of the page."""
    parts = [
        "<!-- written by docs/infeasible.py; do not edit -->",
        "# When a mandate cannot be met\n",
        "The answer names the smallest set of limits that contradict each other: without any one of them the "
        "others could be met. With each limit stands its value, and the least change **of it alone** that "
        "is enough, everything else kept as it is. A limit that is not named has no part in the "
        "contradiction. Where the mandate lists kinds of limits under `soften`, the first listed gives way "
        "first, each by no more than is needed, and the portfolio is the best one under what the limits "
        "came to be; without `soften` nothing is traded.\n",
        "`wealthos portfolio optimise MANDATE` prints this for the last published data, and "
        "`--set key=value` tries another value before it is written down. Below, three mandates on the 20 "
        "stocks of the sample, at the close of 2022-12-28.",
    ]
    for heading, words, body, problem, found in answers():
        parts.append(
            f"\n## {heading}\n\n{words}\n\n```yaml\n{body}\n```\n\nStatus `{found.status}`."
        )
        parts.append("\n" + "\n".join(f"- {sentence}" for sentence in found.conflicts))
        if found.given_way:
            parts.append("\nWhat gave way:\n")
            parts.append("\n".join(f"- {way}" for way in found.given_way))
            order = sorted(range(len(problem.ids)), key=lambda i: (-found.weights[i], i))
            held = [
                f"{problem.ids[i]} {100 * found.weights[i]:.1f} %"
                for i in order
                if found.weights[i] > 1e-6
            ]
            parts.append(f"\nand the portfolio is {', '.join(held)}.")
    return "\n".join(parts) + "\n"


def _situation(held: dict[str, float]) -> Situation:
    from skfolio.datasets import load_sp500_dataset

    prices = load_sp500_dataset()
    day, ids = prices.index[-1].date(), tuple(sorted(prices.columns))
    table = prices[list(ids)].to_numpy(dtype=np.float64)[-SESSIONS - 1 :]
    model = _risk(table[1:] / table[:-1] - 1.0, ids, day)
    sector = {name: s for s, names in SECTORS.items() for name in names}
    return Situation(
        date=day,
        nav=10_000_000.0,
        members=ids,
        traded=frozenset(ids),
        held=held,
        close=dict(zip(ids, table[-1].tolist(), strict=True)),
        risk=model,
        z={},
        ic=None,
        labels=Labels(sector, {i: i for i in ids}),
    )


def _risk(returns: np.ndarray, ids: tuple[str, ...], day: date) -> risk.RiskModel:
    return risk.from_returns(returns, ids, day, PortfolioSettings())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
