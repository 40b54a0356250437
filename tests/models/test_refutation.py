from dataclasses import replace

import numpy as np

from jobs.models import doubly_robust, refutation
from tests.models.planted import QUICK, plant

SMALL = QUICK.model_copy(update={"trees": 15})


def test_placebo_keeps_its_rate_and_finds_no_effect_where_the_treatment_had_one():
    planted = plant(0.3)
    fake = refutation.permuted(planted.trials.treated, planted.propensity, 0)
    assert fake.sum() == planted.trials.treated.sum()
    assert (fake != planted.trials.treated).mean() > 0.2
    found = refutation.placebo(planted.trials, QUICK, 0).interval(doubly_robust.Z99)
    assert found.low <= 0.0 <= found.high


def test_subset_and_noise_leave_the_effect_where_it_was():
    trials = plant(0.3).trials
    first = doubly_robust.estimate(trials, QUICK, 0)
    assert refutation.stable(first, refutation.random_subset(trials, QUICK, 0))
    assert refutation.stable(first, refutation.random_common_cause(trials, QUICK, 0))


def test_estimates_far_apart_are_not_stable():
    assert not refutation.stable(
        doubly_robust.AverageEffect(0.1, 0.01, 10, 10), doubly_robust.AverageEffect(0.2, 0.01, 10, 10)
    )


def test_subsample_keeps_whole_users():
    trials = plant(0.0).trials
    part = refutation.subsample(trials, 5_000, "x")
    assert 3_500 < len(part.outcome) < 6_500
    assert not set(part.users) & set(trials.users[~np.isin(trials.users, part.users)])


def test_placebo_in_worlds_without_an_effect_is_off_by_chance_only():
    """Over 20 null worlds: the errors' chi-square below its 99.9 % bound, and a false alarm at 90 % in 6 at most."""
    off = []
    for seed in range(20):
        found = refutation.placebo(plant(0.0, rows=4_000, seed=seed).trials, SMALL, seed)
        off.append(found.value / found.error)
    assert np.square(off).sum() < 45.3
    assert (np.abs(off) > doubly_robust.Z90).sum() <= 6


def test_negative_control_finds_nothing_where_the_features_say_all():
    planted = plant(0.3)
    later = (np.random.default_rng(1).random(len(planted.propensity)) < planted.propensity).astype(np.int32)
    later[::10] = -1
    found = refutation.negative_control(planted.trials, later, QUICK, 0)
    interval = found.interval(doubly_robust.Z99)
    assert interval.low <= 0.0 <= interval.high
    untreated = (planted.trials.treated == 0) & (later >= 0)
    assert 0.9 * untreated.sum() < found.treated + found.control <= untreated.sum()


def test_negative_control_sees_a_cause_of_showing_that_the_features_lack():
    planted = plant(0.3)
    later = (np.random.default_rng(1).random(len(planted.propensity)) < planted.propensity).astype(np.int32)
    matrix = planted.trials.matrix.copy()
    matrix[:, 0] = 0.0  # keenness is hidden now
    found = refutation.negative_control(replace(planted.trials, matrix=matrix), later, QUICK, 0)
    assert found.interval(doubly_robust.Z99).low > 0.0
