"""What a policy would have brought, judged from the log of another: IPS, SNIPS, direct method and doubly robust.

The formulas stand in ``per_round``. Source: Dudik, Erhan, Langford and Li, "Doubly robust policy evaluation and
optimization", Statistical Science 2014, sections 2 and 3; self-normalised: Swaminathan and Joachims, NeurIPS 2015.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


def per_round(rounds: Rounds) -> dict[str, Floats]:
    """Each method's contribution of each round, shape (n,); the method's value is their weighted mean."""
    ratio = rounds.ratio
    return {
        "ips": ratio * rounds.reward,
        "snips": ratio * rounds.reward / max(float(np.average(ratio, weights=rounds.weight)), 1e-300),
        "dm": rounds.expected_judged,
        "dr": rounds.expected_judged + ratio * (rounds.reward - rounds.expected),
    }


def resampled(rounds: Rounds, draws: int, seed: int) -> pd.DataFrame:
    """Mean outcome a round by each method: the first row as it is, each other with users drawn anew.

    The same users and seed draw the same, so the rows of two policies belong together. The draws know nothing of the
    error of the direct method's model.
    """
    codes, people = pd.factorize(np.asarray(rounds.users, dtype=object))
    ratio = rounds.ratio
    above = per_round(rounds) | {"snips": ratio * rounds.reward}
    below = dict.fromkeys(METHODS, np.ones(len(codes))) | {"snips": ratio}
    sums = [np.bincount(codes, rounds.weight * part[name]) for part in (above, below) for name in METHODS]
    by_user, rng, size = np.column_stack(sums), np.random.default_rng(seed), len(people)
    times = (np.bincount(rng.integers(0, size, size), minlength=size) for _ in range(draws))
    totals = np.stack([each @ by_user for each in chain([np.ones(size)], times)])
    values = totals[:, : len(METHODS)] / np.maximum(totals[:, len(METHODS) :], 1e-300)
    return pd.DataFrame(values, columns=list(METHODS))
