"""Predictions beside what came true: right ones lie in the intervals, wrong ones do not, ties stay together."""

import numpy as np
import pytest

from jobs.models import reliability


def world(users: int = 400, trials: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, outcomes drawn by them, weights and users."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(1, 4, users * trials)
    outcome = (rng.random(users * trials) < probability).astype(float)
    return probability, outcome, rng.integers(1, 4, users * trials).astype(float), np.repeat(np.arange(users), trials)


def test_a_right_prediction_lies_in_most_intervals_and_a_doubled_one_in_none_of_the_upper_half() -> None:
    held = []
    for seed in range(5):
        probability, outcome, weight, users = world(seed=seed)
        made = reliability.table(probability, outcome, weight, users)
        assert len(made) == reliability.PARTS and made["predicted"].is_monotonic_increasing
        held += list((made["low"] <= made["predicted"]) & (made["predicted"] <= made["high"]))
        twice = reliability.table(2 * probability, outcome, weight, users).tail(5)
        assert (twice["predicted"] > twice["high"]).all()
    assert 0.78 <= np.mean(held) <= 1.0


def test_parts_have_equal_weight_and_together_the_mean_of_all() -> None:
    probability, outcome, weight, users = world()
    made, part = reliability.table(probability, outcome, weight, users), reliability.parts(probability, weight)
    share = np.bincount(part, weight) / weight.sum()
    assert share == pytest.approx(np.full(reliability.PARTS, 0.1), abs=0.01)
    assert made["trials"].sum() == len(outcome)
    assert share @ made["found"] == pytest.approx(np.average(outcome, weights=weight))
    assert share @ made["predicted"] == pytest.approx(np.average(probability, weights=weight))


def test_parts_of_equal_expectation_look_closely_where_probabilities_are_high() -> None:
    probability, outcome, weight, users = world()
    made = reliability.table(probability, outcome, weight, users, size=weight * probability)
    assert made["trials"].iloc[0] > 5 * made["trials"].iloc[-1]


def test_equal_predictions_are_one_part_and_one_user_has_no_interval() -> None:
    same = reliability.table(np.full(6, 0.5), np.array([0.0, 1, 1, 0, 0, 1]), np.ones(6), np.arange(6))
    assert same[["predicted", "found", "trials"]].values.tolist() == [[0.5, 0.5, 6]]
    alone = reliability.document(reliability.table(np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.ones(2), ["a", "b"]))
    assert alone["low"] == alone["high"] == [None, None] and alone["found"] == [0.0, 1.0]


def test_the_interval_knows_that_trials_of_a_user_are_alike() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 30)
    outcome = (rng.random(100) < 0.5).astype(float)[users]  # a user does always the same
    apart, alike = (
        reliability.table(np.full(3000, 0.5), outcome, np.ones(3000), names) for names in (np.arange(3000), users)
    )
    width = [float((made["high"] - made["low"]).iloc[0]) for made in (apart, alike)]
    assert width[1] == pytest.approx(width[0] * np.sqrt(30), rel=0.1)
