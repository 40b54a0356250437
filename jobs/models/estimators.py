"""Average effects by several methods side by side, each with a 90 % interval clustered by user.

They agree where the assumptions all of them share hold; where two do not, at least one assumption is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import ArrayLike, NDArray

from jobs.models import doubly_robust, linear
from jobs.models.doubly_robust import Z90, Trials
from jobs.models.metrics import Estimate

Floats = NDArray[np.float64]
WEAK = 10.0  # Staiger and Stock, Econometrica 1997: a first-stage F below this makes the interval worthless
ALL, OVERLAP, MOVED = "all trials", "trials weighted by overlap", "trials the instrument moves"


@dataclass(frozen=True)
class Nuisance:
    """Out-of-fold propensity inside (0, 1) and outcome probabilities not shown and shown, each of shape (n,)."""

    e: Floats
    mu0: Floats
    mu1: Floats


@dataclass(frozen=True)
class Finding:
    """An average effect by one method, over whom it averages, and a note; no estimate where the method cannot say."""

    method: str
    over: str
    estimate: Estimate | None
    note: str = ""


def side_by_side(
    trials: Trials, nuisance: Nuisance, items: ArrayLike, instrument: ArrayLike | None = None
) -> list[Finding]:
    """All methods on the same trials, which should have overlap; ``items`` and ``instrument`` have shape (n,)."""
    return [
        aipw(trials, nuisance),
        ipw(trials, nuisance.e),
        partially_linear(trials, nuisance),
        regression(trials),
        item_difference(trials, items),
        two_stage(trials, instrument),
    ]


def aipw(trials: Trials, nuisance: Nuisance) -> Finding:
    """Augmented inverse-propensity weighting: right if the propensity or the outcome models are.

    Source: Robins, Rotnitzky and Zhao, JASA 1994; cross-fitted as in Chernozhukov et al., Econometrics Journal 2018,
    equation 5.3.
    """
    score = doubly_robust.scores(trials.treated, trials.outcome, nuisance.e, nuisance.mu0, nuisance.mu1)
    return Finding("AIPW", ALL, interval(*doubly_robust.clustered(score, trials.weight, trials.users)))


def ipw(trials: Trials, e: Floats) -> Finding:
    """Inverse-propensity weighting with weights that sum to one in each arm (Hajek 1971).

    sum(t y / e) / sum(t / e) - sum((1 - t) y / (1 - e)) / sum((1 - t) / (1 - e)), with the error of a ratio of means.
    The propensity is taken as known, which makes the interval too wide rather than too narrow (Hirano, Imbens and
    Ridder, Econometrica 2003). Source: Lunceford and Davidian, Statistics in Medicine 2004, their IPW2.
    """
    shown, hidden = trials.treated / e, (1 - trials.treated) / (1 - e)
    score = np.zeros(len(e))
    total = 0.0
    for sign, inverse in ((1, shown), (-1, hidden)):
        mean = float(np.average(trials.outcome, weights=trials.weight * inverse))
        total += sign * mean
        score += sign * inverse * (trials.outcome - mean) / np.average(inverse, weights=trials.weight)
    _, error = doubly_robust.clustered(score, trials.weight, trials.users)
    return Finding("IPW", ALL, interval(total, error))


def partially_linear(trials: Trials, nuisance: Nuisance) -> Finding:
    """Partially linear double machine learning: outcome residual on treatment residual, both out of fold.

    Where the effect differs between trials it averages them with weights e (1 - e). The outcome's expectation is
    mu0 + e (mu1 - mu0). Source: Chernozhukov et al., Econometrics Journal 2018, equation 4.4; Robinson 1988.
    """
    outcome, treated = residuals(trials, nuisance)
    fitted = _least_squares(outcome, treated[:, None], trials)
    return Finding("partially linear", OVERLAP, interval(fitted.params[0], fitted.bse[0]))


def residuals(trials: Trials, nuisance: Nuisance) -> tuple[Floats, Floats]:
    """Outcome and treatment less their out-of-fold expectations, each of shape (n,)."""
    expected = nuisance.mu0 + nuisance.e * (nuisance.mu1 - nuisance.mu0)
    return trials.outcome - expected, trials.treated - nuisance.e


def regression(trials: Trials) -> Finding:
    """Linear regression on treatment, features and their interactions, with standard errors clustered by user.

    With centred features the coefficient of the treatment is the average effect over all trials. Source: Lin, Annals
    of Applied Statistics 2013, section 3 (regression with interactions).
    """
    columns = np.column_stack([trials.outcome, trials.treated])
    outcome, treated = linear.partial_out(
        columns, linear.design(trials.matrix, trials.weight), trials.weight, trials.treated
    ).T
    if np.average(treated**2, weights=trials.weight) < 1e-6:
        return Finding("linear regression", ALL, None, "features that have one value in an arm explain the showing")
    fitted = _least_squares(outcome, treated[:, None], trials)
    return Finding("linear regression", ALL, interval(fitted.params[0], fitted.bse[0]))


def item_difference(trials: Trials, items: ArrayLike) -> Finding:
    """Treated less control mean within each item, averaged over the trials of items with two trials in each arm.

    It adjusts for the item and nothing else; the error is that for these items and their numbers of trials. Source:
    post-stratification as in Miratrix, Sekhon and Yu, JRSS B 2013, section 2; residuals scaled by n / (n - 1), the
    unbiased variance of a mean.
    """
    codes, names = pd.factorize(np.asarray(items, dtype=object))
    arm = codes * 2 + trials.treated
    size, total = (np.bincount(arm, given, 2 * len(names)) for given in (None, trials.weight))
    mean = np.bincount(arm, trials.weight * trials.outcome, 2 * len(names)) / np.maximum(total, 1e-12)
    usable = np.all(size.reshape(-1, 2) >= 2, axis=1)[codes]
    if not usable.any():
        return Finding("item mean difference", ALL, None, "no item has two trials in each arm")
    share = total / np.maximum(total.reshape(-1, 2).sum(axis=1), 1e-12).repeat(2)
    own = (trials.outcome - mean[arm]) * np.sqrt(size[arm] / np.maximum(size[arm] - 1, 1))
    score = np.where(trials.treated == 1, 1, -1) * own / share[arm]
    weight, users = trials.weight[usable], trials.users[usable]
    value = float(np.average((mean[codes * 2 + 1] - mean[codes * 2])[usable], weights=weight))
    _, error = doubly_robust.clustered(score[usable], weight, users)
    left = float(np.average(~usable, weights=trials.weight))
    note = f"{left:.1%} of trials left out" if left else ""
    return Finding("item mean difference", ALL, interval(value, error), note)


def two_stage(trials: Trials, instrument: ArrayLike | None) -> Finding:
    """Two-stage least squares with one instrument, shape (n,), and the features as covariates.

    The effect of showing on those whom the instrument moves, if it reaches the outcome by showing only. There is no
    estimate where the first stage's F, clustered by user, is below ``WEAK``. With the features partialled out (Frisch
    and Waugh 1933) the estimate is sum(z y) / sum(z t), the same as CausalML's IVRegressor. Source: Angrist and Imbens,
    JASA 1995, section 3; robust F as in Montiel Olea and Pflueger, JBES 2013.
    """
    method = "instrumental variable"
    if instrument is None:
        return Finding(method, MOVED, None, "the site names no instrument")
    trials, given, unknown = with_instrument(trials, instrument)
    if not len(given):
        return Finding(method, MOVED, None, unknown)
    columns = np.column_stack([trials.outcome, trials.treated, given])
    outcome, treated, moved = linear.partial_out(columns, linear.design(trials.matrix, trials.weight), trials.weight).T
    if moved.std() < 1e-9 * max(1.0, float(np.abs(given).max())):
        return Finding(method, MOVED, None, "the instrument does not vary beyond the features")
    first = _least_squares(treated, moved[:, None], trials)
    f = float(first.tvalues[0] ** 2)
    if f < WEAK:
        return Finding(method, MOVED, None, f"the instrument is weak: first-stage F {f:.1f} is below {WEAK:.0f}")
    strength = float(trials.weight @ (moved * treated))
    value = float(trials.weight @ (moved * outcome)) / strength
    score = moved * (outcome - value * treated) * (trials.weight.sum() / strength)
    _, error = doubly_robust.clustered(score, trials.weight, trials.users)
    return Finding(method, MOVED, interval(value, error), f"first-stage F {f:.1f}{unknown}")


def with_instrument(trials: Trials, instrument: ArrayLike) -> tuple[Trials, Floats, str]:
    """The trials of which the instrument is known, its values, and in words how many are left out."""
    given = np.asarray(instrument, dtype=np.float64)
    known = np.isfinite(given)
    left = float(1 - trials.weight[known].sum() / trials.weight.sum())
    if not known.any():
        return trials.take(known), given[known], "the instrument is not known of any trial"
    return trials.take(known), given[known], f", not known of {left:.1%} of trials" if left else ""


def disagreements(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Pairs of methods whose 90 % intervals do not meet; methods without an estimate disagree with none."""
    said = [(finding.method, finding.estimate) for finding in findings if finding.estimate is not None]
    return [
        (first, second)
        for (first, one), (second, other) in combinations(said, 2)
        if one.low > other.high or other.low > one.high
    ]


def _least_squares(outcome: Floats, columns: Floats, trials: Trials) -> Any:
    users = pd.factorize(np.asarray(trials.users, dtype=object))[0]
    return sm.WLS(outcome, columns, weights=trials.weight).fit(cov_type="cluster", cov_kwds={"groups": users})


def interval(value: float, error: float) -> Estimate:
    """An estimate with a normal 90 % interval of its standard error."""
    return Estimate(float(value), float(value - Z90 * error), float(value + Z90 * error))
