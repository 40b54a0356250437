"""Off-policy estimators equal obp's on the Open Bandit samples, and hold the truth where it is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.models import off_policy
from jobs.models.metrics import Estimate
from jobs.models.off_policy import METHODS, Rounds
from tests.models import open_bandit
from tests.models.planted import plant

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


@pytest.mark.parametrize("how", [off_policy.evaluate, lambda rounds: off_policy.bootstrap(rounds, 200)])
def test_intervals_of_unbiased_methods_cover_the_true_value(how: Any):
    """90 % intervals over 60 logs: the share covered lies inside its 99.9 % bounds."""
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(60):
        rounds, truth = bandit(seed)
        found = how(rounds)
        for method in hits:
            hits[method] += found[method].low <= truth <= found[method].high
    assert all(46 <= count <= 60 for count in hits.values()), hits


@pytest.mark.parametrize("how", [off_policy.evaluate, off_policy.bootstrap])
def test_self_normalised_value_of_a_constant_reward_is_that_reward_without_doubt(how: Any):
    rounds, _ = bandit(0)
    found = how(replace(rounds, reward=np.ones(len(rounds.reward))))
    assert (found["snips"].low, found["snips"].value, found["snips"].high) == pytest.approx((1.0, 1.0, 1.0))
    assert found["ips"].high - found["ips"].low > 0.05


def test_doubly_robust_mends_a_wrong_outcome_model_and_narrows_ips():
    rounds, truth = bandit(0, rows=40_000)
    found = off_policy.evaluate(rounds)
    assert abs(found["dm"].value - truth) > 0.05
    assert found["dr"].low <= truth <= found["dr"].high
    assert found["dr"].high - found["dr"].low < found["ips"].high - found["ips"].low


def test_the_logged_policy_itself_is_worth_its_mean_with_all_rounds_effective():
    rounds, _ = bandit(1)
    same = replace(rounds, judged=rounds.logged)
    assert same.effective == pytest.approx(len(rounds.reward))
    assert off_policy.evaluate(same)["snips"].value == pytest.approx(rounds.reward.mean())
    assert rounds.effective < 0.6 * len(rounds.reward)


def test_a_policy_compared_with_itself_differs_by_nothing_and_intervals_are_of_the_difference():
    rounds, _ = bandit(2)
    nothing = off_policy.compare(rounds, rounds)
    assert all(found.low == found.value == found.high == 0.0 for found in nothing.values())
    near = replace(rounds, judged=rounds.judged * 0.9 + rounds.logged * 0.1)
    difference, plain = off_policy.compare(rounds, near)["ips"], off_policy.evaluate(rounds)["ips"]
    assert difference.high - difference.low < 0.3 * (plain.high - plain.low)


def test_no_overlap_is_worth_nothing_by_weighting_and_has_no_effective_round():
    rounds, _ = bandit(3)
    never = replace(rounds, judged=np.zeros(len(rounds.reward)))
    assert never.effective == 0.0
    assert off_policy.evaluate(never)["ips"].value == 0.0


def test_sampled_rounds_are_worth_what_all_rounds_are():
    """Rounds without a reward drawn at a fifth and weighted by five."""
    whole, truth = bandit(5, rows=40_000)
    kept = (whole.reward > 0) | (np.random.default_rng(0).random(len(whole.reward)) < 0.2)
    weight = np.where(whole.reward > 0, 1.0, 5.0)
    part = Rounds(*(getattr(whole, name)[kept] for name in whole.__dataclass_fields__))
    weighted = replace(part, weight=weight[kept])
    for how in (off_policy.evaluate, lambda rounds: off_policy.bootstrap(rounds, 100)):
        found = how(weighted)
        assert all(found[method].low <= truth <= found[method].high for method in ("ips", "snips", "dr"))
        assert how(part)["ips"].low > truth + 0.1
    assert weighted.effective < part.effective


def test_a_weight_counts_like_repeated_rounds():
    rounds, _ = bandit(6, rows=400)
    twice = np.arange(400) % 3 == 0
    rows = np.concatenate([np.arange(400), np.flatnonzero(twice)])
    repeated = Rounds(*(getattr(rounds, name)[rows] for name in rounds.__dataclass_fields__))
    for one, other in zip(
        off_policy.evaluate(replace(rounds, weight=1.0 + twice)).values(),
        off_policy.evaluate(repeated).values(),
        strict=True,
    ):
        assert one.document() == pytest.approx(other.document())


def scored() -> pd.DataFrame:
    """TRIAL_SCORES of a planted world, every trial of an item of its own; ``helped`` where showing adds something."""
    planted = plant(0.3)
    t, mu0 = planted.trials, 0.05 + 0.35 * (planted.propensity - 0.15) / 0.6
    return pd.DataFrame(
        {
            "user_id": t.users,
            "item_id": [f"i{row}" for row in range(len(t.users))],
            "treated": t.treated,
            "outcome": t.outcome,
            "weight": t.weight,
            "e": planted.propensity,
            "mu0": mu0,
            "mu1": mu0 + planted.effect,
            "helped": planted.effect > 0,
        }
    )


def estimate(found: dict[str, Estimate | float], name: str) -> Estimate:
    figure = found[name]
    assert isinstance(figure, Estimate)
    return figure


def test_lists_are_judged_on_the_same_trials_and_the_one_that_shows_where_it_helps_gains():
    scores = scored()
    scores = scores[scores.groupby("user_id")["helped"].transform("nunique") == 2]  # users who have both lists
    good, bad = scores[scores["helped"]], scores[~scores["helped"]]
    lists = {"published": good, "relevance": bad, "before": good}
    found = off_policy.judge(scores, lists, 0.02)
    assert set(found) == {
        "trials",
        "users",
        *(f"{name}_{figure}" for name in lists for figure in (*METHODS, "ess", "ess_listed")),
        *(f"gain_over_{name}_{method}" for name in ("relevance", "before") for method in METHODS),
    }
    truth = float(((scores["mu1"] - scores["mu0"]) * np.where(scores["helped"], 1, -1)).mean())
    for method in ("ips", "snips", "dr"):
        gain = estimate(found, f"gain_over_relevance_{method}")
        assert gain.low <= truth <= gain.high, method
    assert estimate(found, "gain_over_relevance_dr").low > 0.1
    assert estimate(found, "gain_over_before_dr").low == estimate(found, "gain_over_before_dr").high == 0.0
    value = float(np.where(scores["helped"], scores["mu1"], scores["mu0"]).mean())
    assert estimate(found, "published_snips").low <= value <= estimate(found, "published_snips").high
    shown = 1 / good["e"][good["treated"] == 1]
    assert found["published_ess_listed"] == pytest.approx(shown.sum() ** 2 / (shown**2).sum())


def test_only_trials_with_overlap_of_users_with_every_list_are_judged():
    scores = scored()
    scores.loc[:4_999, "e"] = 0.01
    some = scores[scores["user_id"] > "u5"]
    found = off_policy.judge(scores, {"published": scores, "relevance": some}, 0.02)
    assert found["trials"] == (some["e"] > 0.02).sum() > 0
    assert found["users"] == some.loc[some["e"] > 0.02, "user_id"].nunique()
    everybody = scores.assign(e=0.01)
    assert off_policy.judge(everybody, {"published": scores}, 0.02) == {"trials": 0.0, "users": 0.0}


def test_holding_is_by_user_and_item():
    scores = pd.DataFrame({"user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "a", "a"]})
    lists = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["b", "a"], "rank": [1, 1]})
    assert off_policy.holds(scores, lists).tolist() == [False, True, True, True]
