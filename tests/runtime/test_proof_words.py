"""What stands beside the lists: what is proved is said to be, and what is not is not."""

import pytest

from jobs.runtime.proof_words import GAIN, proofs, ranking

AVERAGE = {"value": 0.0035, "low": 0.0023, "high": 0.0047}
FEW = {"value": 0.125, "low": 0.1, "high": 0.15}


def test_the_average_may_be_proved_while_single_pairs_and_the_ranking_are_not() -> None:
    average, single, ranked = proofs(
        {"average_effect": AVERAGE, "list_proved_share": FEW, GAIN: {"value": -0.0001, "low": -0.0002, "high": 0.0001}}
    )
    assert average.endswith("showing an item adds +0.35 pp (90 % interval +0.23 to +0.47 pp): that is proved.")
    assert ", 12.5 % (90 % interval 10.0 to 15.0 %) have an interval above zero of their own; for most" in single
    assert "ranking by effect brings no proved gain over ranking by relevance" in ranked
    assert "-0.00010 (90 % interval -0.00020 to 0.00010) outcomes a trial" in ranked


def test_an_average_across_zero_or_below_it_is_not_said_to_help() -> None:
    (unsure,) = proofs({"average_effect": AVERAGE | {"low": -0.001}})
    assert unsure.endswith("its interval holds zero, so it is not proved.")
    (harm,) = proofs({"average_effect": {"value": -0.02, "low": -0.03, "high": -0.01}})
    assert harm.endswith("it is proved that showing takes outcomes away.")


def test_where_most_single_pairs_are_proved_the_log_is_not_called_short() -> None:
    (single,) = proofs({"list_proved_share": {"value": 0.9, "low": 0.88, "high": 0.92}})
    assert single.endswith(", 90.0 % (90 % interval 88.0 to 92.0 %) have an interval above zero of their own.")


@pytest.mark.parametrize(
    ("low", "high", "tone", "words"),
    [
        (0.001, 0.003, "good", "brings more than ranking by relevance"),
        (-0.001, 0.003, "warn", "brings no proved gain over ranking by relevance"),
        (-0.003, -0.001, "bad", "brings less than ranking by relevance"),
    ],
)
def test_a_gain_is_proved_only_where_its_interval_leaves_out_zero(low: float, high: float, tone: str, words: str):
    found, text = ranking({"value": (low + high) / 2, "low": low, "high": high})
    assert found == tone and words in text


def test_a_night_without_figures_says_nothing() -> None:
    assert proofs({}) == []
    assert proofs({"average_effect": {"value": 0.1, "low": None, "high": None}}) == []
