"""What is measured where nothing is watched twice, on worlds small enough to work out by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks import one_time, relevance

RUN_DATE = date(1998, 1, 24)
FILMS = ["a", "b", "c"]


@pytest.fixture
def clean() -> one_time.Tables:
    """User u rated a long ago and rates b in the window; v comes in the window with c, w after it."""
    rated = [("u", "a", -40), ("u", "b", 3), ("v", "c", 27), ("w", "a", 28)]
    return {
        "users": pd.DataFrame({"user_id": ["u", "v", "w"]}),
        "items": pd.DataFrame({"item_id": FILMS}),
        "interactions": pd.DataFrame(
            [(user, film, RUN_DATE + timedelta(days=day)) for user, film, day in rated],
            columns=["user_id", "item_id", "event_day"],
        ),
    }


def test_truth_is_what_is_rated_in_the_window_by_known_and_new_users(clean: one_time.Tables) -> None:
    known = one_time.split(clean, RUN_DATE)
    assert known.users == ["u", "v"]
    assert known.truth.tolist() == [[False, True, False], [False, False, True]]
    assert known.counts(np.ones(len(known.events))).tolist() == [[1, 0, 0], [0, 0, 0]]


def test_a_list_is_judged_in_its_order_and_only_what_it_holds(clean: one_time.Tables) -> None:
    known = one_time.split(clean, RUN_DATE)
    rows = [("u", "c", 1), ("u", "b", 2), ("v", "c", 1), ("w", "a", 1)]
    score = one_time.listed(pd.DataFrame(rows, columns=["user_id", "item_id", "rank"]), known)
    assert score.tolist() == [[-np.inf, -2, -1], [-np.inf, -np.inf, -1]]
    measured = relevance.measure(score, known, np.array([0, 1]))
    assert measured["ndcg_10"] == pytest.approx([1 / np.log2(3), 1.0])


def test_reach_counts_short_lists_and_films_that_few_rated(clean: one_time.Tables) -> None:
    known = one_time.split(clean, RUN_DATE)
    seen = known.counts(np.ones(len(known.events)))
    full = pd.DataFrame({"user_id": "v", "item_id": "c", "rank": range(1, one_time.LENGTH + 1)})
    short = pd.DataFrame({"user_id": ["u"], "item_id": ["b"], "rank": [1]})
    found = one_time.reach(pd.concat([full, short]), clean, known, seen)
    assert found["full lists"] == pytest.approx(1 / 3)
    assert (found["new users"], found["new users' full lists"]) == (2, 0.5)
    assert (found["films with few raters"], found["of them in a list"]) == (3, pytest.approx(2 / 3))


def test_a_users_nights_are_drawn_together() -> None:
    values = np.random.default_rng(0).normal(size=400)
    error, low, high = one_time.bootstrapped(values, np.arange(400).astype(str))
    assert error == pytest.approx(values.std() / 20, rel=0.1)
    assert low < values.mean() < high
    twice = one_time.bootstrapped(np.tile(values, 2), np.tile(np.arange(400).astype(str), 2))
    assert twice[0] == pytest.approx(error, rel=0.1)  # the same user again says nothing new


def test_a_lead_is_ours_less_theirs_night_by_night() -> None:
    rows = [(f"u{k}", night, 0.1 * k) for k in range(20) for night in (RUN_DATE, RUN_DATE + timedelta(days=28))]
    theirs = pd.DataFrame(rows, columns=["user", "night", "ndcg_10"]).assign(recall_10=0.5, recall_100=0.5)
    ours = theirs.assign(ndcg_10=theirs["ndcg_10"] + 0.02).sample(frac=1, random_state=0)
    both = pd.concat([theirs.assign(method="popularity"), ours.assign(method=one_time.OURS)])
    table = one_time.summary(both, ["popularity"])
    assert table.loc["popularity", "ours ahead, ndcg_10"] == pytest.approx(0.02)
    assert table.loc["popularity", "low, ndcg_10"] == pytest.approx(0.02)
    assert table.loc["popularity", "ours ahead, recall_100"] == 0
