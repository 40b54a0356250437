"""The report: what it says with everything there, with little there, and with hostile text."""

from typing import Any

import pandas as pd
import pytest

from jobs.report import category_plot, figures, interval, list_overlap, render

EFFECTS = pd.DataFrame(
    [
        ("category", "milk & <b>eggs</b>", "pooled", 0.02, 0.01, 0.03, 90, 100),
        ("category", "bread", "pooled", -0.01, -0.02, 0.0, 50, 100),
        ("category", "bread", "difference", 0.9, 0.8, 1.0, 50, 100),
        ("all", "all", "aipw", 0.01, 0.0, 0.02, 140, 200),
    ],
    columns=["level", "key", "method", "estimate", "low", "high", "treated", "control"],
)


def values(**changed: Any) -> dict[str, Any]:
    check = {
        "name": "qini",
        "result": "passed",
        "value": "0.0100",
        "interval": "0.0050 to 0.0200",
        "meaning": "it works",
    }
    return {
        "site": "shop",
        "run_date": "2024-01-08",
        "passed": True,
        "verdict": "effects proved: adjusted lists",
        "published": {"version_id": "abcdef12", "rows": "40", "state": "published"},
        "checks": [check],
        "overlap": "10 users have an adjusted list",
        "plot": category_plot(EFFECTS),
        "averages": figures({"aipw": {"value": 0.01, "low": 0.0, "high": 0.02}}),
        "uplift": figures({"qini": {"value": 0.01, "low": 0.005, "high": 0.02}}),
        "ranker": figures({"ranker_ndcg_10": {"value": 0.4, "low": 0.35, "high": 0.45}}),
        "feedback": [{"version_id": "01234567", "run_date": "2024-01-01", "rows": [], "lift": "No measured lift"}],
        "counts": [{"table": "users", "reason": "kept", "rows": 1234}],
    } | changed


SPARSE = {
    "passed": False,
    "verdict": "dry run",
    "published": {"state": "dry run"},
    "checks": [],
    "plot": None,
    "averages": [],
    "uplift": [],
    "ranker": [],
    "feedback": [],
    "counts": [],
}


def test_a_full_page_says_verdict_version_figures_with_intervals_and_how_to_roll_back():
    page = render(values())
    for text in (
        "effects proved: adjusted lists",
        "abcdef12",
        "0.4000",
        "0.3500 to 0.4500",
        "0.0050 to 0.0200",
        "1,234",
        "01234567",
        "python -m jobs rollback --site shop",
    ):
        assert text in page, text


def test_a_sparse_page_says_not_computed_and_invents_no_figure():
    page = render(values(**SPARSE))
    assert page.count("not computed") == 4
    assert "nothing to evaluate tonight" in page
    assert "<svg" not in page
    assert "0.0000" not in page


def test_the_page_is_self_contained():
    page = render(values())
    assert "<svg" in page
    for word in ("<script", "<link", "<img", "@import"):
        assert word not in page, word


@pytest.mark.parametrize("key", ["verdict", "overlap", "site"])
def test_text_from_the_data_is_escaped(key: str):
    page = render(values(**{key: "<script>alert(1)</script>"}))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_names_in_a_plot_are_escaped():
    plot = category_plot(EFFECTS)
    assert plot is not None
    assert "<b>" not in plot


def test_a_plot_is_the_same_again_and_absent_without_categories():
    assert category_plot(EFFECTS) == category_plot(EFFECTS)
    assert category_plot(EFFECTS[EFFECTS["level"] == "all"]) is None


def test_a_figure_without_an_interval_says_so_and_one_without_a_value_is_left_out():
    rows = figures({"known": {"value": 0.5, "low": None, "high": None}, "unknown": {"value": None}})
    assert rows == [{"name": "known", "value": "0.5000", "interval": "none"}]
    assert interval(None, 0.1) == "none"


def test_overlap_counts_places_of_adjusted_lists_only():
    lists = pd.DataFrame(
        {
            "user_id": ["u1", "u1", "u2", "u2"],
            "item_id": ["a", "b", "a", "b"],
            "policy": ["adjusted", "explore", "relevance", "relevance"],
        }
    )
    relevance = pd.DataFrame({"user_id": ["u1", "u1", "u2", "u2"], "item_id": ["a", "c", "a", "b"]})
    assert list_overlap(lists, relevance).startswith("1 users have an adjusted list; 50% of its places")
    assert list_overlap(lists[lists["user_id"] == "u2"], relevance) == "Every user has the relevance list."
