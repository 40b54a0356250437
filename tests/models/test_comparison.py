"""Learners side by side: the true effect wins, noise loses, and nothing is called better by chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from causalml.metrics import dr_score

from jobs.models import comparison
from jobs.models.engine import Predicted
from jobs.models.sample import Sample
from jobs.runtime.site import Effects
from tests.models.nights import HOW, Night, night


def fitted(seed: int = 0) -> tuple[Night, Sample, Predicted]:
    world = night(seed)
    trials, models = world.fit()
    return world, trials, models.predicted


def compared(how: Effects, effect: np.ndarray | None = None) -> dict[str, dict]:
    _, trials, predicted = fitted()
    if effect is not None:
        predicted = replace(predicted, effect=effect)
    return {row["name"]: row for row in comparison.compare(trials, predicted, how, 0)["learners"]}


def test_every_learner_of_the_site_is_judged_and_tonights_comes_first():
    found = compared(HOW)
    assert list(found) == ["t", "s", "x", "r", "dr", "causal_forest", "item_difference", "pair_difference"]
    for name, row in found.items():
        assert set(row["figures"]) == set(row["difference"]) == {"dr_loss", "qini", "auuc", "autoc"}
        assert all(one["low"] <= one["high"] for one in row["figures"].values())
        assert row["figures"]["autoc"]["low"] > 0, name
        # the planted effect is the items' own: what knows nothing else may come nearer to it
        assert row["better"] == [] or name == "item_difference", name
    assert all(one["value"] == one["low"] == one["high"] == 0.0 for one in found["t"]["difference"].values())


def test_a_learner_that_is_better_than_tonights_is_named():
    """Tonight's effects replaced by noise: whatever learns is better; nothing is better than the truth."""
    world, trials, _ = fitted()
    noise = np.random.default_rng(0).normal(0, 0.2, len(trials.item))
    how = HOW.model_copy(update={"compare": ("x", "item_difference")})
    found = compared(how, noise)
    assert found["x"]["better"] == found["item_difference"]["better"] == ["dr_loss", "autoc"]
    assert found["x"]["difference"]["dr_loss"]["high"] < 0 < found["x"]["difference"]["autoc"]["low"]
    assert all(row["better"] == [] for row in compared(how, world.effect).values())


def test_the_site_chooses_what_is_compared_and_its_own_learner_is_not_fitted_again():
    assert list(compared(HOW.model_copy(update={"compare": ("t", "pair_difference")}))) == ["t", "pair_difference"]
    assert list(compared(HOW.model_copy(update={"compare": (), "learner": "r"}))) == ["r"]


def test_too_few_trials_of_an_arm_leave_the_others_out_and_say_so():
    _, trials, predicted = fitted()
    rare = replace(trials, trials=replace(trials.trials, treated=(np.arange(len(trials.item)) < 30).astype(np.int32)))
    found = comparison.compare(rare, predicted, HOW, 0)
    assert [row["name"] for row in found["learners"]] == ["t"]
    assert "50 are needed" in found["left_out"]


def test_item_rates_leave_the_users_own_fold_out_and_fall_back_on_the_arm():
    _, trials, _ = fitted()
    t = trials.trials
    shown, not_shown = comparison.item_rates(trials)
    rows = (trials.item == "i03") & (t.fold == 1)
    others = (trials.item == "i03") & (t.fold != 1)
    assert shown[rows] == pytest.approx(t.outcome[others & (t.treated == 1)].mean())
    assert not_shown[rows] == pytest.approx(t.outcome[others & (t.treated == 0)].mean())
    never = replace(trials, trials=replace(t, treated=np.where(trials.item == "i03", 0, t.treated).astype(np.int32)))
    without = never.trials.treated == 1
    assert comparison.item_rates(never)[0][rows] == pytest.approx(t.outcome[without & (t.fold != 1)].mean())


def test_pair_difference_is_the_items_without_counts_and_the_pairs_own_with_many():
    _, trials, _ = fitted()
    shown, not_shown = comparison.item_rates(trials)
    none = replace(trials, counts=np.zeros_like(trials.counts))
    assert np.allclose(comparison.pair_difference(none), shown - not_shown)
    many = replace(trials, counts=np.tile([40, 30, 50, 5], (len(trials.item), 1)))
    assert comparison.pair_difference(many) == pytest.approx(30 / 40 - 5 / 50, abs=0.03)


def test_dr_loss_equals_causalmls():
    _, trials, predicted = fitted()
    row = comparison.compare(trials, predicted, HOW.model_copy(update={"compare": ()}), 0)["learners"][0]
    frame = pd.DataFrame({"ours": predicted.effect, "phi": predicted.score})
    theirs = dr_score(frame, pseudo_outcome_col="phi")
    assert row["figures"]["dr_loss"]["value"] == pytest.approx(float(np.ravel(theirs)[0]))
