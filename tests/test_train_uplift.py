"""Points that the report draws from: few, and saying the same as the figures beside them."""

import numpy as np
import pytest

from jobs.models import metrics
from jobs.models.doubly_robust import Trials
from jobs.train_uplift import curves

ROWS = 4_000


@pytest.fixture
def world() -> tuple[np.ndarray, Trials, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    e = rng.uniform(0.01, 0.99, ROWS)
    users = np.repeat([f"u{number}" for number in range(ROWS // 10)], 10)
    trials = Trials(
        np.zeros((ROWS, 1), np.float32),
        (rng.random(ROWS) < e).astype(np.int32),
        np.zeros(ROWS),
        rng.uniform(1, 5, ROWS),
        users,
        np.zeros(ROWS, np.int64),
    )
    effect = rng.normal(0.05, 0.1, ROWS)
    fitted = {"inside": (e > 0.1) & (e < 0.9), "score": effect + rng.normal(0, 0.1, ROWS), "predicted": effect}
    return e, trials, fitted


def test_overlap_counts_the_weight_of_each_arm(world):
    e, trials, fitted = world
    found = curves(e, trials, fitted)["overlap"]
    assert len(found["edges"]) == len(found["control"]) + 1 == len(found["treated"]) + 1 == 41
    for arm, name in enumerate(("control", "treated")):
        assert sum(found[name]) == pytest.approx(trials.weight[trials.treated == arm].sum())
    assert found["treated"][-2] > 3 * found["control"][-2] and found["control"][1] > 3 * found["treated"][1]


def test_the_area_between_uplift_curve_and_chance_is_the_qini(world):
    e, trials, fitted = world
    found, inside = curves(e, trials, fitted)["qini_curve"], fitted["inside"]
    assert len(found["share"]) == len(found["gain"]) == len(found["random"]) == 101
    assert (found["gain"][0], found["random"][0]) == (0.0, 0.0)
    assert found["gain"][-1] == pytest.approx(found["random"][-1])
    area = np.trapezoid(np.subtract(found["gain"], found["random"]), found["share"])
    weight, users = trials.weight[inside], trials.users[inside]
    figures = metrics.targeting(fitted["predicted"][inside], fitted["score"][inside], weight, users, draws=20)
    assert area == pytest.approx(figures["qini"].value, rel=0.02)
    assert area > 0.01
