"""Linear algebra of regressions on many trials: a design matrix of features, and what is left of a column beside it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def design(matrix: NDArray[np.float32], weight: Floats) -> NDArray[np.float32]:
    """Features centred and scaled, missing ones at the mean with a column that says so.

    ``matrix`` (n, features) with NaN where missing; returns (n, columns), linearly independent and not constant, each
    with weighted mean zero.
    """
    known = np.isfinite(matrix)
    filled = np.where(known, matrix, np.float32(0))
    mean = (weight @ filled) / np.maximum(weight @ known, 1e-12)
    filled = np.where(known, filled - mean.astype(np.float32), np.float32(0))
    both = np.hstack([filled, ~known], dtype=np.float32)
    both -= np.average(both, axis=0, weights=weight).astype(np.float32)
    spread = np.sqrt(np.einsum("i,ij,ij->j", weight, both, both) / weight.sum())
    both = both[:, spread > 1e-6] / spread[spread > 1e-6].astype(np.float32)
    return both[:, _independent(_products(both, both, weight) / weight.sum())]


def partial_out(
    columns: Floats, covariates: NDArray[np.float32], weight: Floats, interact: NDArray[Any] | None = None
) -> Floats:
    """``columns`` (n, k) less their weighted least squares fit on a constant and the covariates (n, c); shape (n, k).

    With ``interact`` (n,) the fit is on its products with the covariates, too. A direction in which they hardly vary,
    such as a value that only one arm has, is left out: the solution of least norm. Frisch and Waugh, Econometrica 1933:
    a regression of what is left gives the coefficients and residuals of the regression on everything. By blocks of
    rows, so no second matrix as large as the trials is held.
    """

    def block(rows: slice) -> Floats:
        given = covariates[rows].astype(np.float64)
        more = [] if interact is None else [given * interact[rows, None]]
        return np.hstack([np.ones((len(given), 1)), given, *more])

    size = 1 + covariates.shape[1] * (1 if interact is None else 2)
    gram, cross = np.zeros((size, size)), np.zeros((size, columns.shape[1]))
    for rows in _blocks(len(columns)):
        given = block(rows)
        heavy = given * weight[rows, None]
        gram += heavy.T @ given
        cross += heavy.T @ columns[rows]
    solved = np.linalg.lstsq(gram, cross, rcond=1e-8)[0]
    left = columns.astype(np.float64)
    for rows in _blocks(len(columns)):
        left[rows] -= block(rows) @ solved
    return left


def _blocks(rows: int, size: int = 50_000) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def _products(one: NDArray[np.float32], other: NDArray[np.float32], weight: Floats) -> Floats:
    """Weighted sums of products of columns, in double precision."""
    total = np.zeros((one.shape[1], other.shape[1]))
    for rows in _blocks(len(one)):
        total += (one[rows] * weight[rows, None]).T @ other[rows].astype(np.float64)
    return total


def _independent(gram: Floats, tolerance: float = 1e-6) -> list[int]:
    """Columns that are no linear combination of those kept before them, by Cholesky steps on their Gram matrix."""
    left, kept = gram.copy(), list[int]()
    for place in range(len(left)):
        if left[place, place] > tolerance:
            kept.append(place)
            left -= np.outer(left[:, place], left[place]) / left[place, place]
    return kept
