import numpy as np

from jobs.models import doubly_robust
from tests.models.planted import QUICK, plant


def test_planted_confounded_effect_is_recovered_where_the_raw_difference_is_not():
    planted = plant(0.2)
    trials = planted.trials
    raw = trials.outcome[trials.treated == 1].mean() - trials.outcome[trials.treated == 0].mean()
    found = doubly_robust.estimate(trials, QUICK, 0).interval(doubly_robust.Z99)
    truth = planted.effect.mean()
    assert raw - truth > 0.03
    assert found.low <= truth <= found.high
    assert found.high - found.low < 0.06


def test_no_effect_is_found_where_there_is_none():
    found = doubly_robust.estimate(plant(0.0).trials, QUICK, 0).interval(doubly_robust.Z99)
    assert found.low <= 0.0 <= found.high


def test_error_grows_when_trials_of_a_user_repeat_each_other():
    score = np.random.default_rng(0).normal(size=500)
    users = np.arange(500).astype(str)
    _, once = doubly_robust.clustered(score, np.ones(500), users)
    _, repeated = doubly_robust.clustered(np.tile(score, 4), np.ones(2000), np.tile(users, 4))
    assert np.isclose(once, repeated, rtol=0.01)


def test_group_means_equal_the_clustered_mean_of_each_group():
    rng = np.random.default_rng(1)
    score, users, groups = rng.normal(size=300), rng.integers(0, 30, 300).astype(str), rng.integers(0, 3, 300)
    table = doubly_robust.by_group(score, np.ones(300), users, groups)
    assert len(table) == 3
    for name in range(3):
        expected = doubly_robust.clustered(
            score[groups == name], np.ones((groups == name).sum()), users[groups == name]
        )
        assert np.allclose(table.loc[name, ["estimate", "error"]].astype(float), expected)
