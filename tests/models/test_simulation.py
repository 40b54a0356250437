"""The world does what its description says."""

import numpy as np
import pytest

from jobs.models import simulation
from jobs.models.simulation import State

SIZE = (300, 24)
FIRST, LAST = np.full(SIZE, 1, np.int8), np.full(SIZE, 8, np.int8)


def world(scenario: simulation.Scenario = "helpful", seed: int = 0) -> simulation.World:
    return simulation.make_world(scenario, *SIZE, seed)


@pytest.mark.parametrize("scenario", simulation.SCENARIOS)
def test_the_sign_of_the_effects_is_the_scenario_s(scenario: simulation.Scenario) -> None:
    made = world(scenario)
    effect = simulation.effect(made, State.new(made), FIRST)
    if scenario == "null":
        assert not effect.any()
    elif scenario == "harmful":
        assert effect.max() <= 0 and effect.min() < -0.05
    else:
        assert effect.min() >= 0 and effect.max() > 0.2
        assert 0.02 < effect.mean() < 0.2


@pytest.mark.parametrize("scenario", simulation.SCENARIOS)
def test_a_chance_stays_a_chance_and_there_is_life_without_showing(scenario: simulation.Scenario) -> None:
    made = world(scenario)
    state = State(np.full(SIZE, 1.3), np.zeros(SIZE))
    alone = simulation.without_showing(made, state)
    both = alone + simulation.effect(made, state, FIRST)
    assert both.min() >= 0 and both.max() <= 1
    assert 0.03 < simulation.without_showing(made, State.new(made)).mean() < 0.15


def test_persuasion_has_nothing_to_do_with_what_a_user_wants_anyway() -> None:
    apart = [
        np.corrcoef(world(seed=seed).organic.ravel(), world(seed=seed).persuasion.ravel())[0, 1] for seed in range(20)
    ]
    assert abs(np.mean(apart)) < 0.1


def test_what_is_not_shown_adds_nothing_and_the_place_matters() -> None:
    made = world()
    state = State.new(made)
    assert not simulation.effect(made, state, np.zeros(SIZE, np.int8)).any()
    moves = made.persuasion > 0.01
    first, last = (simulation.effect(made, state, places)[moves] for places in (FIRST, LAST))
    assert (last < 0.6 * first).all()


def test_showing_again_and_again_moves_less_and_recovers() -> None:
    made = world()
    state, nothing, shown = State.new(made), np.zeros(SIZE, bool), np.ones(SIZE, bool)
    fresh = simulation.effect(made, state, FIRST).mean()
    for _ in range(6):
        state = state.after(nothing, shown)
    tired = simulation.effect(made, state, FIRST).mean()
    for _ in range(6):
        state = state.after(nothing, nothing)
    assert tired < 0.6 * fresh
    assert simulation.effect(made, state, FIRST).mean() > 0.95 * fresh


def test_an_outcome_makes_the_next_one_likelier() -> None:
    made = world()
    once = State.new(made).after(np.ones(SIZE, bool), np.zeros(SIZE, bool))
    assert (simulation.without_showing(made, once) > simulation.without_showing(made, State.new(made))).all()


def test_a_drift_deals_the_same_persuasion_to_other_items() -> None:
    made = world()
    after = made.drifted(np.random.default_rng(0))
    assert (after.organic == made.organic).all()
    assert (after.persuasion != made.persuasion).any()
    assert (np.sort(after.persuasion, axis=1) == np.sort(made.persuasion, axis=1)).all()


def test_a_seed_is_a_world() -> None:
    assert (world(seed=3).organic == world(seed=3).organic).all()
    assert (world(seed=3).organic != world(seed=4).organic).any()
