"""States: of the market (how turbulent it is and will be) and of its names (which move together)."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

MODEL_STATES = (
    TableContract(
        "models.market_state",
        "What one session says of the market of the members: what the turbulence model is made from.",
        (
            _C("date", "date", "session"),
            _C("names", "i32", "members with a bar here and on the session before"),
            _C("ret", "f64", "equal-weight mean of their returns", "decimal"),
            _C("mean_square", "f64", "equal-weight mean of the squares of their returns"),
            _C("vix", "f64", "VIX, as known at the close", "", True),
            _C(
                "credit_spread", "f64", "BAA less AAA yield, as known at the close", "percent", True
            ),
            _C("term_spread", "f64", "10-year less 3-month yield, as known", "percent", True),
            _C("p_turbulent", "f64", "that of monitor.regime", "probability", True),
        ),
        ("date",),
        "date",
        "bar",
    ),
    TableContract(
        "models.turbulence",
        "Calibrated probability that the market's volatility over the next sessions is in the top fifth "
        "of what was known. Each date twice once its outcome is known: as it was said at the close, and "
        "again with the outcome; rows with an outcome are one a date.",
        (
            _C("date", "date", "session at whose close it was said"),
            _C("horizon", "i32", "sessions of the span, which begins a session later", "sessions"),
            _C(
                "p_turbulent",
                "f64",
                "calibrated, out of sample; null: see reason",
                "probability",
                True,
            ),
            _C(
                "base_rate", "f64", "share of turbulent spans that the fit saw", "probability", True
            ),
            _C("threshold", "f64", "volatility above which a span is turbulent, a year", "", True),
            _C("volatility", "f64", "that of the span, a year; null until known", "", True),
            _C("outcome", "i32", "1 turbulent, 0 not; null until known", "", True),
            _C("refit_date", "date", "session before whose open the fit was made", "", True),
            _C("features", "str", "what the fit uses, comma-separated", "", True),
            _C("reason", "str", "why there is no probability", "", True),
            _known("close of the session; of the row with the outcome that of its last session"),
        ),
        ("date", "horizon", "known_at"),
        "date",
        "column",
    ),
    TableContract(
        "models.clusters",
        "Names that move together, at month ends: by correlation of returns, and statistical sectors by "
        "correlation of what the market leaves unexplained. Numbers follow the cluster over time.",
        (
            _C("date", "date", "last session of a month"),
            _C("method", "str", "correlation or sectors"),
            _C("instrument_id", "str", "instrument"),
            _C("cluster", "i32", "number of the cluster, never given to another one"),
            _C("size", "i32", "names in the cluster"),
            _C("representative", "bool", "has the highest mean |correlation| within the cluster"),
            _C(
                "stability",
                "f64",
                "names together with it now and at the month end before, as a share of those at either; "
                "of names at both; null: it was in no cluster before",
                "",
                True,
            ),
        ),
        ("date", "method", "instrument_id"),
        "date",
        "bar",
    ),
    TableContract(
        "models.cluster_quality",
        "How clear the clusters of a month end are, and how much of them was so the month before.",
        (
            _C("date", "date", "last session of a month"),
            _C("method", "str", "correlation or sectors"),
            _C("clusters", "i32", "clusters"),
            _C("names", "i32", "names in them"),
            _C(
                "stability_to_previous",
                "f64",
                "adjusted Rand index with the month end before, of names at both",
                "",
                True,
            ),
            _C("stayed", "f64", "share of those names that kept their number", "", True),
            _C("silhouette", "f64", "mean silhouette of the names, from −1 to 1", "", True),
            _known("close of the session"),
        ),
        ("date", "method"),
        "date",
        "column",
    ),
)
