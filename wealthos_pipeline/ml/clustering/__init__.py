"""Which names move together, and how long they go on doing so.

::

    monthly.clusters(prices, universe, calendar, *, end, ...)  -> models.clusters, models.cluster_quality
    correlation.correlations, correlation.partition           one month's correlations and clusters
    sectors.residuals                                          what the market leaves unexplained
    matching.follow, matching.adjusted_rand                    numbers that stay with their cluster

Clusters of factors are those of ``factors.redundancy`` (table ``factors.clusters``). Import the modules;
nothing heavy is imported here.
"""
