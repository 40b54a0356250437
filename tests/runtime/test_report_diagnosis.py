"""What the report says about believing the effects: every figure with its interval, every plot with its sentence."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.bezier import BezierSegment
from matplotlib.patches import ConnectionStyle

from jobs.models import causal_graph
from jobs.runtime import diagrams, graphs
from jobs.runtime import report_diagnosis as parts
from jobs.runtime.feature_words import feature
from jobs.runtime.proof_words import GAIN, ranking
from jobs.runtime.site import CausalGraph, Effects, Outcome, Site
from tests.runtime.diagnoses import DIAGNOSIS, OFF_POLICY, figure

SHOP = Site(site="shop", outcome=Outcome(event_types=("purchase",)))


def with_part(name: str, **changed: Any) -> dict[str, Any]:
    return DIAGNOSIS | {name: DIAGNOSIS[name] | changed}


def test_every_plot_is_a_picture_says_how_to_read_it_and_has_a_sentence_for_who_cannot_see_it():
    causes = parts.causes(DIAGNOSIS)
    drawn = [parts.graph(SHOP)["plot"], parts.estimators(DIAGNOSIS)["plot"], parts.off_policy(OFF_POLICY)["plot"]]
    drawn += [causes["importance"], causes["surrogate"], causes["heat_map"]]
    for plot in drawn:
        assert ElementTree.fromstring(plot["svg"]).tag.endswith("svg")
        assert plot["caption"].startswith("How to read it:") and plot["caption"].endswith(".")
        assert plot["summary"].endswith(".") and any(sign.isdigit() for sign in plot["summary"])


def test_the_graph_says_what_is_adjusted_for_and_what_nobody_measured():
    said = parts.graph(SHOP)
    assert said["sentence"].startswith("Adjusted for: earlier showing, item popularity, item price, user activity and ")
    assert f"({len(causal_graph.adjusted_columns(SHOP))} columns)" in said["sentence"]
    assert said["hidden"] == "Assumed, but not measured: season." and said["declared"] is False
    edges = ("shown -> outcome", "item_price -> shown", "item_price -> outcome")
    effects = Effects(graph=CausalGraph(edges=edges), instrument="explored")
    declared = parts.graph(SHOP.model_copy(update={"effects": effects}))
    assert "Adjusted for: item price (1 columns)" in declared["sentence"] and declared["declared"] is True
    assert declared["hidden"] == "Every cause in the graph is measured." and declared["instrument"] == "explored"


@pytest.mark.parametrize("domain", graphs.DEFAULT_GRAPHS)
def test_no_arrow_of_a_default_graph_crosses_a_label(domain: str, monkeypatch: pytest.MonkeyPatch):
    crossed, chosen = [], diagrams._bend

    def watched(axes: Any, tail: diagrams.Place, head: diagrams.Place, others: Sequence[Any]) -> float:
        bend = chosen(axes, tail, head, others)
        ends = axes.transData.transform([tail, head])
        arc = ConnectionStyle.Arc3(rad=bend).connect(*ends)
        points = BezierSegment(arc.vertices)(np.linspace(0, 1, 60))
        crossed.extend(box for box in others if box.get_window_extent().count_contains(points))
        return bend

    monkeypatch.setattr(diagrams, "_bend", watched)
    parts.graph(SHOP.model_copy(update={"domain": domain}))
    assert crossed == []


def test_a_method_without_an_estimate_says_why_and_is_not_drawn():
    said = parts.estimators(DIAGNOSIS)
    rows = {row["name"]: row for row in said["table"]}
    assert (rows["AIPW"]["value"], rows["AIPW"]["interval"]) == ("+0.35 pp", "+0.23 to +0.47 pp")
    none = rows["instrumental variable"]
    assert none["value"] == none["interval"] == "none" and "the site names no instrument" in none["note"]
    assert said["disagreements"] == ["AIPW and item mean difference"]
    assert said["plot"]["summary"].startswith("3 methods; ")


def test_hidden_causes_are_said_in_three_scales_and_a_table():
    said = parts.hidden(DIAGNOSIS)
    assert "explain 1.1 % of" in said["sentences"][0] and "0.7 % to bring zero" in said["sentences"][0]
    assert "risk ratio of 1.88, and of 1.65" in said["sentences"][1]
    assert "factor of up to 1.10" in said["sentences"][2]
    assert said["bounds"][1] == {"strength": "1.5", "between": "-0.69 to +1.46 pp", "interval": "-0.82 to +1.67 pp"}


def test_the_negative_control_is_quiet_loud_or_absent():
    quiet = parts.hidden(DIAGNOSIS)["control"]
    assert quiet["tone"] == "good" and "99 % interval -0.21 to +0.43 pp" in quiet["text"]
    loud = parts.hidden(with_part("negative_control", wide=figure(0.02, 0.01, 0.03)))["control"]
    assert loud["tone"] == "warn" and "leaves out 0" in loud["text"] and "does not fail the gate" in loud["text"]
    absent = parts.hidden(with_part("negative_control", estimate=None, wide=None, note="3 trials are too few"))
    assert absent["control"] == {"tone": "", "text": "Not computed: 3 trials are too few."}


def test_caps_have_their_heaviest_weight_and_what_is_left():
    (row,) = parts.caps(DIAGNOSIS)
    assert (row["cap"], row["weight"], row["share"], row["ess"]) == ("0.02", "50", "91.3 %", "45,582 and 9")
    assert row["interval"] == "+0.32 to +0.38 pp"


def test_learners_are_compared_with_tonights_and_the_better_one_is_named():
    said = parts.learners(DIAGNOSIS)
    assert [row["name"] for row in said["table"]] == [
        "T-learner, tonight's",
        "R-learner",
        "pair difference, shrunken by one trial",
    ]
    assert said["better"] == "R-learner" and said["table"][1]["better"]
    assert said["table"][0]["autoc_gap"] == "" and said["table"][1]["autoc_gap"] == "+0.30000 (+0.20000 to +0.40000)"
    none = with_part("comparison", learners=DIAGNOSIS["comparison"]["learners"][:1], left_out="9 treated trials")
    assert (parts.learners(none)["better"], parts.learners(none)["left_out"]) == ("", "9 treated trials")


def test_causes_name_the_first_feature_the_trees_fidelity_and_the_highest_cell():
    said = parts.causes(DIAGNOSIS)
    assert "first posterior, by 0.27 pp on average" in said["importance"]["summary"]
    assert (
        "explains 76.8 % (90 % interval 70.0 to 83.0 %) of" in said["surrogate"]["caption"]
        and said["rules"] == "category is <milk>? yes:"
    )
    assert said["segments"] == ["0 frequent, recent", "1 occasional"]
    assert [row["value"] for row in said["cells"]] == ["+3.00 pp", "+2.00 pp", "-1.00 pp"]
    assert said["cells"][0] == {
        "name": "bread, segment 0 frequent, recent",
        "value": "+3.00 pp",
        "interval": "-1.00 to +7.00 pp",
    }


def test_features_are_said_in_words_where_there_are_any():
    from jobs.models import prior

    assert feature("category_share_91d") == "category's share in the user's outcomes"
    assert feature("gap_ratio") == "gap ratio"
    assert not [name for name in prior.COLUMNS if feature(name) == name.replace("_", " ")]


def test_a_heat_map_without_a_cell_is_not_drawn():
    empty = DIAGNOSIS | {"heat_map": {name: [] for name in DIAGNOSIS["heat_map"]}}
    said = parts.causes(empty)
    assert (said["heat_map"], said["segments"], said["cells"]) == (None, [], [])


def test_rules_are_judged_by_every_method_with_intervals_and_effective_sizes():
    said = parts.off_policy(OFF_POLICY)
    assert len(said["values"]) == 3 * 4 and len(said["gains"]) == 2 * 4 and len(said["sizes"]) == 3
    assert all("to" in row["interval"] for row in (*said["values"], *said["gains"]))
    assert said["sizes"][0] == {"name": "ranking by effect", "all": "812", "shown": "812"}
    assert said["trials"] == "913,000" and said["users"] == "2,400" and said["length"] == 20
    without = parts.off_policy(OFF_POLICY | {"rules": ["effect", "relevance"]})
    assert {row["name"] for row in without["gains"]} == {"over ranking by relevance"}


def test_the_verdict_on_the_rules_is_the_sentence_that_stands_beside_the_lists():
    gain = {"value": -0.0003, "low": -0.0005, "high": -0.0001}
    found = parts.off_policy(OFF_POLICY | {"metrics": OFF_POLICY["metrics"] | {GAIN: gain}})
    assert (found["verdict"]["tone"], found["verdict"]["text"]) == ranking(gain)
    assert "brings less" in found["plot"]["summary"]
