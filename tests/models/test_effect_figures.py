"""Figures of a fitted night, and points that the report draws from: few, and saying the same as the figures."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.models import effect_figures, reliability
from jobs.models.metrics import Estimate
from jobs.runtime.errors import DataError
from tests.models.nights import ADJUSTED, night


def test_overlap_counts_the_weight_of_each_arm():
    trials, fitted = night().fit()
    weighted = replace(trials, trials=replace(trials.trials, weight=np.arange(len(trials.item)) % 5 + 1.0))
    found = effect_figures.curves(weighted, fitted.predicted)["overlap"]
    assert len(found["edges"]) == len(found["control"]) + 1 == len(found["treated"]) + 1 == 41
    for arm, name in enumerate(("control", "treated")):
        assert sum(found[name]) == pytest.approx(weighted.trials.weight[trials.trials.treated == arm].sum())
    assert sum(found["control"][:14]) > 2 * sum(found["treated"][:14]) > 0
    assert sum(found["treated"][26:]) > 2 * sum(found["control"][26:]) > 0


def test_the_area_between_uplift_curve_and_chance_is_the_qini():
    trials, fitted = night().fit()
    found = effect_figures.curves(trials, fitted.predicted)["qini_curve"]
    assert len(found["share"]) == len(found["gain"]) == len(found["random"]) == 101
    assert (found["gain"][0], found["random"][0]) == (0.0, 0.0)
    assert found["gain"][-1] == pytest.approx(found["random"][-1])
    area = np.trapezoid(np.subtract(found["gain"], found["random"]), found["share"])
    qini = effect_figures.figures(trials, fitted, 20, 0)["qini"]
    assert isinstance(qini, Estimate) and area == pytest.approx(qini.value, rel=0.02)
    assert area > 0.01


def test_tenths_of_the_predicted_effect_rise_as_the_planted_effect_does():
    world = night()
    trials, fitted = world.fit()
    found = effect_figures.curves(trials, fitted.predicted)["tenths"]
    assert len(found["predicted"]) == 10 and found["found"][-1] > found["found"][0] + 0.1
    part = reliability.parts(fitted.predicted.effect, trials.trials.weight)
    truth = [world.effect[part == place].mean() for place in range(10)]
    assert sum(low <= one <= high for low, one, high in zip(found["low"], truth, found["high"], strict=True)) >= 7


def test_figures_hold_the_planted_average_and_say_that_everything_is_identified():
    world = night()
    trials, fitted = world.fit()
    found = effect_figures.figures(trials, fitted, 20, 0)
    average = found["average_effect"]
    assert isinstance(average, Estimate) and average.low <= world.effect.mean() <= average.high
    assert found["overlap_share"] == found["identified_share"] and found["overlap_share"].low > 0.99
    assert found["treated_share"].low < np.average(trials.trials.treated) < found["treated_share"].high
    error = np.mean((fitted.predicted.e - trials.trials.treated) ** 2)
    assert found["brier"].value == pytest.approx(error) and found["brier"].low < error < found["brier"].high
    assert found["trials"] == len(trials.item)


def test_what_the_best_tenth_promises_is_near_what_it_promises_of_the_planted_truth():
    world = night()
    trials, fitted = world.fit()
    effect = fitted.predicted.effect
    best = np.argsort(-effect)[: len(effect) // 10]
    truth = effect[best].mean() / world.effect[best].mean()
    found = effect_figures.figures(trials, fitted, 20, 0)["promised_by_best_tenth"]
    assert found.low < truth < found.high and found.high - found.low < 0.5


def test_balance_is_of_the_columns_that_are_adjusted_for_and_weighting_mends_it():
    trials, fitted = night().fit()
    table = effect_figures.balance(trials, fitted.predicted, ADJUSTED)
    assert list(table["feature"]) == list(ADJUSTED)
    found = effect_figures.largest(table)
    assert found["balance_before"] > 0.3 > 0.1 > found["balance_after"]
    assert effect_figures.largest(table.iloc[:0]) == {}


def test_no_overlap_at_all_is_an_error():
    trials, fitted = night().fit()
    nowhere = replace(fitted, predicted=replace(fitted.predicted, e=np.full(len(trials.item), 0.001)))
    with pytest.raises(DataError, match="no trial has a propensity inside"):
        effect_figures.figures(trials, nowhere, 20, 0)


def test_slopes_have_an_interval_by_what_they_are_without_each_fold_of_users():
    trials, fitted = night().fit()
    found = effect_figures.figures(trials, fitted, 20, 0)
    for place, name in enumerate(effect_figures.SLOPES):
        one, without = found[name], fitted.slopes[:, place]
        assert one.value == fitted.effects.slopes[place]
        assert one.low <= min(without.min(), one.value) and max(without.max(), one.value) <= one.high, name
    assert found["prior_slope"].low < found["prior_slope"].high


def test_a_jackknife_of_means_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        groups = rng.normal(0.3, 1.0, (4, 50))
        without = np.array([np.delete(groups, k, axis=0).mean() for k in range(4)])[:, None]
        (found,) = effect_figures.jackknife([groups.mean()], without)
        held += found.low <= 0.3 <= found.high
    assert 0.86 < held / 400 < 0.94
