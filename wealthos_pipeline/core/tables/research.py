"""Research: how factors did, the market monitor."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

FACTORS = (
    TableContract(
        "factors.performance",
        "How each factor did, by date: information coefficients and quantile returns.",
        (
            _C("factor", "str", "factor"),
            _C(
                "universe",
                "str",
                "members (at the date, by score: within sectors) or all (names, by raw value)",
            ),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("date", "date", "date of the factor value"),
            _C("n", "i32", "names with a value and a label"),
            _C("ic", "f64", "Pearson correlation with the forward return", "", True),
            _C("rank_ic", "f64", "Spearman correlation with the forward return", "", True),
            *(
                _C(
                    f"q{q}",
                    "f64",
                    f"mean forward return of bucket {q} of 5 (1 lowest)",
                    "decimal",
                    True,
                )
                for q in range(1, 6)
            ),
            _C("spread", "f64", "top minus bottom bucket times direction", "decimal", True),
            _C("turnover", "f64", "one-way change of the top bucket since the last date", "", True),
            _C(
                "renewal",
                "f64",
                "share of names that were not in the bucket a horizon before, mean of top and bottom",
                "",
                True,
            ),
            _C(
                "rank_autocorrelation",
                "f64",
                "correlation of the ranks with those of the session before",
                "",
                True,
            ),
            _known("that of the label's last bar"),
        ),
        ("factor", "universe", "horizon", "date"),
        "date",
        "column",
        sort=("date", "factor", "universe", "horizon"),
    ),
    TableContract(
        "factors.summary",
        "Factor performance over the whole history that is known, one row a factor.",
        (
            _C("factor", "str", "factor"),
            _C("universe", "str", "members, all, or time series: through time, not across names"),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("dates", "i32", "dates with an IC"),
            _C("mean_ic", "f64", "mean IC times direction", "", True),
            _C("mean_rank_ic", "f64", "mean rank IC times direction", "", True),
            _C("t_newey_west", "f64", "t of the mean rank IC, Newey–West with 2h lags", "", True),
            _C("t_non_overlapping", "f64", "t over every h-th date, shifted by h", "", True),
            _C(
                "detectable_ic",
                "f64",
                "2.8 standard errors: smallest IC this panel can show",
                "",
                True,
            ),
            _C("mean_spread", "f64", "mean top-minus-bottom return a horizon", "decimal", True),
            _C("mean_turnover", "f64", "mean one-way turnover of the top bucket", "", True),
            _C("coverage", "f64", "share of bars with a value", "", True),
            _C(
                "t_bootstrap",
                "f64",
                "t by the stationary bootstrap, blocks of 2h or more",
                "",
                True,
            ),
            _C("t", "f64", "the t nearest 0 of the three: the one that decides", "", True),
            _C("p_value", "f64", "of t, two-sided, Student with dates / h − 1 degrees", "", True),
            _C(
                "bh_rejected",
                "bool",
                "mean 0 is rejected at a false-discovery rate of 5 % over the factors of this universe "
                "and horizon (Benjamini & Hochberg 1995)",
                "",
                True,
            ),
            _C(
                "hlz_passed",
                "bool",
                "p_value below 0.0027, which is |t| > 3.0 of many dates (Harvey, Liu & Zhu 2016)",
                "",
                True,
            ),
            _C("icir", "f64", "mean over standard deviation of the rank IC by date", "", True),
            _C(
                "monotonicity",
                "f64",
                "rank correlation of a bucket's number and its mean return over the middle of the outer two, "
                "times direction",
                "",
                True,
            ),
            _C(
                "spread_net",
                "f64",
                "mean_spread less costs: two legs, what is replaced after a horizon sold and bought",
                "decimal",
                True,
            ),
            _C(
                "rank_autocorrelation",
                "f64",
                "mean correlation of the ranks with those of the session before",
                "",
                True,
            ),
            _C(
                "half_life",
                "f64",
                "sessions in which the rank autocorrelation halves, if it goes on as in the first",
                "sessions",
                True,
            ),
            _C(
                "psr",
                "f64",
                "probability that the Sharpe ratio of the spread after costs is above 0",
                "",
                True,
            ),
            _C(
                "dsr",
                "f64",
                "the same against the best that effective_trials worthless ones would show",
                "",
                True,
            ),
            _C("trials", "i32", "factors of the library and models: what was tried", "", True),
            _C("effective_trials", "f64", "independent ones that they are worth", "", True),
        ),
        ("factor", "universe", "horizon"),
    ),
    TableContract(
        "factors.correlation",
        "How alike two equity factors are: correlation of the ranks of their scores over the members, "
        "mean over the first sessions of the months; each pair once.",
        (
            _C("factor", "str", "factor, the first of the two by name"),
            _C("other", "str", "the other factor"),
            _C(
                "correlation",
                "f64",
                "mean correlation of ranks; direction is not applied",
                "",
                True,
            ),
            _C("dates", "i32", "months with at least five names that have both"),
            _known("that of the last month's first session"),
        ),
        ("factor", "other"),
    ),
    TableContract(
        "factors.clusters",
        "Which equity factors say the same (average linkage on 1 − |correlation|, cut at 0.5), and what "
        "each adds to a base set: rank IC of the part of its ranks that those of the base do not "
        "explain, on the first sessions of the months, over the members.",
        (
            _C("factor", "str", "factor"),
            _C("cluster", "i32", "number of the cluster, by its first factor's name"),
            _C("size", "i32", "factors in the cluster"),
            _C("representative", "bool", "has the highest mean |correlation| within the cluster"),
            _C("in_base", "bool", "belongs to the base set, and is compared with the rest of it"),
            _C("nearest", "str", "factor with the highest |correlation|", nullable=True),
            _C("nearest_correlation", "f64", "correlation with it", "", True),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("dates", "i32", "months with a marginal IC: three names a base factor at least"),
            _C(
                "mean_rank_ic",
                "f64",
                "mean rank IC of these months' first sessions; of all where there are none",
                "",
                True,
            ),
            _C("marginal_ic", "f64", "the same of what the base does not explain", "", True),
            _C("t_marginal", "f64", "careful t of marginal_ic (see factors.summary)", "", True),
            _known("that of the last score, or of the last label if later"),
        ),
        ("factor",),
    ),
    TableContract(
        "factors.admissions",
        "Own factors as they stand: admitted after a trial of their definition, or refused and why.",
        (
            _C("factor", "str", "factor; of a file that cannot be read its name"),
            _C("definition", "str", "definition hash; empty where nothing could be read"),
            _C("table", "str", "table of its family"),
            _C("admitted", "bool", "whether its values are computed; else its column is null"),
            _C("reason", "str", "why it was refused; a remark on an admitted one", "", True),
            _C("cuts", "str", "sessions at which the panel was cut off", "", True),
            _C("instruments", "i32", "instruments that it was tried on", "", True),
            _C("sessions", "i32", "sessions that it was tried on", "", True),
            _C("checked_at", "instant", "run in which it was tried"),
        ),
        ("factor", "definition"),
    ),
)

MONITOR = (
    TableContract(
        "monitor.regime",
        "Filtered probability of the turbulent regime, with parameters from the past only.",
        (
            _C("date", "date", "session"),
            _C("p_turbulent", "f64", "filtered probability", "", True),
            _C("regime", "str", "calm, turbulent or unknown"),
            _C("refit_date", "date", "last session used for the parameters", "", True),
        ),
        ("date",),
        "date",
        "bar",
    ),
    TableContract(
        "monitor.signals",
        "What the market scan found: new highs and lows, gaps, volume and volatility spikes.",
        (
            _C("date", "date", "session"),
            _C("instrument_id", "str", "instrument"),
            _C("signal", "str", "name of the rule"),
            _C("value", "f64", "measured value"),
            _C("threshold", "f64", "threshold of the rule"),
        ),
        ("date", "instrument_id", "signal"),
        "date",
        "bar",
    ),
    TableContract(
        "monitor.opportunities",
        "Names of the universe ranked by model score with what speaks for and against them.",
        (
            _C("date", "date", "session"),
            _C("rank", "i32", "1 is best"),
            _C("instrument_id", "str", "instrument"),
            _C("score", "f64", "mean standardised prediction of the models"),
            _C("note", "str", "in words"),
        ),
        ("date", "rank"),
        "date",
        "bar",
    ),
    TableContract(
        "monitor.alerts",
        "What a person should look at, with severity.",
        (
            _C("date", "date", "session"),
            _C("alert", "str", "name of the rule"),
            _C("subject", "str", "mandate, factor, instrument, table or run"),
            _C("severity", "str", "info, warning or critical"),
            _C("text", "str", "one sentence"),
            _C("value", "f64", "measured value", "", True),
        ),
        ("date", "alert", "subject"),
        "date",
        "bar",
    ),
)
