import numpy as np

from jobs.models import propensity
from tests.models.planted import QUICK, plant


def test_cross_fitted_propensity_is_calibrated_and_balances_the_confounder():
    planted = plant(0.0)
    trials = planted.trials
    _, e = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, QUICK, 0)
    assert np.abs(e - planted.propensity).mean() < 0.05
    table = propensity.reliability(e, trials.treated, trials.weight)
    assert np.abs(table["predicted"] - table["treated_share"]).max() < 0.05
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


def test_columns_add_how_often_the_pair_was_shown_so_far():
    counts = np.array([[3, 1, 1, 0], [0, 0, 0, 0]])
    found = propensity.columns(np.array([[7.0], [8.0]], np.float32), counts)
    assert np.array_equal(found, np.float32([[7, 0.75, 3, 1], [8, np.nan, 0, 0]]), equal_nan=True)
    assert propensity.names(["item_price"]) == ("item_price", "shown_share", "treated", "control")
