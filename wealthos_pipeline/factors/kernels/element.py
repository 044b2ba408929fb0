"""One cell at a time. NumPy does what is exact; what calls the C library is compiled, so that the
same scalar code runs for every cell whatever its place in the vector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.factors.kernels.jit import F8, kernel
from wealthos_pipeline.factors.kernels.rows import clean

Vector = NDArray[np.float64]
Operand = Vector | float


@kernel(f"void({F8}, {F8})")
def _log(x, out):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        out[k] = np.log(x[k]) if x[k] > 0.0 else np.nan


@kernel(f"void({F8}, {F8}, {F8})")
def _power(x, y, out):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        v = x[k] ** y[k]
        out[k] = v if np.isfinite(v) else np.nan


def _finite(x: Vector) -> Vector:
    clean(x)
    return x


def add(x: Operand, y: Operand) -> Vector:
    return _finite(np.add(x, y))


def sub(x: Operand, y: Operand) -> Vector:
    return _finite(np.subtract(x, y))


def mul(x: Operand, y: Operand) -> Vector:
    return _finite(np.multiply(x, y))


def div(x: Operand, y: Operand) -> Vector:
    return _finite(np.divide(x, y))


def neg(x: Operand) -> Vector:
    return np.negative(x)


def abs(x: Operand) -> Vector:
    return np.abs(x)


def sign(x: Operand) -> Vector:
    return np.sign(x)


def log(x: Operand) -> Vector:
    vector = np.atleast_1d(np.asarray(x, np.float64))
    out = np.empty_like(vector)
    _log(vector, out)
    return out


def power(x: Operand, y: Operand) -> Vector:
    if isinstance(y, float) and y == 2.0:
        return _finite(np.multiply(x, x))
    a, b = (np.ascontiguousarray(v, np.float64) for v in np.broadcast_arrays(x, y))
    out = np.empty_like(a)
    _power(np.atleast_1d(a), np.atleast_1d(b), np.atleast_1d(out))
    return out


def greater(x: Operand, y: Operand) -> Vector:
    return np.maximum(x, y)


def less(x: Operand, y: Operand) -> Vector:
    return np.minimum(x, y)


def gt(x: Operand, y: Operand) -> Vector:
    return np.greater(x, y).astype(np.float64)


def ge(x: Operand, y: Operand) -> Vector:
    return np.greater_equal(x, y).astype(np.float64)


def lt(x: Operand, y: Operand) -> Vector:
    return np.less(x, y).astype(np.float64)


def le(x: Operand, y: Operand) -> Vector:
    return np.less_equal(x, y).astype(np.float64)


def eq(x: Operand, y: Operand) -> Vector:
    return np.equal(x, y).astype(np.float64)


def ne(x: Operand, y: Operand) -> Vector:
    return (np.less(x, y) | np.greater(x, y)).astype(np.float64)


def _true(x: Operand) -> NDArray[np.bool_]:
    return np.less(x, 0.0) | np.greater(x, 0.0)


def and_(x: Operand, y: Operand) -> Vector:
    return (_true(x) & _true(y)).astype(np.float64)


def or_(x: Operand, y: Operand) -> Vector:
    return (_true(x) | _true(y)).astype(np.float64)


def not_(x: Operand) -> Vector:
    return (~_true(x)).astype(np.float64)


def if_(x: Operand, y: Operand, z: Operand) -> Vector:
    return np.where(np.isnan(x), np.nan, np.where(_true(x), y, z))
