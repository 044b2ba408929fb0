"""Shrunk covariances in factor form against scikit-learn's dense ones, and what data may be like."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf, oas

from wealthos_pipeline.portfolio import risk
from wealthos_pipeline.portfolio.risk import shrinkage
from wealthos_pipeline.portfolio.risk.estimation import of_window
from wealthos_pipeline.utils.config import PortfolioSettings

DAY = date(2018, 3, 29)
SETTINGS = PortfolioSettings(risk_sessions=200, risk_half_life=40)
PEERS = {"ledoit_wolf": ledoit_wolf, "oas": oas}


def simulated(S: int, n: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    market = rng.normal(0, 0.01, size=(S, 1)) * rng.uniform(0.5, 1.5, size=n)
    return market + rng.normal(0.0004, 1.0, size=(S, n)) * rng.uniform(0.005, 0.02, size=n)


def dense(m: risk.RiskModel) -> np.ndarray:
    return m.B @ m.F @ m.B.T + np.diag(m.d**2)


def names(n: int) -> list[str]:
    return [f"n{i:03d}" for i in range(n)]


@pytest.mark.parametrize("kind", ["ledoit_wolf", "oas"])
@pytest.mark.parametrize(("S", "n"), [(200, 20), (60, 90), (300, 2), (40, 40)])
def test_the_factor_form_is_the_dense_matrix_of_a_peer(kind: str, S: int, n: int) -> None:
    window = simulated(S, n)
    m = of_window(kind)(window, names(n), DAY, SETTINGS)
    want, share = PEERS[kind](window)
    np.testing.assert_allclose(dense(m), want, rtol=1e-9, atol=1e-13)
    X = window - window.mean(axis=0)
    ours = {"ledoit_wolf": shrinkage.ledoit_wolf_share, "oas": shrinkage.oas_share}[kind](X)
    assert ours == pytest.approx(share, rel=1e-9)


def test_ewma_is_the_weighted_covariance() -> None:
    window = simulated(200, 25)
    m = of_window("ewma")(window, names(25), DAY, SETTINGS)
    want = np.cov(window.T, aweights=0.5 ** (np.arange(200)[::-1] / 40), ddof=0)
    np.testing.assert_allclose(dense(m), want + 1e-8 * np.eye(25), atol=1e-12)


@pytest.mark.parametrize("kind", ["ledoit_wolf", "oas", "ewma"])
def test_many_names_keep_their_variances_and_the_largest_components(kind: str) -> None:
    window = simulated(200, 150)
    m = of_window(kind)(window, names(150), DAY, SETTINGS)
    assert len(m.factors) == shrinkage.COMPONENTS
    assert list(m.factors) == sorted(m.factors)
    if kind in PEERS:
        want = PEERS[kind](window)[0]
        np.testing.assert_allclose(m.volatility() ** 2, np.diag(want), rtol=1e-9)
        values = np.linalg.eigvalsh(want)[::-1]
        np.testing.assert_allclose(np.linalg.eigvalsh(dense(m))[-1], values[0], rtol=1e-3)
    again = risk.from_frames(*risk.to_frames([m]))[DAY]
    assert (again.factors, again.B.tobytes()) == (m.factors, m.B.tobytes())
    assert (again.F.tobytes(), again.d.tobytes()) == (m.F.tobytes(), m.d.tobytes())


@pytest.mark.parametrize("kind", ["statistical", "ledoit_wolf", "oas", "ewma"])
def test_other_order_of_names_permutes_the_covariance(kind: str) -> None:
    window, order = simulated(200, 30), np.random.default_rng(1).permutation(30)
    plain = dense(of_window(kind)(window, names(30), DAY, SETTINGS))
    other = dense(of_window(kind)(window[:, order], names(30), DAY, SETTINGS))
    np.testing.assert_allclose(other, plain[np.ix_(order, order)], atol=1e-14)


@pytest.mark.parametrize("kind", ["ledoit_wolf", "oas", "ewma"])
def test_gaps_leave_a_name_the_variance_of_its_own_observations(kind: str) -> None:
    window = simulated(200, 12)
    window[::3, 0] = np.nan
    window[:90, 1] = np.nan
    whole = of_window(kind)(np.where(np.isnan(window), 0, window), names(12), DAY, SETTINGS)
    m = of_window(kind)(window, names(12), DAY, SETTINGS)
    own = window[:, 0][np.isfinite(window[:, 0])]
    if kind != "ewma":
        assert m.volatility()[0] == pytest.approx(own.std(), rel=0.1)
    assert m.volatility()[0] > 1.1 * whole.volatility()[0]
    assert np.linalg.eigvalsh(dense(m)).min() > 0


@pytest.mark.parametrize("kind", ["statistical", "ledoit_wolf", "oas", "ewma"])
def test_one_asset_flat_prices_and_copies_give_a_covariance_that_can_be_used(kind: str) -> None:
    estimator = of_window(kind)
    one = estimator(simulated(200, 1), ["x"], DAY, SETTINGS)
    assert one.volatility()[0] == pytest.approx(simulated(200, 1).std(), rel=0.15)
    flat = estimator(np.zeros((200, 6)), names(6), DAY, SETTINGS)
    np.testing.assert_allclose(flat.volatility(), 1e-4, rtol=1e-6)
    same = estimator(np.repeat(simulated(200, 1), 8, axis=1), names(8), DAY, SETTINGS)
    for m in (one, flat, same):
        assert np.linalg.eigvalsh(dense(m)).min() > 0
        assert all(np.isfinite(x).all() for x in (m.B, m.F, m.d))


def test_noise_alone_is_shrunk_to_the_identity_and_a_strong_market_is_not() -> None:
    noise = np.random.default_rng(0).normal(size=(300, 30)) * 0.01
    X = noise - noise.mean(axis=0)
    assert shrinkage.ledoit_wolf_share(X) > 0.9
    assert shrinkage.oas_share(X) > 0.9
    assert shrinkage.ledoit_wolf_share(simulated(300, 30)) < 0.2


def test_sessions_before_the_data_are_no_gaps() -> None:
    window = simulated(100, 8)
    early = np.vstack([np.full((50, 8), np.nan), window])
    for kind in ("ledoit_wolf", "oas", "ewma"):
        plain = of_window(kind)(window, names(8), DAY, SETTINGS)
        padded = of_window(kind)(early, names(8), DAY, SETTINGS)
        np.testing.assert_allclose(dense(padded), dense(plain), rtol=1e-12)
