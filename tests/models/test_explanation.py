"""Explanations of an effect with a planted structure: feature 1 decides it."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jobs.models import explanation, uplift
from jobs.runtime import diagrams
from tests.models.planted import QUICK, plant

NAMES = ("keenness", "moderator", "noise_a", "noise_b")


@pytest.mark.parametrize("recipe", ["s", "t", "x", "r", "dr", "causal_forest"])
def test_contributions_sum_to_the_predicted_effect_and_name_its_cause(recipe: str):
    planted = plant(0.3, rows=6_000)
    t = planted.trials
    learner = uplift.fit(t, planted.propensity, QUICK.model_copy(update={"learner": recipe}), 0)
    shap = explanation.contributions(learner, t.matrix, planted.propensity, t.fold)
    predicted = learner.predict(t.matrix, planted.propensity, t.fold)
    assert predicted.std() > 0.02
    assert np.abs(shap.sum(axis=1) - predicted).max() < 1e-4
    table = explanation.importance(shap, t.weight, NAMES)
    assert table["feature"].iloc[0] == "moderator"
    assert table["contribution"].iloc[0] > 2 * table["contribution"].iloc[1]


def test_importance_is_weighted():
    shap = np.array([[1.0, 0.0, 9.0], [0.0, -2.0, 9.0]])
    assert list(explanation.importance(shap, np.array([3.0, 1.0]), ("a", "b"))["contribution"]) == [0.75, 0.5]


def test_surrogate_finds_the_split_and_is_faithful_on_users_it_did_not_see():
    planted = plant(0.3)
    t = planted.trials
    found = explanation.surrogate(planted.effect, t.matrix, t.weight, t.users, NAMES, depth=2)
    assert found.fidelity.low > 0.98
    first, *rest = found.text().splitlines()
    assert first.startswith("moderator at most ") and first.endswith("? yes:") and "no:" in rest
    assert abs(float(first.removeprefix("moderator at most ").removesuffix("? yes:"))) < 0.01
    assert sum(line.strip().startswith("effect ") for line in rest) == found.tree.get_n_leaves()


def test_a_feature_that_is_a_question_is_asked_without_a_threshold():
    rng = np.random.default_rng(0)
    other = (rng.random(4_000) < 0.3).astype(np.float32)
    users = np.arange(4_000).astype(str)
    found = explanation.surrogate(0.2 * (1 - other), other[:, None], np.ones(4_000), users, ("category is milk",), 1)
    root = found.nodes()[0]
    assert root["threshold"] is None and found.nodes()[root["left"]]["effect"] == pytest.approx(0.2)
    share = found.nodes()[root["left"]]["share"]
    assert found.text().splitlines()[:2] == [
        "category is milk? yes:",
        f"    effect +20.00 pp, {share:.0%} of trials",
    ]
    assert ">category is milk?<" in diagrams.surrogate_tree(found.nodes())


def test_nodes_are_the_tree_and_their_shares_add_up():
    planted = plant(0.3)
    t = planted.trials
    found = explanation.surrogate(planted.effect, t.matrix, t.weight, t.users, NAMES, depth=2)
    nodes = found.nodes()
    root, leaves = nodes[0], [node for node in nodes if "left" not in node]
    assert root["feature"] == "moderator" and abs(root["threshold"]) < 0.01 and root["share"] == 1.0
    assert sum(leaf["share"] for leaf in leaves) == pytest.approx(1.0)
    assert nodes[root["left"]]["effect"] == pytest.approx(0.0, abs=0.01)
    assert nodes[root["right"]]["effect"] == pytest.approx(0.3, abs=0.01)


def test_fidelity_of_an_effect_without_structure_is_nothing():
    planted = plant(0.3)
    t = planted.trials
    noise = np.random.default_rng(0).normal(size=len(t.outcome))
    assert explanation.surrogate(noise, t.matrix, t.weight, t.users, NAMES).fidelity.low < 0.02


def cells(seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 500, 8_000)
    segment, category = users % 2, rng.choice(["bread", "milk & <tea>"], 8_000).astype(object)
    effect = np.where((segment == 1) & (category == "bread"), 0.4, 0.0)
    return effect + rng.normal(size=8_000), np.ones(8_000), users, segment, category


def test_heat_map_finds_the_planted_cell():
    score, weight, users, segment, category = cells()
    table = explanation.heat_map(score, weight, users, segment, category).set_index(["segment", "category"])
    assert len(table) == 4 and table["trials"].sum() == 8_000
    assert table["low"].gt(0).to_dict() == {index: index == (1, "bread") for index in table.index}
    planted = table.loc[(1, "bread")]
    rows = (segment == 1) & (category == "bread")
    assert planted["estimate"] == pytest.approx(score[rows].mean())
    assert planted["users"] == len(np.unique(users[rows]))


def test_heat_map_intervals_cover_the_planted_effect_nine_times_in_ten():
    covered = 0
    for seed in range(40):
        table = explanation.heat_map(*cells(seed)).set_index(["segment", "category"])
        covered += table.loc[(1, "bread"), "low"] <= 0.4 <= table.loc[(1, "bread"), "high"]
    assert 30 <= covered <= 40


def test_heat_map_leaves_out_cells_of_few_users():
    score, weight, users, segment, category = cells()
    rare = category.copy()
    rare[np.isin(users, np.arange(9))] = "rare"
    table = explanation.heat_map(score, weight, users, segment, rare)
    assert "rare" not in set(table["category"]) and len(table) == 4


def test_drawings_are_well_formed_and_the_same_again():
    planted = plant(0.3, rows=4_000)
    t = planted.trials
    found = explanation.surrogate(planted.effect + 0.1 * t.matrix[:, 0], t.matrix, t.weight, t.users, NAMES)
    table = explanation.heat_map(*cells())
    nodes = found.nodes()
    for draw in (lambda: diagrams.surrogate_tree(nodes), lambda: diagrams.heat_map(table)):
        svg = draw()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert svg == draw() and "currentColor" in svg
    leaves = re.findall(r"(?<!≤ )[+-]\d+\.\d\d\b", diagrams.surrogate_tree(nodes))
    assert len(leaves) == found.tree.get_n_leaves() > 2
    assert "milk &amp; &lt;tea&gt;" in diagrams.heat_map(table)
