from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from jobs.models import lists
from jobs.models.selection import Mix

HOW = lists.ListSettings("demo", date(2024, 1, 1), Mix(5, 2), 0.3, 0.3)


def one(user, how, held_out=False):
    """The lists of a single user."""
    (picked,) = lists.pick(user, how)
    return lists.user_lists(user, picked, how, held_out)


def scores(users=1, items=12, seed=0):
    rng = np.random.default_rng(seed)
    n = users * items
    effect = rng.normal(0.02, 0.02, n)
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{u}" for u in range(users)], items),
            "item_id": np.tile([f"i{i:02d}" for i in range(items)], users),
            "category": np.tile([f"c{i % 4}" for i in range(items)], users),
            "category_share": 0.25,
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
    assert adjusted.max() <= HOW.mix.max_per_category


def test_places_follow_their_logged_propensities():
    user = scores()
    chance, nights = np.zeros(12), 4_000
    for night in range(nights):
        how = replace(HOW, run_date=HOW.run_date + timedelta(night))
        held = np.random.default_rng(night).random() < HOW.holdout_share
        chance[one(user, how, held)[0].index] += 1 / nights
    (picked,) = lists.pick(user, HOW)
    stated = lists.place_probabilities(*picked, 12, HOW)
    assert stated.sum() == pytest.approx(5.0)
    assert np.abs(chance - stated).max() < 0.03


def test_unidentified_effects_rank_by_their_low_end():
    user = scores()
    found = lists.sort_score(user, False)
    assert (found == np.where(user["identified"], user["effect"], user["effect_low"])).all()


def test_an_unknown_price_counts_as_the_mean_of_the_users_other_candidates():
    two = scores(2).assign(identified=True, effect=1.0)
    two.loc[[0, 13], "price"] = np.nan
    found = lists.sort_score(two, True)
    assert found[0] == pytest.approx(two["price"][1:12].mean())
    assert found[13] == pytest.approx(two["price"][[12, *range(14, 24)]].mean())
    assert (lists.sort_score(two.assign(price=np.nan), True) == 1.0).all()


def test_equal_scores_go_to_the_more_relevant_and_then_to_the_first_by_id():
    tied = scores(3).assign(effect=0.1, effect_low=0.1, relevance=0.5, category=[f"c{n}" for n in range(36)])
    tied.loc[7, "relevance"] = 0.9
    mixed = tied.sample(frac=1.0, random_state=0).sort_values("user_id", kind="stable")
    listed, _, _ = lists.build_lists(mixed, replace(HOW, explore_share=0.0, holdout_share=0.0))
    mine = listed.groupby("user_id")["item_id"].agg(list)
    assert mine["u0"] == ["i07", "i00", "i01", "i02", "i03"]
    assert mine["u1"] == mine["u2"] == ["i00", "i01", "i02", "i03", "i04"]


def test_lists_of_a_user_do_not_depend_on_who_else_is_in_the_batch():
    many = scores(9)
    how = replace(HOW, mix=Mix(5, 2, None, "calibrated", 0.5))
    together, _, _ = lists.build_lists(many, how)
    alone = [lists.build_lists(user, how)[0] for _, user in many.groupby("user_id", sort=False)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))


def test_brands_and_vectors_of_items_shape_the_lists():
    user, how = scores(), replace(HOW, explore_share=0.0)
    brands = pd.Series({f"i{n:02d}": "store" if n % 2 else None for n in range(12)})
    vectors = pd.DataFrame(np.eye(12, dtype=np.float32)[np.arange(12) // 3 * 3], index=brands.index)
    about = lists.ItemFacets(brands, vectors)
    capped, _, _ = lists.build_lists(user, replace(how, mix=Mix(5, 5, 1)), about)
    assert brands.reindex(capped["item_id"]).eq("store").sum() == 1
    varied, _, _ = lists.build_lists(user, replace(how, mix=Mix(4, 5, None, "mmr", 1.0)), about)
    assert len({int(item[1:]) // 3 for item in varied["item_id"]}) == 4
    assert varied["score"].is_monotonic_decreasing


def test_short_list_relaxes_the_cap():
    listed, _, _ = one(scores().assign(category="same"), replace(HOW, explore_share=0.0))
    assert len(listed) == 5


def test_few_candidates_make_a_short_list_with_certain_places():
    listed, _, _ = one(scores(items=3), HOW)
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
    how = replace(HOW, effects_hold=effects_hold)
    (picked,) = lists.pick(scores(), how)
    assert lists.place_probabilities(*picked, 12, how).sum() == pytest.approx(5.0)


def test_spared_candidates_are_drawn_as_the_random_slots_are_and_never_listed():
    """Each candidate outside the list is as likely to be drawn for a slot as any other, and to be spared."""
    shown, spared, nights = np.zeros(12), np.zeros(12), 1_500
    user = scores()
    for night in range(nights):
        listed, _, tried = one(user, replace(HOW, run_date=HOW.run_date + timedelta(night)))
        assert not set(listed["item_id"]) & set(tried.loc[~tried["shown"], "item_id"])
        assert set(tried.loc[tried["shown"], "item_id"]) == set(listed.loc[listed["policy"] == "explore", "item_id"])
        shown[tried.index[tried["shown"]]] += 1
        spared[tried.index[~tried["shown"]]] += 1
    pool = shown > 0
    assert pool.sum() == 7 and (spared[~pool] == 0).all()
    for counts in (shown[pool], spared[pool]):
        assert np.abs(counts / counts.mean() - 1).max() < 0.2


def test_held_out_users_try_nothing():
    assert one(scores(), HOW, True).tried.empty


def test_same_night_draws_the_same_lists():
    pd.testing.assert_frame_equal(lists.build_lists(scores(20), HOW)[0], lists.build_lists(scores(20), HOW)[0])


EFFECT = "showing it changes the probability by +2.10 pp (90 % interval +0.40 to +3.90 pp)."


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((4, 3, 8, 1), "Bought in 3 of the 4 weeks it was shown and in 1 of the 8 without it; "),
        ((1, 1, 8, 0), "Bought in the one week it was shown and never in the 8 without it; "),
        ((2, 2, 1, 1), "Bought in both weeks it was shown and in the one without it; "),
        ((1, 0, 3, 3), "Never bought in the one week it was shown, but in all 3 without it; "),
        ((4, 0, 1, 0), "Never bought in the 4 weeks it was shown, nor in the one without it; "),
        ((0, 0, 1, 1), "Never shown so far, bought in the one week on record; judging by similar pairs, "),
        ((0, 0, 8, 0), "Never shown so far, never bought in the 8 weeks on record; judging by similar pairs, "),
        ((1, 0, 0, 0), "Always shown so far, never bought in the one week on record; judging by similar pairs, "),
        ((0, 0, 0, 0), "No weeks on record yet; judging by similar pairs, "),
    ],
)
def test_reason_is_one_plain_sentence(counts, said):
    names = ("treated", "treated_outcomes", "control", "control_outcomes")
    row = dict(zip(names, counts, strict=True)) | {"policy": "adjusted", "relevance": 0.4}
    row |= {"effect": 0.021, "effect_low": 0.004, "effect_high": 0.039}
    assert lists.reason(row, HOW) == said + EFFECT
    random = lists.reason(row | {"policy": "explore"}, HOW)
    assert random == f"Random try: {said[0].lower()}{said[1:]}{EFFECT}"
    anyway = lists.reason(row | {"policy": "relevance"}, HOW)
    assert anyway == "Ranked by how likely it is anyway: 40 % within 7 days."


def test_a_site_without_hold_out_and_exploration_gives_everyone_the_adjusted_list_with_certainty():
    listed, _, tried = lists.build_lists(scores(20), replace(HOW, holdout_share=0.0, explore_share=0.0))
    assert set(listed["policy"]) == {"adjusted"} and (listed["propensity"] == 1.0).all()
    assert tried.empty
