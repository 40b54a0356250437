from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from jobs.models import lists

HOW = lists.ListSettings("demo", date(2024, 1, 1), 5, 0.3, 0.3, 2)


def scores(users=1, items=12, seed=0):
    rng = np.random.default_rng(seed)
    n = users * items
    effect = rng.normal(0.02, 0.02, n)
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(users)], items),
            "item_id": np.tile([f"i{i:02d}" for i in range(items)], users),
            "category": np.tile([f"c{i % 4}" for i in range(items)], users),
            "relevance": rng.random(n),
            "effect": effect,
            "effect_low": effect - 0.01,
            "effect_high": effect + 0.01,
            "identified": rng.random(n) < 0.5,
            "treated": 1,
            "treated_outcomes": 1,
            "control": 2,
            "control_outcomes": 0,
            "price": rng.random(n),
        }
    )


def test_lists_are_whole_sorted_and_without_repeats():
    listed, alone, _ = lists.build_lists(scores(60), HOW)
    assert set(listed["policy"]) == {"adjusted", "relevance", "explore"}
    for _, user in listed.groupby("user_id"):
        assert user["rank"].tolist() == [1, 2, 3, 4, 5]
        assert user["score"].is_monotonic_decreasing
        assert user["item_id"].is_unique
    assert listed["propensity"].between(0, 1, inclusive="right").all()
    assert alone.groupby("user_id").size().eq(5).all()
    adjusted = listed[listed["policy"] == "adjusted"].groupby(["user_id", "category"]).size()
    assert adjusted.max() <= HOW.max_per_category


def test_places_follow_their_logged_propensities():
    user = scores()
    chance, nights = np.zeros(12), 4_000
    for night in range(nights):
        how = replace(HOW, run_date=HOW.run_date + timedelta(night))
        held = np.random.default_rng(night).random() < HOW.holdout_share
        chance[lists.user_lists(user, how, held)[0].index] += 1 / nights
    score = lists.sort_score(user, False)
    item, kind, relevance = (user[name].to_numpy() for name in ("item_id", "category", "relevance"))
    adjusted = lists.top(lists.by_best([score, relevance], item), kind, 5, 2)
    likely = lists.top(lists.by_best([relevance], item), kind, 5, 2)
    stated = lists.place_probabilities(adjusted, likely, 12, HOW)
    assert stated.sum() == pytest.approx(5.0)
    assert np.abs(chance - stated).max() < 0.03


def test_unidentified_effects_rank_by_their_low_end():
    user = scores()
    found = lists.sort_score(user, False)
    assert (found == np.where(user["identified"], user["effect"], user["effect_low"])).all()


def test_short_list_relaxes_the_cap():
    one = scores().assign(category="same")
    listed, _, _ = lists.user_lists(one, replace(HOW, explore_share=0.0), False)
    assert len(listed) == 5


def test_few_candidates_make_a_short_list_with_certain_places():
    listed, _, _ = lists.user_lists(scores(items=3), HOW, False)
    assert len(listed) == 3
    assert listed["propensity"].tolist() == pytest.approx([1.0] * 3)


def test_failed_gate_publishes_relevance_for_everyone_but_the_random_slots():
    listed, alone, _ = lists.build_lists(scores(40), replace(HOW, effects_hold=False))
    assert set(listed["policy"]) == {"relevance", "explore"}
    assert not listed["identified"].any()
    assert listed["effect"].notna().all()
    kept = listed[listed["policy"] == "relevance"].merge(alone, on=["user_id", "item_id"], how="left")
    assert kept["rank_y"].notna().all(), "what is not random is of the relevance list"
    assert (listed["score"] == listed["relevance"]).all()
    held = lists.held_out(listed["user_id"], HOW.site, HOW.holdout_share)
    assert listed.loc[held, "policy"].eq("relevance").all() and held.any()


def test_failed_gate_without_exploration_is_the_relevance_list():
    listed, alone, _ = lists.build_lists(scores(20), replace(HOW, effects_hold=False, explore_share=0.0))
    assert listed["item_id"].tolist() == alone["item_id"].tolist()
    assert listed["propensity"].eq(1.0).all()


@pytest.mark.parametrize("effects_hold", [True, False])
def test_a_user_s_propensities_add_up_to_the_list(effects_hold):
    how, user = replace(HOW, effects_hold=effects_hold), scores()
    relevance = user["relevance"].to_numpy()
    wanted = lists.sort_score(user, False) if effects_hold else relevance
    item, kind = user["item_id"].to_numpy(), user["category"].to_numpy()
    best, likely = (lists.top(lists.by_best([key], item), kind, 5, 2) for key in (wanted, relevance))
    assert lists.place_probabilities(best, likely, 12, how).sum() == pytest.approx(5.0)


def test_spared_candidates_are_drawn_as_the_random_slots_are_and_never_listed():
    """Each candidate outside the list is as likely to be drawn for a slot as any other, and to be spared."""
    shown, spared, nights = np.zeros(12), np.zeros(12), 1_500
    user = scores()
    for night in range(nights):
        listed, _, tried = lists.user_lists(user, replace(HOW, run_date=HOW.run_date + timedelta(night)), False)
        assert not set(listed["item_id"]) & set(tried.loc[~tried["shown"], "item_id"])
        assert set(tried.loc[tried["shown"], "item_id"]) == set(listed.loc[listed["policy"] == "explore", "item_id"])
        shown[tried.index[tried["shown"]]] += 1
        spared[tried.index[~tried["shown"]]] += 1
    pool = shown > 0
    assert pool.sum() == 7 and (spared[~pool] == 0).all()
    for counts in (shown[pool], spared[pool]):
        assert np.abs(counts / counts.mean() - 1).max() < 0.2


def test_held_out_users_try_nothing():
    assert lists.user_lists(scores(), HOW, True).tried.empty


def test_same_night_draws_the_same_lists():
    pd.testing.assert_frame_equal(lists.build_lists(scores(20), HOW)[0], lists.build_lists(scores(20), HOW)[0])


def test_reason_is_one_plain_sentence():
    row = {"policy": "adjusted", "treated": 4, "treated_outcomes": 3, "control": 8, "control_outcomes": 1}
    row |= {"effect": 0.021, "effect_low": 0.004, "effect_high": 0.039, "relevance": 0.4}
    assert lists.reason(row, HOW) == (
        "Bought in 3 of the 4 weeks it was shown and 1 of the 8 it was not; "
        "showing it adds about 2.1 points (0.4 to 3.9)."
    )


def test_a_site_without_hold_out_and_exploration_gives_everyone_the_adjusted_list_with_certainty():
    listed, _, tried = lists.build_lists(scores(20), replace(HOW, holdout_share=0.0, explore_share=0.0))
    assert set(listed["policy"]) == {"adjusted"} and (listed["propensity"] == 1.0).all()
    assert tried.empty
