import tracemalloc

import numpy as np
import pandas as pd
import pytest

from jobs.models import metrics


def listing(hits):
    return pd.DataFrame({"user_id": "u", "position": np.arange(1, len(hits) + 1), "hit": hits})


def test_perfect_list_has_ndcg_and_recall_one_and_a_miss_outside_the_list_costs():
    found = metrics.list_metrics(listing([1, 1, 0]), pd.Series({"u": 2}), 3).loc["u"]
    assert found["ndcg"] == pytest.approx(1.0) and found["recall"] == 1.0
    missed = metrics.list_metrics(listing([1, 1, 0]), pd.Series({"u": 3}), 3).loc["u"]
    assert missed["ndcg"] < 1.0 and missed["recall"] == pytest.approx(2 / 3)


def test_user_without_a_list_counts_as_zero():
    found = metrics.list_metrics(listing([1]), pd.Series({"u": 1, "v": 1}), 10)
    assert found.loc["v", "ndcg"] == 0.0


def test_ndcg_equals_a_hand_made_one():
    found = metrics.list_metrics(listing([0, 1, 1]), pd.Series({"u": 2}), 3).loc["u", "ndcg"]
    assert found == pytest.approx((1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3)))


def test_targeting_is_positive_for_the_true_order_and_zero_for_chance():
    rng = np.random.default_rng(0)
    true = rng.choice([0.0, 0.4], 8_000)
    score = true + rng.normal(size=8_000)
    users = rng.integers(0, 800, 8_000).astype(str)
    good = metrics.targeting(true, score, np.ones(8_000), users, 60)
    chance = metrics.targeting(rng.normal(size=8_000), score, np.ones(8_000), users, 60)
    assert good["qini"].low > 0 and good["autoc"].low > 0
    assert abs(chance["qini"].value) < 0.02
    assert good["qini"].value == pytest.approx(good["auuc"].value - score.mean() / 2, abs=1e-3)


def test_qini_equals_an_independent_formula():
    rng = np.random.default_rng(1)
    effect, score = rng.normal(size=200), rng.normal(size=200)
    ordered = score[np.argsort(-effect)]
    slow = np.mean([(ordered[: n + 1].mean() - score.mean()) * (n + 1) / 200 for n in range(200)])
    fast = metrics.targeting(effect, score, np.ones(200), np.arange(200).astype(str), 5)["qini"].value
    assert fast == pytest.approx(slow)


def test_bootstrap_interval_holds_the_mean_and_repeats():
    values = np.random.default_rng(2).normal(1.0, 1.0, 400)
    first = metrics.bootstrap_mean(values, seed=3)
    assert first.low < values.mean() < first.high
    assert first == metrics.bootstrap_mean(values, seed=3)


def test_many_means_are_resampled_as_one_alone_is():
    values = np.random.default_rng(4).normal(size=(300, 2))
    values[60:, 1] = np.nan
    found = metrics.bootstrap_means(
        {"whole": values[:, 0], "part": values[:, 1], "none": values[:, 1] * np.nan}, seed=3
    )
    assert set(found) == {"whole", "part"}
    alone = metrics.bootstrap_mean(values[:, 0], seed=3)
    assert found["whole"].document() == pytest.approx(alone.document())
    assert found["part"].value == pytest.approx(np.nanmean(values[:, 1]))
    assert found["part"].high - found["part"].low > found["whole"].high - found["whole"].low


def test_users_without_anything_relevant_are_left_out_and_hits_beyond_k_do_not_count():
    listed = pd.DataFrame({"user_id": ["u", "u", "w"], "position": [1, 2, 1], "hit": [0, 1, 1]})
    found = metrics.list_metrics(listed, pd.Series({"u": 1}), 1)
    assert found.index.tolist() == ["u"] and (found == 0).all(axis=None)


def test_average_precision_equals_a_hand_made_one_whatever_the_order_of_rows():
    found = metrics.list_metrics(listing([1, 0, 1]).iloc[::-1], pd.Series({"u": 5}), 3).loc["u", "map"]
    assert found == pytest.approx((1 + 2 / 3) / 3)
    assert metrics.list_metrics(listing([1, 1, 0]), pd.Series({"u": 2}), 3).loc["u", "map"] == 1.0


def test_gini_is_zero_for_equal_shares_and_near_one_for_a_single_item():
    assert metrics.gini(["a", "b", "a", "b"], 2) == pytest.approx(0.0)
    assert metrics.gini(["a"] * 7, 100) == pytest.approx(0.99)
    assert metrics.gini(["a", "a", "a", "b"], 2) == pytest.approx(0.25)


def test_surprise_is_in_bits_and_that_of_one_user_where_there_was_none():
    assert metrics.surprise([4, 1], 4).tolist() == [0.0, 2.0]
    assert metrics.surprise([0], 8).tolist() == [3.0]


def test_a_figure_comes_back_from_its_document():
    for figure in (metrics.Estimate(0.2, 0.1, 0.4), 0.3):
        assert metrics.of_document(metrics.as_document(figure)) == figure


def test_two_effects_are_resampled_with_the_same_users():
    rng = np.random.default_rng(0)
    score, users = rng.normal(size=3_000), np.repeat(np.arange(300), 10).astype(str)
    first, again, other = (
        metrics.resampled(effect, score, np.ones(3_000), users, 30, 1)
        for effect in (score, score, score + rng.normal(size=3_000))
    )
    assert first.equals(again) and len(first) == 31
    gap = metrics.intervals(other - first)["dr_loss"]
    assert first["dr_loss"].eq(0.0).all() and gap.low <= 1.0 <= gap.high and gap.low > 0.8


def test_draws_are_held_one_at_a_time():
    rng = np.random.default_rng(0)
    effect, users = rng.normal(size=100_000), rng.integers(0, 500, 100_000)
    peaks = []
    for draws in (3, 40):
        tracemalloc.start()
        metrics.resampled(effect, -effect, np.ones(100_000), users, draws)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + effect.nbytes


def test_each_draw_weighs_a_users_trials_by_how_often_the_user_was_drawn():
    rng = np.random.default_rng(0)
    effect, score, weight = rng.normal(size=60), rng.normal(size=60), rng.uniform(1, 2, 60)
    found = metrics.resampled(effect, score, weight, np.arange(60) // 3, 4, 7)
    again = np.random.default_rng(7)
    for row in range(1, 5):
        times = np.bincount(again.integers(0, 20, 20), minlength=20)
        drawn = weight * times[np.arange(60) // 3]
        assert found["dr_loss"][row] == pytest.approx(np.average((effect - score) ** 2, weights=drawn))
