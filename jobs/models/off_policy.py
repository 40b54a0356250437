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

from jobs.models.doubly_robust import Z90, clustered
from jobs.models.metrics import QUANTILES, Estimate
from jobs.models.propensity import effective_sample_size, overlap

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


def of_scores(scores: pd.DataFrame, shown: Floats) -> Rounds:
    """Rounds of TRIAL_SCORES whose action is showing or not; ``shown`` (n,) is the list's probability of showing."""
    treated = scores["treated"].to_numpy() == 1
    names = ("outcome", "weight", "e", "mu0", "mu1")
    outcome, weight, e, mu0, mu1 = (scores[name].to_numpy(np.float64) for name in names)
    return Rounds(
        outcome,
        np.where(treated, e, 1 - e),
        np.where(treated, shown, 1 - shown),
        np.where(treated, mu1, mu0),
        shown * mu1 + (1 - shown) * mu0,
        scores["user_id"].to_numpy(),
        weight,
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


def judge(scores: pd.DataFrame, lists: Mapping[str, pd.DataFrame], eps: float) -> dict[str, Estimate | float]:
    """Figures of several lists on the same past trials; the first is compared with the others.

    ``scores`` is TRIAL_SCORES; ``lists`` have user_id and item_id, and the policy of a list shows exactly what it
    holds. Only trials with overlap of users who have all the lists are judged; without one there is no figure but
    their number. Returned are ``trials`` and ``users``; the mean outcome a trial, ``<list>_<method>``; effective
    sample sizes, ``<list>_ess`` of all trials and ``<list>_ess_listed`` of those whose item it holds; and
    ``gain_over_<list>_<method>``, the first list's value less this one's.
    """
    users = set.intersection(*(set(table["user_id"]) for table in lists.values()))
    scores = scores[overlap(scores["e"].to_numpy(), eps) & scores["user_id"].isin(users).to_numpy()]
    found: dict[str, Estimate | float] = {
        "trials": float(len(scores)),
        "users": float(scores["user_id"].nunique()),
    }
    if scores.empty:
        return found
    listed = {name: holds(scores, table) for name, table in lists.items()}
    rounds = {name: of_scores(scores, held.astype(np.float64)) for name, held in listed.items()}
    first = next(iter(rounds.values()))
    for name, mine in rounds.items():
        found |= {f"{name}_{method}": value for method, value in evaluate(mine).items()}
        found[f"{name}_ess"] = mine.effective
        found[f"{name}_ess_listed"] = effective_sample_size((mine.ratio * mine.weight)[listed[name]])
        if mine is not first:
            found |= {f"gain_over_{name}_{method}": value for method, value in compare(first, mine).items()}
    return found


def holds(scores: pd.DataFrame, lists: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the list of the trial's user has the trial's item, shape (n,)."""
    keys = ["user_id", "item_id"]
    found = scores[keys].merge(lists[keys].assign(listed=True), how="left", on=keys, validate="many_to_one")
    return found["listed"].notna().to_numpy()


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
