"""Watching the market and the pipeline: scan, opportunities, alerts. The regime is a model
(``ml.classifiers.regime``).

::

    scanner.scan(prices, *, universe=None, start=None)              -> monitor.signals
    opportunity.rank(predictions, scores, *, calendar, evaluation=None, factors=(), instruments=None,
                     dates=None)                                    -> monitor.opportunities
    alerts.evaluate(frames, *, dates, calendar, run_id="", factors=(), rules=RULES) -> monitor.alerts
        frames: table name -> frame, for the names in alerts.INPUTS; what is absent is not judged

``prices`` must reach ``scanner.LOOKBACK`` (300) sessions back before ``start``. Import the modules;
nothing heavy is imported here.
"""
