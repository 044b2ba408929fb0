"""From predictions to a portfolio that can be held: risk, optimisation, backtest, performance.

Modules: ``mandates`` (what a portfolio may do), ``risk`` (B, F, D), ``alpha``, ``optimization``
(problem in, certified solution or an explanation out), ``backtest``, ``live``, ``performance``,
``attribution``. Nothing is imported here: the solver is loaded only where it is used.
"""

__all__ = [
    "alpha",
    "attribution",
    "backtest",
    "live",
    "mandates",
    "optimization",
    "panel",
    "performance",
    "risk",
]
