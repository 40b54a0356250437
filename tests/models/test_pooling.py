import numpy as np
import pandas as pd

from jobs.models import pooling
from jobs.models.doubly_robust import Z90


def test_calibration_slopes_stay_within_their_bounds():
    rng = np.random.default_rng(3)
    predicted = rng.normal(size=(2_000, 1))
    users = np.arange(2_000).astype(str)
    for factor, slope in ((-1.0, 0.0), (0.5, 0.5), (5.0, 1.5)):
        found, _, _ = pooling.calibrate(predicted, factor * predicted[:, 0], np.ones(2_000), users)
        assert np.isclose(found[0], slope, atol=1e-6)


def test_calibration_tells_a_part_that_promises_too_much_from_one_that_does_not():
    rng = np.random.default_rng(4)
    parts, noise = rng.normal(size=(40_000, 2)), rng.normal(size=40_000)
    score = 0.01 + 0.6 * parts[:, 0] + 1.0 * parts[:, 1] + noise
    slopes, intercept, error = pooling.calibrate(parts, score, rng.uniform(1, 3, 40_000), np.arange(40_000).astype(str))
    assert np.allclose(slopes, [0.6, 1.0], atol=0.03)
    assert abs(intercept - 0.01) < 3 * error and 0.003 < error < 0.008


def test_without_scores_the_parts_stand_as_they_are():
    slopes, intercept, error = pooling.calibrate(np.zeros((0, 2)), np.zeros(0), np.zeros(0), [])
    assert slopes.tolist() == [1.0, 1.0] and intercept == 0.0 and error > 0


def test_moments_recover_the_variance_between_groups():
    rng = np.random.default_rng(0)
    error = rng.uniform(0.05, 0.2, 5_000)
    estimate = rng.normal(0.0, 0.1, 5_000) + error * rng.normal(size=5_000)
    assert abs(pooling.moment_variance(estimate, error) - 0.01) < 0.001
    assert pooling.moment_variance(error * rng.normal(size=5_000), error) < 0.0005


def test_a_group_without_a_variance_keeps_its_parent():
    effect, left = pooling.combine(np.array([0.3, 0.3]), np.array([np.inf, 0.01]), 0.1, 0.01)
    assert np.allclose(effect, [0.1, 0.2]) and np.allclose(left, [0.01, 0.005])


def test_a_pair_without_an_arm_has_no_difference_of_its_own():
    counts = pd.DataFrame(
        {"treated": [0, 3], "treated_outcomes": [0, 3], "control": [9, 4], "control_outcomes": [5, 1]}
    )
    difference, variance = pooling.own_difference(counts, np.full(2, 0.2), np.full(2, 0.1))
    assert np.isinf(variance[0]) and np.isfinite(variance[1])
    assert np.isclose(difference[1], 0.75)


def test_calibration_error_is_clustered_by_user():
    rng = np.random.default_rng(4)
    own, parts = np.repeat(rng.normal(size=300), 10), rng.normal(size=(3_000, 1))
    users, rows = np.repeat(np.arange(300), 10).astype(str), np.arange(3_000).astype(str)
    _, intercept, error = pooling.calibrate(parts, 0.2 + own, np.ones(3_000), users)
    _, _, alone = pooling.calibrate(parts, 0.2 + own, np.ones(3_000), rows)
    assert error > 2.5 * alone and abs(intercept - 0.2) < 3 * error


def test_combination_covers_and_is_nearer_than_what_it_combines():
    rng = np.random.default_rng(2)
    truth = rng.normal(0.3, 0.1, 20_000)
    estimate = truth + rng.normal(0.0, 0.2, 20_000)
    found, left = pooling.combine(estimate, np.full(20_000, 0.04), 0.3, 0.01)
    assert ((found - truth) ** 2).mean() < 0.3 * ((estimate - truth) ** 2).mean()
    assert abs((np.abs(found - truth) <= Z90 * np.sqrt(left)).mean() - 0.9) < 0.01
