"""Small worlds for average effects: confounded by the item, different between trials, with a rare outcome."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.models import doubly_robust, propensity
from jobs.models.doubly_robust import Trials
from jobs.models.estimators import ALL, MOVED, OVERLAP, Nuisance
from jobs.models.folds import fold_of
from jobs.runtime.site import Effects

HOW = Effects(trees=40, max_depth=3, learning_rate=0.1, overlap_eps=0.02)
PER_USER = 20
STRENGTH, EFFECT = 2.0, 0.05  # of the hidden cause of ``hidden``, and of showing there


@dataclass(frozen=True)
class World:
    """Trials, their items, a randomised instrument, and the true average effect over each set of trials."""

    trials: Trials
    items: NDArray[Any]
    instrument: NDArray[np.int64]
    truth: dict[str, float]

    def nuisance(self, seed: int = 0) -> Nuisance:
        """Propensity and outcome models as the night fits them."""
        return fit(self.trials, seed)


def fit(trials: Trials, seed: int = 0) -> Nuisance:
    """Cross-fitted propensity and outcome models."""
    _, e = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, HOW, seed)
    return Nuisance(propensity.clip(e, HOW.overlap_eps), *doubly_robust.outcome_models(trials, HOW, seed))


def world(seed: int, users: int = 3_000, scale: float = 1.0, hidden: float = 0.0) -> World:
    """Popular items are shown and bought more; the mean outcome is about 0.5 % times ``scale``.

    Features: popularity, what the effect depends on, noise that is sometimes missing. One user in twenty buys far more
    than the features tell. ``hidden`` is how much an unmeasured cause adds to showing and, scaled, to the outcome.
    """
    rng = np.random.default_rng(seed)
    rows = users * PER_USER
    item = rng.integers(0, 50, rows)
    popular, moderator = np.linspace(0, 1, 50)[item], rng.random(rows)
    unseen, instrument = rng.random(rows) < 0.5, rng.integers(0, 2, rows)
    keen = np.repeat(np.where(rng.random(users) < 0.05, 0.02, 0.0), PER_USER)
    e = 0.05 + 0.1 * instrument + (0.8 - hidden) * popular + hidden * unseen
    effect = scale * (0.001 + 0.004 * moderator + 0.002 * popular)
    base = scale * (0.0002 + 0.005 * popular + keen + 0.02 * hidden * unseen)
    treated = (rng.random(rows) < e).astype(np.int32)
    outcome = (rng.random(rows) < base + treated * effect).astype(float)
    noise = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    names = np.repeat([f"u{person}" for person in range(users)], PER_USER).astype(object)
    matrix = np.column_stack([popular, moderator, noise]).astype(np.float32)
    trials = Trials(matrix, treated, outcome, np.ones(rows), names, fold_of(names, HOW.folds))
    known = 0.1 + (0.8 - hidden) * popular + hidden * 0.5
    mean = float(effect.mean())
    overlap = float(np.average(effect, weights=known * (1 - known)))
    return World(trials, item.astype(str).astype(object), instrument, {ALL: mean, OVERLAP: overlap, MOVED: mean})


@dataclass(frozen=True)
class Hidden:
    """Trials whose hidden binary cause moves the odds of being shown by exactly ``STRENGTH``, up or down."""

    trials: Trials
    nuisance: Nuisance
    cause: NDArray[np.bool_]
    propensity: NDArray[np.float64]


def hidden(seed: int, effect: float = EFFECT, harm: float = 0.2, rows: int = 20_000) -> Hidden:
    """The outcome's probability is 0.2, ``harm`` more with the cause, ``effect`` more if shown; models are the truth
    given the feature alone."""
    rng = np.random.default_rng(seed)
    feature = rng.random(rows)
    e = 0.3 + 0.4 * feature
    odds = e / (1 - e)
    up, down = (odds * factor / (1 + odds * factor) for factor in (STRENGTH, 1 / STRENGTH))
    share = (e - down) / (up - down)
    cause = rng.random(rows) < share
    propensity = np.where(cause, up, down)
    treated = (rng.random(rows) < propensity).astype(np.int32)
    outcome = (rng.random(rows) < 0.2 + harm * cause + effect * treated).astype(float)
    users = np.arange(rows).astype(str).astype(object)
    matrix = feature[:, None].astype(np.float32)
    trials = Trials(matrix, treated, outcome, np.ones(rows), users, fold_of(users, HOW.folds))
    seen = [0.2 + harm * share * (1 - up) / (1 - e), 0.2 + effect + harm * share * up / e]
    return Hidden(trials, Nuisance(e, *seen), cause, propensity)
