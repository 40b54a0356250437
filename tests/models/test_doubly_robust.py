import numpy as np
import pytest

from jobs.models import doubly_robust
from jobs.models.metrics import Estimate
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


def test_interval_of_a_ratio_holds_the_truth_as_often_as_it_says_where_users_repeat_themselves():
    held, rng = 0, np.random.default_rng(2)
    for _ in range(200):
        users = np.repeat(np.arange(150), 8)
        keen = np.repeat(rng.gamma(2.0, 0.5, 150), 8)
        below, weight = keen + rng.normal(size=1200), rng.uniform(0.5, 2.0, 1200)
        found = doubly_robust.ratio(1.5 * keen + rng.normal(size=1200), below, weight, users.astype(str))
        assert isinstance(found, Estimate)
        held += found.low <= 1.5 <= found.high
    assert 0.83 < held / 200 < 0.97


def test_a_ratio_to_what_may_be_zero_has_no_interval():
    rng = np.random.default_rng(3)
    found = doubly_robust.ratio(np.ones(100), rng.normal(0.01, 1, 100), np.ones(100), np.arange(100).astype(str))
    assert isinstance(found, float)


def test_a_right_effect_keeps_its_promise_and_a_noisy_one_promises_more():
    rng = np.random.default_rng(0)
    truth, users = rng.normal(0.05, 0.05, 40_000), np.arange(40_000).astype(str)
    score, weight = truth + rng.normal(0, 0.1, 40_000), rng.uniform(0.5, 2.0, 40_000)
    kept = doubly_robust.promised(truth, score, weight, users)
    broken = doubly_robust.promised(truth + rng.normal(0, 0.1, 40_000), score, weight, users)
    assert isinstance(kept, Estimate) and kept.low < 1.0 < kept.high < 1.1
    assert isinstance(broken, Estimate) and broken.low > 1.4


def test_a_promise_is_about_the_best_share_by_weight():
    effect, score, weight = np.array([0.2, 0.4, 0.1]), np.array([0.1, 0.1, 0.0]), np.array([1.0, 1.0, 2.0])
    for share, promise in ((0.25, 4.0), (0.5, 3.0)):
        found = doubly_robust.promised(effect, score, weight, np.array(["a", "b", "c"]), share)
        assert isinstance(found, Estimate) and found.value == pytest.approx(promise)


def test_there_is_no_promise_where_nothing_is_found():
    one, users = np.ones(100), np.arange(100).astype(str)
    assert doubly_robust.promised(one, -one, one, users) is None
    assert doubly_robust.promised(one[:1], one[:1], one[:1], users[:1]) is None  # no trial fits the share
