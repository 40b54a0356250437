"""The measured lift of a randomised group: difference of means with a covariate, for one look and for many.

Users are assigned once, by a hash, so the plain difference is unbiased; the outcome count of the time before makes it
sharper (CUPED: Deng, Xu, Kohavi and Walker, WSDM 2013). Who looks every night and stops when it pleases needs
``always_valid``, whose intervals hold on all nights together: the asymptotic confidence sequence of Waudby-Smith,
Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory", Annals of Statistics 2024, with its normal
mixture boundary (Robbins 1970).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from jobs.models.metrics import Estimate

Floats = NDArray[np.float64]
ALPHA = 0.1
TIGHTEST = 14  # nights at which the sequence is as narrow as it can be


@dataclass(frozen=True)
class Difference:
    """Treated minus control in the mean of one number a user, its standard error and Welch's degrees of freedom."""

    value: float
    error: float
    freedom: float
    treated: int
    control: int

    def interval(self) -> Estimate:
        """90 % t interval for a single look."""
        return self._within(float(stats.t.ppf(1 - ALPHA / 2, self.freedom)))

    def always_valid(self, nights: int) -> Estimate:
        """The interval of look ``nights`` (1, 2, ...) of a sequence that holds the truth on every night with 90 %.

        ``self`` is the difference of what users did over all nights so far. The boundary is meant for independent
        nights; users who differ for good make nights alike, which only makes crossing rarer (Slepian 1962).
        """
        tail = stats.norm.sf(boundary(nights))
        return self._within(float(stats.t.isf(tail, self.freedom)))

    def _within(self, errors: float) -> Estimate:
        return Estimate(self.value, self.value - errors * self.error, self.value + errors * self.error)


def boundary(nights: int) -> float:
    """Standard errors by which the mean of ``nights`` may be off, uniformly over nights, with probability ALPHA."""
    spread = (-2 * np.log(ALPHA) + np.log(1 - 2 * np.log(ALPHA))) / TIGHTEST  # rho squared, their appendix B.2
    grown = nights * spread + 1
    return float(np.sqrt(2 * grown / (nights * spread) * np.log(np.sqrt(grown) / ALPHA)))


def difference(outcome: Floats, before: Floats, treated: NDArray[np.bool_]) -> Difference | None:
    """CUPED difference of ``outcome`` between users, all of shape (users,); None where a group has fewer than two.

    ``before`` is the same count in the time before anybody was assigned; its coefficient is the one pooled over the
    groups' own means. Welch's standard error.
    """
    sizes = (int(treated.sum()), int((~treated).sum()))
    if min(sizes) < 2:
        return None
    own = np.where(treated, before[treated].mean(), before[~treated].mean())
    spread = float(((before - own) ** 2).sum())
    theta = float((outcome * (before - own)).sum()) / spread if spread > 0 else 0.0
    left = outcome - theta * (before - before.mean())
    arms = [left[treated], left[~treated]]
    parts = [float(arm.var(ddof=1)) / len(arm) for arm in arms]
    error = float(np.sqrt(sum(parts)))
    beneath = sum(part**2 / (len(arm) - 1) for part, arm in zip(parts, arms, strict=True))
    freedom = error**4 / beneath if beneath > 0 else float(sum(sizes) - 2)
    return Difference(float(arms[0].mean() - arms[1].mean()), error, freedom, *sizes)
