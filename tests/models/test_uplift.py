import numpy as np
import pytest

from jobs.models import uplift
from tests.models.planted import QUICK, plant


@pytest.mark.parametrize("learner", ["s", "t", "x", "r", "dr"])
def test_extracted_boosters_equal_causalml(learner):
    planted = plant(0.2, 3_000)
    how = QUICK.model_copy(update={"learner": learner})
    model = uplift.fit_causalml(planted.trials, planted.propensity, how, 0)
    theirs = np.ravel(model.predict(uplift.weighted(planted.trials), p=planted.propensity))
    ours = uplift.evaluate(learner, uplift.extract(learner, model), planted.trials.matrix, planted.propensity)
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


def test_weights_change_what_is_learnt():
    planted = plant(0.2, 3_000)
    heavy = np.where(planted.trials.outcome > 0, 5.0, 1.0)
    again = uplift.Trials(**(planted.trials.__dict__ | {"weight": heavy}))
    assert uplift.fit(planted.trials, planted.propensity, QUICK, 0) != uplift.fit(again, planted.propensity, QUICK, 0)
