"""The effect engine: propensity, prior, learner, doubly robust scores and calibration, fitted on the night's trials.

Everything a trial is judged by comes from models that never saw its user.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.models import doubly_robust, pooling, propensity, uplift
from jobs.models.doubly_robust import AverageEffect, Trials
from jobs.models.folds import threads
from jobs.models.prior import Posterior, Prior
from jobs.models.propensity import Propensity
from jobs.models.rows import Rows
from jobs.models.sample import Sample
from jobs.models.scoring import Effects, doubt, parts
from jobs.runtime.site import Effects as Settings

Floats = NDArray[np.float64]
MIN_ARM = 50  # trials of an arm that a fold's models must have


@dataclass(frozen=True)
class Predicted(Rows):
    """What the models say of trials whose users they did not see; every array has shape (n,).

    ``seen`` are the trials with the learner's columns, ``estimated`` propensities by the model, ``e`` as logged or
    estimated, ``score`` doubly robust scores, ``learnt`` what the learner adds to the posterior, ``off`` what
    ``scoring.doubt`` takes off, and ``effect`` all combined, by a calibration that saw no score of the trial's fold:
    what it is judged by must not have shaped it.
    """

    seen: Trials
    posterior: Posterior
    estimated: Floats
    e: Floats
    mu0: Floats
    mu1: Floats
    score: Floats
    learnt: Floats
    off: Floats
    effect: Floats
    eps: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Trials with overlap."""
        return propensity.overlap(self.e, self.eps)

    @property
    def clipped(self) -> Floats:
        """Propensities inside the overlap bounds."""
        return propensity.clip(self.e, self.eps)

    def average(self) -> AverageEffect:
        """The average effect over the trials with overlap."""
        return doubly_robust.average(self.seen, self.score, self.inside)


@dataclass(frozen=True)
class Fitted:
    """The night's models and what they say of its trials.

    ``slopes`` (folds, parts) are those of the calibration without the scores of each fold.
    """

    propensity: Propensity
    effects: Effects
    predicted: Predicted
    slopes: Floats


def short_arm(trials: Trials, folds: int) -> str | None:
    """Which fold's models would have fewer than ``MIN_ARM`` trials in an arm, in words; None where all have enough."""
    for k in range(folds):
        for arm, name in enumerate(("control", "treated")):
            number = int(((trials.fold != k) & (trials.treated == arm)).sum())
            if number < MIN_ARM:
                return f"{number} {name} trials outside fold {k}; {MIN_ARM} are needed"
    return None


def fit(
    sample: Sample, adjusted: Sequence[str], priors: Prior, both_arms: Collection[str], how: Settings, seed: int
) -> Fitted:
    """Fit everything; ``both_arms`` holds the items seen shown and not shown, ``adjusted`` names the features."""
    trials = sample.trials
    history = propensity.columns(trials.matrix, sample.counts, sample.listed)
    model, estimated = propensity.fit(history, trials.treated, trials.weight, trials.fold, how, seed)
    worth = propensity.strength(estimated, sample.counts, sample.ahead, trials.weight)
    model = replace(model, strength=worth)
    e = propensity.with_logged(estimated, sample.logged)
    inside, clipped = propensity.overlap(e, how.overlap_eps), propensity.clip(e, how.overlap_eps)
    posterior = priors.posterior(trials.fold, sample.item, sample.counts)
    own = posterior.matrix(sample.counts.astype(np.float32))
    seen = replace(trials, matrix=uplift.columns(trials.matrix, adjusted, own))
    learner = uplift.fit(uplift.residuals(seen, posterior), clipped, how, seed)
    learnt = learner.predict(seen.matrix, propensity.clip(estimated, how.overlap_eps), trials.fold, threads())
    mu0, mu1 = doubly_robust.outcome_models(seen, how, seed)
    score = doubly_robust.scores(trials.treated, trials.outcome, clipped, mu0, mu1)
    chance = model.overlap_chance(estimated, sample.counts, how.overlap_eps)
    off = doubt(posterior, sample.counts, propensity.unsure(chance, sample.counts))
    made = parts(posterior, learnt, sample.counts, off)
    slopes, intercept, error = calibrate(made, posterior, score, trials, inside)
    effects = Effects(priors, learner, slopes, intercept, error, frozenset(both_arms))
    effect, without = out_of_fold(made, posterior, score, trials, inside)
    said = (seen, posterior, estimated, e, mu0, mu1, score, learnt, off, effect)
    return Fitted(model, effects, Predicted(*said, how.overlap_eps), without)


def calibrate(
    made: Floats, posterior: Posterior, score: Floats, trials: Trials, rows: NDArray[Any]
) -> tuple[tuple[float, ...], float, float]:
    """How much of the parts ``made`` the scores of ``rows`` bear out: slopes, intercept, error of the mean."""
    rate = np.where(trials.treated == 1, posterior.shown, posterior.not_shown)[rows]
    given = made[rows], score[rows], trials.weight[rows], trials.users[rows]
    slopes, intercept, error = pooling.calibrate(*given, precision=1.0 / uplift.variance(rate))
    return tuple(map(float, slopes)), float(intercept), error


def out_of_fold(
    made: Floats, posterior: Posterior, score: Floats, trials: Trials, rows: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Effects of all trials (n,), each calibrated by the scores of ``rows`` in the other folds; slopes (folds, parts).

    Calibrated by the very scores they are judged by, effects of nothing have a Qini above zero in every other world.
    """
    out, every = np.zeros(len(made)), []
    for k in np.unique(trials.fold):
        mine = trials.fold == k
        slopes, intercept, _ = calibrate(made, posterior, score, trials, rows & ~mine)
        out[mine] = intercept + made[mine] @ np.array(slopes)
        every.append(slopes)
    return np.clip(out, -1.0, 1.0), np.array(every)
