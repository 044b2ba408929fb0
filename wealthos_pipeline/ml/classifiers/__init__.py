"""States of the market, one module a family; each value uses what was known at its date.

::

    market.sections(prices, *, universe=None, start=None)     -> date, names, ret, mean_square
    market.states(prices, series, regime, calendar, ...)      -> models.market_state
    regime.market_returns(prices, *, universe=None, start=None) -> date, ret
    regime.filtered(market_returns, calendar, *, start=None)  -> monitor.regime
    turbulence.classify(states, calendar, ...)                -> models.turbulence
    turbulence.quality(table), turbulence.reliability(table)  -> how good it was

Import the modules; nothing heavy is imported here.
"""
