"""The benchmark's measures and baselines, on worlds small enough to work out by hand."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks import relevance

RUN_DATE = date(2024, 3, 1)


@pytest.fixture(scope="module")
def known() -> relevance.World:
    """User u buys a twice and b once, v buys c; in the week after u buys b, v buys a and, too late, c."""
    days = [
        ("u", "a", 30),
        ("u", "a", 2),
        ("u", "b", 1),
        ("v", "c", 120),
        ("u", "b", 0),
        ("v", "a", -6),
        ("v", "c", -7),
    ]
    rows = pd.DataFrame(
        [(u, i, RUN_DATE - timedelta(days=n)) for u, i, n in days], columns=["user_id", "item_id", "day"]
    )
    return relevance.world(rows, pd.DataFrame({"item_id": ["a", "b", "c"]}), RUN_DATE)


def test_truth_is_what_is_bought_in_the_seven_days_from_the_run_date(known: relevance.World) -> None:
    assert known.truth.tolist() == [[False, True, False], [True, False, False]]
    assert known.counts(np.ones(4)).tolist() == [[2, 1, 0], [0, 0, 1]]


def test_perfect_scores_measure_one_and_ties_go_to_the_more_popular_item(known: relevance.World) -> None:
    users = np.array([0, 1])
    perfect = relevance.measure(known.truth.astype(np.float32), known, users)
    assert all((values == 1).all() for values in perfect.values())
    tied = relevance.measure(np.zeros((2, 3), dtype=np.float32), known, users)  # order a, b, c by the last 91 days
    assert tied["ndcg_10"] == pytest.approx([1 / np.log2(3), 1.0])


def test_an_item_that_was_not_retrieved_is_missed_where_the_list_is_full() -> None:
    events = pd.DataFrame({"user": [0], "item": [0], "age": [1], "n": [1]})
    truth = np.zeros((1, 150), dtype=bool)
    truth[0, [0, 149]] = True
    world = relevance.World(events, ["u"], [str(n) for n in range(150)], truth)
    score = np.where(np.arange(150) < 149, 150.0 - np.arange(150), -np.inf).astype(np.float32)[None]
    found = relevance.measure(score, world, np.array([0]))
    assert found["recall_100"].tolist() == [0.5]


def test_ease_by_users_equals_ease_by_items() -> None:
    x = np.random.default_rng(0).poisson(0.5, (30, 8)).astype(np.float32)
    inverse = np.linalg.inv(x.T @ x + 5.0 * np.eye(8))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(relevance.ease(x, 5.0), x @ weights, atol=1e-4)


def test_paired_interval_excludes_zero_only_where_there_is_a_difference() -> None:
    noise = np.random.default_rng(1).normal(size=1_000)
    low, high = relevance.paired(noise)
    assert low < 0 < high
    assert relevance.paired(noise + 0.2)[0] > 0
