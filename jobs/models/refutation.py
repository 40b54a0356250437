"""Four attempts to refute an average effect; each fits propensity and outcome models anew.

Source: the refuters of Sharma and Kiciman, "DoWhy", 2020; placebo and random common cause as in Imbens and Rubin 2015;
negative control as in Lipsitch, Tchetgen Tchetgen and Cohen, Epidemiology 2010. Hidden confounding: sensitivity.py.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import propensity
from jobs.models.doubly_robust import Z99, AverageEffect, Trials, estimate
from jobs.models.folds import uniform_ids
from jobs.runtime.site import Effects

STRATA = 20
TRIALS = 60_000  # of whole users: every attempt fits its models anew


def attempts(trials: Trials, how: Effects, seed: int) -> dict[str, dict[str, Any]]:
    """The estimate, and what became of it by placebo (99 % interval), random subset and random common cause.

    On about ``TRIALS`` of the trials.
    """
    trials = subsample(trials, TRIALS, "refutation")
    first = estimate(trials, how, seed)
    subset, cause = random_subset(trials, how, seed), random_common_cause(trials, how, seed)
    return {
        "estimate": first.interval().document(),
        "placebo": placebo(trials, how, seed).interval(Z99).document(),
        "random_subset": subset.interval().document() | {"stable": stable(first, subset)},
        "random_common_cause": cause.interval().document() | {"stable": stable(first, cause)},
    }


def subsample(trials: Trials, rows: int, salt: str) -> Trials:
    """Whole users, by hash, that together have about ``rows`` trials."""
    return trials.take(whole_users(trials.users, rows, salt))


def whole_users(users: NDArray[Any], rows: int, salt: str) -> NDArray[np.bool_]:
    """The trials, as a mask, of users drawn by hash that together have about ``rows`` of them; ``users`` (n,)."""
    if len(users) <= rows:
        return np.ones(len(users), dtype=bool)
    return uniform_ids(users, salt) < rows / len(users)


def placebo(trials: Trials, how: Effects, seed: int) -> AverageEffect:
    """The effect of a treatment that did nothing: permuted within propensity strata, propensity fitted anew.

    Within a stratum the placebo keeps the treated share, so its confounding by the features stays and its effect is
    zero. An estimate whose interval leaves out zero means the engine finds effects where there are none.
    """
    _, e = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, how, seed)
    return estimate(replace(trials, treated=permuted(trials.treated, e, seed)), how, seed)


def permuted(treated: NDArray[np.int32], e: NDArray[np.float64], seed: int) -> NDArray[np.int32]:
    """Treatment shuffled within ``STRATA`` strata of equally many trials by propensity."""
    rng = np.random.default_rng(seed)
    stratum = pd.Series(e).rank(method="first").to_numpy() * STRATA // (len(e) + 1)
    out = treated.copy()
    for level in range(STRATA):
        rows = np.flatnonzero(stratum == level)
        out[rows] = treated[rng.permutation(rows)]
    return out


def random_subset(trials: Trials, how: Effects, seed: int, share: float = 0.7) -> AverageEffect:
    """The effect among a random share of the users."""
    return estimate(trials.take(uniform_ids(trials.users, f"subset {seed}") < share), how, seed)


def random_common_cause(trials: Trials, how: Effects, seed: int) -> AverageEffect:
    """The effect after adding a feature of pure noise."""
    noise = np.random.default_rng(seed).normal(size=(len(trials.outcome), 1)).astype(np.float32)
    return estimate(replace(trials, matrix=np.hstack([trials.matrix, noise])), how, seed)


def negative_control(trials: Trials, shown_next: NDArray[np.int32], how: Effects, seed: int) -> AverageEffect:
    """The "effect" of being shown in the **next** period on the outcome of this one: what came before cannot follow.

    ``shown_next`` (n,): 1 shown in the next period, 0 not, -1 could not have been shown or unknown. Trials treated in
    their own period are left out, or their effect would come back through showings that repeat. Features are those of
    the trial, dated before its outcome. An interval that leaves out zero means that who is shown differs in what the
    features do not hold, or that showing follows the last outcome more closely than the features do: a site whose
    policy reacts within a period should not gate on it.
    """
    rows = (trials.treated == 0) & (shown_next >= 0)
    return estimate(replace(trials.take(rows), treated=shown_next[rows].astype(np.int32)), how, seed)


def stable(first: AverageEffect, again: AverageEffect) -> bool:
    """Whether two estimates agree: their difference is within 2.58 standard errors of independent estimates."""
    return abs(first.value - again.value) <= 2.58 * float(np.hypot(first.error, again.error))
