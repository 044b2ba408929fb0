"""From predictions to a portfolio that can be held: risk, optimisation, backtest, orders, performance.

A mandate (``mandates``) and what was known (``situation``, ``risk``, ``alpha``) become a problem in numbers
(``formulation``, ``problem``, ``limits``), and that an answer (``optimization``) with its ``certificate`` and
``reasons``, or the ``diagnosis`` of what contradicts what. ``live`` proposes, ``backtest`` keeps accounts
(``accounts``, ``ledger``), ``orders`` go out, and ``held`` is where ``value_at_risk``, ``stress`` and
``attribution`` begin. ``docs/architecture.md`` has the whole way. Nothing is imported here: a solver is loaded
only where it is used.
"""

__all__ = [
    "alpha",
    "attribution",
    "backtest",
    "compliance",
    "diagnosis",
    "frontier",
    "live",
    "mandates",
    "optimization",
    "orders",
    "panel",
    "performance",
    "risk",
    "stress",
    "value_at_risk",
    "whatif",
]
