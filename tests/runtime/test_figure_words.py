"""A figure in words: the digits that count, its interval or that there is none, an effect in points everywhere."""

import pytest

from jobs.runtime import figure_words as words
from tests.runtime.diagnoses import figure


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
    assert words.number(value) == text


def test_both_ends_of_an_interval_have_as_many_digits_and_half_an_interval_is_none():
    assert words.interval(-0.0055, 0.00061) == "-0.00550 to 0.00061"
    assert words.interval(0.1, 0.2) == "0.1000 to 0.2000"
    assert words.interval(None, 0.1) == "none"


def test_a_figure_without_an_interval_says_so_and_one_without_a_value_is_left_out():
    rows = words.figures({"known": figure(0.5), "unknown": {"value": None}})
    assert rows == [{"name": "known", "value": "0.5000", "interval": "none"}]


def test_what_a_subtraction_leaves_is_zero() -> None:
    assert words.number(3e-18) == words.number(-3e-18) == words.number(0.0) == "0.0000"


def test_a_share_is_said_in_per_cent() -> None:
    assert words.share(0.9684) == "96.8 %" and words.share(1.0, 0) == "100 %" and words.share(None) == "none"
    assert words.share_said(figure(0.968, 0.966, 0.97)) == "96.8 % (90 % interval 96.6 to 97.0 %)"
    assert words.share_said(figure(0.968)) == "96.8 %"


@pytest.mark.parametrize(
    ("value", "text"), [(0.038, "+3.80 pp"), (-0.0012, "-0.12 pp"), (0.00023, "+0.023 pp"), (None, "not computed")]
)
def test_an_effect_is_said_in_percentage_points(value: float | None, text: str) -> None:
    assert words.points(value) == text


def test_both_ends_of_an_effects_interval_have_as_many_digits() -> None:
    assert words.points_between(-0.0004, 0.0123) == "-0.04 to +1.23 pp"
    assert words.points_between(-0.0004, 0.0006) == "-0.040 to +0.060 pp"
    assert words.points_between(None, 0.1) == "none"
    assert words.points_said({"value": 0.01, "low": None, "high": None}) == "+1.00 pp"


def test_an_effect_below_a_head_with_the_unit_has_none_and_another_level_is_said() -> None:
    assert words.points(0.038, "") == "+3.80" and words.points_between(0.01, 0.02, "") == "+1.00 to +2.00"
    assert words.points_said(figure(0.01, 0.0, 0.02), "99 %") == "+1.00 pp (99 % interval +0.00 to +2.00 pp)"


def test_figures_that_are_effects_are_in_points_and_others_are_not() -> None:
    rows = words.figures({"average_effect": figure(0.01, 0.0, 0.02), "qini": figure(0.01, 0.0, 0.02)}, words={})
    assert [(row["value"], row["interval"]) for row in rows] == [
        ("+1.00 pp", "+0.00 to +2.00 pp"),
        ("0.0100", "0.0000 to 0.0200"),
    ]
