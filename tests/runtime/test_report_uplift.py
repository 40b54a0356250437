"""What the report says of effects: every plot with its sentence, refutations in words, harm only where it is proved."""

import json
from typing import Any

import pandas as pd

from jobs.runtime import report_uplift as parts
from jobs.runtime.report_words import METHODS
from tests.runtime.diagnoses import figure

UPLIFT: dict[str, Any] = {
    "metrics": {
        "qini": figure(0.01, 0.005, 0.02),
        "overlap_share": figure(0.9, 0.88, 0.92),
        "balance_before": figure(0.5),
        "balance_after": figure(0.05),
    },
    "refutations": {
        "estimate": figure(0.1, 0.05, 0.15),
        "placebo": figure(0.001, -0.01, 0.01),
        "random_subset": figure(0.09, 0.04, 0.14) | {"stable": True},
        "random_common_cause": figure(0.5, 0.4, 0.6) | {"stable": False},
    },
    "overlap": {"edges": [0.0, 0.5, 1.0], "control": [3.0, 1.0], "treated": [1.0, 3.0]},
    "reliability": {"predicted": [0.1, 0.5], "found": [0.12, 0.45], "low": [0.1, 0.4], "high": [0.14, 0.5]},
    "tenths": {"predicted": [0.0, 0.3], "found": [0.01, 0.2], "low": [-0.01, 0.15], "high": [0.03, 0.25]},
    "qini_curve": {"share": [0.0, 1.0], "gain": [0.0, 0.4], "random": [0.0, 0.4]},
    "balance": {"feature": ["age", "days"], "before": [0.5, -0.7], "after": [0.05, 0.01]},
}


def test_every_plot_says_how_to_read_it_and_has_a_sentence_for_who_cannot_see_it():
    drawn = parts.uplift_plots(UPLIFT, 0.02)
    assert set(drawn) == {"overlap", "reliability", "qini", "tenths", "love"}
    for name, plot in drawn.items():
        assert plot["svg"].startswith("<svg") and plot["caption"].startswith("How to read it:"), name
        assert plot["summary"].endswith(".") and any(sign.isdigit() for sign in plot["summary"]), name
    assert "0.0100 (90 % interval 0.0050 to 0.0200)" in drawn["qini"]["caption"]
    assert "predicted +30.00 pp, found +20.00 pp (90 % interval +15.00 to +25.00 pp)" in drawn["tenths"]["caption"]
    assert "in 1 of 2 tenths the prediction lies in the interval" in drawn["tenths"]["summary"]
    assert (
        "90.0 % (90 % interval 88.0 to 92.0 %) of the trials lie between 0.02 and 0.98" in drawn["overlap"]["summary"]
    )


def test_a_record_without_points_has_no_plot():
    assert parts.uplift_plots({"metrics": UPLIFT["metrics"]}, 0.02) == dict.fromkeys(
        ("overlap", "reliability", "qini", "tenths", "love")
    )


def test_refutations_say_in_words_what_held_and_what_did_not():
    rows = {row["name"]: row for row in parts.refutations(UPLIFT)}
    assert [row["tone"] for row in rows.values()] == ["", "good", "good", "bad"]
    assert "finds no effect where there is none" in rows["placebo"]["meaning"]
    assert rows["random common cause"]["meaning"].endswith("happen to fit.")
    broken = UPLIFT["refutations"] | {"placebo": figure(0.05, 0.01, 0.09)}
    assert parts.refutations(UPLIFT | {"refutations": broken})[1]["tone"] == "bad"


def test_effects_have_averages_in_words_and_a_plot_only_with_categories():
    table = pd.DataFrame(
        [
            ("category", "milk", "pooled", 0.02, 0.01, 0.03, 90),
            ("category", "bread", "pooled", -0.01, -0.02, 0.0, 50),
            ("category", "bread", "difference", 0.9, 0.8, 1.0, 50),
            ("all", "all", "aipw", 0.01, 0.0, 0.02, 140),
        ],
        columns=["level", "key", "method", "estimate", "low", "high", "treated"],
    )
    found = parts.effects(table)
    assert found["averages"] == [{"name": METHODS["aipw"], "value": "+1.00 pp", "interval": "+0.00 to +2.00 pp"}]
    assert "from bread, -1.00 pp" in found["plot"]["summary"] and "to milk, +2.00 pp" in found["plot"]["summary"]
    assert parts.effects(table[table["level"] == "all"])["plot"] is None


def effects_of(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["level", "key", "estimate", "low", "high"])
    return table.assign(method="aipw", treated=900, control=1100)


def test_a_segment_is_harmed_only_where_its_interval_is_below_zero():
    found = parts.harmed(
        effects_of(
            ("segment", "0 many", 0.02, 0.01, 0.03),
            ("segment", "1 some", -0.01, -0.03, 0.01),
            ("segment", "2 few", -0.05, -0.07, -0.03),
            ("all", "all", -1.0, -1.0, -1.0),
        )
    )
    assert [row["verdict"] for row in found["rows"]] == ["helped", "not proved either way", "harmed"]
    assert found["rows"][0]["trials"] == "2,000" and found["rows"][2]["interval"] == "-7.00 to -3.00 pp"
    assert found["sentence"] == "Showing takes outcomes away from 1 of 3 segments: 2 few."
    assert found["cells"] == "No cell of segment and category has enough users to say."
    helped = parts.harmed(effects_of(("segment", "0 many", 0.02, 0.01, 0.03)))
    assert helped["sentence"].startswith("In none of 1 segments")
    assert parts.harmed(effects_of())["sentence"] == "No segment has enough users to say."


def test_cells_that_lose_are_counted_beside_what_chance_would_give():
    cells = [("segment_category", json.dumps(["0 many", f"c{n}"]), 0.01, -0.01, 0.03) for n in range(39)]
    lost = ("segment_category", json.dumps(["1 few", "milk"]), -0.04, -0.06, -0.02)
    said = parts.harmed(effects_of(*cells, lost))["cells"]
    assert said == (
        "Of 40 cells of segment and category, 1 have an interval below zero; were there no effect anywhere, chance "
        "would put about 2 there. Lowest: milk for segment 1 few, -4.00 pp (-6.00 to -2.00 pp)."
    )
    assert "Lowest" not in parts.harmed(effects_of(*cells))["cells"]


def test_the_gates_effects_are_in_points_and_its_shares_are_not():
    checks = [{"name": name, "passed": True, "meaning": "", **figure(0.01, 0.0, 0.02)} for name in ("placebo", "qini")]
    rows = parts.gate({"checks": checks})
    assert [row["value"] for row in rows] == ["+1.00 pp", "0.0100"] and rows[0]["interval"] == "+0.00 to +2.00 pp"
