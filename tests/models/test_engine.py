"""The effect engine on a planted night: effects are found, by models that never saw the user, and twice the same."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.models import engine, metrics
from tests.models.nights import ADJUSTED, HOW, night


def test_planted_effects_are_found_and_calibrated():
    world = night()
    _, fitted = world.fit()
    said = fitted.predicted
    assert np.corrcoef(said.effect, world.effect)[0, 1] > 0.8
    helped = world.effect > 0
    assert said.effect[helped].mean() == pytest.approx(world.effect[helped].mean(), abs=0.03)
    assert said.effect[~helped].mean() == pytest.approx(0.0, abs=0.03)
    assert np.corrcoef(said.e, world.propensity)[0, 1] > 0.9
    assert said.average().error < 0.01


def test_predictions_of_a_user_do_not_change_with_his_own_outcomes():
    world = night()
    trials, fitted = world.fit()
    mine = trials.trials.fold == 0
    turned = np.where(mine, 1.0 - trials.trials.outcome, trials.trials.outcome)
    again = engine.fit(
        replace(trials, trials=replace(trials.trials, outcome=turned)),
        ADJUSTED,
        fitted.effects.prior,
        fitted.effects.both_arms,
        HOW,
        0,
    )
    for name in ("mu0", "mu1", "learnt"):
        first, second = getattr(fitted.predicted, name), getattr(again.predicted, name)
        assert np.array_equal(first[mine], second[mine]), name
        assert not np.array_equal(first[~mine], second[~mine]), name


def test_logged_propensities_are_taken_as_they_are():
    world = night()
    trials, _ = world.fit()
    logged = np.where(trials.trials.treated == 1, 0.5, np.nan)
    fitted = engine.fit(
        replace(trials, logged=logged),
        ADJUSTED,
        world.fit()[1].effects.prior,
        set(world.items.index),
        HOW,
        0,
    )
    treated = trials.trials.treated == 1
    assert (fitted.predicted.e[treated] == 0.5).all() and fitted.predicted.e[~treated].std() > 0.05


def test_trials_taken_have_the_predictions_they_had():
    _, fitted = night().fit()
    rows = np.arange(10, 30)
    part = fitted.predicted.take(rows)
    assert np.array_equal(part.effect, fitted.predicted.effect[rows])
    assert np.array_equal(part.posterior.shown, fitted.predicted.posterior.shown[rows])
    assert np.array_equal(part.clipped, fitted.predicted.clipped[rows]) and part.eps == HOW.overlap_eps


def test_an_arm_that_a_fold_would_have_too_little_of_is_named():
    trials = night().sample().trials
    assert engine.short_arm(trials, HOW.folds) is None
    rare = replace(trials, treated=(np.arange(len(trials.treated)) < 40).astype(np.int32))
    assert "treated trials outside fold 0; 50 are needed" in str(engine.short_arm(rare, HOW.folds))


def test_effects_of_nothing_seldom_rank_better_than_chance():
    """Over 20 worlds without effect the Qini's interval is above zero, which the gate asks for, in one at most."""
    above = 0
    for seed in range(20):
        _, fitted = night(seed, scale=0.0).fit()
        said = fitted.predicted.take(fitted.predicted.inside)
        weight, users = said.seen.weight, said.seen.users
        above += metrics.targeting(said.effect, said.score, weight, users, 100, seed)["qini"].low > 0
    assert above <= 1
