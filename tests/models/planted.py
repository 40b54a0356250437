"""Trials with a planted, confounded effect: the truth the tests recover."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.models.doubly_robust import Trials
from jobs.models.folds import fold_of
from jobs.runtime.site import Effects

QUICK = Effects(trees=30, max_depth=3, learning_rate=0.2, bootstrap=40)


@dataclass(frozen=True)
class Planted:
    """Trials, the true effect of each and its true propensity."""

    trials: Trials
    effect: NDArray[np.float64]
    propensity: NDArray[np.float64]


def plant(effect: float, rows: int = 20_000, seed: int = 0) -> Planted:
    """Users of one habit: the keener, the more they are shown and the more they buy, shown or not.

    ``effect`` is the added probability where feature 1 is positive, zero elsewhere.
    """
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 4)).astype(np.float32)
    keen = 1 / (1 + np.exp(-matrix[:, 0].astype(float)))
    propensity = 0.15 + 0.6 * keen
    treated = (rng.random(rows) < propensity).astype(np.int32)
    true = effect * (matrix[:, 1] > 0)
    outcome = (rng.random(rows) < 0.05 + 0.35 * keen + treated * true).astype(float)
    matrix[rng.random(rows) < 0.1, 3] = np.nan
    users = np.array([f"u{person}" for person in np.sort(rng.integers(0, rows // 10, rows))], dtype=object)
    trials = Trials(matrix, treated, outcome, np.ones(rows), users, fold_of(users, QUICK.folds))
    return Planted(trials, true, propensity)
