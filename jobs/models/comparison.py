"""The site's learner beside others on the same trials and folds, judged by the same held-out doubly robust scores."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from jobs.models import engine, metrics, uplift
from jobs.models.engine import Predicted
from jobs.models.folds import threads
from jobs.models.sample import Sample
from jobs.models.scoring import parts
from jobs.runtime.site import Effects

Floats = NDArray[np.float64]
TREES, FOREST_TREES, DRAWS = 60, 20, 100  # enough to rank learners, few enough for every night
STRENGTH = 1.0  # trials' worth of its item's rates in a pair's
BETTER = {"dr_loss": -1, "autoc": 1}  # what a learner is chosen by, and which way is better
LEVEL = 0.05  # chance that any of the others looks better while none is


def compare(sample: Sample, predicted: Predicted, how: Effects, seed: int) -> dict[str, Any]:
    """Figures of tonight's effects, then of the learners in ``how.compare``, and which of these are better.

    ``sample`` and ``predicted`` are of the same trials, which should have overlap. Tonight's learner was fitted on all
    trials; the others are fitted here, with ``TREES`` trees. A difference from tonight's has a 90 % interval from
    drawing users anew, the same for both. Better: ``dr_loss`` or ``autoc`` beyond an interval of the difference that is
    wide enough for all that are compared (Bonferroni).
    """
    names: list[str] = [name for name in how.compare if name != how.learner]
    lack = engine.short_arm(sample.trials, how.folds)
    judged: dict[str, pd.DataFrame] = {how.learner: _figures(sample, predicted, predicted.effect, how, seed)}
    for name in [] if lack else names:
        judged[name] = _figures(sample, predicted, effects(name, sample, predicted, how, seed), how, seed)
    first = judged[how.learner]
    far = float(norm.ppf(1 - LEVEL / max(len(BETTER) * (len(judged) - 1), 1)))
    rows = []
    for name, drawn in judged.items():
        gap = drawn - first
        better = [at for at, sign in BETTER.items() if sign * gap[at].iloc[0] > far * gap[at].iloc[1:].std()]
        found = [{key: one.document() for key, one in metrics.intervals(of).items()} for of in (drawn, gap)]
        rows.append({"name": name, "figures": found[0], "difference": found[1], "better": better})
    return {"learners": rows, "trials": len(sample.item), "trees": TREES, "left_out": lack}


def _figures(sample: Sample, predicted: Predicted, effect: Floats, how: Effects, seed: int) -> pd.DataFrame:
    draws = min(how.bootstrap, DRAWS)
    return metrics.resampled(effect, predicted.score, sample.trials.weight, sample.trials.users, draws, seed)


def effects(name: str, sample: Sample, predicted: Predicted, how: Effects, seed: int) -> Floats:
    """Effects of the learner ``name`` for trials whose users it did not see, shape (n,).

    A CausalML learner corrects the posterior and is calibrated with it, as tonight's is. The differences stand alone.
    """
    if name == "item_difference":
        shown, not_shown = item_rates(sample)
        return shown - not_shown
    if name == "pair_difference":
        return pair_difference(sample)
    trials = uplift.residuals(predicted.seen, predicted.posterior)
    most = FOREST_TREES if name == "causal_forest" else TREES
    small = how.model_copy(update={"learner": name, "trees": min(how.trees, most)})
    learner = uplift.fit(trials, predicted.clipped, small, seed)
    learnt = learner.predict(trials.matrix, predicted.clipped, trials.fold, threads())
    every = np.ones(len(learnt), dtype=bool)
    made = parts(predicted.posterior, learnt, sample.counts, predicted.off)
    return engine.out_of_fold(made, predicted.posterior, predicted.score, sample.trials, every)[0]


def item_rates(sample: Sample) -> tuple[Floats, Floats]:
    """Outcome rates of each trial's item shown and not shown among users of other folds, each of shape (n,).

    Where they have no trial of the item in an arm, the arm's rate over all items.
    """
    trials = sample.trials
    code, names = pd.factorize(sample.item)
    folds = int(trials.fold.max()) + 1
    rates = []
    for arm in (1, 0):
        rows = trials.treated == arm
        cell = trials.fold[rows] * len(names) + code[rows]
        shape = (folds, len(names))
        weight, outcomes = (
            np.bincount(cell, given[rows], folds * len(names)).reshape(shape)
            for given in (trials.weight, trials.weight * trials.outcome)
        )
        others, theirs = weight.sum(axis=0) - weight, outcomes.sum(axis=0) - outcomes
        overall = theirs.sum(axis=1, keepdims=True) / np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
        rates.append(np.where(others > 0, theirs / np.maximum(others, 1e-12), overall)[trials.fold, code])
    return rates[0], rates[1]


def pair_difference(sample: Sample) -> Floats:
    """Difference of the pair's own rates before the trial, each shrunken to its item's by ``STRENGTH`` trials; (n,).

    Source: Sato et al., "Unbiased learning for the causal effect of recommendation", RecSys 2020.
    """
    shown, not_shown = item_rates(sample)
    n1, y1, n0, y0 = sample.counts.T.astype(np.float64)
    return (y1 + STRENGTH * shown) / (n1 + STRENGTH) - (y0 + STRENGTH * not_shown) / (n0 + STRENGTH)
