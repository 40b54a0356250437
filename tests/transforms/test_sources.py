"""What a source brings one user is what was planted for it, and nothing when there is nothing to go by."""

import numpy as np

from jobs.transforms import sources

CATEGORY = np.array([0, 0, 0, 0, 1, 1, 2])
DEMAND = np.array([50.0, 30, 10, 5, 4, 1, 0])


def shelves() -> sources.Shelves:
    return sources.Shelves.of(np.arange(7), CATEGORY, DEMAND)


def test_a_rise_is_of_the_last_week_over_what_the_three_before_promise() -> None:
    found = sources.rise(np.array([9.0, 3.0, 0.0, 300.0, 2.0]), np.array([18.0, 12.0, 9.0, 1200.0, 2.0]))
    assert found[0] == (9 - 3) / np.sqrt(3 + 1)
    assert found[1] == found[3] == 0.0
    assert found[2] < 0
    assert 0 < found[4] < found[0], "two outcomes of an item nobody had before are less than a trend of many"


def test_the_best_are_allowed_have_a_score_and_ties_go_by_number() -> None:
    score, allowed = np.array([1.0, 2.0, 2.0, 9.0, 0.0, -1.0]), np.array([1, 1, 1, 0, 1, 1], dtype=bool)
    assert sources.best(score, allowed, 9).tolist() == [1, 2, 0]
    assert sources.best(score, allowed, 1).tolist() == [1]
    assert sources.best(score, allowed, 0).tolist() == []
    assert sources.best(np.where(score == 2.0, np.nan, score), allowed, 9).tolist() == [0]


def test_categories_take_turns_by_demand_and_none_has_more_than_its_cap() -> None:
    nothing = np.zeros(3)
    found = shelves().for_new_user(nothing, 7, per_category=2)
    assert found.tolist() == [0, 1, 4, 5, 6]
    assert shelves().for_new_user(nothing, 2, per_category=2).tolist() == [0, 1]
    assert shelves().for_new_user(nothing, 7, per_category=0).tolist() == []


def test_what_a_new_user_looked_at_brings_its_category_forward() -> None:
    looked = np.array([0.0, 0.0, 20.0])
    assert shelves().for_new_user(looked, 2, per_category=2).tolist() == [6, 0]


def test_likeness_is_the_mean_cosine_with_what_says_something() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 0.0]])
    assert sources.likeness(vectors, np.array([0, 1, 3])).tolist() == [0.5, 0.5, 0.7, 0.0]
    assert np.isnan(sources.likeness(vectors, np.array([3]))).all()
    assert np.isnan(sources.likeness(vectors, np.array([], dtype=np.int64))).all()


def test_a_newcomer_is_available_with_few_users_and_none_of_old() -> None:
    users, new = np.array([0, 3, 3, 0, 40]), np.array([0, 3, 2, 0, 40])
    there = np.array([True, True, True, False, True])
    found = sources.newcomers(there, there & (users >= 20), users, new)
    assert found.tolist() == [True, True, False, False, False]
