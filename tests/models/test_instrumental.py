"""The doubly robust instrumental variable: planted truths are covered, hidden confounding does not move it."""

import numpy as np
import pytest
from causalml.inference.iv import BaseDRIVRegressor

from jobs.models import estimators, instrumental, uplift
from jobs.models.estimators import MOVED
from tests.models.worlds import HOW, world

WORLDS = 8


def test_interval_is_as_wide_as_the_errors_are_large_in_worlds_with_a_rare_outcome():
    """The errors' chi-square over 8 worlds, 99.8 % bounds, as for the other methods; users differ in what is hidden."""
    off = []
    for seed in range(WORLDS):
        made = world(seed, users=1_500)
        found = instrumental.late(made.trials, made.instrument, HOW, seed)
        assert found.estimate is not None, found.note
        width = (found.estimate.high - found.estimate.low) / 2 / estimators.Z90
        off.append((found.estimate.value - made.truth[MOVED]) / width)
    assert 0.86 < np.square(off).sum() < 26.1, off
    assert abs(np.mean(off)) < 3.1 / np.sqrt(WORLDS), off


def test_hidden_confounding_moves_aipw_and_not_the_instrument():
    made = world(1, users=4_000, scale=10.0, hidden=0.4)
    robust, moved = (
        estimators.aipw(made.trials, made.nuisance()),
        instrumental.late(made.trials, made.instrument, HOW, 1),
    )
    assert robust.estimate is not None and moved.estimate is not None
    truth = made.truth[MOVED]
    assert robust.estimate.low > truth
    assert moved.estimate.low <= truth <= moved.estimate.high
    assert moved.estimate.high - moved.estimate.low < 4 * truth
    assert moved.note.startswith("first-stage F ")


def test_it_agrees_with_two_stage_least_squares_where_both_hold():
    made = world(2, users=4_000, scale=10.0)
    both = [instrumental.late(made.trials, made.instrument, HOW, 2), estimators.two_stage(made.trials, made.instrument)]
    assert estimators.disagreements(both) == [] and all(found.estimate is not None for found in both)


def test_without_an_instrument_that_can_say_something_there_is_no_estimate():
    made = world(0, users=300)
    rng, rows = np.random.default_rng(3), len(made.items)
    said = {
        "the site names no instrument": None,
        "other values than 0 and 1": rng.random(rows),
        "never as likely": np.zeros(rows),
        "not known of any trial": np.full(rows, np.nan),
        "the instrument is weak: first-stage F": rng.integers(0, 2, rows),
    }
    for words, instrument in said.items():
        found = instrumental.late(made.trials, instrument, HOW, 0)
        assert found.estimate is None and words in found.note


def test_causalmls_own_interval_is_no_interval_of_the_average():
    """Why ours is used: four times the trials leave the width of CausalML's where it was, and halve ours."""
    widths, ours = [], []
    for users in (400, 1_600):
        made = world(4, users=users, scale=10.0)
        t, half = made.trials, np.full(len(made.items), 0.5)
        e0, e1 = 0.05 + 0.8 * t.matrix[:, 0].astype(float), 0.15 + 0.8 * t.matrix[:, 0].astype(float)
        learner = BaseDRIVRegressor(learner=uplift.base_learner(HOW, 0), ate_alpha=0.1)
        given = {"X": uplift.weighted(t), "assignment": made.instrument, "treatment": t.treated, "y": t.outcome}
        learner.fit(**given, p=(e0, e1), pZ=half, seed=0)
        _, low, high = learner.estimate_ate(**given, p=(e0, e1), pZ=half, pretrain=True)
        widths.append(float(high[0] - low[0]))
        found = instrumental.late(t, made.instrument, HOW, 0).estimate
        assert found is not None
        ours.append(found.high - found.low)
    assert widths[1] / widths[0] > 0.8 and ours[1] / ours[0] == pytest.approx(0.5, abs=0.15)
    assert widths[0] > 20 * ours[0]
