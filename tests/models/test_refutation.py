import numpy as np

from jobs.models import doubly_robust, refutation
from tests.models.planted import QUICK, plant


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
