"""Figures of a night's effect models, and the points its plots are drawn from."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

from jobs.models import doubly_robust, metrics, propensity, reliability
from jobs.models.engine import Fitted, Predicted
from jobs.models.metrics import Estimate
from jobs.models.sample import Sample
from jobs.runtime.errors import DataError

Floats = NDArray[np.float64]
OWN_SLOPES = ("prior_slope", "near_slope", "learner_slope")
SLOPES = (*OWN_SLOPES, *(f"pooled_{name}" for name in OWN_SLOPES))  # in the order of scoring.parts


def figures(sample: Sample, fitted: Fitted, draws: int, seed: int) -> dict[str, Estimate | float]:
    """Figures of propensity, overlap, targeting, calibration and of what the best tenth promises."""
    trials, predicted, inside = sample.trials, fitted.predicted, fitted.predicted.inside
    if not inside.any():
        raise DataError("trials: no trial has a propensity inside the overlap bounds; effects cannot be learnt")
    weight, users = trials.weight[inside], trials.users[inside]
    effect, score, clipped = predicted.effect[inside], predicted.score[inside], predicted.clipped[inside]
    both = pd.Series(sample.item).isin(fitted.effects.both_arms).to_numpy()
    treated = trials.treated[inside] == 1
    means = {
        "treated_share": trials.treated.astype(np.float64),
        "brier": (predicted.e - trials.treated) ** 2,
        "overlap_share": inside.astype(np.float64),
        "identified_share": (inside & both).astype(np.float64),
    }
    found: dict[str, Estimate | float] = {
        "trials": float(len(trials.outcome)),
        **{name: doubly_robust.mean(values, trials.weight, trials.users) for name, values in means.items()},
        "ess_treated": propensity.effective_sample_size((weight / clipped)[treated]),
        "ess_control": propensity.effective_sample_size((weight / (1 - clipped))[~treated]),
        "average_effect": predicted.average().interval(),
        **dict(zip(SLOPES, jackknife(fitted.effects.slopes, fitted.slopes), strict=True)),
    }
    found |= metrics.targeting(effect, score, weight, users, draws, seed)
    promised = doubly_robust.promised(effect, score, weight, users)
    return found | ({} if promised is None else {"promised_by_best_tenth": promised})


def jackknife(values: Sequence[float], without: Floats) -> list[Estimate]:
    """Values with 90 % intervals from the same values computed without each group of users, shape (groups, values).

    Delete-a-group jackknife with a t quantile: Kott, Journal of Official Statistics 2001, section 2.
    """
    groups = len(without)
    error = np.sqrt((groups - 1) / groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    half = float(t.ppf(0.95, groups - 1)) * error
    return [Estimate(float(one), float(one - off), float(one + off)) for one, off in zip(values, half, strict=True)]


def balance(sample: Sample, predicted: Predicted, adjusted: Sequence[str]) -> pd.DataFrame:
    """Standardised differences between the arms of the trials with overlap, feature by feature."""
    part, inside = sample.trials.take(predicted.inside), predicted.inside
    return propensity.balance(part.matrix, tuple(adjusted), part.treated, part.weight, predicted.clipped[inside])


def largest(table: pd.DataFrame, columns: Collection[str] = ("before", "after")) -> dict[str, Estimate | float]:
    """Largest absolute difference of a balance table before and after weighting; empty where no feature is known."""
    return {f"balance_{name}": float(table[name].abs().max()) for name in columns if len(table)}


def curves(sample: Sample, predicted: Predicted) -> dict[str, Any]:
    """What plots are drawn from, in at most 101 points each.

    overlap: weight of each arm's trials in 40 bins of the propensity; reliability: mean propensity against treated
    share; tenths: mean predicted effect against mean score, of trials with overlap; qini_curve: gain per trial when the
    best share by predicted effect is shown, and when as many are at random.
    """
    trials, e, inside = sample.trials, predicted.e, predicted.inside
    edges, at = np.linspace(0, 1, 41), np.linspace(0, 1, 101)
    order = np.argsort(-predicted.effect[inside], kind="stable")
    weight = trials.weight[inside][order]
    share, best, mean = metrics.toc(weight, weight * predicted.score[inside][order])
    counts = {
        name: np.histogram(e[trials.treated == arm], edges, weights=trials.weight[trials.treated == arm])[0].tolist()
        for arm, name in enumerate(("control", "treated"))
    }
    gain = np.interp(at, share, share * best, left=0.0)
    return {
        "overlap": {"edges": edges.tolist()} | counts,
        "reliability": reliability.document(
            reliability.table(e, trials.treated.astype(np.float64), trials.weight, trials.users)
        ),
        "tenths": reliability.document(
            reliability.table(
                predicted.effect[inside], predicted.score[inside], trials.weight[inside], trials.users[inside]
            )
        ),
        "qini_curve": {"share": at.tolist(), "gain": gain.tolist(), "random": (at * mean).tolist()},
    }
