"""Cross-sections, exposures, second moments through time, specific risk: each against a plain recomputation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from wealthos_pipeline.portfolio.risk import regression, specific, timeseries
from wealthos_pipeline.portfolio.risk.design import MARKET, design

SECTORS = ("Energy", "Financials", "Utilities")


def cross_section(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (market, three sectors, two styles), returns, weights."""
    rng = np.random.default_rng(seed)
    sector = rng.integers(3, size=n)
    X = np.column_stack([np.ones(n), np.eye(3)[sector], rng.normal(size=(n, 2))])
    f = np.array([0.01, 0.004, -0.003, 0.0, 0.002, -0.001])
    return X, X @ f + rng.normal(size=n) * 0.01, rng.uniform(0.5, 4.0, size=n)


def test_it_is_weighted_least_squares_under_the_constraint_on_sectors() -> None:
    X, r, v = cross_section()
    got = regression.fit(X, 3, r, v)
    assert got is not None
    c = np.zeros(6)
    c[1:4] = v @ X[:, 1:4]
    kkt = np.block([[X.T @ (v[:, None] * X), c[:, None]], [c[None, :], np.zeros((1, 1))]])
    want = np.linalg.solve(kkt, np.append(X.T @ (v * r), 0.0))[:6]
    np.testing.assert_allclose(got.f, want, rtol=1e-9, atol=1e-13)
    assert abs(c @ got.f) < 1e-12
    np.testing.assert_allclose(got.residual, r - X @ want, atol=1e-13)
    np.testing.assert_allclose(X.T @ (v * got.residual), 0.0, atol=1e-12)


def test_t_statistics_are_those_of_a_peer() -> None:
    X, r, v = cross_section()
    plain = np.delete(X, [1, 2, 3], axis=1)
    got = regression.fit(plain, 0, r, v)
    assert got is not None
    peer = sm.WLS(r, plain, weights=v).fit()
    np.testing.assert_allclose(got.f, peer.params, rtol=1e-9)
    np.testing.assert_allclose(got.t, peer.tvalues, rtol=1e-9)


def test_the_market_is_the_weighted_mean_return_without_styles() -> None:
    X, r, v = cross_section()
    got = regression.fit(np.ascontiguousarray(X[:, :4]), 3, r, v)
    assert got is not None
    assert got.f[0] == pytest.approx(np.average(r, weights=v), rel=1e-9)


def test_collinear_columns_are_dropped_and_names_without_return_do_not_count() -> None:
    X, r, v = cross_section()
    doubled = np.column_stack([X, 2.0 * X[:, 4] - X[:, 5], np.zeros(len(X))])
    got = regression.fit(doubled, 3, r, v)
    plain = regression.fit(X, 3, r, v)
    assert got is not None
    assert plain is not None
    assert got.dropped == (6, 7)
    assert np.isnan(got.f[6:]).all()
    np.testing.assert_allclose(got.f[:6], plain.f, rtol=1e-9)
    holed = r.copy()
    holed[::4] = np.nan
    part = np.isfinite(holed)
    few = regression.fit(X, 3, holed, v)
    same = regression.fit(np.ascontiguousarray(X[part]), 3, holed[part], v[part])
    assert few is not None
    assert same is not None
    np.testing.assert_array_equal(few.f, same.f)
    assert np.isnan(few.residual[::4]).all()
    assert regression.fit(X[:7], 3, r[:7], v[:7]) is None, "seven names, six factors"


def test_the_order_of_names_does_not_matter() -> None:
    X, r, v = cross_section()
    order = np.random.default_rng(1).permutation(len(r))
    a, b = regression.fit(X, 3, r, v), regression.fit(X[order], 3, r[order], v[order])
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(b.f, a.f, rtol=1e-9)
    np.testing.assert_allclose(b.residual, a.residual[order], atol=1e-14)


def test_weights_by_volume_are_roots_and_bounded() -> None:
    volume = np.array([1e6, 4e6, np.nan, 0.0, 9e6])
    got = regression.regression_weights(volume)
    np.testing.assert_allclose(got[[0, 1]], [1e3, 2e3])
    np.testing.assert_allclose(got[[2, 3]], 2e3)
    assert 2e3 < got[4] < 3e3
    inverse = regression.inverse_variances(np.array([1e-4, 4e-4, np.nan, 1.0]))
    np.testing.assert_allclose(inverse, [1e4, 2500.0, 2500.0, 250.0])


# --- exposures -----------------------------------------------------------------------------------


def test_styles_have_mean_0_and_deviation_1_and_missing_ones_are_the_mean() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(2.0, 3.0, size=(40, 2))
    scores[:5, 0] = np.nan
    scores[7, 1] = 50.0
    got = design(np.arange(40), scores, ["a", "b"], rng.integers(3, size=40), SECTORS)
    assert got is not None
    assert got.labels == (
        MARKET,
        "sector Energy",
        "sector Financials",
        "sector Utilities",
        "a",
        "b",
    )
    np.testing.assert_array_equal(got.X[:, 0], 1.0)
    np.testing.assert_array_equal(got.X[:, 1:4].sum(axis=1), 1.0)
    np.testing.assert_array_equal(got.X[:5, 4], 0.0)
    np.testing.assert_allclose(got.X[5:, 4].mean(), 0.0, atol=1e-12)
    np.testing.assert_allclose(got.X[5:, 4].std(), 1.0, rtol=1e-12)
    assert got.X[7, 5] == got.X[:, 5].max() < 4.0


def test_small_sectors_share_other_and_a_single_one_is_left_out() -> None:
    sector = np.array([0] * 20 + [1] * 2 + [3] * 2)  # 3: none
    got = design(np.arange(24), np.empty((24, 0)), [], sector, SECTORS)
    assert got is not None
    assert got.labels == (MARKET, "sector Energy", "sector other")
    np.testing.assert_array_equal(got.X[:, 2], sector > 0)
    alone = design(np.arange(24), np.empty((24, 0)), [], np.zeros(24, dtype=np.int64), SECTORS)
    assert alone is not None
    assert alone.labels == (MARKET,)
    assert "only sector" in alone.left_out["sector Energy"]


def test_few_names_carry_few_factors_and_say_which_are_left_out() -> None:
    rng = np.random.default_rng(3)
    scores, sector = rng.normal(size=(12, 4)), np.arange(12) % 3
    got = design(np.arange(12), scores, ["a", "b", "c", "d"], sector, SECTORS)
    assert got is not None
    assert got.labels == (MARKET, "sector Energy", "sector Financials", "sector Utilities")
    assert {got.left_out[s] for s in "abcd"} == {"12 names carry 4 factors"}
    fewer = design(np.arange(11), scores[:11], ["a", "b", "c", "d"], sector[:11], SECTORS)
    assert fewer is not None
    assert fewer.labels == (MARKET, "a", "b")
    assert set(fewer.left_out) == {"c", "d", *(f"sector {s}" for s in SECTORS)}
    assert design(np.arange(9), scores[:9], ["a"], sector[:9], SECTORS) is None
    empty = design(np.arange(40), np.full((40, 1), np.nan), ["a"], np.full(40, 3), SECTORS)
    assert empty is not None
    assert "fewer than half" in empty.left_out["a"]


# --- through time --------------------------------------------------------------------------------


def test_newey_west_is_the_sum_of_weighted_lags() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3)).cumsum(axis=0) * 0.01 + rng.normal(size=(80, 3))
    w = 0.5 ** (np.arange(79, -1, -1) / 30.0)
    w /= w.sum()
    e = x - w @ x
    want = np.zeros((3, 3))
    for lag in range(-4, 5):
        for t in range(80):
            if 0 <= t - lag < 80:
                product = np.sqrt(w[t] * w[t - lag]) * np.outer(e[t], e[t - lag])
                want += (1 - abs(lag) / 5) * product
    np.testing.assert_allclose(timeseries.newey_west(x, 30.0, 4), want, rtol=1e-10)
    flat = timeseries.newey_west(x, 1e9, 0)
    np.testing.assert_allclose(flat, np.cov(x.T, ddof=0), rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(0, 8), st.floats(3.0, 200.0))
def test_newey_west_is_positive_semi_definite_with_gaps(
    seed: int, lags: int, half_life: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(25, 4)) * rng.uniform(0.1, 10.0, size=4)
    x[rng.random((25, 4)) < 0.2] = np.nan
    got = timeseries.newey_west(x, half_life, lags)
    assert np.linalg.eigvalsh(got).min() > -1e-10 * np.abs(got).max()
    np.testing.assert_allclose(got, got.T, atol=1e-12)


def test_the_regime_multiplier_is_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    S, last = 50, timeseries.REGIME_SESSIONS
    x = rng.normal(size=(last + S, 4)) * 0.01
    x[-30:] *= 3.0
    x[rng.random(x.shape) < 0.05] = np.nan
    total, weight = 0.0, 0.0
    for t in range(S, S + last):
        z2 = []
        for k in range(4):
            past = x[t - S : t, k]
            seen = np.isfinite(past)
            w = (0.5 ** (np.arange(S - 1, -1, -1) / 20.0))[seen]
            if np.isfinite(x[t, k]) and seen.sum() >= 0.5 * S:
                z2.append(x[t, k] ** 2 / (w @ past[seen] ** 2 / w.sum()))
        age = S + last - 1 - t
        total += 0.5 ** (age / 42) * np.mean(z2)
        weight += 0.5 ** (age / 42)
    got = timeseries.regime(timeseries.standardised(x, S, 20.0))
    assert got == pytest.approx(np.sqrt(total / weight), rel=1e-10)
    assert got > 1.2
    assert timeseries.regime(np.full((last, 4), np.nan)) == 1.0


def test_factor_covariance_puts_volatilities_correlations_and_the_regime_together() -> None:
    rng = np.random.default_rng(3)
    S = 100
    x = rng.normal(size=(timeseries.REGIME_SESSIONS + S, 3)) @ np.array(
        [[1, 0.5, 0], [0, 1, 0], [0, 0.3, 2.0]]
    )
    F, multiplier = timeseries.factor_covariance(
        x, S, volatility=30.0, correlation=60.0, lags=(3, 1)
    )
    V = timeseries.newey_west(x[-S:], 30.0, 3)
    C = timeseries.newey_west(x[-S:], 60.0, 1)
    rho = C / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    want = multiplier**2 * rho * np.sqrt(np.outer(np.diag(V), np.diag(V)))
    np.testing.assert_allclose(F, want, rtol=1e-10)
    assert np.linalg.eigvalsh(F).min() > 0
    constant = np.column_stack([x[:, 0], np.zeros(len(x))])
    F, _ = timeseries.factor_covariance(constant, S, volatility=30.0, correlation=60.0, lags=(3, 1))
    assert F[1, 1] == 0.0
    assert np.isfinite(F).all()


# --- specific risk -------------------------------------------------------------------------------


def residuals(n: int, seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(timeseries.REGIME_SESSIONS + 300, n)) * np.linspace(0.01, 0.03, n)


def test_specific_volatility_is_about_what_was_simulated() -> None:
    u = residuals(60)
    got, multiplier = specific.specific(u, np.ones((60, 1)), None, 300, half_life=84, lags=0)
    np.testing.assert_allclose(got, np.linspace(0.01, 0.03, 60), rtol=0.25)
    assert multiplier == pytest.approx(1.0, abs=0.05)


def test_own_variance_with_lags_is_a_plain_loop() -> None:
    u = residuals(3)[-100:]
    u[::7, 1] = np.nan
    got = timeseries.newey_west_variance(u, 40.0, 2)
    for k in range(3):
        seen = np.isfinite(u[:, k])
        w = np.where(seen, 0.5 ** (np.arange(99, -1, -1) / 40.0), 0.0)
        w /= w.sum()
        e = np.sqrt(w) * np.where(seen, u[:, k], 0.0)
        want = e @ e + 2 * (2 / 3 * (e[1:] @ e[:-1]) + 1 / 3 * (e[2:] @ e[:-2]))
        assert got[k] == pytest.approx(want, rel=1e-10)


def test_a_young_name_gets_what_its_exposures_say() -> None:
    rng = np.random.default_rng(6)
    style = rng.normal(size=80)
    sigma = np.exp(-4.0 + 0.4 * style)
    u = rng.normal(size=(timeseries.REGIME_SESSIONS + 300, 80)) * sigma
    u[:-30, 0] = np.nan  # seen for 30 sessions
    u[-30:, 0] = 0.2  # what it did in them must not count
    X = np.column_stack([np.ones(80), style])
    got, _ = specific.specific(u, X, None, 300, half_life=84, lags=0)
    assert got[0] == pytest.approx(sigma[0], rel=0.25)
    few, _ = specific.specific(u[:, :5], X[:5], None, 300, half_life=84, lags=0)
    assert sigma[1:5].min() * 0.7 < few[0] < sigma[1:5].max() * 1.3


def test_blending_is_linear_in_the_observations() -> None:
    sigma, X = np.array([0.04, 0.02, 0.02, 0.02]), np.ones((4, 1))
    seen = np.array([120.0, 500.0, 500.0, 500.0])
    got = specific.blended(sigma, seen, X)
    assert got[0] == pytest.approx(0.5 * 0.04 + 0.5 * 0.02)
    np.testing.assert_array_equal(got[1:], 0.02)


def test_shrinkage_is_stronger_the_farther_out_and_by_size_bucket() -> None:
    sigma = np.array([0.01, 0.02, 0.03, 0.10])
    got = specific.shrunk(sigma, np.zeros(4, dtype=np.int64))
    mean = sigma.mean()
    away = np.abs(sigma - mean)
    v = 0.1 * away / (np.sqrt((away**2).mean()) + 0.1 * away)
    np.testing.assert_allclose(got, v * mean + (1 - v) * sigma)
    assert v[3] == v.max()
    size = np.arange(60.0)
    size[:3] = np.nan
    groups = specific.buckets(size, 60)
    assert set(groups[:3]) == {specific.BUCKETS}
    assert np.bincount(groups[3:]).min() >= 10
    assert (np.diff(groups[3:]) >= 0).all()
    assert not specific.buckets(size[:20], 20).any()


def test_no_name_is_riskless_by_itself() -> None:
    u = residuals(40)
    u[:, 5] = 0.0
    got, _ = specific.specific(u, np.ones((40, 1)), None, 300, half_life=84, lags=2)
    assert got.min() >= 0.2 * np.median(got) * 0.999
    flat, _ = specific.specific(np.zeros_like(u), np.ones((40, 1)), None, 300, half_life=84, lags=2)
    np.testing.assert_array_equal(flat, 1e-4)
