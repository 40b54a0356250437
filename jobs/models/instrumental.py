"""The effect on those whom an instrument moves, doubly robust, with CausalML's DRIV learner."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import KFold

from jobs.models import doubly_robust, propensity, uplift
from jobs.models.doubly_robust import Trials
from jobs.models.estimators import MOVED, WEAK, Finding, interval, with_instrument
from jobs.models.propensity import effective_sample_size, overlap
from jobs.runtime.site import Effects

Floats = NDArray[np.float64]
METHOD = "instrumental variable, doubly robust"
RARE = 0.001  # a random slot comes up about once in a thousand trials; what is rarer is left out
PARTS = 3  # that CausalML's learner cross-fits by


def late(trials: Trials, instrument: ArrayLike | None, how: Effects, seed: int) -> Finding:
    """Local average treatment effect of an instrument of 0 and 1, shape (n,): right if its model or the others are.

    The ratio of two doubly robust averages, the instrument's effects on outcome and on showing: Chernozhukov et al.,
    Econometrics Journal 2018, section 5.2 (interactive instrumental variable model); Frolich, Journal of Econometrics
    2007. The outcome models are those of CausalML's ``BaseDRIVRegressor``, cross-fitted by trial, the instrument's and
    the treatment's probabilities ours, cross-fitted by user. The interval is clustered by user and ours, too: the one
    of CausalML's ``estimate_ate`` (0.18) is not divided by the root of the number of trials.
    """
    if instrument is None:
        return Finding(METHOD, MOVED, None, "the site names no instrument")
    trials, given, unknown = with_instrument(trials, instrument)
    if not len(given):
        return Finding(METHOD, MOVED, None, unknown)
    if not set(np.unique(given)) <= {0.0, 1.0}:
        return Finding(METHOD, MOVED, None, "the instrument takes other values than 0 and 1")
    _, chance = propensity.fit(trials.matrix, given, trials.weight, trials.fold, how, seed)
    usable = overlap(chance, RARE)
    if not usable.any():
        return Finding(METHOD, MOVED, None, f"the instrument is never as likely as {RARE} to be either 0 or 1")
    part, z, chance = trials.take(usable), given[usable], chance[usable]
    none, moved = _treated_by_instrument(part, z, how, seed)
    outcomes = _outcome_models(part, z, (none, moved), chance, how, seed)
    numerator = doubly_robust.scores(z, part.outcome, chance, *outcomes)
    denominator = doubly_robust.scores(z, part.treated.astype(np.float64), chance, none, moved)
    strength, error = doubly_robust.clustered(denominator, part.weight, part.users)
    f = (strength / max(error, 1e-12)) ** 2
    if f < WEAK:
        return Finding(METHOD, MOVED, None, f"the instrument is weak: first-stage F {f:.1f} is below {WEAK:.0f}")
    value = float(np.average(numerator, weights=part.weight)) / strength
    influence = (numerator - value * denominator) / strength
    _, error = doubly_robust.clustered(influence, part.weight, part.users)
    size = effective_sample_size(part.weight * np.where(z == 1, 1 / chance, 1 / (1 - chance)))
    left = 1 - part.weight.sum() / trials.weight.sum()
    note = f"first-stage F {f:.1f}, effective trials {size:,.0f}" + (f", {left:.1%} left out" if left else "")
    return Finding(METHOD, MOVED, interval(value, error), note + unknown)


def _treated_by_instrument(trials: Trials, z: Floats, how: Effects, seed: int) -> tuple[Floats, Floats]:
    """Out-of-fold probabilities of being shown with the instrument at 0 and at 1, each of shape (n,)."""
    columns = np.column_stack([trials.matrix, z]).astype(np.float32)
    model, _ = propensity.fit(columns, trials.treated, trials.weight, trials.fold, how, seed)
    found = []
    for level in (0.0, 1.0):
        columns[:, -1] = level
        found.append(propensity.clip(model.predict(columns, trials.fold), RARE))
    return found[0], found[1]


def _outcome_models(
    trials: Trials, z: Floats, treated: tuple[Floats, Floats], chance: Floats, how: Effects, seed: int
) -> tuple[Floats, Floats]:
    """Outcome probabilities with the instrument at 0 and at 1 by CausalML's DRIV learner, each of shape (n,).

    Each trial's come from the part it was held out of, which CausalML draws with the seed.
    """
    from causalml.inference.iv import BaseDRIVRegressor

    columns = uplift.weighted(trials)
    model = BaseDRIVRegressor(learner=uplift.base_learner(how, seed))
    given = {"assignment": z, "treatment": trials.treated, "y": trials.outcome}
    model.fit(columns, **given, p=treated, pZ=chance, seed=seed)
    none, moved = np.empty(len(z)), np.empty(len(z))
    held_out = [rows for _, rows in KFold(PARTS, shuffle=True, random_state=seed).split(z)]
    for part in range(PARTS):
        rows = held_out[(part + 2) % PARTS]
        none[rows] = model.models_mu_c[1][part].predict(columns[rows])
        moved[rows] = model.models_mu_t[1][part].predict(columns[rows])
    return none, moved
