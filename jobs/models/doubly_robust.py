"""Doubly robust (AIPW) scores of trials and average effects with intervals clustered by user.

Source: Robins, Rotnitzky and Zhao, JASA 1994; cross-fitting as in Chernozhukov et al., Econometrics Journal 2018.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import ArrayLike, NDArray

from jobs.models import propensity
from jobs.models.boosting import parameters, predict, to_bytes
from jobs.models.folds import threads
from jobs.models.metrics import Estimate
from jobs.models.rows import Rows
from jobs.runtime.site import Effects

Floats = NDArray[np.float64]
Z90 = 1.6448536269514722
Z99 = 2.5758293035489004


@dataclass(frozen=True)
class Trials(Rows):
    """Trials as arrays: features (n, columns) with NaN where missing, everything else (n,)."""

    matrix: NDArray[np.float32]
    treated: NDArray[np.int32]
    outcome: NDArray[np.float64]
    weight: Floats
    users: NDArray[Any]
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class AverageEffect:
    """Average effect over trials with overlap, its standard error clustered by user, and the trials in each arm."""

    value: float
    error: float
    treated: int
    control: int

    def interval(self, z: float = Z90) -> Estimate:
        """The effect with a normal interval of ``z`` standard errors."""
        return Estimate(self.value, self.value - z * self.error, self.value + z * self.error)


def outcome_models(trials: Trials, how: Effects, seed: int) -> tuple[Floats, Floats]:
    """Out-of-fold outcome probabilities without and with showing, each of shape (n,)."""
    chosen = parameters(
        seed,
        objective="binary:logistic",
        max_depth=how.max_depth,
        learning_rate=how.learning_rate,
        min_child_weight=5.0,
    )
    arms = [np.zeros(len(trials.outcome)) for _ in range(2)]
    for k in range(how.folds):
        out = trials.fold == k
        for arm in range(2):
            rows = ~out & (trials.treated == arm)
            data = xgb.QuantileDMatrix(
                trials.matrix[rows], trials.outcome[rows], weight=trials.weight[rows], max_bin=128
            )
            booster = to_bytes(xgb.train(chosen, data, how.trees))
            arms[arm][out] = predict(booster, trials.matrix[out], threads())
    return arms[0], arms[1]


def scores(treated: NDArray[Any], outcome: Floats, e: Floats, mu0: Floats, mu1: Floats) -> Floats:
    """AIPW scores, shape (n,): unbiased for the effect if the propensity ``e`` or the outcome models are right."""
    return mu1 - mu0 + treated * (outcome - mu1) / e - (1 - treated) * (outcome - mu0) / (1 - e)


def clustered(score: Floats, weight: Floats, users: ArrayLike) -> tuple[float, float]:
    """Weighted mean and its standard error when trials of one user are not independent."""
    if not len(score):
        return 0.0, float("inf")
    mean = float(np.average(score, weights=weight))
    sums = np.bincount(pd.factorize(np.asarray(users, dtype=object))[0], weight * (score - mean))
    people = len(sums)
    return mean, float(np.sqrt((sums**2).sum() * people / max(people - 1, 1)) / weight.sum())


def mean(values: Floats, weight: Floats, users: ArrayLike) -> Estimate:
    """Weighted mean with a 90 % interval clustered by user."""
    value, error = clustered(values, weight, users)
    return Estimate(value, value - Z90 * error, value + Z90 * error)


def ratio(above: Floats, below: Floats, weight: Floats, users: ArrayLike) -> Estimate | float:
    """Weighted mean of ``above`` by that of ``below``, with a 90 % interval clustered by user, linearised.

    A number alone where the mean below is not surely other than zero: its interval would have no end. Source: Cochran,
    "Sampling Techniques", 1977, section 6.5; Fieller, JRSS B 1954.
    """
    base, spread = clustered(below, weight, users)
    value = float(np.average(above, weights=weight)) / base
    if abs(base) <= Z90 * spread:
        return value
    off = mean((above - value * below) / base, weight, users)
    return Estimate(value, value + off.low, value + off.high)


def promised(
    effect: Floats, score: Floats, weight: Floats, users: NDArray[Any], share: float = 0.1
) -> Estimate | float | None:
    """Mean predicted effect of the best ``share`` of trials over their mean doubly robust score; 1 keeps the promise.

    None where the score's mean is not above 0. Selection of the best makes any noisy prediction promise too much
    ("winner's curse"; Andrews, Kitagawa and McCloskey, QJE 2024): scores it was not fitted on say by how much.
    """
    order = np.argsort(-effect, kind="stable")
    best = order[np.cumsum(weight[order]) <= share * weight.sum()]
    if not len(best) or np.average(score[best], weights=weight[best]) <= 0:
        return None
    return ratio(effect[best], score[best], weight[best], users[best])


def average(trials: Trials, score: Floats, inside: NDArray[np.bool_]) -> AverageEffect:
    """The average effect over the trials ``inside`` the overlap."""
    value, error = clustered(score[inside], trials.weight[inside], trials.users[inside])
    treated = int((trials.treated[inside] == 1).sum())
    return AverageEffect(value, error, treated, int(inside.sum()) - treated)


def estimate(trials: Trials, how: Effects, seed: int) -> AverageEffect:
    """Propensity and outcome models fitted from nothing, then the average effect: what refutations repeat."""
    _, e = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, how, seed)
    mu0, mu1 = outcome_models(trials, how, seed)
    inside = propensity.overlap(e, how.overlap_eps)
    e = propensity.clip(e, how.overlap_eps)
    return average(trials, scores(trials.treated, trials.outcome, e, mu0, mu1), inside)


def by_group(score: Floats, weight: Floats, users: ArrayLike, groups: ArrayLike) -> pd.DataFrame:
    """Mean score of each group with its standard error clustered by user within the group; index = group."""
    codes, names = pd.factorize(np.asarray(groups, dtype=object), sort=True)
    people = pd.factorize(np.asarray(users, dtype=object))[0].astype(np.int64)
    total = np.bincount(codes, weight)
    mean = np.bincount(codes, weight * score) / total
    cells = pd.factorize(codes.astype(np.int64) * (int(people.max(initial=0)) + 1) + people)
    cell_group = np.zeros(len(cells[1]), dtype=np.int64)
    cell_group[cells[0]] = codes
    sums = np.bincount(cells[0], weight * (score - mean[codes]))
    squares = np.bincount(cell_group, sums**2)
    clusters = np.bincount(cell_group)
    error = np.where(clusters > 1, np.sqrt(squares * clusters / np.maximum(clusters - 1, 1)) / total, np.inf)
    return pd.DataFrame({"estimate": mean, "error": error, "clusters": clusters}, index=pd.Index(names, name="key"))
