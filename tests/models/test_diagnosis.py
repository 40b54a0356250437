"""The diagnosis of planted nights: what it says is true, what it cannot say is absent, and JSON holds all of it."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from jobs.models import diagnosis, plain
from jobs.models.estimators import ALL
from tests.models.nights import ADJUSTED, HOW, night

QUICK = HOW.model_copy(update={"compare": ("item_difference",)})


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    trials, fitted = night().fit()
    return diagnosis.diagnose(trials, fitted, ADJUSTED, QUICK, 0)


def test_every_method_stands_beside_the_others_and_holds_the_planted_average(found: dict[str, Any]):
    truth = float(night().effect.mean())
    said = {row["method"]: row for row in found["estimators"]}
    assert len(said) == 7
    for method in ("AIPW", "linear regression"):
        assert said[method]["estimate"]["low"] <= truth <= said[method]["estimate"]["high"], method
        assert found["metrics"][f"effect_by_{method.lower().replace(' ', '_')}"] == said[method]["estimate"]
    for method in ("instrumental variable", "instrumental variable, doubly robust"):
        assert said[method]["estimate"] is None and said[method]["note"] == "the site names no instrument"
    assert said["AIPW"]["over"] == ALL


def test_the_instrument_that_the_site_names_is_used():
    trials, fitted = night().fit()
    drawn = replace(trials, instrument=night().tables["trials"]["explored"].to_numpy(float))
    said = diagnosis.side_by_side(drawn, fitted.predicted, QUICK, 0)[-2:]
    truth = float(night().effect.mean())
    for one in said:
        assert one.estimate is not None and one.note.startswith("first-stage F ")
        assert one.estimate.low <= truth <= one.estimate.high


def test_item_difference_that_ignores_keen_users_disagrees_and_is_warned_of(found: dict[str, Any]):
    assert ["AIPW", "item mean difference"] in found["disagreements"]
    assert any("AIPW and item mean difference disagree" in warning for warning in found["warnings"])
    assert found["metrics"]["disagreements"]["value"] == len(found["disagreements"])


def test_hidden_confounding_must_be_strong_to_erase_a_large_effect_and_bounds_widen(found: dict[str, Any]):
    said = found["sensitivity"]
    assert 0 < said["robustness_value"][1] < said["robustness_value"][0] < 1
    assert 1 < said["e_value"][1] < said["e_value"][0]
    bounds = said["bounds"]
    assert [row["strength"] for row in bounds] == list(diagnosis.STRENGTHS)
    assert all(a["lower"] > b["lower"] and a["upper"] < b["upper"] for a, b in pairwise(bounds))
    erased = [row["strength"] for row in bounds if row["low"] <= 0]
    assert 1.1 < said["erasing_strength"] <= min([*erased, 20.0])


def test_tighter_caps_leave_fewer_trials_and_the_average_where_overlap_is_good(found: dict[str, Any]):
    rows = found["caps"]
    assert [row["cap"] for row in rows] == list(diagnosis.CAPS)
    shares = [row["share"] for row in rows]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.99
    truth = float(night().effect.mean())
    assert all(row["effect"]["low"] - 0.01 <= truth <= row["effect"]["high"] + 0.01 for row in rows)
    assert all(0 < row["ess_treated"] < found["trials"] for row in rows)


def test_no_trial_inside_a_cap_leaves_its_row_out():
    trials, fitted = night().fit()
    far = replace(fitted.predicted, e=np.full(len(trials.item), 0.03))
    assert [row["cap"] for row in diagnosis.weight_caps(trials, far)] == [0.005, 0.01, 0.02]


def test_negative_control_finds_nothing_where_the_features_say_all_and_a_hidden_cause_where_they_do_not():
    trials, _ = night().fit()
    quiet = diagnosis.negative_control(trials, HOW, 0)
    assert quiet["wide"]["low"] <= 0 <= quiet["wide"]["high"]
    assert quiet["wide"]["low"] < quiet["estimate"]["low"] < quiet["estimate"]["high"] < quiet["wide"]["high"]
    blind = replace(trials.trials, matrix=np.zeros_like(trials.trials.matrix))
    loud = diagnosis.negative_control(replace(trials, trials=blind), HOW, 0)
    assert loud["wide"]["low"] > 0
    found = {"value": 0.0123, "low": 0.01, "high": 0.02}
    said = "the negative control finds an effect of +1.23 pp (99 % interval +1.00 to +2.00 pp) on outcomes before"
    assert warned({"wide": loud["wide"]}) and warned({"wide": found}).startswith(said)
    assert warned({"wide": quiet["wide"]}) == warned({"wide": None}) == ""


def warned(control: dict[str, Any]) -> str:
    return "; ".join(
        diagnosis.warnings({"disagreements": [], "negative_control": control, "comparison": {"learners": []}})
    )


def test_negative_control_needs_trials_with_a_next_period():
    trials, _ = night().fit()
    said = diagnosis.negative_control(replace(trials, shown_next=np.full(len(trials.item), -1, np.int32)), HOW, 0)
    assert said["estimate"] is None and "50 are needed" in said["note"]


def test_effects_depend_on_what_they_were_planted_on(found: dict[str, Any]):
    said = found["importance"]
    assert said["contribution"] == sorted(said["contribution"], reverse=True)
    assert said["feature"][0] == diagnosis.POSTERIOR
    assert said["feature"].index("item_price") > 3
    tree = found["surrogate"]
    assert tree["fidelity"]["low"] > 0.5 and tree["nodes"][0]["share"] == 1.0
    known = {*plain.OWN, *(plain.WORDS[name] for name in ADJUSTED), *(f"{plain.IS}c{n}" for n in range(4))}
    assert {node["feature"] for node in tree["nodes"] if "left" in node} <= known
    assert found["metrics"]["surrogate_fidelity"] == tree["fidelity"]


def test_heat_map_has_the_planted_categories_high_and_the_others_at_nothing(found: dict[str, Any]):
    said = found["heat_map"]
    assert len(said["segment"]) == 8 and set(said["segment"]) == {"keen", "idle"}
    high = {c for c, value in zip(said["category"], said["estimate"], strict=True) if value > 0.06}
    assert high == {"c0", "c1"}


def test_a_better_learner_is_warned_of_by_name():
    trials, fitted = night().fit()
    noise = replace(fitted.predicted, effect=np.random.default_rng(0).normal(0, 0.3, len(trials.item)))
    found = diagnosis.diagnose(trials, replace(fitted, predicted=noise), ADJUSTED, QUICK, 0)
    assert "learner item_difference is better than the site's by dr_loss and autoc" in found["warnings"]


def test_the_document_is_json_and_its_figures_have_intervals(found: dict[str, Any]):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name, figure in found["metrics"].items():
        assert set(figure) == {"value", "low", "high"}, name
    assert {"robustness_value", "e_value", "erasing_strength", "negative_control", "learner_t_autoc"} <= set(
        found["metrics"]
    )
