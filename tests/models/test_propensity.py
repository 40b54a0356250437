from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jobs.models import propensity, reliability
from jobs.models.boosting import Calibration
from jobs.models.folds import fold_of
from jobs.models.propensity import Propensity
from tests.models.planted import QUICK, plant


def test_cross_fitted_propensity_is_calibrated_and_balances_the_confounder():
    planted = plant(0.0)
    trials = planted.trials
    _, e = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, QUICK, 0)
    assert np.abs(e - planted.propensity).mean() < 0.05
    table = reliability.table(e, trials.treated, trials.weight, trials.users)
    assert np.abs(table["predicted"] - table["found"]).max() < 0.05
    clipped = propensity.clip(e, 0.02)
    balance = propensity.balance(trials.matrix, ("keen", "b", "c", "d"), trials.treated, trials.weight, clipped)
    confounder = balance.set_index("feature").loc["keen"]
    assert confounder["before"] > 0.4
    assert abs(confounder["after"]) < 0.1


def test_logged_propensity_wins_where_there_is_one():
    assert propensity.with_logged(np.array([0.1, 0.2]), np.array([np.nan, 0.9])).tolist() == [0.1, 0.9]


def test_effective_sample_size_is_the_count_for_equal_weights_and_less_otherwise():
    assert np.isclose(propensity.effective_sample_size(np.full(10, 3.0)), 10)
    assert propensity.effective_sample_size(np.array([1.0, 9.0])) < 1.3


def test_columns_add_how_often_the_pair_was_shown_so_far_and_where_it_was_listed():
    counts = np.array([[3, 1, 1, 0], [0, 0, 0, 0]])
    listed = np.float32([[2, 0.4], [np.nan, np.nan]])
    found = propensity.columns(np.array([[7.0], [8.0]], np.float32), counts, listed)
    expected = np.float32([[7, 0.75, 3, 1, 2, 0.4], [8, np.nan, 0, 0, np.nan, np.nan]])
    assert np.array_equal(found, expected, equal_nan=True)
    history = ("shown_share", "treated", "control", "listed_position", "listed_score")
    assert propensity.names(["item_price"]) == ("item_price", *history)


def test_a_list_that_decides_what_is_shown_is_found_where_the_features_say_nothing():
    planted = plant(0.0)
    t, rng = planted.trials, np.random.default_rng(0)
    position = rng.integers(1, 12, len(t.users)).astype(np.float32)
    chance = np.where(position <= 10, 0.9 - 0.05 * position, 0.05)
    treated = (rng.random(len(chance)) < chance).astype(np.int32)
    none = np.full((len(chance), 2), np.nan, np.float32)
    known = np.column_stack([position, -position]).astype(np.float32)
    without, with_list = (
        propensity.fit(
            propensity.columns(t.matrix, np.zeros((len(chance), 4)), listed), treated, t.weight, t.fold, QUICK, 0
        )[1]
        for listed in (none, known)
    )
    assert np.abs(with_list - chance).mean() < 0.05 < 0.15 < np.abs(without - chance).mean()


def kept(worth: float, before: int, pairs: int = 40_000, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Pairs that a model knows ``worth`` periods' worth of: propensity, prediction, counts before and ahead."""
    rng = np.random.default_rng(seed)
    mean = rng.choice([0.02, 0.1, 0.4, 0.9, 0.98], pairs)
    own = rng.beta(mean * worth, (1 - mean) * worth)
    shown, ahead = rng.binomial(before, own), rng.binomial(5, own)
    counts = np.column_stack([shown, 0 * shown, before - shown, 0 * shown])
    predicted = (mean * worth + shown) / (worth + before)
    return own, predicted, counts, np.column_stack([ahead, 5 - ahead])


@pytest.mark.parametrize(("worth", "before"), [(2.0, 0), (2.0, 5), (20.0, 0), (20.0, 5)])
def test_strength_of_the_predictions_is_found_from_what_came_after_them(worth: float, before: int):
    _, predicted, counts, ahead = kept(worth, before)
    found = propensity.strength(predicted, counts, ahead, np.ones(len(predicted)))
    assert 0.6 * worth < found < 1.7 * worth


def test_predictions_that_are_every_pairs_own_propensity_are_worth_many_periods():
    own, _, counts, ahead = kept(5.0, 0)
    sure = propensity.strength(own, counts, ahead, np.ones(len(own)))
    assert sure > 300
    once = np.column_stack([np.ones(3), np.zeros(3)])
    assert propensity.strength(own[:3], counts[:3], once, np.ones(3)) == propensity.SURE


@pytest.mark.parametrize(("worth", "before"), [(2.0, 5), (20.0, 10)])
def test_chance_of_overlap_is_as_often_right_as_it_says(worth: float, before: int):
    own, predicted, counts, _ = kept(worth, before)
    said = Propensity((), Calibration((0.0, 1.0), (0.0, 1.0)), worth).overlap_chance(predicted, counts, 0.02)
    inside = propensity.overlap(own, 0.02)
    cells = pd.DataFrame({"said": said, "inside": inside}).groupby(np.round(said, 6)).agg(["mean", "size"])
    often = cells[cells["said", "size"] > 500]
    assert len(often) > 6 and often["said", "mean"].min() < 0.5 < often["said", "mean"].max()
    assert np.abs(often["said", "mean"] - often["inside", "mean"]).max() < 0.06


def test_a_model_that_knows_every_propensity_leaves_the_bounds_as_they_are():
    e = np.array([0.0, 0.015, 0.025, 0.5, 0.975, 0.985, 1.0])
    said = Propensity((), Calibration((0.0, 1.0), (0.0, 1.0))).overlap_chance(e, np.zeros((7, 4)), 0.02)
    assert np.round(said, 6).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_pair_seen_in_both_arms_has_overlap_by_its_prediction_and_one_seen_in_one_arm_if_that_is_likely():
    model = Propensity((), Calibration((0.0, 1.0), (0.0, 1.0)), 1.0)
    counts = np.array([[1, 0, 9, 0], [0, 0, 10, 0], [0, 0, 10, 0], [9, 0, 1, 0], [10, 0, 0, 0], [1, 0, 9, 0]])
    e = np.array([0.03, 0.03, 0.1, 0.97, 0.97, 0.01])
    chance = model.overlap_chance(e, counts, 0.02)
    assert propensity.has_overlap(e, chance, counts, 0.02).tolist() == [True, False, True, True, False, False]


def test_pairs_shown_by_rule_have_no_overlap_and_pairs_shown_by_chance_have():
    """No feature tells them apart: of each user's 40 items 8 are always shown, 8 never, the others by chance."""
    rng, shape = np.random.default_rng(0), (500, 40)
    own = np.broadcast_to(np.repeat([1.0, 0.0, 0.15, 0.5, 0.8], 8), shape)
    own = rng.permuted(own, axis=1).ravel()
    shown = rng.random((10, len(own))) < own
    users = np.repeat([f"u{n}" for n in range(shape[0])], shape[1]).astype(object)
    fold, one = fold_of(np.tile(users, 5), QUICK.folds), np.ones(5 * len(own))
    before = np.concatenate([counted(shown[:period]) for period in range(5, 10)])
    ahead = np.concatenate([counted(shown[period:])[:, [0, 2]] for period in range(5, 10)])
    noise = rng.normal(size=(len(one), 2)).astype(np.float32)
    none = np.full((len(one), 2), np.nan, np.float32)
    columns = propensity.columns(noise, before, none)
    model, e = propensity.fit(columns, shown[5:].ravel().astype(np.int32), one, fold, QUICK, 0)
    model = replace(model, strength=propensity.strength(e, before, ahead, one))
    tonight = counted(shown)
    columns = propensity.columns(noise[: len(own)], tonight, none[: len(own)])
    e = model.predict(columns, fold[: len(own)])
    found = propensity.has_overlap(e, model.overlap_chance(e, tonight, 0.02), tonight, 0.02)
    ruled = (own == 0.0) | (own == 1.0)
    assert (~found)[ruled].mean() > 0.99
    both = (tonight[:, 0] > 0) & (tonight[:, 2] > 0)
    assert found[both].mean() > 0.99 and found[~ruled].mean() > 0.89  # chance showed the others always or never


def counted(shown: np.ndarray) -> np.ndarray:
    """Counts (n, 4) of periods shown and not shown, without outcomes."""
    times = shown.sum(axis=0)
    return np.column_stack([times, 0 * times, len(shown) - times, 0 * times])


def test_only_pairs_seen_in_one_arm_may_be_shown_by_rule():
    model = Propensity((), Calibration((0.0, 1.0), (0.0, 1.0)), 2.0)
    counts = np.array([[10, 0, 0, 0], [0, 0, 10, 0], [5, 0, 5, 0], [0, 0, 0, 0]])
    chance = model.overlap_chance(np.array([0.99, 0.01, 0.99, 0.99]), counts, 0.02)
    unsure = propensity.unsure(chance, counts)
    assert (unsure[:2] > 0.5).all() and (unsure[2:] == 0.0).all()
