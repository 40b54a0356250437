"""What a judged list must show: perfect is 1, useless is 0, and a planted lift is found."""

import numpy as np
import pandas as pd
import pytest

from jobs.models.feedback import group_of_user, measured_lift, quality_by_policy


def lists(users: list[str], policy: str, items: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        [(user, item, place, policy) for user in users for place, item in enumerate(items, start=1)],
        columns=["user_id", "item_id", "rank", "policy"],
    )


def outcomes(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(pairs), columns=["user_id", "item_id"])


def test_a_perfect_list_is_one_and_a_useless_one_zero():
    both = pd.concat([lists(["u1"], "adjusted"), lists(["u2"], "relevance")])
    figures = quality_by_policy(both, outcomes(("u1", "a"), ("u1", "b"), ("u2", "z")), 2)
    for metric in ("ndcg", "recall", "precision", "hit_rate"):
        assert figures[f"feedback_adjusted_{metric}"].value == 1.0
        assert figures[f"feedback_relevance_{metric}"].value == 0.0


def test_an_item_bought_twice_counts_once():
    figures = quality_by_policy(lists(["u1"], "adjusted"), outcomes(("u1", "a"), ("u1", "a")), 2)
    assert figures["feedback_adjusted_recall"].value == 1.0
    assert figures["feedback_adjusted_precision"].value == 0.5


def test_a_hit_at_the_top_is_worth_more_than_one_below():
    top, below = (quality_by_policy(lists(["u1"], "adjusted"), outcomes(("u1", item)), 2) for item in ("a", "b"))
    assert top["feedback_adjusted_ndcg"].value == 1.0
    assert below["feedback_adjusted_ndcg"].value == pytest.approx(1 / np.log2(3))


def test_places_beyond_the_list_length_do_not_count():
    figures = quality_by_policy(lists(["u1"], "adjusted", ("a", "b", "c")), outcomes(("u1", "c")), 2)
    assert figures["feedback_adjusted_hit_rate"].value == 0.0


def test_a_group_without_outcomes_has_no_figure():
    both = pd.concat([lists(["u1"], "adjusted"), lists(["u2"], "relevance")])
    assert not [name for name in quality_by_policy(both, outcomes(("u1", "a")), 2) if "relevance" in name]


def test_the_interval_holds_its_value_and_is_the_same_again():
    users = [f"u{n}" for n in range(200)]
    bought = outcomes(*[(user, "a" if n % 3 else "z") for n, user in enumerate(users)])
    first, again = (quality_by_policy(lists(users, "adjusted"), bought, 2) for _ in range(2))
    assert first == again
    assert all(figure.low < figure.value < figure.high for figure in first.values())


def test_an_explored_slot_does_not_move_a_user_to_the_control_group():
    mixed = lists(["u1"], "adjusted").assign(policy=["adjusted", "explore"])
    group = group_of_user(pd.concat([mixed, lists(["u2"], "relevance")]))
    assert group.to_dict() == {"u1": "adjusted", "u2": "relevance"}


def random_trial(lift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """2,000 users in each group with one outcome on average, and ``lift`` more where adjusted."""
    rng = np.random.default_rng(7)
    groups = {"adjusted": [f"t{n}" for n in range(2_000)], "relevance": [f"c{n}" for n in range(2_000)]}
    shown = pd.concat([lists(users, policy) for policy, users in groups.items()])
    bought = [
        (user, "a")
        for policy, users in groups.items()
        for user, times in zip(users, rng.poisson(1.0 + lift * (policy == "adjusted"), 2_000), strict=True)
        for _ in range(times)
    ]
    return shown, outcomes(*bought)


def test_a_planted_lift_is_inside_the_interval_and_zero_is_not():
    lift = measured_lift(*random_trial(0.3))
    assert lift is not None
    assert 0.0 < lift.low < 0.3 < lift.high


def test_no_lift_is_found_where_none_was_planted():
    lift = measured_lift(*random_trial(0.0))
    assert lift is not None
    assert lift.low < 0.0 < lift.high


def test_users_without_outcomes_count_in_the_lift():
    shown = pd.concat([lists(["t1", "t2"], "adjusted"), lists(["c1", "c2"], "relevance")])
    lift = measured_lift(shown, outcomes(("t1", "a")))
    assert lift is not None
    assert lift.value == 0.5


def test_a_lift_needs_two_users_in_each_group():
    shown = pd.concat([lists(["t1", "t2"], "adjusted"), lists(["c1"], "relevance")])
    assert measured_lift(shown, outcomes(("t1", "a"))) is None
