"""Ridge and LightGBM: right, and the same bits on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from training_rows import training_rows

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.ml import predictors, specs
from wealthos_pipeline.ml.predictors import lightgbm
from wealthos_pipeline.ml.predictors.lightgbm import LightGBM
from wealthos_pipeline.ml.predictors.ridge import Ridge
from wealthos_pipeline.utils.config import ModelSettings

NAMES = ("a", "b", "c", "d")
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_rows(dates: int, names: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    n = dates * names
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = 0.3 * X[:, 0] - 0.2 * X[:, 1] * (X[:, 2] > 0) + rng.standard_normal(n)
    X[rng.random((n, 4)) < 0.1] = np.nan
    days = np.repeat(np.datetime64("2001-01-01") + np.arange(dates), names)
    return X, y, np.full(n, 1 / names), days


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows(150, 20)


def test_ridge_against_scikit_learn(rows: Rows) -> None:
    from sklearn.linear_model import Ridge as Peer

    X, y, w, dates = rows
    fitted = Ridge(alpha=10.0).fit(training_rows(X, y, w, dates, NAMES))
    filled = np.nan_to_num(X.astype(np.float64))
    peer = Peer(alpha=10.0, fit_intercept=False).fit(filled, y, sample_weight=w)
    np.testing.assert_allclose(fitted.coefficients, peer.coef_, rtol=1e-9)
    np.testing.assert_allclose(fitted.predict(X), filled @ peer.coef_, rtol=1e-9, atol=1e-12)


def test_alpha_counts_in_dates() -> None:
    """One standardised feature with correlation c in each of D dates gets c·D/(D + α)."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 25))
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    y = 0.2 * x + rng.standard_normal(x.shape)
    c = np.mean(x * y)
    X, w = x.reshape(-1, 1).astype(np.float32), np.full(1000, 1 / 25)
    days = np.repeat(np.datetime64("2001-01-01") + np.arange(40), 25)
    found = Ridge(alpha=10.0).fit(training_rows(X, y.ravel(), w, days, ("x",))).coefficients[0]
    assert found == pytest.approx(c * 40 / 50, rel=1e-5)


def test_lightgbm_learns_what_a_line_cannot(rows: Rows) -> None:
    X, _, w, dates = rows
    bent = np.nan_to_num(np.abs(X[:, 0]).astype(np.float64))
    bent -= bent.mean()
    line = Ridge(alpha=1.0).fit(training_rows(X, bent, w, dates, NAMES)).predict(X)
    trees = LightGBM(trees=60, seed=7).fit(training_rows(X, bent, w, dates, NAMES)).predict(X)
    assert np.corrcoef(line, bent)[0, 1] ** 2 < 0.05
    assert np.corrcoef(trees, bent)[0, 1] ** 2 > 0.8


@pytest.mark.parametrize("size", [(150, 20), (60, 250)])
def test_one_and_two_threads_give_the_same_bits(size: tuple[int, int], monkeypatch) -> None:
    monkeypatch.setattr(lightgbm, "ROWS_A_THREAD", 1)
    X, y, w, dates = make_rows(*size)
    texts = {
        LightGBM(trees=20, seed=7, threads=n).fit(training_rows(X, y, w, dates, NAMES)).to_text()
        for n in (1, 2)
    }
    assert len(texts) == 1
    ridge = set()
    for n in (1, 2):
        with threadpool_limits(limits=n):
            ridge.add(Ridge(alpha=1.0).fit(training_rows(X, y, w, dates, NAMES)).to_text())
    assert len(ridge) == 1


def test_the_seed_decides_the_trees(rows: Rows) -> None:
    X, y, w, dates = rows
    one, two = (
        LightGBM(trees=5, seed=s).fit(training_rows(X, y, w, dates, NAMES)).to_text()
        for s in (1, 2)
    )
    assert one != two


def test_models_are_loaded_by_name() -> None:
    settings = ModelSettings(names=("lightgbm", "ridge"), ridge_alpha=3.0, seed=5)
    found = [predictors.make(spec) for spec in specs.load(settings)]
    assert [m.name for m in found] == ["lightgbm", "ridge"]
    assert found[1].params == {"alpha": 3.0}
    assert found[0].params["seed"] == 5
    with pytest.raises(ConfigError, match=r"unknown \['oracle'\]; there are: .*lightgbm.*ridge"):
        specs.load(ModelSettings(names=("oracle", "ridge")))
