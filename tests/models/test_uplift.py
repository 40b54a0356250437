from dataclasses import replace

import numpy as np
import pytest

from jobs.models import boosting, forest, prior, propensity, uplift
from jobs.models.folds import fold_of
from jobs.models.prior import Posterior
from jobs.tables.contracts import FEATURES, USER_FEATURES
from tests.models.planted import QUICK, plant


@pytest.mark.parametrize("learner", ["s", "t", "x", "r", "dr"])
def test_extracted_boosters_equal_causalml(learner):
    planted = plant(0.2, 3_000)
    how = QUICK.model_copy(update={"learner": learner})
    model = uplift.fit_causalml(planted.trials, planted.propensity, how, 0)
    theirs = np.ravel(model.predict(uplift.weighted(planted.trials), p=planted.propensity))
    said = uplift.outputs(learner, uplift.extract(learner, model), planted.trials.matrix)
    ours = uplift.combined(learner, said, planted.propensity)
    assert theirs.std() > 0.005
    assert np.abs(theirs - ours).max() < 1e-6


def test_x_learner_separates_trials_with_and_without_an_effect():
    planted = plant(0.3)
    learner = uplift.fit(planted.trials, planted.propensity, QUICK, 0)
    found = learner.predict(planted.trials.matrix, planted.propensity, planted.trials.fold)
    assert abs(found[planted.effect > 0].mean() - 0.3) < 0.05
    assert abs(found[planted.effect == 0].mean()) < 0.05


def test_training_twice_gives_the_same_bytes():
    planted = plant(0.2, 3_000)
    first, second = (uplift.fit(planted.trials, planted.propensity, QUICK, 7) for _ in range(2))
    assert first == second and all(first.folds)


@pytest.mark.parametrize("learner", ["t", "x", "dr", "causal_forest"])
def test_machines_with_more_threads_learn_the_same_to_the_last_byte(learner, monkeypatch):
    planted = plant(0.2, 3_000)
    how, learnt = QUICK.model_copy(update={"learner": learner}), []
    for count in (1, 5):
        for module in (uplift, forest, boosting, propensity):
            monkeypatch.setattr(module, "threads", lambda count=count: count)
        t = planted.trials
        boosters, e = propensity.fit(t.matrix, t.treated, t.weight, t.fold, how, 0)
        learnt.append((boosters, e.tolist(), uplift.fit(t, e, how, 0)))
    assert learnt[0] == learnt[1]


def test_a_fold_says_the_mean_of_what_all_columns_and_the_history_alone_taught():
    """The planted features stand before columns of noise as many as the prior has: the history has nothing to go by."""
    planted, rng = plant(0.3, 6_000), np.random.default_rng(1)
    noise = rng.normal(size=(6_000, len(prior.COLUMNS))).astype(np.float32)
    trials = replace(planted.trials, matrix=np.hstack([planted.trials.matrix, noise]))
    learner = uplift.fit(trials, planted.propensity, QUICK, 0)
    own, width = planted.trials.matrix.shape[1], len(prior.COLUMNS)
    asked = {view: [] for view in ("all", "history")}
    for views in learner.folds:
        for view, boosters in views.items():
            loaded = [boosting.from_bytes(raw) for raw in boosters.values()]
            assert {one.num_features() for one in loaded} == {own + width if view == "all" else width}
            asked[view] += [set(one.get_score()) for one in loaded]
    assert all("f1" in features for features in asked["all"]) and all(asked["history"])
    rows = planted.trials.fold == 0
    matrix, e, fold = trials.matrix[rows], planted.propensity[rows], np.zeros(rows.sum(), np.int64)
    of_view = {"all": matrix, "history": matrix[:, own:]}
    shown = [
        uplift.combined(QUICK.learner, uplift.outputs(QUICK.learner, boosters, of_view[view]), e)
        for view, boosters in learner.folds[0].items()
    ]
    whole = learner.predict(matrix, e, fold)
    assert np.allclose(whole, np.mean(shown, axis=0)) and np.abs(shown[0] - shown[1]).max() > 0.05


@pytest.mark.parametrize("recipe", ["s", "t", "x", "r", "dr"])
def test_what_is_scored_has_the_mean_of_all_folds(recipe):
    planted = plant(0.3, 3_000)
    trials, e = planted.trials, planted.propensity
    learner = uplift.fit(trials, e, QUICK.model_copy(update={"learner": recipe}), 0)
    said = [learner.outputs(view, trials.matrix[:, columns]) for view, columns in uplift.VIEWS.items()]
    one_by_one = [learner.predict(trials.matrix, e, np.full(len(e), k)) for k in range(len(learner.folds))]
    assert np.allclose(uplift.averaged(recipe, said, e), np.mean(one_by_one, axis=0))
    assert np.abs(one_by_one[0] - one_by_one[1]).max() > 1e-3


def test_weights_change_what_is_learnt():
    planted = plant(0.2, 3_000)
    heavy = np.where(planted.trials.outcome > 0, 5.0, 1.0)
    again = uplift.Trials(**(planted.trials.__dict__ | {"weight": heavy}))
    assert uplift.fit(planted.trials, planted.propensity, QUICK, 0) != uplift.fit(again, planted.propensity, QUICK, 0)


def test_residuals_have_mean_zero_in_both_arms_where_the_prior_is_right():
    rng, rows = np.random.default_rng(0), 40_000
    shown, not_shown, zero = rng.uniform(0.1, 0.9, rows), rng.uniform(0.0, 0.1, rows), np.zeros(rows)
    treated = rng.integers(0, 2, rows).astype(np.int32)
    outcome = (rng.random(rows) < np.where(treated == 1, shown, not_shown)).astype(float)
    users, sampled = np.arange(rows).astype(str).astype(object), rng.uniform(1.0, 9.0, rows)
    trials = uplift.Trials(np.zeros((rows, 1), np.float32), treated, outcome, sampled, users, fold_of(users, 2))
    found = uplift.residuals(trials, Posterior(shown, not_shown, shown - not_shown, *(zero,) * 7))
    for arm in (0, 1):
        assert abs(np.average(found.outcome[treated == arm], weights=found.weight[treated == arm])) < 0.01
        assert outcome[treated == arm].mean() > 0.04
    variance = np.where(treated == 1, shown * (1 - shown), not_shown * (1 - not_shown))
    precision = found.weight / sampled * (variance + uplift.VARIANCE_FLOOR)
    assert precision == pytest.approx(precision[0]) and found.weight.mean() == pytest.approx(1.0)


def test_columns_are_in_the_order_of_their_names():
    features = np.arange(3 * len(FEATURES), dtype=np.float32).reshape(3, -1)
    counts = np.array([[4, 1, 6, 2], [0, 0, 9, 3], [5, 5, 0, 0]], dtype=np.float32)
    posterior = Posterior(*(np.full(3, float(place)) for place in range(10)))
    found = uplift.columns(features, FEATURES, posterior.matrix(counts))
    by_name = dict(zip(uplift.names(FEATURES), found.T, strict=True))
    for place, name in enumerate(FEATURES):
        if name in USER_FEATURES:
            assert name not in by_name
        else:
            assert np.array_equal(by_name[name], features[:, place])
    values = [posterior.shown, posterior.not_shown, posterior.effect, posterior.sd]
    values += [posterior.item_shown, posterior.item_not_shown]
    values += [posterior.near_shown, posterior.near_not_shown, posterior.near_difference]
    values += [[0.25, np.nan, 1.0], [1 / 3, 1 / 3, np.nan], [0.4, 0.0, 1.0], *counts.T]
    for name, value in zip(prior.COLUMNS, values, strict=True):
        assert np.array_equal(by_name[name], np.float32(value), equal_nan=True), name
