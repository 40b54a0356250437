"""What a judged list must show: perfect is 1, useless is 0, and what was planted is found."""

import numpy as np
import pandas as pd
import pytest

from jobs.models import feedback

HELD_OUT = pd.Series({"u1": False, "u2": True})
CATALOGUE = 5


def lists(users: list[str], policy: str, items: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        [(user, item, place, policy, 0.5) for user in users for place, item in enumerate(items, start=1)],
        columns=["user_id", "item_id", "rank", "policy", "relevance"],
    )


def pairs(*given: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(given), columns=["user_id", "item_id"])


def of_one(items: tuple[str, ...], *outcomes: str, length: int = 2) -> feedback.Figures:
    """Figures of one user with the adjusted list ``items``."""
    taken = pairs(*(("u1", outcome) for outcome in outcomes))
    return feedback.quality(lists(["u1"], "adjusted", items), taken, HELD_OUT, length, CATALOGUE)


def test_a_perfect_list_is_one_and_a_useless_one_zero():
    both = pd.concat([lists(["u1"], "adjusted"), lists(["u2"], "relevance")])
    figures = feedback.quality(both, pairs(("u1", "a"), ("u1", "b"), ("u2", "z")), HELD_OUT, 2, CATALOGUE)
    for metric in ("ndcg", "recall", "precision", "map", "hit_rate"):
        assert figures[f"adjusted_{metric}"].value == 1.0
        assert figures[f"relevance_{metric}"].value == 0.0


def test_an_item_bought_twice_counts_once():
    figures = of_one(("a", "b"), "a", "a")
    assert figures["adjusted_recall"].value == 1.0
    assert figures["adjusted_precision"].value == 0.5


def test_a_hit_at_the_top_is_worth_more_than_one_below():
    assert of_one(("a", "b"), "a")["adjusted_ndcg"].value == 1.0
    assert of_one(("a", "b"), "b")["adjusted_ndcg"].value == pytest.approx(1 / np.log2(3))


def test_places_beyond_the_list_length_do_not_count():
    assert of_one(("a", "b", "c"), "c")["adjusted_hit_rate"].value == 0.0


@pytest.mark.parametrize(
    ("taken", "right"), [("ab", 5), ("a", 4), ("az", 3), ("z", 2), ("yz", 1), ("xyz", 0)], ids=lambda value: str(value)
)
def test_accuracy_is_the_share_of_the_catalogue_rightly_listed_or_left_out(taken: str, right: int) -> None:
    assert of_one(("a", "b"), *taken)["adjusted_accuracy"].value == pytest.approx(right / CATALOGUE)


def test_places_beyond_the_list_length_are_left_out_of_accuracy() -> None:
    assert of_one(("a", "b", "c"), "a", "b", "c")["adjusted_accuracy"].value == pytest.approx(4 / CATALOGUE)


def test_a_group_without_outcomes_has_no_figure():
    both = pd.concat([lists(["u1"], "adjusted"), lists(["u2"], "relevance")])
    figures = feedback.quality(both, pairs(("u1", "a")), HELD_OUT, 2, CATALOGUE)
    assert figures and not [name for name in figures if "relevance" in name]


def test_the_brier_score_is_the_squared_error_of_relevance():
    both = lists(["u1"], "adjusted").assign(relevance=[0.9, 0.2])
    figures = feedback.quality(both, pairs(("u1", "a")), HELD_OUT, 2, CATALOGUE)
    assert figures["adjusted_brier"].value == pytest.approx((0.1**2 + 0.2**2) / 2)


def test_the_interval_holds_its_value_and_is_the_same_again():
    users = [f"u{n}" for n in range(200)]
    held_out = pd.Series(False, index=users)
    bought = pairs(*[(user, "a" if n % 3 else "z") for n, user in enumerate(users)])
    first, again = (feedback.quality(lists(users, "adjusted"), bought, held_out, 2, CATALOGUE) for _ in range(2))
    assert first == again
    assert all(figure.low < figure.value < figure.high for name, figure in first.items() if "brier" not in name)


def test_lists_of_other_held_out_users_are_known_as_such():
    mixed = lists(["u1"], "adjusted").assign(policy=["adjusted", "explore"])
    control = lists(["u2"], "relevance")
    both = pd.concat([mixed, control])
    assert feedback.same_groups(both, HELD_OUT)
    assert not feedback.same_groups(both, ~HELD_OUT)
    assert not feedback.same_groups(both, pd.Series({"u1": True, "u2": True})), "u1 was not held out then"
    assert not feedback.same_groups(both, pd.Series({"u1": False, "u2": False})), "u2 was held out then"


def test_behind_a_closed_gate_everybody_has_relevance_and_the_groups_stand():
    closed = pd.concat([lists(["u1"], "relevance"), lists(["u2"], "relevance")])
    assert feedback.same_groups(closed, HELD_OUT)
    explored = closed.assign(policy=["relevance", "relevance", "relevance", "explore"])
    assert not feedback.same_groups(explored, HELD_OUT), "u2 is held out and has a random slot"


def test_a_rate_is_the_share_of_shown_pairs_taken_up():
    shown = pd.DataFrame(
        {
            "user_id": ["u1", "u1", "u1", "u2", "u3"],
            "item_id": ["a", "b", "a", "a", "a"],
            "policy": ["adjusted", "adjusted", "adjusted", "adjusted", None],
            "position": [1, 2, 1, 1, 1],
        }
    )
    figures = feedback.rates(shown, pairs(("u1", "a"), ("u1", "a"), ("u3", "a")), "click_rate", ["policy"])
    assert list(figures) == ["click_rate_adjusted"]
    assert figures["click_rate_adjusted"].value == pytest.approx(1 / 3), "a, b and a: shown twice is one trial"
    by_place = feedback.rates(shown, pairs(("u1", "a")), "click_rate", ["policy", "position"])
    assert {name: figure.value for name, figure in by_place.items()} == {
        "click_rate_adjusted_1": 0.5,
        "click_rate_adjusted_2": 0.0,
    }


def test_the_interval_of_a_rate_holds_the_truth_although_users_differ():
    """Without the design effect it would hold it four times in five at best."""
    rng, held, naive = np.random.default_rng(0), [], []
    for _ in range(400):
        users = np.repeat(np.arange(150), 20)
        chance = np.repeat(rng.beta(0.5, 4.5, 150), 20)
        hit = (rng.random(3_000) < chance).astype(float)
        found, plain = feedback.clustered_rate(hit, users), feedback.clustered_rate(hit, np.arange(3_000))
        held.append(found.low <= 0.1 <= found.high)
        naive.append(plain.low <= 0.1 <= plain.high)
    assert 0.86 < np.mean(held) < 0.94
    assert np.mean(naive) < 0.8


def test_no_hit_still_has_an_interval():
    figure = feedback.clustered_rate(np.zeros(50), np.arange(50))
    assert figure.value == figure.low == 0.0
    assert 0.02 < figure.high < 0.1


def said(*given: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(list(given), columns=["user_id", "item_id", "said"])


SEEN = pd.DataFrame(
    {
        "user_id": ["u1", "u1", "u1", "u2", "u2", "u3"],
        "item_id": ["a", "b", "a", "a", "c", "a"],
        "policy": ["adjusted", "adjusted", "adjusted", "relevance", None, "adjusted"],
    }
)


def test_opinions_of_what_was_shown_are_told_by_policy():
    votes = said(("u1", "a", 1.0), ("u1", "b", -1.0), ("u3", "a", 1.0), ("u2", "a", -1.0), ("u2", "c", 1.0))
    comments = said(("u1", "a", 0.6), ("u1", "a", 0.04), ("u9", "a", -1.0))
    figures = feedback.opinions(SEEN, votes, comments)
    assert figures["mean_vote_adjusted"].value == pytest.approx(1 / 3), "a pair shown twice has one vote"
    assert figures["like_share_adjusted"].value == pytest.approx(2 / 3)
    assert figures["mean_vote_relevance"] == -1.0 and figures["like_share_relevance"].value == 0.0
    assert figures["sentiment_adjusted"] == pytest.approx(0.32), "one user alone has no interval"
    assert figures["positive_comments_adjusted"].value == 0.5, "0.04 is neutral"
    assert "sentiment_relevance" not in figures and "mean_vote_None" not in figures


def test_without_a_word_from_anybody_there_is_no_figure():
    assert feedback.opinions(SEEN, said(), said()) == {}
    assert feedback.opinions(SEEN.head(0), said(("u1", "a", 1.0)), said()) == {}


def test_the_interval_of_a_mean_holds_the_truth_although_users_differ():
    rng, held, naive = np.random.default_rng(0), [], []
    for _ in range(400):
        users = np.repeat(np.arange(60), 10)
        values = np.repeat(rng.normal(0.2, 1.0, 60), 10) + rng.normal(0.0, 1.0, 600)
        found, plain = feedback.clustered_mean(values, users), feedback.clustered_mean(values, np.arange(600))
        held.append(found.low <= 0.2 <= found.high)
        naive.append(plain.low <= 0.2 <= plain.high)
    assert 0.86 < np.mean(held) < 0.94
    assert np.mean(naive) < 0.7


def random_slots(rng: np.random.Generator, effect: float, promised: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """600 users with one or two random slots and five spared candidates for each; users differ, effects too."""
    rows, hits = [], []
    for user in range(600):
        keen, slots = rng.uniform(0, 0.3), int(rng.integers(1, 3))
        for item in range(6 * slots):
            shown = item < slots
            rows.append((f"u{user}", f"i{item}", shown, promised))
            if rng.random() < keen + shown * 2 * effect * rng.random():
                hits.append((f"u{user}", f"i{item}"))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "shown", "effect"]), pairs(*hits)


def test_random_slots_find_the_planted_effect_and_say_what_was_promised():
    rng, held, values = np.random.default_rng(1), [], []
    for _ in range(60):
        figures = feedback.explored(*random_slots(rng, 0.1, 0.3))
        values.append(figures["explore_effect"].value)
        held.append(figures["explore_effect"].low <= 0.1 <= figures["explore_effect"].high)
        assert figures["explore_effect_promised"] == pytest.approx(0.3)
    assert np.mean(values) == pytest.approx(0.1, abs=0.01)
    assert 0.8 <= np.mean(held) <= 0.98


def test_spared_pairs_weigh_as_much_as_the_shown_ones_of_their_user():
    tried = pd.DataFrame(
        [("u1", "a", True, 0.0), ("u1", "b", False, 0.0), ("u2", "a", True, 0.0)]
        + [("u2", f"s{n}", False, 0.0) for n in range(4)],
        columns=["user_id", "item_id", "shown", "effect"],
    )
    figures = feedback.explored(tried, pairs(("u1", "b")))
    assert figures["explore_effect"].value == pytest.approx(-0.5)


def test_without_a_random_slot_there_is_nothing_to_compare():
    tried = pd.DataFrame({"user_id": ["u1"], "item_id": ["a"], "shown": [True], "effect": [0.1]})
    assert feedback.explored(tried, pairs()) == {}
    assert feedback.explored(tried.iloc[:0], pairs()) == {}
