"""Off-policy estimators equal obp's on the Open Bandit samples, and hold the truth where it is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jobs.models import metrics, off_policy
from jobs.models.metrics import Estimate
from jobs.models.off_policy import Rounds
from tests.models import open_bandit

SAMPLES = [(policy, campaign) for policy in ("random", "bts") for campaign in ("all", "men", "women")]
OBP = {
    "ips": "InverseProbabilityWeighting",
    "snips": "SelfNormalizedInverseProbabilityWeighting",
    "dm": "DirectMethod",
    "dr": "DoublyRobust",
}


@pytest.fixture(scope="module")
def obp() -> Any:
    return open_bandit.estimators()


@pytest.mark.parametrize(("policy", "campaign"), SAMPLES)
def test_values_equal_obp_on_its_samples(obp: Any, policy: str, campaign: str):
    log = open_bandit.sample(policy, campaign)
    n, actions, slots = len(log.action), int(log.action.max()) + 1, int(log.position.max()) + 1
    assert n == 10_000 and 30 < log.reward.sum() < 80
    rng = np.random.default_rng(0)
    judged = rng.dirichlet(np.ones(actions), (n, slots)).transpose(0, 2, 1)
    expected = rng.uniform(0, 0.02, (n, actions, slots))
    rows = np.arange(n)
    ours = off_policy.per_round(
        Rounds(
            log.reward.astype(float),
            log.propensity,
            judged[rows, log.action, log.position],
            expected[rows, log.action, log.position],
            (judged * expected)[rows, :, log.position].sum(axis=1),
            rows,
            np.ones(n),
        )
    )
    for method, name in OBP.items():
        theirs = getattr(obp, name)().estimate_policy_value(
            reward=log.reward,
            action=log.action,
            pscore=log.propensity,
            action_dist=judged,
            estimated_rewards_by_reg_model=expected,
            position=log.position,
        )
        assert abs(theirs) > 1e-5  # doubly robust may be below zero
        assert ours[method].mean() == pytest.approx(theirs, abs=1e-9, rel=1e-9), method


def bandit(seed: int, rows: int = 4_000, per_user: int = 4) -> tuple[Rounds, float]:
    """Two actions of success .1 and .3; logged 0.8 : 0.2, judged 0.3 : 0.7. The outcome model is off."""
    rng = np.random.default_rng(seed)
    action = (rng.random(rows) < 0.2).astype(int)
    keen = np.repeat(rng.normal(0, 0.05, rows // per_user), per_user)
    reward = (rng.random(rows) < np.clip(np.array([0.1, 0.3])[action] + keen, 0, 1)).astype(float)
    logged, judged, model = np.array([0.8, 0.2]), np.array([0.3, 0.7]), np.array([0.15, 0.2])
    users = np.repeat(np.arange(rows // per_user), per_user)
    whole = np.full(rows, float(judged @ model))
    made = Rounds(reward, logged[action], judged[action], model[action], whole, users, np.ones(rows))
    return made, 0.3 * 0.1 + 0.7 * 0.3


def evaluate(rounds: Rounds, draws: int = 200) -> dict[str, Estimate]:
    return metrics.intervals(off_policy.resampled(rounds, draws, 0))


def test_intervals_of_unbiased_methods_cover_the_true_value():
    """90 % intervals over 60 logs: the share covered lies inside its 99.9 % bounds."""
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(60):
        rounds, truth = bandit(seed)
        found = evaluate(rounds)
        for method in hits:
            hits[method] += found[method].low <= truth <= found[method].high
    assert all(46 <= count <= 60 for count in hits.values()), hits


def test_self_normalised_value_of_a_constant_reward_is_that_reward_without_doubt():
    rounds, _ = bandit(0)
    found = evaluate(replace(rounds, reward=np.ones(len(rounds.reward))))
    assert (found["snips"].low, found["snips"].value, found["snips"].high) == pytest.approx((1.0, 1.0, 1.0))
    assert found["ips"].high - found["ips"].low > 0.05


def test_doubly_robust_mends_a_wrong_outcome_model_and_narrows_ips():
    rounds, truth = bandit(0, rows=40_000)
    found = evaluate(rounds)
    assert abs(found["dm"].value - truth) > 0.05
    assert found["dr"].low <= truth <= found["dr"].high
    assert found["dr"].high - found["dr"].low < found["ips"].high - found["ips"].low


def test_the_logged_policy_itself_is_worth_its_mean_with_all_rounds_effective():
    rounds, _ = bandit(1)
    same = replace(rounds, judged=rounds.logged)
    assert same.effective == pytest.approx(len(rounds.reward))
    assert evaluate(same)["snips"].value == pytest.approx(rounds.reward.mean())
    assert rounds.effective < 0.6 * len(rounds.reward)


def test_a_policy_compared_with_itself_differs_by_nothing_and_intervals_are_of_the_difference():
    rounds, _ = bandit(2)
    first = off_policy.resampled(rounds, 200, 0)
    assert first.equals(off_policy.resampled(rounds, 200, 0))
    near = replace(rounds, judged=rounds.judged * 0.9 + rounds.logged * 0.1)
    difference = metrics.intervals(first - off_policy.resampled(near, 200, 0))["ips"]
    plain = metrics.intervals(first)["ips"]
    assert difference.high - difference.low < 0.3 * (plain.high - plain.low)


def test_no_overlap_is_worth_nothing_by_weighting_and_has_no_effective_round():
    rounds, _ = bandit(3)
    never = replace(rounds, judged=np.zeros(len(rounds.reward)))
    assert never.effective == 0.0
    assert evaluate(never)["ips"].value == evaluate(never)["snips"].value == 0.0


def test_sampled_rounds_are_worth_what_all_rounds_are():
    """Rounds without a reward drawn at a fifth and weighted by five."""
    whole, truth = bandit(5, rows=40_000)
    kept = (whole.reward > 0) | (np.random.default_rng(0).random(len(whole.reward)) < 0.2)
    weight = np.where(whole.reward > 0, 1.0, 5.0)
    part = Rounds(*(getattr(whole, name)[kept] for name in whole.__dataclass_fields__))
    weighted = replace(part, weight=weight[kept])
    found = evaluate(weighted)
    assert all(found[method].low <= truth <= found[method].high for method in ("ips", "snips", "dr"))
    assert evaluate(part)["ips"].low > truth + 0.1
    assert weighted.effective < part.effective


def test_a_weight_counts_like_repeated_rounds():
    rounds, _ = bandit(6, rows=400)
    twice = np.arange(400) % 3 == 0
    rows = np.concatenate([np.arange(400), np.flatnonzero(twice)])
    order = np.argsort(rounds.users[rows], kind="stable")  # users in the order of the other, so that draws are the same
    repeated = Rounds(*(getattr(rounds, name)[rows][order] for name in rounds.__dataclass_fields__))
    for one, other in zip(
        evaluate(replace(rounds, weight=1.0 + twice)).values(), evaluate(repeated).values(), strict=True
    ):
        assert one.document() == pytest.approx(other.document())
