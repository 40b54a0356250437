"""Rhythm features of one user, counted by hand."""

import numpy as np
import pytest

from jobs.tables import contracts
from jobs.transforms import rhythm

AS_OF = 1000
# Item 0 at ages 28, 14 and 4; item 2 at age 14, twice; on the as-of day and after it, what must not count.
DAY = np.array([986, 972, 996, 986, 1000, 1003])
ITEM = np.array([0, 0, 0, 2, 0, 1])
N = np.array([1, 1, 1, 2, 9, 9])
ABOUT = {
    "item_rebuy_rate": np.array([0.5, 0.1, 0.2]),
    "item_gap_days": np.array([8.0, 10.0, 7.0]),
    "item_days_per_user": np.array([3.0, 1.0, 2.0]),
    "item_new_users_56d": np.array([1.0, 0.0, 4.0]),
    "item_trend_91d": np.array([1.0, 1.1, 1.2]),
    "item_category_share_91d": np.array([0.75, 1.0, 0.25]),
}
CATEGORY = np.array([0, 1, 0])


@pytest.fixture(scope="module")
def made() -> dict[str, np.ndarray]:
    past = rhythm.by_item(DAY, ITEM, N, AS_OF)
    return rhythm.for_items(np.array([0, 1, 2]), past, ABOUT, CATEGORY)


def test_every_feature_of_the_contract_is_made_as_float32(made: dict[str, np.ndarray]) -> None:
    assert tuple(made) == contracts.RHYTHM_FEATURES
    assert {values.dtype for values in made.values()} == {np.dtype(np.float32)}


def test_decayed_counts_halve_each_half_life_and_are_0_without_an_outcome(made: dict[str, np.ndarray]) -> None:
    first = 0.25 + 0.5 + 0.5 ** (4 / 14)
    assert made["decayed_14d"] == pytest.approx([first, 0, 1.0], rel=1e-6)
    assert made["decayed_share_14d"] == pytest.approx([first / (first + 0.5), 0, 1.0 / (first + 0.5)], rel=1e-6)


def test_weeks_count_each_week_with_an_outcome_once(made: dict[str, np.ndarray]) -> None:
    assert made["weeks_4w"].tolist() == [3, 0, 1]  # ages 1-7, 8-14, 22-28
    assert made["outcome_days"][[0, 2]].tolist() == [3, 1]
    assert np.isnan(made["outcome_days"][1])


def test_a_share_of_weeks_is_of_those_in_which_the_user_was_active(made: dict[str, np.ndarray]) -> None:
    assert made["week_share_8w"] == pytest.approx([3 / 3, 0, 1 / 3])
    assert made["week_share_26w"] == pytest.approx([3 / 3, 0, 1 / 3])


def test_gaps_are_those_between_days_with_an_outcome(made: dict[str, np.ndarray]) -> None:
    assert made["own_gap_ratio"][0] == pytest.approx(4 / 12)  # gaps of 14 and 10 days, 4 days ago
    assert made["latest_gap_days"][0] == 10
    assert made["gap_variation"][0] == pytest.approx(2 / 12)
    assert np.isnan([made[name][2] for name in ("own_gap_ratio", "latest_gap_days", "gap_variation")]).all()
    assert made["days_since_first"][0] == 28
    assert made["item_gap_ratio"][[0, 2]] == pytest.approx([4 / 8, 14 / 7])


def test_hazard_is_the_share_of_long_gaps_that_ended_within_a_week(made: dict[str, np.ndarray]) -> None:
    # Of the gaps of at least 4 days (14, 10), the one of 10 ended before 4 + 7 days.
    assert made["rebuy_hazard"][0] == pytest.approx((1 + 0.2) / (2 + 1))
    assert made["rebuy_hazard"][2] == pytest.approx(0.2)


def test_active_days_are_counted_over_all_items(made: dict[str, np.ndarray]) -> None:
    assert made["active_days_since"][[0, 2]].tolist() == [0, 1]
    assert made["active_day_share"][[0, 2]] == pytest.approx([3 / 3, 1 / 2])
    assert made["active_gap_ratio"][0] == 0


def test_a_pairs_place_and_share_are_within_its_user(made: dict[str, np.ndarray]) -> None:
    assert made["decayed_rank"][[0, 2]].tolist() == [0, 1]
    assert made["share_of_user"][[0, 2]].sum() == pytest.approx(1)


def test_a_category_counts_all_its_items_and_an_unknown_one_never_had_an_outcome(made: dict[str, np.ndarray]) -> None:
    decayed = 0.5 ** (28 / 56) + 3 * 0.5 ** (14 / 56) + 0.5 ** (4 / 56)
    assert made["category_decayed_56d"] == pytest.approx([decayed, 0, decayed], rel=1e-6)
    assert made["category_days_since"].tolist() == [4, rhythm.NEVER, 4]
    assert made["category_decayed_share"].tolist() == [1, 0, 1]
    assert made["share_of_category"][[0, 2]].sum() == pytest.approx(1)
    assert made["share_of_category"][1] == 0


def test_what_is_expected_of_an_item_is_its_shrunken_share_of_the_users_category(made: dict[str, np.ndarray]) -> None:
    first, second = sum(0.5 ** (age / 112) for age in (28, 14, 4)), 2 * 0.5 ** (14 / 112)
    every = first + second
    expected = [every * (first + 0.5 * 0.75) / (every + 0.5), 0, every * (second + 0.5 * 0.25) / (every + 0.5)]
    assert made["expected_in_category_112d"] == pytest.approx(expected, rel=1e-6)


def test_a_category_is_shared_by_all_users_outcomes_and_may_have_none() -> None:
    found = rhythm.category_share(np.array([3.0, 0.0, 1.0, 0.0]), np.array([0, 1, 0, 1]))
    assert found.tolist() == [0.75, 0.0, 0.25, 0.0]


def test_user_features_say_how_much_and_how_new(made: dict[str, np.ndarray]) -> None:
    assert set(made["basket_size_91d"]) == {np.float32(5 / 3)}
    assert set(made["items_28d"]) == {2}
    assert set(made["new_share_28d"]) == {1}
    past = rhythm.by_item(DAY - 1, ITEM, N, AS_OF)  # the first outcome on item 0 is now 29 days ago
    assert rhythm.user_features(*past)["new_share_28d"] == 1 / 2


def test_what_happens_from_the_as_of_day_on_changes_no_feature(made: dict[str, np.ndarray]) -> None:
    before = DAY < AS_OF
    past = rhythm.by_item(DAY[before], ITEM[before], N[before], AS_OF)
    again = rhythm.for_items(np.array([0, 1, 2]), past, ABOUT, CATEGORY)
    for name, values in again.items():
        np.testing.assert_array_equal(values, made[name])


def test_the_order_of_events_changes_no_bit(made: dict[str, np.ndarray]) -> None:
    turned = rhythm.by_item(DAY[::-1], ITEM[::-1], N[::-1], AS_OF)
    again = rhythm.for_items(np.array([0, 1, 2]), turned, ABOUT, CATEGORY)
    assert all(again[name].tobytes() == made[name].tobytes() for name in made)


def test_a_user_without_a_past_has_no_rhythm() -> None:
    none = np.array([], dtype=np.int64)
    made = rhythm.for_items(np.array([0, 2]), rhythm.by_item(none, none, none, AS_OF), ABOUT, CATEGORY)
    assert made["decayed_14d"].tolist() == [0, 0]
    assert np.isnan(made["days_since_first"]).all()
    assert made["item_rebuy_rate"] == pytest.approx([0.5, 0.2])


def test_item_counts_say_how_often_users_at_risk_came_again() -> None:
    age, item, _ = rhythm.by_item(DAY, ITEM, N, AS_OF)
    items, counts = rhythm.item_counts(age, item)
    assert items.tolist() == [0, 2]
    assert {name: values.tolist() for name, values in counts.items()} == {
        "users": [1, 1],
        "days": [3, 1],
        "gaps": [2, 0],
        "gap_days": [24, 0],
        "at_risk": [2, 1],  # after item 0's first week the user was active in two weeks, after item 2's in one
        "again": [2, 0],
        "new": [1, 1],
    }
    age, item, _ = rhythm.by_item(DAY - 70, ITEM, N, AS_OF)  # active before the 8 weeks only
    _, counts = rhythm.item_counts(age[age > 70], item[age > 70])
    assert [counts[name].tolist() for name in ("at_risk", "again", "new")] == [[0, 0]] * 3


def test_item_rates_are_shrunken_to_the_mean_of_all_items() -> None:
    counts = {name: np.array([0, 10]) for name in rhythm.COUNTS} | {"at_risk": np.array([0, 100])}
    made = rhythm.item_features(counts)
    assert made["item_rebuy_rate"] == pytest.approx([0.1, 0.1])
    assert made["item_gap_days"] == pytest.approx([30, 40 / 11])
