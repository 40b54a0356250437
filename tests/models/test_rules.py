"""Rules of ranking judged on past trials: the truth is held, and a rule that has seen the outcomes is flattered."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.models import champions, rules
from jobs.models.engine import Fitted
from jobs.models.metrics import Estimate
from jobs.models.off_policy import METHODS
from jobs.models.sample import Sample
from jobs.models.scoring import EffectModel
from tests.models.nights import ADJUSTED, HOW, Night, night

LENGTH = 8


def fitted(seed: int = 0, scale: float = 1.0) -> tuple[Night, Sample, Fitted, EffectModel]:
    world = night(seed, scale=scale)
    trials, models = world.fit()
    return world, trials, models, EffectModel(models.propensity, models.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)


def judged(trials: Sample, models: Fitted, scores: dict[str, np.ndarray]) -> dict[str, Estimate | float]:
    return rules.judge(trials, models.predicted, scores, LENGTH, 1.0, 200)


def gain(found: dict[str, Estimate | float], method: str = "dr") -> Estimate:
    figure = found[f"gain_over_relevance_rule_{method}"]
    assert isinstance(figure, Estimate)
    return figure


def true_gain(world: Night, trials: Sample, models: Fitted, scores: dict[str, np.ndarray]) -> float:
    """How much more the effect rule brings, from the planted effects."""
    t = trials.trials
    shown = [rules.shows(scores[name], t.users, trials.period, t.weight, LENGTH) for name in ("effect", "relevance")]
    change = world.effect * (shown[0].astype(float) - shown[1])
    return float(change[models.predicted.inside].mean())


def test_a_rule_shows_each_users_best_items_in_the_period_and_ties_go_to_the_first():
    users = np.array(["u", "u", "u", "v", "u", "u"], dtype=object)
    period = np.array([0, 0, 0, 0, 1, 1])
    score = np.array([0.1, 0.3, 0.3, 0.0, 0.2, 0.2])
    assert rules.shows(score, users, period, np.ones(6), 1).tolist() == [False, True, False, True, True, False]
    assert rules.shows(score, users, period, np.ones(6), 2).tolist() == [False, True, True, True, True, True]


def test_sampled_trials_count_for_all_they_stand_for_but_not_for_themselves():
    users, period = np.array(["u"] * 3, dtype=object), np.zeros(3, np.int64)
    score, weight = np.array([0.9, 0.8, 0.7]), np.array([30.0, 1.0, 1.0])
    assert rules.shows(score, users, period, weight, 4).tolist() == [True, False, False]
    assert rules.shows(score[::-1], users, period, weight, 4).tolist() == [True, True, True]


def test_gain_of_ranking_by_effect_is_proved_where_it_is_planted_and_intervals_hold_the_truth():
    world, trials, models, model = fitted()
    scores = {
        "effect": rules.by_effect(model, trials, models.predicted),
        "relevance": rules.by_relevance(models.predicted),
        "champion": rules.by_champion(champions.says(model, trials)),
    }
    found = judged(trials, models, scores)
    assert set(found) == {
        "trials",
        "users",
        *(f"{name}_rule_{figure}" for name in scores for figure in (*METHODS, "ess", "ess_shown")),
        *(f"gain_over_{name}_rule_{method}" for name in ("relevance", "champion") for method in METHODS),
    }
    assert found["trials"] == models.predicted.inside.sum() and found["users"] == len(np.unique(trials.trials.users))
    truth = true_gain(world, trials, models, scores)
    assert truth > 0.01
    for method in ("ips", "snips", "dr"):
        assert gain(found, method).low <= truth <= gain(found, method).high, method
    assert gain(found).low > 0
    own = found["gain_over_champion_rule_dr"]
    assert isinstance(own, Estimate) and abs(own.value) < 0.01  # the same model but for the folds of its calibration
    assert 100 < found["effect_rule_ess_shown"] < found["effect_rule_ess"] < found["trials"]


@pytest.mark.parametrize("seed", range(3))
def test_without_an_effect_nothing_is_proved_unless_the_rule_has_seen_the_outcomes(seed: int):
    _, trials, models, model = fitted(seed, scale=0.0)
    relevance = rules.by_relevance(models.predicted)
    honest = judged(
        trials, models, {"effect": rules.by_effect(model, trials, models.predicted), "relevance": relevance}
    )
    assert gain(honest).low <= 0.0
    t = trials.trials
    own = t.outcome * np.where(t.treated == 1, 1.0, -1.0)  # what became of the trial, as in a list made afterwards
    seen = judged(trials, models, {"effect": own, "relevance": relevance})
    assert gain(seen).low > 0.02


def test_relevance_does_not_tell_a_shown_trial_by_its_logged_propensity():
    _, _, models, _ = fitted()
    said = models.predicted
    logged = replace(said, e=np.where(said.seen.treated == 1, 0.9, said.e))
    assert np.array_equal(rules.by_relevance(logged), rules.by_relevance(said))
    assert np.corrcoef(rules.by_relevance(said), said.seen.outcome)[0, 1] > 0.2


def test_the_effect_rule_takes_the_low_end_where_an_effect_is_not_identified():
    _, trials, models, model = fitted()
    said = models.predicted
    unseen = replace(said, estimated=np.full(len(said.e), 0.001))
    low, usual = rules.by_effect(model, trials, unseen), rules.by_effect(model, trials, said)
    assert (low <= usual).all() and (low < usual).mean() > 0.9
