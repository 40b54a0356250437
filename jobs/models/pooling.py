"""Empirical Bayes: what a pair's own trials say, pooled with what similar pairs, its item and everybody say.

A pair's effect has a normal prior. Its mean is the cross-fitted learner's prediction, calibrated on doubly robust
scores (intercept, and a slope in [0, 1.5], so that over-promising is shrunk), plus an offset of its item, itself
shrunken to zero. Its variance comes from split halves: the differences of a pair in odd and in even periods share the
pair's effect and nothing else. The pair's own counts give a difference with the variance of beta-smoothed rates.

Sources: Efron and Morris, "Data analysis using Stein's estimator", JASA 1975; DerSimonian and Laird 1986 (moments);
Sato et al., "Unbiased learning for the causal effect of recommendation", RecSys 2020 (smoothed rates of a pair).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jobs.models.doubly_robust import Z90, by_group, clustered

Floats = NDArray[np.float64]
FLOOR = 1e-6  # of a variance of effects: nothing is certain
SMOOTHING = 4.0  # trials' worth of the item's rate in the rates a pair's variance is made of
SLOPES = (0.0, 1.5)
ODD, EVEN = 0x5555_5555_5555_5555, 0x2AAA_AAAA_AAAA_AAAA


@dataclass(frozen=True)
class Pooling:
    """Everything that turns a prediction and counts into a posterior; ``items`` are columns of equal length."""

    slope: float
    intercept: float
    error: float  # standard error of the calibrated mean
    pair_variance: float
    item_variance: float
    rate_treated: float
    rate_control: float
    items: Mapping[str, list[Any]]  # item_id, offset, offset_variance, rate_treated, rate_control, both_arms

    def document(self) -> dict[str, Any]:
        """The parameters for JSON."""
        return asdict(self)

    def table(self) -> pd.DataFrame:
        """The items' parameters, indexed by item_id."""
        return pd.DataFrame(dict(self.items)).set_index("item_id")


def calibrate(predicted: Floats, score: Floats, weight: Floats, users: ArrayLike) -> tuple[float, float, float]:
    """Slope, intercept and standard error of the mean of scores regressed on predictions; slope within ``SLOPES``."""
    if not len(score):
        return 0.0, 0.0, float(np.sqrt(FLOOR))
    mean, target = np.average(predicted, weights=weight), np.average(score, weights=weight)
    centred = predicted - mean
    variance = np.average(centred**2, weights=weight)
    slope = np.average(centred * (score - target), weights=weight) / variance if variance > 1e-16 else 0.0
    slope = float(np.clip(slope, *SLOPES))
    _, error = clustered(score - slope * centred, weight, users)
    return slope, float(target - slope * mean), error


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


def half_counts(periods: pd.DataFrame, mask: int) -> pd.DataFrame:
    """Counts of pairs in the periods of ``mask``; ``periods`` has bit columns shown, outcome and eligible."""
    shown, outcome, eligible = (
        periods[name].to_numpy(np.int64) & np.int64(mask) for name in ("shown", "outcome", "eligible")
    )
    treated, control = shown & eligible, eligible & ~shown
    return pd.DataFrame(
        {
            "treated": _bits(treated),
            "treated_outcomes": _bits(treated & outcome),
            "control": _bits(control),
            "control_outcomes": _bits(control & outcome),
        }
    )


def pair_variance(prior: Floats, periods: pd.DataFrame, weight: Floats) -> tuple[float, int]:
    """Variance of pairs' effects around their prior means, and how many trials' pairs said so.

    One row a trial: its prior mean, the period bits of its pair, its weight. Mean product of the residuals in odd and
    even periods; pairs that lack an arm in a half say nothing.
    """
    odd, even = (half_counts(periods, mask) for mask in (ODD, EVEN))
    said = np.logical_and.reduce([(half[arm] > 0).to_numpy() for half in (odd, even) for arm in ("treated", "control")])
    if said.sum() < 30:
        return FLOOR, int(said.sum())

    def difference(half: pd.DataFrame) -> Floats:
        part = half[said]
        return (part["treated_outcomes"] / part["treated"] - part["control_outcomes"] / part["control"]).to_numpy()

    def trust(half: pd.DataFrame) -> Floats:
        part = half[said]
        return (part["treated"] * part["control"] / (part["treated"] + part["control"])).to_numpy()

    product = (difference(odd) - prior[said]) * (difference(even) - prior[said])
    precision = weight[said] * np.sqrt(trust(odd) * trust(even))
    return max(float(np.average(product, weights=precision)), FLOOR), int(said.sum())


def item_offsets(residual: Floats, weight: Floats, users: ArrayLike, items: ArrayLike) -> tuple[pd.DataFrame, float]:
    """Offsets of items (mean residual of doubly robust scores, shrunken to zero) and the variance between them."""
    groups = by_group(residual, weight, users, items)
    enough = groups["clusters"].to_numpy() >= 10  # a standard error from fewer users is not one
    error = np.where(enough, groups["error"].to_numpy(), np.inf)
    between = moment_variance(groups["estimate"].to_numpy(), error)
    offset, variance = combine(groups["estimate"].to_numpy(), error**2, 0.0, between)
    return pd.DataFrame({"offset": offset, "offset_variance": variance}, index=groups.index), between


def posterior(pooling: Pooling, predicted: Floats, items: ArrayLike, counts: pd.DataFrame) -> pd.DataFrame:
    """Pooled effect with its 90 % interval for pairs; columns effect, low, high, both_arms (at item level)."""
    table = pooling.table().reindex(np.asarray(items, dtype=object))
    offset = table["offset"].fillna(0.0).to_numpy()
    uncertain = table["offset_variance"].fillna(pooling.item_variance).to_numpy()
    own, variance = own_difference(
        counts,
        table["rate_treated"].fillna(pooling.rate_treated).to_numpy(),
        table["rate_control"].fillna(pooling.rate_control).to_numpy(),
    )
    prior = pooling.intercept + pooling.slope * predicted + offset
    effect, left = combine(own, variance, prior, pooling.pair_variance + uncertain)
    half = Z90 * np.sqrt(left + pooling.error**2)
    return pd.DataFrame(
        {
            "effect": np.clip(effect, -1.0, 1.0),
            "low": np.clip(effect - half, -1.0, 1.0),
            "high": np.clip(effect + half, -1.0, 1.0),
            "both_arms": table["both_arms"].eq(True).to_numpy(),
        }
    )


def _bits(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bitwise_count(values.view(np.uint64)).astype(np.int64)
