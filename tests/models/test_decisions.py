"""Every case of a decision: better, worse, not comparable, missing, and a person who knows better."""

import pytest

from jobs.models.decisions import CHALLENGER, CHAMPION, RELEVANCE, Decision, decide_ranker, decide_uplift
from jobs.models.metrics import Estimate
from jobs.runtime.errors import DataError

NAN = float("nan")


@pytest.mark.parametrize(
    ("lead", "chosen"),
    [
        (Estimate(0.01, 0.002, 0.02), CHALLENGER),
        (Estimate(-0.003, -0.01, 0.004), CHALLENGER),
        (Estimate(-0.003, -0.0101, 0.004), CHAMPION),
        (Estimate(0.02, -0.05, 0.09), CHAMPION),
        (Estimate(NAN, NAN, NAN), CHAMPION),
        (Estimate(0.1, NAN, 0.2), CHAMPION),
        (None, CHAMPION),
    ],
)
def test_a_ranker_is_promoted_where_it_is_surely_not_worse_than_the_margin(lead: Estimate | None, chosen: str) -> None:
    assert decide_ranker(lead, 0.01, "").chosen == chosen


def test_without_a_champion_the_challenger_is_all_there_is() -> None:
    made = decide_ranker(None, 0.01, "there is no champion")
    assert (made.chosen, made.why) == (CHALLENGER, "there is no champion")


def test_a_decision_says_its_figures() -> None:
    made = decide_ranker(Estimate(0.01, 0.002, 0.02), 0.005, "")
    assert "+0.0100 (90 % +0.0020 to +0.0200), not worse than the margin 0.005" in made.why
    assert made.document()["figures"] == {"ranker_lead_ndcg_10": {"value": 0.01, "low": 0.002, "high": 0.02}}


@pytest.mark.parametrize(
    ("failed", "qini", "missing", "chosen"),
    [
        ([], None, "none", CHALLENGER),
        ([], Estimate(0.1, 0.05, 0.2), "", CHALLENGER),
        (["qini"], Estimate(0.1, 0.05, 0.2), "", CHAMPION),
        (["qini"], Estimate(0.1, 0.0, 0.2), "", RELEVANCE),
        (["qini"], Estimate(NAN, NAN, NAN), "", RELEVANCE),
        (["qini"], None, "", RELEVANCE),
        (["qini"], None, "there is no champion", RELEVANCE),
    ],
)
def test_effects_rank_only_where_somebodys_hold(
    failed: list[str], qini: Estimate | None, missing: str, chosen: str
) -> None:
    assert decide_uplift(failed, qini, missing).chosen == chosen


def test_a_person_may_choose_what_can_be_had() -> None:
    made = Decision(RELEVANCE, "the challenger failed qini")
    assert made.overridden(None, "", [CHALLENGER]) is made
    other = made.overridden(CHALLENGER, "seen in the shop", [CHALLENGER, RELEVANCE])
    assert (other.chosen, other.reason) == (CHALLENGER, "seen in the shop")
    assert other.why == "a person chose it over: relevance, as the challenger failed qini"
    with pytest.raises(DataError, match=r"'champion' cannot be had tonight .* there is challenger, relevance"):
        made.overridden(CHAMPION, "why not", [CHALLENGER, RELEVANCE])
