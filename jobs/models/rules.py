"""Rules of ranking judged on past trials: a rule shows each user the items that it scores highest in the period.

A rule is judged, and not tonight's lists: these were made with what became of the very trials they would be judged on,
and so would look better than they are. A rule's score of a trial comes from models that never saw the trial's user, and
from what was known of the pair before the trial.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jobs.models import metrics, off_policy, propensity
from jobs.models.engine import Predicted
from jobs.models.metrics import Estimate
from jobs.models.off_policy import Rounds
from jobs.models.propensity import effective_sample_size
from jobs.models.sample import Sample
from jobs.models.scoring import EffectModel, Pairs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
EFFECT, RELEVANCE, CHAMPION = "effect", "relevance", "champion"


def by_effect(model: EffectModel, sample: Sample, predicted: Predicted) -> Floats:
    """Tonight's effect, its low end where it is not identified, as lists are sorted; shape (n,).

    The published effect is calibrated by the scores of all users, this one by those of the other folds.
    """
    chance = model.propensity.overlap_chance(predicted.estimated, sample.counts, model.overlap_eps)
    unsure = propensity.unsure(chance, sample.counts)
    low, _ = model.effects.interval(predicted.posterior, predicted.effect, sample.counts, unsure)
    return np.where(model.identified(predicted.estimated, chance, sample.item, sample.counts), predicted.effect, low)


def by_champion(said: Pairs) -> Floats:
    """The effect of a model of an earlier night, as lists are sorted; shape (n,)."""
    return np.where(said.identified, said.effect, said.low)


def by_relevance(predicted: Predicted) -> Floats:
    """Probability of the outcome if nothing is known about showing, shape (n,)."""
    e = predicted.estimated  # a logged one is known of shown trials only, and would tell them apart
    return e * predicted.mu1 + (1.0 - e) * predicted.mu0


def shows(score: Floats, users: ArrayLike, period: NDArray[np.int64], weight: Floats, length: int) -> Bools:
    """Trials whose item the rule shows: fewer than ``length`` of the user's items are scored higher, shape (n,).

    ``weight`` is one over the share of the user's items that was sampled. The trial's own does not count, so whether it
    is shown does not depend on whether it was likely to be drawn. Ties go to the earlier row.
    """
    group = pd.factorize(np.asarray(users, dtype=object))[0] * (int(period.max(initial=0)) + 1) + period
    order = np.lexsort((np.arange(len(score)), -score, group))
    ahead = np.cumsum(weight[order]) - weight[order]
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    ahead -= np.repeat(ahead[first], np.diff(first, append=len(order)))
    out = np.empty(len(score), dtype=bool)
    out[order] = ahead < length - 1e-9  # sums of weights that should be whole
    return out


def rounds(sample: Sample, predicted: Predicted, shown: Bools) -> Rounds:
    """The trials as decisions to show or not, and those of a rule that shows exactly the trials ``shown``."""
    trials, treated = sample.trials, sample.trials.treated == 1
    return Rounds(
        trials.outcome,
        np.where(treated, predicted.e, 1.0 - predicted.e),
        (treated == shown).astype(np.float64),
        np.where(treated, predicted.mu1, predicted.mu0),
        np.where(shown, predicted.mu1, predicted.mu0),
        trials.users,
        trials.weight,
    )


def judge(
    sample: Sample, predicted: Predicted, rules: Mapping[str, Floats], length: int, users_share: float, draws: int
) -> dict[str, Estimate | float]:
    """Figures of several rules on the same past trials; the first is compared with the others.

    ``rules`` are scores of all trials (n,), ``length`` is that of a list, ``users_share`` the share of users that
    trials were sampled of. Trials with overlap are judged, of which there is at least one. Returned are ``trials`` and
    ``users``; the mean outcome a trial, ``<rule>_rule_<method>``; effective sample sizes, ``<rule>_rule_ess`` of all
    trials and ``<rule>_rule_ess_shown`` of those it shows; and ``gain_over_<rule>_rule_<method>``, the first rule's
    value less this one's. Intervals (90 %) are of users drawn anew, the same for all rules.
    """
    inside, trials = predicted.inside, sample.trials
    part, said = sample.take(inside), predicted.take(inside)
    found: dict[str, Estimate | float] = {
        "trials": float(len(part.item)),
        "users": float(len(pd.unique(part.trials.users))),
    }
    drawn: dict[str, pd.DataFrame] = {}
    for name, score in rules.items():
        shown = shows(score, trials.users, sample.period, trials.weight * users_share, length)[inside]
        made = rounds(part, said, shown)
        drawn[name] = off_policy.resampled(made, draws, seed=0)
        found |= {f"{name}_rule_{method}": value for method, value in metrics.intervals(drawn[name]).items()}
        found[f"{name}_rule_ess"] = made.effective
        found[f"{name}_rule_ess_shown"] = effective_sample_size((made.ratio * made.weight)[shown])
    first, *others = drawn
    for name in others:
        gain = metrics.intervals(drawn[first] - drawn[name])
        found |= {f"gain_over_{name}_rule_{method}": value for method, value in gain.items()}
    return found
