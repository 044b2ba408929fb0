"""Linear families against scikit-learn, statsmodels and NumPy, and what they say of their errors."""

from __future__ import annotations

import numpy as np
import pytest
from training_rows import training_rows

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.datasets import Training
from wealthos_pipeline.ml.predictors import dated, ic_weighted
from wealthos_pipeline.ml.predictors.elastic_net import ElasticNet
from wealthos_pipeline.ml.predictors.fama_macbeth import FamaMacBeth
from wealthos_pipeline.ml.predictors.ic_weighted import ICWeighted
from wealthos_pipeline.ml.predictors.linear import FittedLinear
from wealthos_pipeline.ml.predictors.pooled_ols import PooledOLS

NAMES = ("a", "b", "c", "d", "e")


def make_rows(
    dates: int = 120, names: int = 18, seed: int = 4, *, weights: bool = True
) -> Training:
    """Features with ties and gaps, labels that two of them foresee, a week between dates."""
    rng = np.random.default_rng(seed)
    n = dates * names
    X = rng.standard_normal((n, 5))
    X[:, 1] += 0.6 * X[:, 0]
    X[:, 4] = np.round(X[:, 4])
    y = 0.2 * X[:, 0] - 0.1 * X[:, 2] + rng.standard_normal(n) + 0.3
    X[rng.random((n, 5)) < 0.1] = np.nan
    days = np.repeat(np.datetime64("2001-01-01") + 7 * np.arange(dates), names)
    w = rng.uniform(0.5, 1.5, n) / names if weights else np.full(n, 1 / names)
    return training_rows(X.astype(np.float32), y, w, days, NAMES, horizon_days=20)


@pytest.fixture(scope="module")
def rows() -> Training:
    return make_rows()


def filled(rows: Training) -> np.ndarray:
    return np.nan_to_num(rows.X.astype(np.float64))


def linear(fitted: object) -> FittedLinear:
    assert isinstance(fitted, FittedLinear)
    return fitted


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.1])
def test_elastic_net_against_scikit_learn(ratio: float, rows: Training) -> None:
    from sklearn.linear_model import ElasticNet as Peer

    found = linear(ElasticNet(alpha=0.03, l1_ratio=ratio).fit(rows))
    v = rows.w / rows.w.sum()
    sigma = np.sqrt(np.sum(v * (rows.y - np.sum(v * rows.y)) ** 2))
    # scikit-learn's penalty on y / sigma is in the same units
    peer = Peer(alpha=0.03, l1_ratio=ratio, tol=1e-12, max_iter=100_000)
    peer.fit(filled(rows), rows.y / sigma, sample_weight=rows.w)
    np.testing.assert_allclose(found.coefficients, peer.coef_ * sigma, rtol=1e-6, atol=1e-8)
    assert found.intercept == pytest.approx(peer.intercept_ * sigma, rel=1e-6)
    assert found.predict(rows.X)[:5] == pytest.approx(peer.predict(filled(rows))[:5] * sigma)


def test_elastic_net_without_absolute_penalty_is_a_ridge_in_closed_form(rows: Training) -> None:
    v = rows.w / rows.w.sum()
    X = filled(rows) - v @ filled(rows)
    y = rows.y - v @ rows.y
    wanted = np.linalg.solve((X * v[:, None]).T @ X + 0.2 * np.eye(5), (X * v[:, None]).T @ y)
    found = linear(ElasticNet(alpha=0.2, l1_ratio=0.0).fit(rows))
    np.testing.assert_allclose(found.coefficients, wanted, rtol=1e-6)


def test_the_penalty_of_the_elastic_net_counts_in_correlations() -> None:
    """One standardised feature with correlation c gets σ (c − αρ) / (1 + α (1 − ρ)), in any unit."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((60, 25))
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    y = 0.2 * x + rng.standard_normal(x.shape)
    y = (y - y.mean()) / y.std()
    c = float(np.mean(x * y))
    days = np.repeat(np.datetime64("2001-01-01") + np.arange(60), 25)
    for unit in (1.0, 0.01):
        r = training_rows(
            x.reshape(-1, 1).astype(np.float32),
            unit * y.ravel(),
            np.full(1500, 1 / 25),
            days,
            ("x",),
        )
        found = linear(ElasticNet(alpha=0.1, l1_ratio=0.4).fit(r)).coefficients[0]
        assert found == pytest.approx(unit * (c - 0.04) / 1.06, rel=1e-5)
    with pytest.raises(ModelError, match=r"every coefficient is 0: .* takes 0\.5000\. Lower alpha"):
        ElasticNet(alpha=0.5, l1_ratio=1.0).fit(r)


def test_fama_macbeth_is_the_mean_of_a_regression_on_each_date(rows: Training) -> None:
    import statsmodels.api as sm

    found = linear(FamaMacBeth().fit(rows))
    days = np.unique(rows.dates)
    slopes = []
    for day in days:
        on = rows.dates == day
        A = sm.add_constant(filled(rows)[on])
        slopes.append(sm.WLS(rows.y[on], A, weights=rows.w[on]).fit().params)
    counts = np.array([rows.w[rows.dates == d].sum() for d in days])
    wanted = np.average(slopes, axis=0, weights=counts)
    np.testing.assert_allclose((found.intercept, *found.coefficients), wanted, rtol=1e-9)
    assert found.facts["dates"] == 120


def test_fama_macbeth_errors_are_those_of_statsmodels() -> None:
    import statsmodels.api as sm

    rows = make_rows(weights=False)
    found = linear(FamaMacBeth().fit(rows))
    slopes = np.array(
        [
            np.linalg.lstsq(sm.add_constant(filled(rows)[on]), rows.y[on], rcond=None)[0]
            for on in (rows.dates == d for d in np.unique(rows.dates))
        ]
    )
    # labels reach 20 days ahead, dates are 7 apart: two later ones share days, so four lags
    assert found.facts["lags"] == 4
    for j in range(5):
        peer = sm.OLS(slopes[:, j + 1], np.ones(120)).fit(
            cov_type="HAC", cov_kwds={"maxlags": 4, "use_correction": False}
        )
        assert found.figures["se"][j] == pytest.approx(peer.bse[0], rel=1e-9)
        assert found.figures["t"][j] == pytest.approx(peer.tvalues[0], rel=1e-9)


def test_lags_never_fall_below_the_rule_of_thumb() -> None:
    short = make_rows(200, 6)
    apart = training_rows(short.X, short.y, short.w, short.dates, NAMES, horizon_days=1)
    assert dated.lags(apart) == 4  # ⌊4 · 2^(2/9)⌋


@pytest.mark.parametrize("family", [FamaMacBeth, PooledOLS])
def test_doubtful_coefficients_are_left_out_or_shrunk_on_request(family, rows: Training) -> None:
    plain = linear(family().fit(rows))
    t = np.array(plain.figures["t"])
    assert (np.abs(t) < 3).any()
    strict = linear(family(min_t=3.0).fit(rows))
    np.testing.assert_array_equal(np.array(strict.coefficients) != 0, np.abs(t) >= 3)
    shrunk = np.array(linear(family(shrink=True).fit(rows)).coefficients)
    wanted = np.array(plain.coefficients) * np.maximum(0, 1 - 1 / t**2)
    np.testing.assert_allclose(shrunk, wanted, rtol=1e-12)
    with pytest.raises(ModelError, match=r"no coefficient is left: the largest \|t\| is"):
        family(min_t=20.0).fit(rows)


def test_pooled_ols_and_its_two_way_clustered_errors_are_those_of_statsmodels(
    rows: Training,
) -> None:
    import statsmodels.api as sm
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    found = linear(PooledOLS().fit(rows))
    A = np.column_stack([filled(rows), np.ones(len(rows))])
    root = np.sqrt(rows.w)
    peer = sm.OLS(rows.y * root, A * root[:, None]).fit()
    np.testing.assert_allclose((*found.coefficients, found.intercept), peer.params, rtol=1e-9)
    _, day = np.unique(rows.dates, return_inverse=True)
    V = cov_cluster_2groups(peer, day, rows.names.astype(int))[0]
    np.testing.assert_allclose(found.figures["se"], np.sqrt(np.diag(V))[:-1], rtol=1e-8)
    np.testing.assert_allclose(
        found.figures["t"], np.array(found.coefficients) / np.array(found.figures["se"])
    )


def test_pooled_ols_names_features_that_are_combinations_of_each_other(rows: Training) -> None:
    X = np.column_stack([np.nan_to_num(rows.X), np.nan_to_num(rows.X[:, 0]) * 2])
    same = training_rows(X, rows.y, rows.w, rows.dates, (*NAMES, "twin"))
    with pytest.raises(ModelError, match=r"1 of 6 features are combinations of others: a, twin\. "):
        PooledOLS().fit(same)
    with pytest.raises(
        ModelError, match=r"on 120 features are combinations of each other \(twin\)\. "
    ):
        FamaMacBeth().fit(same)


def test_rank_ics_are_those_of_scipy_date_by_date(rows: Training) -> None:
    from scipy.stats import spearmanr

    found = ic_weighted.rank_ics(rows)
    for d, day in enumerate(np.unique(rows.dates)[:25]):
        on = rows.dates == day
        for j in range(5):
            x, y = rows.X[on, j], rows.y[on]
            there = np.isfinite(x)
            assert found[d, j] == pytest.approx(spearmanr(x[there], y[there])[0], abs=1e-12)


def test_weights_are_mean_ics_shrunk_by_their_own_uncertainty() -> None:
    import statsmodels.api as sm

    rows = make_rows(weights=False)
    found = linear(ICWeighted(prior_dates=30.0).fit(rows))
    ics = ic_weighted.rank_ics(rows)
    for j in range(5):
        peer = sm.OLS(ics[:, j], np.ones(120)).fit(
            cov_type="HAC", cov_kwds={"maxlags": 4, "use_correction": False}
        )
        n_eff = min(120.0, np.var(ics[:, j]) / peer.bse[0] ** 2)
        wanted = ics[:, j].mean() * n_eff / (n_eff + 30)
        assert found.figures["n_eff"][j] == pytest.approx(n_eff, rel=1e-9)
        assert found.coefficients[j] == pytest.approx(wanted, rel=1e-9)
    z = np.nan_to_num(rows.X.astype(np.float64))
    np.testing.assert_allclose(found.predict(rows.X), z @ found.coefficients, atol=1e-12)


def test_the_sign_of_a_weight_is_the_datas() -> None:
    rows = make_rows()
    other = training_rows(-rows.X, rows.y, rows.w, rows.dates, NAMES, horizon_days=20)
    one, two = (linear(ICWeighted().fit(r)).coefficients for r in (rows, other))
    np.testing.assert_allclose(one, -np.array(two), rtol=1e-12)
    assert one[0] > 0 > one[2]


def test_inverse_covariance_gives_two_copies_one_share() -> None:
    """Two features with the same ICs share what one alone would get; the sum of weights is kept."""
    rows = make_rows(300, 12, seed=8)
    X = np.column_stack([rows.X[:, 0], rows.X[:, 0], rows.X[:, 2]])
    twice = training_rows(X, rows.y, rows.w, rows.dates, ("a", "twin", "c"), horizon_days=20)
    plain = np.array(linear(ICWeighted().fit(twice)).coefficients)
    found = np.array(linear(ICWeighted(combine="inverse_covariance").fit(twice)).coefficients)
    assert found[0] == pytest.approx(found[1])
    assert np.abs(found).sum() == pytest.approx(np.abs(plain).sum())
    assert abs(found[0] / found[2]) < 0.8 * abs(plain[0] / plain[2])


FAMILIES = [
    ElasticNet(alpha=0.01, l1_ratio=0.5),
    FamaMacBeth(),
    PooledOLS(),
    ICWeighted(),
    ICWeighted(combine="inverse_covariance"),
]


@pytest.mark.parametrize("model", FAMILIES, ids=lambda m: m.name)
def test_permuting_features_permutes_coefficients(model, rows: Training) -> None:
    order = [3, 0, 4, 2, 1]
    other = training_rows(
        rows.X[:, order], rows.y, rows.w, rows.dates, [NAMES[i] for i in order], horizon_days=20
    )
    one, two = linear(model.fit(rows)), linear(model.fit(other))
    wanted = np.array(one.coefficients)[order]
    np.testing.assert_allclose(two.coefficients, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", FAMILIES, ids=lambda m: m.name)
def test_a_feature_without_values_gets_nothing_and_changes_nothing(model, rows: Training) -> None:
    dead = np.column_stack([rows.X, np.full(len(rows), np.nan, np.float32)])
    other = training_rows(dead, rows.y, rows.w, rows.dates, (*NAMES, "dead"), horizon_days=20)
    one, two = linear(model.fit(rows)), linear(model.fit(other))
    assert two.coefficients[-1] == 0.0
    np.testing.assert_allclose(two.coefficients[:-1], one.coefficients, rtol=1e-6, atol=1e-9)
    assert np.isfinite(two.predict(dead)).all()


@pytest.mark.parametrize("model", FAMILIES, ids=lambda m: m.name)
def test_a_row_is_worth_what_its_parts_add_up_to(model, rows: Training) -> None:
    fitted = linear(model.fit(rows))
    parts = fitted.contributions(rows.X[:40])
    assert parts.shape == (40, 6)
    np.testing.assert_allclose(parts.sum(axis=1), fitted.predict(rows.X[:40]), atol=1e-12)
    assert (fitted.gain() >= 0).all()


def test_what_cannot_be_learnt_from_is_said_in_words(rows: Training) -> None:
    one_date = rows.take(slice(0, 18))
    with pytest.raises(ModelError, match="1 of 1 training dates have a regression, two are needed"):
        FamaMacBeth().fit(one_date)
    with pytest.raises(ModelError, match="18 names on 1 dates cannot carry 6 coefficients"):
        PooledOLS().fit(one_date)
    with pytest.raises(ModelError, match="on two of 1 training dates with 5 names or more"):
        ICWeighted().fit(one_date)
    two_names = rows.take(np.flatnonzero(rows.names < 2))
    with pytest.raises(
        ModelError, match=r"120 have too few names \(5 features need 10, a date has 2 at most\)"
    ):
        FamaMacBeth().fit(two_names)
    with pytest.raises(ModelError, match="on two of 120 training dates"):
        ICWeighted().fit(two_names)
    assert np.isfinite(PooledOLS().fit(two_names).predict(rows.X)).all()


@pytest.mark.parametrize("combine", ["ic", "inverse_covariance"])
def test_information_coefficients_that_cancel_leave_no_weight_and_are_told(combine: str) -> None:
    """Labels that are the feature's ranks, turned over every second date; the features are copies."""
    dates, v = 60, np.linspace(-1.0, 1.0, 8)
    sign = np.where(np.arange(dates) % 2 == 0, -1.0, 1.0)
    X = np.column_stack([np.tile(v, dates)] * 2).astype(np.float32)
    days = np.repeat(np.datetime64("2001-01-01") + 7 * np.arange(dates), len(v))
    y, w = np.outer(sign, v).ravel(), np.full(dates * len(v), 1 / len(v))
    made = training_rows(X, y, w, days, ("a", "b"), horizon_days=5)
    with pytest.raises(
        ModelError, match="the mean information coefficient of each of 2 features is 0"
    ):
        ICWeighted(combine=combine).fit(made)
