"""Pooling of effects: what a group's own trials say, shrunken to what its parent (category, all) says.

Sources: Efron and Morris, "Data analysis using Stein's estimator", JASA 1975; DerSimonian and Laird 1986 (moments);
Sato et al., "Unbiased learning for the causal effect of recommendation", RecSys 2020 (smoothed rates of a pair).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import lsq_linear

from jobs.models.doubly_robust import clustered

Floats = NDArray[np.float64]
FLOOR = 1e-6  # of a variance of effects: nothing is certain
SMOOTHING = 4.0  # trials' worth of the overall rate in the rates a variance is made of
SLOPES = (0.0, 1.5)


def calibrate(
    parts: Floats, score: Floats, weight: Floats, users: ArrayLike, precision: Floats | float = 1.0
) -> tuple[Floats, float, float]:
    """Weights of the parts an effect is made of, intercept, and standard error of the calibrated mean.

    Scores are regressed on ``parts`` of shape (n, k) by least squares weighted by ``weight`` and ``precision``, every
    slope within ``SLOPES``: what promises too much is shrunken. The intercept makes the mean right under ``weight``
    alone. Without scores the parts stand as they are.
    """
    if not len(score):
        return np.ones(parts.shape[1]), 0.0, float(np.sqrt(FLOOR))
    inverse = weight * precision
    centred = parts - np.average(parts, axis=0, weights=inverse)
    root, target = np.sqrt(inverse), score - np.average(score, weights=inverse)
    slopes = lsq_linear(centred * root[:, None], target * root, bounds=SLOPES).x
    left = score - parts @ slopes
    intercept, error = clustered(left, weight, users)
    return slopes, float(intercept), error


def moment_variance(estimate: Floats, error: Floats, floor: float = FLOOR) -> float:
    """Variance between groups beyond their sampling errors (DerSimonian and Laird), at least ``floor``."""
    known = np.isfinite(error) & (error > 0)
    if known.sum() < 2:
        return floor
    precision = 1.0 / error[known] ** 2
    mean = np.average(estimate[known], weights=precision)
    spread = float((precision * (estimate[known] - mean) ** 2).sum()) - (known.sum() - 1)
    return max(spread / float(precision.sum() - (precision**2).sum() / precision.sum()), floor)


def combine(estimate: Floats, variance: Floats, mean: Floats | float, prior: Floats | float) -> tuple[Floats, Floats]:
    """Posterior mean and variance of a normal with a normal prior; an infinite variance leaves the prior."""
    known = np.isfinite(variance)
    kept = np.where(known, prior / (prior + np.where(known, variance, 1.0)), 0.0)
    return mean + kept * (np.where(known, estimate, mean) - mean), prior * (1.0 - kept)


def own_difference(counts: pd.DataFrame, rate_treated: Floats, rate_control: Floats) -> tuple[Floats, Floats]:
    """A pair's difference of rates and its variance, infinite where an arm has no trial.

    ``counts`` has treated, treated_outcomes, control, control_outcomes. The rates in the variance (not in the
    difference) are smoothed to the item's, so that 0 of 2 is not certain.
    """
    n1, y1, n0, y0 = (
        counts[name].to_numpy(np.float64) for name in ("treated", "treated_outcomes", "control", "control_outcomes")
    )
    both = (n1 > 0) & (n0 > 0)
    p1, p0 = (y1 + SMOOTHING * rate_treated) / (n1 + SMOOTHING), (y0 + SMOOTHING * rate_control) / (n0 + SMOOTHING)
    m1, m0 = np.maximum(n1, 1.0), np.maximum(n0, 1.0)
    variance = p1 * (1 - p1) / m1 + p0 * (1 - p0) / m0
    return np.where(both, y1 / m1 - y0 / m0, 0.0), np.where(both, np.maximum(variance, FLOOR), np.inf)
