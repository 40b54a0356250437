"""What a list would have brought, judged from the log of another: IPS, SNIPS, direct method and doubly robust.

The formulas stand in ``per_round``. Source: Dudik, Erhan, Langford and Li, "Doubly robust policy evaluation and
optimization", Statistical Science 2014, sections 2 and 3; self-normalised: Swaminathan and Joachims, NeurIPS 2015.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models.doubly_robust import Z90, Trials, clustered
from jobs.models.metrics import QUANTILES, Estimate
from jobs.models.propensity import effective_sample_size

Floats = NDArray[np.float64]
METHODS = ("ips", "snips", "dm", "dr")


@dataclass(frozen=True)
class Rounds:
    """Logged decisions and what the judged policy would do; every array has shape (n,).

    ``logged`` and ``judged`` are the two policies' probabilities of the action that was taken, ``expected`` the outcome
    model's mean for that action and ``expected_judged`` its mean over the actions of the judged policy. ``weight`` is
    one over the share at which a sampled round was drawn.
    """

    reward: Floats
    logged: Floats
    judged: Floats
    expected: Floats
    expected_judged: Floats
    users: NDArray[Any]
    weight: Floats

    @property
    def ratio(self) -> Floats:
        """Importance weights; 0 where the judged policy would not act so."""
        return np.asarray(self.judged / self.logged, dtype=np.float64)

    @property
    def effective(self) -> float:
        """Effective sample size of importance and sampling weights (Kish); below a few hundred, believe no interval."""
        return effective_sample_size(self.ratio * self.weight)


def of_trials(trials: Trials, e: Floats, mu0: Floats, mu1: Floats, shown: Floats) -> Rounds:
    """Rounds whose action is showing or not; ``shown`` is the judged list's probability of showing the trial's item."""
    treated = trials.treated == 1
    return Rounds(
        trials.outcome,
        np.where(treated, e, 1 - e),
        np.where(treated, shown, 1 - shown),
        np.where(treated, mu1, mu0),
        shown * mu1 + (1 - shown) * mu0,
        trials.users,
        trials.weight,
    )


def per_round(rounds: Rounds) -> dict[str, Floats]:
    """Each method's contribution of each round, shape (n,); the method's value is their weighted mean."""
    ratio = rounds.ratio
    return {
        "ips": ratio * rounds.reward,
        "snips": ratio * rounds.reward / max(float(np.average(ratio, weights=rounds.weight)), 1e-300),
        "dm": rounds.expected_judged,
        "dr": rounds.expected_judged + ratio * (rounds.reward - rounds.expected),
    }


def evaluate(rounds: Rounds) -> dict[str, Estimate]:
    """Mean outcome a round under the judged policy by each method, with normal 90 % intervals clustered by user.

    SNIPS by the delta method. The direct method's interval knows nothing of its model's error.
    """
    found = {}
    for method, (value, influence) in _influence(rounds).items():
        error = clustered(influence, rounds.weight, rounds.users)[1]
        found[method] = Estimate(value, value - Z90 * error, value + Z90 * error)
    return found


def compare(first: Rounds, second: Rounds) -> dict[str, Estimate]:
    """How much more the first policy brings than the second, on the same rounds, with intervals of the difference."""
    other = _influence(second)
    found = {}
    for method, (value, influence) in _influence(first).items():
        difference = value - other[method][0]
        error = clustered(influence - other[method][1], first.weight, first.users)[1]
        found[method] = Estimate(difference, difference - Z90 * error, difference + Z90 * error)
    return found


def judge(
    trials: Trials, e: Floats, mu0: Floats, mu1: Floats, listed: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Estimate | float]:
    """Figures of several lists on the same trials, which should have overlap; the first is compared with the others.

    ``listed`` says of each list whether it holds the trial's item, shape (n,); its policy shows exactly what it holds.
    Returned are the mean outcome a trial, ``<list>_<method>``; effective sample sizes, ``<list>_ess`` of all trials and
    ``<list>_ess_listed`` of those whose item it holds; and ``gain_over_<list>_<method>``, the first list's value less
    this one's.
    """
    rounds = {name: of_trials(trials, e, mu0, mu1, holds.astype(np.float64)) for name, holds in listed.items()}
    first = next(iter(rounds.values()))
    found: dict[str, Estimate | float] = {}
    for name, mine in rounds.items():
        found |= {f"{name}_{method}": value for method, value in evaluate(mine).items()}
        found[f"{name}_ess"] = mine.effective
        found[f"{name}_ess_listed"] = effective_sample_size((mine.ratio * mine.weight)[listed[name]])
        if mine is not first:
            found |= {f"gain_over_{name}_{method}": value for method, value in compare(first, mine).items()}
    return found


def bootstrap(rounds: Rounds, draws: int = 500, seed: int = 0) -> dict[str, Estimate]:
    """The values of ``evaluate`` with percentile intervals from resampled users: for few rounds with large weights."""
    codes, people = pd.factorize(np.asarray(rounds.users, dtype=object))
    plain = per_round(rounds) | {"snips": rounds.ratio * rounds.reward}
    summed = (*(plain[name] for name in METHODS), rounds.ratio, np.ones(len(codes)))
    sums = np.column_stack([np.bincount(codes, rounds.weight * given) for given in summed])
    rng = np.random.default_rng(seed)
    size = len(people)
    drawn = np.stack([np.bincount(rng.integers(0, size, size), minlength=size) @ sums for _ in range(draws)])
    below = {name: drawn[:, 4 if name == "snips" else 5] for name in METHODS}
    return {
        name: Estimate(
            _influence(rounds)[name][0],
            *map(float, np.nanquantile(drawn[:, place] / np.where(below[name] > 0, below[name], np.nan), QUANTILES)),
        )
        for place, name in enumerate(METHODS)
    }


def _influence(rounds: Rounds) -> dict[str, tuple[float, Floats]]:
    """Value and influence function of each method."""
    found = {
        name: (float(np.average(given, weights=rounds.weight)), given) for name, given in per_round(rounds).items()
    }
    value, ratio = found["snips"][0], rounds.ratio
    mean = max(float(np.average(ratio, weights=rounds.weight)), 1e-300)
    found["snips"] = (value, ratio * (rounds.reward - value) / mean)
    return found
