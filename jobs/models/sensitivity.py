"""How strong hidden confounding would have to be to erase an average effect, in three scales.

* Robustness value: the share of the residual variance of both treatment and outcome that a hidden cause would have to
  explain (Cinelli and Hazlett, JRSS B 2020).
* E-value: the risk ratio by which it would have to be tied to both (VanderWeele and Ding, Annals 2017).
* Marginal sensitivity model: the factor by which it may change each trial's odds of being shown (Tan, JASA 2006).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.models.doubly_robust import Z90, Trials, clustered
from jobs.models.metrics import Estimate

Floats = NDArray[np.float64]
STRONGEST = 20.0  # no effect is claimed to survive more


@dataclass(frozen=True)
class Residuals:
    """Outcome and treatment less their expectations given the features, with weights; each of shape (n,)."""

    outcome: Floats
    treated: Floats
    weight: Floats

    def scale(self, effect: float) -> float:
        """Standard deviation of the outcome left over after ``effect``, by that of the treatment."""
        left = self.outcome - effect * self.treated
        return float(
            np.sqrt(np.average(left**2, weights=self.weight) / np.average(self.treated**2, weights=self.weight))
        )


def robustness_value(effect: float, residuals: Residuals) -> float:
    """Share of the residual variance of treatment and of outcome that erases ``effect``, between 0 and 1.

    (sqrt(f^4 + 4 f^2) - f^2) / 2, with f the treatment's partial Cohen's f: Cinelli and Hazlett 2020, section 4.1. For
    an interval's end give that end, and 0 where zero is inside the interval.
    """
    f = abs(effect) / residuals.scale(effect)
    return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)


def confounded(found: Estimate, residuals: Residuals, of_treated: float, of_outcome: float) -> Estimate:
    """The interval of a partially linear effect, widened on both sides by the largest bias such a hidden cause has.

    ``of_treated`` and ``of_outcome`` are its partial R2 with treatment and with outcome given the features (and the
    treatment): bias = sqrt(of_outcome of_treated / (1 - of_treated)) sd(outcome) / sd(treatment). Cinelli and Hazlett
    2020, section 3.2.
    """
    bias = float(np.sqrt(of_outcome * of_treated / (1 - of_treated))) * residuals.scale(found.value)
    return Estimate(found.value, found.low - bias, found.high + bias)


def e_value(found: Estimate, control_rate: float) -> tuple[float, float]:
    """E-values of the effect and of the end of its interval nearer to zero; 1 where zero is inside.

    RR + sqrt(RR (RR - 1)), with the risk ratio from ``control_rate``, the mean outcome probability not shown over the
    same trials. VanderWeele and Ding 2017.
    """
    nearest = max(found.low, 0.0) + min(found.high, 0.0)
    return _e_value(control_rate, found.value), _e_value(control_rate, nearest)


def _e_value(control_rate: float, effect: float) -> float:
    rate, control = np.clip([control_rate + effect, control_rate], 1e-12, 1.0)
    ratio = max(rate / control, control / rate)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


@dataclass(frozen=True)
class Bounds:
    """The marginal sensitivity model's bounds on the average effect, and these with their sampling error at 90 %."""

    lower: float
    upper: float
    low: float
    high: float


def bounds(trials: Trials, e: Floats, mu0: Floats, mu1: Floats, strength: float) -> Bounds:
    """Smallest and largest average effect if hidden causes move each trial's odds of being shown by up to ``strength``.

    In each arm the mean residual from the outcome model is minimised and maximised over all weights
    1 + (1/e - 1) w with w in [1/strength, strength]: a linear-fractional program. Source: Zhao, Small and Bhattacharya,
    JRSS B 2019, sections 4 and 6 (augmented). At the optimum a change of the weights adds nothing to first order
    (envelope theorem), so the sampling error is that of a weighted mean with these weights, clustered by user.
    """
    ends = []
    for sign in (-1.0, 1.0):
        one, influence_one = _arm(trials.treated == 1, sign * (trials.outcome - mu1), e, trials.weight, strength)
        none, influence_none = _arm(trials.treated == 0, sign * (mu0 - trials.outcome), 1 - e, trials.weight, strength)
        value = float(np.average(mu1 - mu0, weights=trials.weight)) + sign * (one + none)
        influence = mu1 - mu0 + sign * (influence_one + influence_none)
        ends.append((value, clustered(influence, trials.weight, trials.users)[1]))
    (lower, error_lower), (upper, error_upper) = ends
    return Bounds(lower, upper, lower - Z90 * error_lower, upper + Z90 * error_upper)


def _arm(arm: NDArray[np.bool_], residual: Floats, e: Floats, weight: Floats, strength: float) -> tuple[float, Floats]:
    """Largest weighted mean of the arm's residuals and its influence function over all trials."""
    rows = np.flatnonzero(arm)
    rows = rows[np.argsort(-residual[rows], kind="stable")]
    odds = 1 / e[rows] - 1
    few, many = weight[rows] * (1 + odds / strength), weight[rows] * (1 + odds * strength)
    # a linear-fractional program: the largest residuals get the large weights, up to one place
    above = np.cumsum(np.stack([many, many * residual[rows]]), axis=1)
    below = np.cumsum(np.stack([few, few * residual[rows]]), axis=1)
    total = np.column_stack([below[:, -1:], above + below[:, -1:] - below])
    best = int(np.argmax(total[1] / total[0]))
    value = float(total[1, best] / total[0, best])
    chosen = np.where(np.arange(len(rows)) < best, many, few)
    influence = np.zeros(len(residual))
    influence[rows] = chosen / weight[rows] * (residual[rows] - value) * (weight.sum() / total[0, best])
    return value, influence


def erasing_strength(trials: Trials, e: Floats, mu0: Floats, mu1: Floats) -> float:
    """The smallest strength at which the marginal sensitivity model's interval holds zero; at most ``STRONGEST``.

    1 means that the effect is not there without any hidden confounding either.
    """

    def holds_zero(strength: float) -> bool:
        found = bounds(trials, e, mu0, mu1, strength)
        return found.low <= 0 <= found.high

    return _smallest(holds_zero, 1.0, STRONGEST)


def _smallest(holds: Callable[[float], bool], low: float, high: float, steps: int = 12) -> float:
    """Bisection on a log scale for a condition that stays true once it is."""
    if holds(low):
        return low
    if not holds(high):
        return high
    for _ in range(steps):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
