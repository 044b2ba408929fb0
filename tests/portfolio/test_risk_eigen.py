"""The largest eigenvalues, and how many of them are more than noise."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from wealthos_pipeline.portfolio import risk
from wealthos_pipeline.portfolio.risk import eigen
from wealthos_pipeline.portfolio.risk.statistical import above_the_edge
from wealthos_pipeline.utils.config import PortfolioSettings


def factors(n: int, S: int, k: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(S, k)) @ (rng.normal(size=(k, n)) * 0.8) + rng.normal(size=(S, n))


@pytest.mark.parametrize(("n", "k"), [(30, 5), (240, 12), (400, 20)])
def test_they_span_what_the_whole_spectrum_says(n: int, k: int) -> None:
    Y = factors(n, 300, 25) / 20
    gram = Y.T @ Y
    values, V = eigen.largest(gram, k)
    want, U = np.linalg.eigh(gram)
    np.testing.assert_allclose(values, want[::-1][:k], rtol=1e-11)
    top = U[:, ::-1][:, :k]
    assert np.linalg.norm(top - V @ (V.T @ top), 2) < 1e-10


def test_lanczos_is_what_answers_for_many_names_and_gives_the_same_bits_twice() -> None:
    Y = factors(400, 300, 25) / 20
    gram = Y.T @ Y
    found = eigen._lanczos(gram, 20)
    assert found is not None
    values, V = eigen.largest(gram.copy(), 20)
    assert (values.tobytes(), V.tobytes()) == (found[0].tobytes(), found[1].tobytes())


def test_where_an_array_lies_in_memory_changes_no_bit() -> None:
    Y = factors(220, 200, 25) / 20
    gram = Y.T @ Y
    want = eigen.largest(gram, 10)
    for offset in (1, 2, 3, 5):
        room = np.empty(gram.size + offset)
        moved = room[offset:].reshape(gram.shape)
        moved[:] = gram
        values, V = eigen.largest(moved, 10)
        assert (values.tobytes(), V.tobytes()) == (want[0].tobytes(), want[1].tobytes())


def test_an_eigenvalue_that_was_missed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanczos that forgets the second largest: the certificate refuses, LAPACK answers."""
    import scipy.sparse.linalg

    Y = factors(300, 250, 25) / 20
    gram = Y.T @ Y
    plain = scipy.sparse.linalg.eigsh

    def forgetful(A: np.ndarray, k: int, **more: object) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = plain(A, k=k + 1, **more)
        keep = np.argsort(-values) != 1
        order = np.argsort(-values)[keep]
        return values[order], vectors[:, order]

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", forgetful)
    assert eigen._lanczos(gram, 10) is None
    np.testing.assert_allclose(
        eigen.largest(gram, 10)[0], np.linalg.eigvalsh(gram)[::-1][:10], rtol=1e-10
    )


@pytest.mark.parametrize("copies", [2, 30])
def test_repeated_eigenvalues_are_all_found(copies: int) -> None:
    n = 300
    Q = np.linalg.qr(np.random.default_rng(4).normal(size=(n, n)))[0]
    spectrum = np.concatenate([np.full(copies, 5.0), np.linspace(2.0, 0.1, n - copies)])
    gram = (Q * spectrum) @ Q.T
    values, V = eigen.largest(0.5 * (gram + gram.T), 10)
    np.testing.assert_allclose(values, np.sort(spectrum)[::-1][:10], rtol=1e-10)
    np.testing.assert_allclose(V.T @ V, np.eye(10), atol=1e-10)


def test_degenerate_matrices() -> None:
    values, _ = eigen.largest(np.zeros((300, 300)), 5)
    np.testing.assert_array_equal(values, 0.0)
    values, V = eigen.largest(np.ones((300, 300)), 5)
    assert values[0] == pytest.approx(300.0)
    np.testing.assert_allclose(np.abs(V[:, 0]), 1 / np.sqrt(300))


def test_noise_has_no_factor_and_planted_ones_are_counted() -> None:
    rng = np.random.default_rng(5)
    for planted, want in ((0, 1), (3, 3), (6, 6)):
        X = rng.normal(size=(1000, 100))
        if planted:
            X += rng.normal(size=(1000, planted)) @ rng.normal(size=(planted, 100)) * 0.7
        values = np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]
        assert above_the_edge(values[:20], 100.0, 100, 1000.0) == want


def test_denoising_is_a_setting_and_never_exceeds_the_cap() -> None:
    window = factors(60, 400, 4, seed=6) * 0.01
    ids = [f"n{i:02d}" for i in range(60)]
    plain = PortfolioSettings(risk_sessions=400, risk_half_life=400, risk_factors=12)
    fewer = plain.model_copy(update={"risk_denoise": True})
    capped = fewer.model_copy(update={"risk_factors": 2})
    counts = [
        len(risk.from_returns(window, ids, date(2020, 6, 30), s).factors)
        for s in (plain, fewer, capped)
    ]
    assert counts == [12, 4, 2]
    many = risk.from_returns(window, ids, date(2020, 6, 30), plain)
    few = risk.from_returns(window, ids, date(2020, 6, 30), fewer)
    np.testing.assert_array_equal(few.B, many.B[:, :4])
    np.testing.assert_allclose(few.volatility(), many.volatility(), rtol=0.02)


def test_signs_follow_the_sum_of_loadings_else_the_largest_one() -> None:
    V = np.array([[-0.6, 0.5, 0.3], [-0.5, -0.5, -0.3], [0.1, 0.0, 0.0]])
    np.testing.assert_array_equal(eigen.signs(V), [-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(eigen.signs(-V), [1.0, -1.0, -1.0])
