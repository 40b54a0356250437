"""What the report says of records: figures with intervals, comparisons, refutations in words, nothing invented."""

from typing import Any

import pandas as pd
import pytest

from jobs.runtime import report_parts as parts
from jobs.runtime.report_words import REASONS
from jobs.transforms import clean, opinions
from tests.runtime.diagnoses import figure

UPLIFT: dict[str, Any] = {
    "metrics": {
        "qini": figure(0.01, 0.005, 0.02),
        "overlap_share": figure(0.9),
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
    "reliability": {"predicted": [0.1, 0.5], "treated_share": [0.12, 0.45], "trials": [10, 10]},
    "qini_curve": {"share": [0.0, 1.0], "gain": [0.0, 0.4], "random": [0.0, 0.4]},
    "balance": {"feature": ["age", "days"], "before": [0.5, -0.7], "after": [0.05, 0.01]},
}
LISTS = pd.DataFrame(
    {
        "user_id": ["u1", "u1", "u2", "u2"],
        "rank": [1, 2, 1, 2],
        "item_id": ["a", "b", "a", "b"],
        "policy": ["adjusted", "explore", "relevance", "relevance"],
        "relevance": [0.5, 0.4, 0.5, 0.4],
    }
)
PLAIN = pd.DataFrame({"user_id": ["u1", "u1", "u2", "u2"], "rank": [1, 2, 1, 2], "item_id": ["a", "c", "a", "b"]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not computed"),
        (0.0, "0.0000"),
        (0.25, "0.2500"),
        (-0.00052, "-0.00052"),
        (12345.6, "12,346"),
        (3.0, "3"),
    ],
)
def test_numbers_keep_the_digits_that_count(value: float | None, text: str):
    assert parts.number(value) == text


def test_both_ends_of_an_interval_have_as_many_digits_and_half_an_interval_is_none():
    assert parts.interval(-0.0055, 0.00061) == "-0.00550 to 0.00061"
    assert parts.interval(0.1, 0.2) == "0.1000 to 0.2000"
    assert parts.interval(None, 0.1) == "none"


def test_a_figure_without_an_interval_says_so_and_one_without_a_value_is_left_out():
    rows = parts.figures({"known": figure(0.5), "unknown": {"value": None}})
    assert rows == [{"name": "known", "value": "0.5000", "interval": "none"}]


def test_the_verdict_names_state_gain_and_what_relevance_would_give():
    metrics = {"list_effect": figure(0.02, 0.01, 0.03), "list_effect_by_relevance": figure(0.005, 0.004, 0.006)}
    said = parts.headline({"state": "published"}, metrics, "challenger")
    assert said.startswith("Published: ") and "0.0200 (90 % interval 0.0100 to 0.0300)" in said and "0.0050" in said
    said = parts.headline({"state": "dry run"}, {}, "relevance")
    assert (
        said == "Dry run, nothing published: the effects were not proved tonight, so everyone has the relevance list."
    )
    said = parts.headline({"state": "published"}, metrics, "champion")
    assert said.startswith("Published: tonight's effects were not proved, the champion's rank the lists")


def test_overlap_counts_places_of_adjusted_lists_only():
    assert parts.list_overlap(LISTS, PLAIN).startswith("1 users have an adjusted list; 50% of its places")
    assert parts.list_overlap(LISTS[LISTS["user_id"] == "u2"], PLAIN) == "Every user has the relevance list."


def test_changed_places_tells_moved_items_from_new_ones():
    before = pd.DataFrame(
        {
            "user_id": ["u1", "u1", "u2", "u2", "gone"],
            "rank": [1, 2, 1, 2, 1],
            "item_id": ["b", "a", "a", "c", "a"],
        }
    )
    said = parts.changed_places(LISTS, before)
    assert "2 users" in said and "75.0% hold another item" in said and "25.0% hold an item that was not" in said
    assert parts.changed_places(LISTS, LISTS[["user_id", "rank", "item_id"]]).count("0.0%") == 2
    assert parts.changed_places(LISTS, before[before["user_id"] == "gone"]) == "No user is in both versions."


def test_examples_are_the_most_the_median_and_the_least_changed_users():
    users = [f"u{place}" for place in range(5)]
    lists = pd.DataFrame(
        {"user_id": [u for u in users for _ in range(4)], "item_id": list("abcd") * 5, "policy": "adjusted"}
    )
    plain = pd.DataFrame(
        {"user_id": [u for u in users for _ in range(4)], "item_id": [*"abcd", *"abcx", *"abxy", *"axyz", *"wxyz"]}
    )
    assert [user for user, _ in parts.example_users(lists, plain)] == ["u4", "u2", "u0"]
    assert [user for user, _ in parts.example_users(lists[:4], plain)] == ["u0"]
    assert parts.example_users(lists.assign(policy="relevance"), plain) == []


def test_lists_side_by_side_name_items_and_say_what_is_not_identified():
    mine = LISTS[LISTS["user_id"] == "u1"].assign(
        effect=[0.1, 0.2], effect_low=[0.0, 0.1], effect_high=[0.2, 0.3], identified=[True, False], reason="It helps."
    )
    plain = pd.DataFrame({"rank": [1], "item_id": ["c"], "relevance": [0.75]})
    first, second = parts.side_by_side(mine, plain, {"a": "Milk", "c": "Bread"})
    assert (first["plain"], first["plain_relevance"], first["item"], first["identified"]) == (
        "Bread",
        "0.750",
        "Milk",
        True,
    )
    assert (second["plain"], second["plain_relevance"], second["item"], second["identified"]) == (
        "no item",
        "",
        "b",
        False,
    )
    assert first["interval"] == "0.0000 to 0.2000"


def test_items_are_named_by_title_else_by_category_and_id():
    items = pd.DataFrame({"item_id": ["a", "b"], "category": ["milk", "bread"], "title": ["Whole milk", None]})
    assert parts.item_names(items) == {"a": "Whole milk", "b": "bread (b)"}
    assert parts.item_names(items.drop(columns="title")) == {"a": "milk (a)", "b": "bread (b)"}


def test_every_plot_says_how_to_read_it_and_has_a_sentence_for_who_cannot_see_it():
    drawn = parts.uplift_plots(UPLIFT, 0.02)
    assert set(drawn) == {"overlap", "reliability", "qini", "love"}
    for name, plot in drawn.items():
        assert plot["svg"].startswith("<svg") and plot["caption"].startswith("How to read it:"), name
        assert plot["summary"].endswith(".") and any(sign.isdigit() for sign in plot["summary"]), name
    assert "0.0100 (90 % interval 0.0050 to 0.0200)" in drawn["qini"]["caption"]
    assert "90% of the trials lie between 0.02 and 0.98" in drawn["overlap"]["summary"]


def test_a_record_without_points_has_no_plot():
    assert parts.uplift_plots({"metrics": UPLIFT["metrics"]}, 0.02) == dict.fromkeys(
        ("overlap", "reliability", "qini", "love")
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
    assert found["averages"] == [{"name": parts.METHODS["aipw"], "value": "0.0100", "interval": "0.0000 to 0.0200"}]
    assert "from bread, -0.0100" in found["plot"]["summary"] and "to milk, 0.0200" in found["plot"]["summary"]
    assert parts.effects(table[table["level"] == "all"])["plot"] is None


def test_ranking_puts_the_three_methods_beside_each_other_and_keeps_the_rest():
    record = {
        "metrics": {
            "ranker_ndcg_10": figure(0.4, 0.3, 0.5),
            "popularity_ndcg_10": figure(0.2, 0.1, 0.3),
            "recency_ndcg_10": figure(0.3, 0.2, 0.4),
            "ranker_brier": figure(0.1),
            "from_repeat_recall": figure(0.5, 0.4, 0.6),
            "from_repeat_map_10": figure(0.2, 0.1, 0.3),
        }
    }
    found = parts.ranking(record)
    assert [row["name"] for row in found["table"]] == ["NDCG@10, ranker", "NDCG@10, popularity", "NDCG@10, recency"]
    rest = ("from_repeat_recall", "ranker_brier")
    assert [row["name"] for row in found["rest"]] == [parts.WORDS[name] for name in rest], (
        "not every source's every figure"
    )
    assert "recency 0.3000 (90 % interval 0.2000 to 0.4000)" in found["plot"]["summary"]
    assert parts.ranking({"metrics": {}}) == {"plot": None, "table": [], "rest": []}


def test_cleaned_rows_say_why_in_words():
    counts = pd.DataFrame(
        {"table": ["users"] * 4, "reason": ["in", "kept", "duplicate", "new_reason"], "rows": [1000, 990, 6, 4]}
    )
    (row,) = parts.cleaned(counts)
    assert (row["came"], row["kept"], row["quarantined"]) == ("1,000", "990", "10 (1.00%)")
    assert row["reasons"] == ["6: a copy of a row that is kept", "4: new_reason"]


def test_every_reason_to_disbelieve_a_row_has_words():
    assert set(REASONS) == {*clean.REASONS, *opinions.REASONS}
