"""Hidden confounding of known strength: the bound for that strength covers the truth, the plain interval does not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from jobs.models import estimators, sensitivity
from jobs.models.doubly_robust import Trials
from jobs.models.metrics import Estimate
from jobs.models.sensitivity import Residuals
from tests.models.worlds import EFFECT, STRENGTH, fit, hidden

ROWS = 20_000


def test_bound_for_the_true_strength_covers_the_truth_and_the_plain_interval_does_not():
    for seed in range(5):
        made = hidden(seed)
        n = fit(made.trials, seed)
        plain = estimators.aipw(made.trials, n).estimate
        assert plain is not None and plain.low > EFFECT + 0.01
        bound = sensitivity.bounds(made.trials, n.e, n.mu0, n.mu1, STRENGTH)
        assert bound.low <= EFFECT <= bound.high
        assert bound.low < bound.lower < bound.upper < bound.high


def test_bound_without_hidden_confounding_is_the_effect_and_widens_with_strength():
    made = hidden(0, harm=0.0)
    n = made.nuisance
    found = [sensitivity.bounds(made.trials, n.e, n.mu0, n.mu1, strength) for strength in (1.0, 1.2, 2.0)]
    plain = estimators.aipw(made.trials, n).estimate
    assert plain is not None
    assert found[0].lower == pytest.approx(found[0].upper, abs=1e-12)
    assert found[0].lower == pytest.approx(plain.value, abs=5e-4)
    assert found[0].high - found[0].low == pytest.approx(plain.high - plain.low, rel=0.02)
    assert found[0].lower > found[1].lower > found[2].lower
    assert found[0].upper < found[1].upper < found[2].upper


def test_bound_is_the_optimum_of_the_linear_program():
    """Charnes and Cooper 1962: a linear-fractional program as a linear one, solved by scipy."""
    rng = np.random.default_rng(5)
    n = 40
    treated = (np.arange(n) % 2).astype(np.int32)
    e, outcome, weight = rng.uniform(0.2, 0.8, n), rng.random(n), rng.uniform(0.5, 2, n)
    users = np.arange(n).astype(str).astype(object)
    trials = Trials(np.zeros((n, 1), np.float32), treated, outcome, weight, users, np.zeros(n, np.int64))
    ends = []
    for arm, chance, sign in ((1, e, -1.0), (0, 1 - e, 1.0)):
        rows = treated == arm
        odds = 1 / chance[rows] - 1
        size = int(rows.sum())
        upper, lower = np.diag(np.ones(size)), -np.diag(np.ones(size))
        limits = np.vstack(
            [
                np.column_stack([upper, -weight[rows] * (1 + odds * STRENGTH)]),
                np.column_stack([lower, weight[rows] * (1 + odds / STRENGTH)]),
            ]
        )
        solved = linprog(
            np.append(-sign * outcome[rows], 0.0),
            A_ub=limits,
            b_ub=np.zeros(2 * size),
            A_eq=np.append(np.ones(size), 0.0)[None],
            b_eq=[1.0],
        )
        ends.append(-sign * solved.fun)
    none = np.zeros(n)
    assert sensitivity.bounds(trials, e, none, none, STRENGTH).lower == pytest.approx(ends[0] - ends[1], abs=1e-9)


def test_sampling_error_of_a_bound_is_its_spread_over_worlds():
    found = []
    for seed in range(60):
        made = hidden(seed)
        n = made.nuisance
        found.append(sensitivity.bounds(made.trials, n.e, n.mu0, n.mu1, 6.0))
    for bound, end in (("lower", "low"), ("upper", "high")):
        spread = np.std([getattr(one, bound) for one in found])
        said = np.mean([abs(getattr(one, end) - getattr(one, bound)) for one in found]) / sensitivity.Z90
        assert said == pytest.approx(spread, rel=0.3)


def test_erasing_strength_is_one_without_an_effect_and_grows_with_it():
    found = []
    for effect in (0.0, 0.05, 0.3):
        made = hidden(0, effect=effect, harm=0.0)
        n = made.nuisance
        found.append(sensitivity.erasing_strength(made.trials, n.e, n.mu0, n.mu1))
    assert found[0] == 1.0 < found[1] < found[2] < sensitivity.STRONGEST
    made = hidden(0, effect=0.3, harm=0.0)
    n = made.nuisance
    assert sensitivity.bounds(made.trials, n.e, n.mu0, n.mu1, found[2] / 1.02).low > 0


def linear(seed: int, strength: float = 0.5) -> tuple[Residuals, NDArray[np.float64]]:
    """Residuals of a linear world in which a hidden normal cause moves treatment and outcome by ``strength``."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=ROWS)
    treated = strength * cause + rng.normal(size=ROWS)
    outcome = EFFECT * treated + strength * cause + rng.normal(size=ROWS)
    return Residuals(outcome, treated, np.ones(ROWS)), cause


def r2(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.corrcoef(one, other)[0, 1] ** 2)


def test_widened_interval_covers_the_truth_for_the_true_partial_r2():
    residuals, cause = linear(0)
    t, y = residuals.treated, residuals.outcome
    biased = float(t @ y / (t @ t))
    left = y - biased * t
    of_outcome = r2(left, cause - t * (t @ cause) / (t @ t))
    narrow = Estimate(biased, biased - 0.02, biased + 0.02)
    wide = sensitivity.confounded(narrow, residuals, r2(t, cause), of_outcome)
    assert narrow.low > EFFECT + 0.1
    assert wide.low <= EFFECT <= wide.high
    assert wide.low + 0.02 == pytest.approx(EFFECT, abs=0.03)


def test_robustness_value_erases_the_effect_exactly():
    residuals, _ = linear(1)
    value = 0.3
    share = sensitivity.robustness_value(value, residuals)
    found = sensitivity.confounded(Estimate(value, value, value), residuals, share, share)
    assert 0 < share < 1 and found.low == pytest.approx(0.0, abs=1e-12)
    assert sensitivity.robustness_value(0.0, residuals) == 0.0


def test_e_value_of_the_smoking_example():
    """VanderWeele and Ding 2017: a risk ratio of 10.73 (8.02 to 14.36) has E-values 20.9 and 15.5."""
    base = 0.01
    found = Estimate(base * 9.73, base * 7.02, base * 13.36)
    assert sensitivity.e_value(found, base) == pytest.approx((20.9, 15.5), abs=0.05)
    assert sensitivity.e_value(Estimate(0.01, -0.01, 0.03), 0.1)[1] == 1.0
    falling = sensitivity.e_value(Estimate(-0.05, -0.06, -0.04), 0.1)
    assert falling[0] == pytest.approx(2 + np.sqrt(2)) and 1 < falling[1] < falling[0]
