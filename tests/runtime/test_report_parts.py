"""What the report says of records: figures with intervals, comparisons, nothing invented."""

import pandas as pd

from jobs.runtime import report_parts as parts
from jobs.runtime.report_words import REASONS
from jobs.transforms import clean, opinions
from tests.runtime.diagnoses import figure

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


def test_the_verdict_names_state_gain_and_what_relevance_would_give():
    metrics = {"list_effect": figure(0.02, 0.01, 0.03), "list_effect_by_relevance": figure(0.005, 0.004, 0.006)}
    said = parts.headline({"state": "published"}, metrics, "challenger")
    assert (
        said.startswith("Published: ") and "+2.00 pp (90 % interval +1.00 to +3.00 pp)" in said and "+0.50 pp" in said
    )
    said = parts.headline({"state": "dry run"}, {}, "relevance")
    assert (
        said == "Dry run, nothing published: the effects were not proved tonight, so everyone has the relevance list."
    )
    said = parts.headline({"state": "published"}, metrics, "champion")
    assert said.startswith("Published: tonight's effects were not proved, the champion's rank the lists")


def test_overlap_counts_places_of_adjusted_lists_only():
    assert parts.list_overlap(LISTS, PLAIN).startswith("1 users have an adjusted list; 50 % of its places")
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
    assert "2 users" in said and "75.0 % hold another item" in said and "25.0 % hold an item that was not" in said
    assert parts.changed_places(LISTS, LISTS[["user_id", "rank", "item_id"]]).count("0.0 %") == 2
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
        "75.0 %",
        "Milk",
        True,
    )
    assert (second["plain"], second["plain_relevance"], second["item"], second["identified"]) == (
        "no item",
        "",
        "b",
        False,
    )
    assert first["interval"] == "+0.00 to +20.00 pp"


def test_items_are_named_by_title_else_by_category_and_id():
    items = pd.DataFrame({"item_id": ["a", "b"], "category": ["milk", "bread"], "title": ["Whole milk", None]})
    assert parts.item_names(items) == {"a": "Whole milk", "b": "bread (b)"}
    assert parts.item_names(items.drop(columns="title")) == {"a": "milk (a)", "b": "bread (b)"}


def test_items_with_the_same_title_are_told_apart():
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["Fuel", "Fuel", "Oil"], "category": "cars"})
    assert parts.item_names(items) == {"a": "Fuel (a)", "b": "Fuel (b)", "c": "Oil"}


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
    assert parts.ranking({"metrics": {}}) == {"plot": None, "table": [], "rest": [], "calibration": None}


def test_relevance_stands_beside_the_outcome_rate_with_its_interval():
    curve = {"predicted": [0.01, 0.3], "found": [0.02, 0.28], "low": [None, 0.25], "high": [None, 0.31]}
    plot = parts.ranking({"metrics": {}, "calibration_curve": curve})["calibration"]
    assert "the highest says 0.3000, found were 0.2800 (90 % interval 0.2500 to 0.3100)." in plot["summary"]
    assert plot["caption"].startswith("How to read it:") and plot["svg"].startswith("<svg")


def test_cleaned_rows_say_why_in_words():
    counts = pd.DataFrame(
        {"table": ["users"] * 4, "reason": ["in", "kept", "duplicate", "new_reason"], "rows": [1000, 990, 6, 4]}
    )
    (row,) = parts.cleaned(counts)
    assert (row["came"], row["kept"], row["quarantined"]) == ("1,000", "990", "10 (1.00 %)")
    assert row["reasons"] == ["6: a copy of a row that is kept", "4: new_reason"]


def test_every_reason_to_disbelieve_a_row_has_words():
    assert set(REASONS) == {*clean.REASONS, *opinions.REASONS}
