"""Plots: the same bytes again, colours of the page around them, nothing that breaks the page or another plot."""

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from jobs.runtime import plots

PARTS = {"predicted": [0.1, 0.5], "found": [0.12, 0.48], "low": [0.1, None], "high": [0.14, None]}
PLOTS: dict[str, Callable[[], str]] = {
    "intervals": lambda: plots.intervals("i", {"milk & <b>": (0.1, 0.0, 0.2), "$5 a$b": (0.3, None, None)}, "effect"),
    "bars": lambda: plots.bars("b", {"gap_ratio": 0.3, "days & <b>": 0.1}, "mean change"),
    "methods": lambda: plots.methods("m", {"NDCG@10": {"ranker": (0.4, 0.3, 0.5), "recency": (0.3, 0.2, 0.4)}}, "mean"),
    "overlap": lambda: plots.overlap([0.0, 0.5, 1.0], [3.0, 1.0], [1.0, 3.0], 0.02),
    "reliability": lambda: plots.reliability("reliability", PARTS, "predicted", "found"),
    "tenths": lambda: plots.tenths(PARTS),
    "places": lambda: plots.by_place({"random slots": {1: (0.1, 0.05, 0.2), 2: (0.05, None, None)}}, "clicks"),
    "qini": lambda: plots.qini([0.0, 0.5, 1.0], [0.0, 0.3, 0.4], [0.0, 0.2, 0.4]),
    "bars with levels": lambda: plots.bars("l", {"vote": 0.3, "votes": 0.1}, "index", (0.1, 0.25)),
    "love": lambda: plots.love(["age", "days"], [0.5, -0.3], [0.05, 0.01]),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_well_formed_the_same_again_and_takes_the_colour_of_its_page(name: str):
    svg = PLOTS[name]()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == PLOTS[name]()
    assert "currentColor" in svg and plots.FOREGROUND not in svg
    assert "<style" not in svg and "<metadata" not in svg


def test_plots_on_one_page_share_no_id():
    ids = [set(re.findall(r' id="([^"]+)"', draw())) for draw in PLOTS.values()]
    assert all(ids)
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_names_are_escaped_and_a_dollar_is_no_formula():
    svg = PLOTS["intervals"]()
    assert "<b>" not in svg
    assert "milk &amp; &lt;b&gt;" in svg and "$5 a$b" in svg


def test_a_figure_without_an_interval_has_no_line():
    line = re.compile(rf"stroke: {plots.BLUE}; stroke-width: 2")
    assert len(line.findall(plots.intervals("i", {"a": (0.1, 0.0, 0.2), "b": (0.1, 0.0, 0.2)}, "x"))) == 2
    assert len(line.findall(plots.intervals("i", {"a": (0.1, 0.0, 0.2), "b": (0.1, None, None)}, "x"))) == 1


def test_long_labels_have_two_lines_and_room_for_them():
    words = "user's outcomes on the item in a year"
    short, long = (plots.bars("a", {label: 1.0}, "x") for label in ("days", words))
    assert words not in long and "a year</text>" in long
    assert height(long) > height(short)


def height(svg: str) -> float:
    return float(svg.split('height="')[1].split("pt")[0])
