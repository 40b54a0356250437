"""Earlier lists in words: lift or why there is none, promise against random slots, and every figure by its name."""

import pytest

from jobs.runtime import report_feedback
from tests.runtime.test_report_parts import figure

ONE = {"version_id": "abc", "run_date": "2024-01-01", "figures": {}, "lift": None, "why": "a group is too small"}
NOTHING = {"versions": [ONE], "running": None, "unknown": []}


def test_a_measured_lift_is_told_from_none() -> None:
    lifted = report_feedback.lift(ONE | {"lift": figure(0.2, 0.1, 0.3)})
    assert "+0.200 outcomes a user, 90 % interval 0.1000 to 0.3000" in lifted
    assert report_feedback.lift(ONE) == "No measured lift: a group is too small."


@pytest.mark.parametrize(("promised", "said"), [(0.25, "inside"), (0.4, "outside")])
def test_random_slots_stand_beside_the_promise(promised: float, said: str) -> None:
    known = {"explore_effect": figure(0.2, 0.1, 0.3), "explore_effect_promised": figure(promised)}
    sentence = report_feedback.explore(known)
    assert f"promised +{100 * promised:.2f} pp, which is {said} the interval" in sentence
    assert "+10.00 to +30.00 pp" in sentence


def test_without_random_slots_nothing_is_said_of_them() -> None:
    assert report_feedback.explore({"adjusted_ndcg": figure(0.5)}) == ""
    (one,) = report_feedback.feedback(NOTHING)["versions"]
    assert one["explore"] == "" and one["rows"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adjusted_hit_rate", "hit rate, adjusted lists"),
        ("relevance_ndcg", "NDCG, relevance lists"),
        ("click_rate_explore", "clicks a shown item, random slots"),
        ("mean_vote_adjusted", "mean vote on a shown item, adjusted lists"),
        ("like_share_explore", "share of votes on shown items that are above zero, random slots"),
        ("sentiment_relevance", "mean sentiment of comments on shown items, from -1 to 1, relevance lists"),
        ("outcome_rate_adjusted_3", "outcomes a shown item, adjusted lists, place 3"),
        ("outcome_rate_legacy", "outcomes a shown item, legacy"),
        ("explore_effect_promised", "explore effect promised"),
        ("coverage", "coverage"),
    ],
)
def test_every_figure_has_words(name: str, said: str) -> None:
    assert report_feedback.words(name) == said


def test_the_running_lift_names_its_segments() -> None:
    record = {
        "since": "2024-01-01",
        "users": 1000,
        "held_out": 50,
        "figures": {"lift_running": figure(0.1, 0.0, 0.2), "lift_running_segment_2": figure(0.3, -0.1, 0.7)},
        "labels": {"lift_running_segment_2": "many purchases"},
    }
    found = report_feedback.feedback(NOTHING | {"running": record})["running"]
    assert "Since 2024-01-01, 50 of 1,000 users" in found["text"]
    assert [row["name"] for row in found["rows"]] == ["all users", "segment many purchases"]


def test_rates_by_place_are_drawn_of_the_version_whose_exposures_name_them() -> None:
    rates = {
        "click_rate_explore_1": figure(0.2, 0.1, 0.3),
        "click_rate_explore_10": figure(0.05, 0.02, 0.09),
        "click_rate_adjusted_1": figure(0.3, 0.25, 0.35),
        "click_rate_adjusted": figure(0.9, 0.8, 1.0),
        "outcome_rate_explore_1": figure(0.01, 0.0, 0.02),
    }
    plot = report_feedback.places([ONE, ONE | {"version_id": "placed", "figures": rates}])
    assert plot is not None and plot["svg"].startswith("<svg") and plot["caption"].startswith("How to read it:")
    assert "with a click by place, version placed: adjusted lists, place 1 0.3000" in plot["summary"]
    assert "random slots, place 10 0.0500 (90 % interval 0.0200 to 0.0900)." in plot["summary"]
    only = report_feedback.places([ONE | {"figures": {"outcome_rate_explore_1": figure(0.01, 0.0, 0.02)}}])
    assert only is not None and "with an outcome by place" in only["summary"]
    assert report_feedback.places([ONE | {"figures": {"click_rate_adjusted": figure(0.9)}}]) is None
