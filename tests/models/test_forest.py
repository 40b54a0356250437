"""The causal forest: what XGBoost says of it is what CausalML says, and it finds a planted effect."""

from dataclasses import replace

import numpy as np

from jobs.models import champions, forest, uplift
from jobs.models.boosting import from_bytes, predict
from jobs.models.scoring import EffectModel
from tests.models.nights import ADJUSTED, night
from tests.models.nights import HOW as NIGHT
from tests.models.planted import QUICK, plant

HOW = QUICK.model_copy(update={"learner": "causal_forest"})


def test_the_booster_says_what_causalml_says_also_on_a_threshold_and_where_a_value_is_missing():
    planted = plant(0.3, 8_000)
    t = planted.trials
    matrix = np.round(t.matrix, 1)  # most values are met again, and thresholds that float32 cannot hold lie between
    matrix[np.random.default_rng(0).random(matrix.shape) < 0.1] = np.nan
    model = forest.fit(replace(t, matrix=matrix), planted.propensity, HOW, 0)
    edges = [tree.tree_.threshold[tree.tree_.feature == column] for tree in model.estimators_ for column in range(4)]
    on = np.unique(np.concatenate(edges).astype(np.float32))
    near = np.concatenate([on, np.nextafter(on, np.float32(-9)), np.nextafter(on, np.float32(9))])
    asked = np.vstack([matrix, np.repeat(near[:, None], 4, axis=1), np.full((1, 4), np.nan, np.float32)])
    theirs, raw = np.ravel(model.predict(asked)), forest.booster(model)
    assert len(on) > 20 and theirs.std() > 0.02
    assert np.abs(predict(raw, asked) - theirs).max() < 1e-6
    assert from_bytes(raw).num_boosted_rounds() == HOW.trees


def test_it_separates_trials_with_and_without_an_effect_for_users_it_did_not_see():
    planted = plant(0.3)
    t = planted.trials
    learner = uplift.fit(t, planted.propensity, HOW, 0)
    found = learner.predict(t.matrix, planted.propensity, t.fold)
    helped = planted.effect > 0  # a tree asks one column in four at a time: the forest draws both towards the mean
    assert found[helped].mean() - found[~helped].mean() > 0.1
    assert abs(found.mean() - planted.effect.mean()) < 0.02
    mine = t.fold == 0
    turned = replace(t, outcome=np.where(mine, 1 - t.outcome, t.outcome))
    again = uplift.fit(turned, planted.propensity, HOW, 0).predict(t.matrix, planted.propensity, t.fold)
    assert np.array_equal(found[mine], again[mine]) and not np.array_equal(found[~mine], again[~mine])


def test_a_tree_sees_at_most_a_sample(monkeypatch):
    planted = plant(0.3, 4_000)
    full = forest.fit(planted.trials, planted.propensity, HOW, 0)
    monkeypatch.setattr(forest, "MOST", 800)
    few = forest.fit(planted.trials, planted.propensity, HOW, 0)
    seen = [max(tree.tree_.n_node_samples[0] for tree in model.estimators_) for model in (full, few)]
    assert seen[1] < 0.8 * seen[0] and seen[1] <= 800


def test_a_site_may_choose_it_and_its_files_are_the_model_again():
    how = NIGHT.model_copy(update={"learner": "causal_forest", "trees": 10})
    trials, fitted = night().fit(how)
    model = EffectModel(fitted.propensity, fitted.effects, how.folds, how.overlap_eps, ADJUSTED)
    files = model.files()
    assert [name for name in files if name.startswith("effect-")] == [
        f"effect-{k}-{view}-tau.ubj" for k in range(how.folds) for view in ("all", "history")
    ]
    assert all(name.endswith((".ubj", ".json", ".npy")) for name in files)
    said, again = champions.says(model, trials), champions.says(EffectModel.of(files), trials)
    assert np.array_equal(said.effect, again.effect) and np.ptp(fitted.predicted.learnt) > 0.01
