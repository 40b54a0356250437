"""The report's plots: arrays in, inline SVG out; the same numbers give the same bytes.

Text and axes take the colour of the page around them (``currentColor``), so a plot is readable on a light and on a
dark page and on paper. Arms and methods differ by shape as well as by colour.
"""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FOREGROUND = "#010203"  # becomes currentColor
BLUE, ORANGE, GREY = "#3b82d6", "#d9730d", "#8a8f98"
MARKS = (("o", BLUE), ("s", ORANGE), ("^", GREY))
LABEL = 30  # characters of a line
WIDTH = 5.6  # inches: at 390 px of page the text is still 10 px high
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a category may be named $5
    "font.size": 10,
    "axes.edgecolor": FOREGROUND,
    "axes.labelcolor": FOREGROUND,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": FOREGROUND,
    "xtick.color": FOREGROUND,
    "ytick.color": FOREGROUND,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
NOISE = {  # what would repeat an id, or reach beyond the plot, on a page with several
    r'<g id="[^"]*">': "<g>",
    r"<defs>\s*<style.*?</style>\s*</defs>\s*": "",
    r" font-family: [^;\"]*;": "",
}
Interval = tuple[float, float | None, float | None]  # value, low, high
Points = Mapping[
    str, Sequence[Any]
]  # predicted, found, low and high of ``reliability.table``; low and high may be None


@contextmanager
def styled(name: str) -> Iterator[None]:
    """The plots' style; ``name`` keeps the ids of several plots on a page apart."""
    # from the default style, not the current one: importing CausalML changes that for the whole process
    with plt.style.context("default"), plt.rc_context(STYLE | {"svg.hashsalt": name}):
        yield


def inline(figure: Any) -> str:
    """A figure as SVG to stand inside a page; the figure is closed."""
    sink = io.StringIO()
    figure.savefig(sink, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    plt.close(figure)
    svg = sink.getvalue()
    svg = svg[svg.index("<svg") :].strip().replace(FOREGROUND, "currentColor")
    for noise, instead in NOISE.items():
        svg = re.sub(noise, instead, svg)
    return svg


@contextmanager
def canvas(name: str, height: float, out: list[str]) -> Iterator[Any]:
    """Axes to draw on; the SVG is put into ``out``. ``name`` as in ``styled``."""
    with styled(name):
        figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
        yield axes
        out.append(inline(figure))


def _whisker(axes: Any, figure: Interval, y: float, mark: str, colour: str, label: str | None = None) -> None:
    value, low, high = figure
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="round")
    axes.plot([value], [y], mark, color=colour, markersize=6, label=label)


def _rows(labels: Sequence[str]) -> float:
    """Inches that rows with these labels need, whose lines must not run into one another."""
    return (0.36 if any("\n" in label for label in labels) else 0.24) * len(labels)


def intervals(name: str, rows: Mapping[str, Interval], axis: str) -> str:
    """Dots with intervals, one row a label, first on top; a line at zero."""
    out: list[str] = []
    with canvas(name, 0.27 * len(rows) + 0.8, out) as axes:
        for place, figure in enumerate(rows.values()):
            _whisker(axes, figure, -place, "o", BLUE)
        axes.axvline(0, color=FOREGROUND, linewidth=0.8)
        axes.set_yticks([-place for place in range(len(rows))], list(rows))
        axes.set_xlabel(axis)
    return out[0]


def bars(name: str, rows: Mapping[str, float], axis: str, levels: Sequence[float] = ()) -> str:
    """Bars from zero, one row a label, first on top; a line at each of ``levels``."""
    out: list[str] = []
    labels = [textwrap.fill(label.replace("_", " "), LABEL) for label in rows]
    with canvas(name, _rows(labels) + 0.8, out) as axes:
        places = [-place for place in range(len(rows))]
        axes.barh(places, list(rows.values()), height=0.6, color=BLUE)
        for level in levels:
            axes.axvline(level, color=FOREGROUND, linewidth=0.8, linestyle=":")
        axes.set_yticks(places, labels)
        axes.set_xlabel(axis)
        axes.set_xlim(left=0)
    return out[0]


def methods(name: str, rows: Mapping[str, Mapping[str, Interval]], axis: str) -> str:
    """Dots with intervals: one row a metric, one mark a method (at most three)."""
    out: list[str] = []
    with canvas(name, 0.55 * len(rows) + 1.1, out) as axes:
        seen: set[str] = set()
        for place, by_method in enumerate(rows.values()):
            for (method, figure), (mark, colour), shift in zip(
                by_method.items(), MARKS, (0.22, 0.0, -0.22), strict=False
            ):
                _whisker(axes, figure, shift - place, mark, colour, None if method in seen else method)
                seen.add(method)
        axes.set_yticks([-place for place in range(len(rows))], list(rows))
        axes.set_xlabel(axis)
        axes.set_xlim(left=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return out[0]


def overlap(edges: Sequence[float], control: Sequence[float], treated: Sequence[float], eps: float) -> str:
    """Share of each arm's trials by propensity; outside [eps, 1 - eps] there is no overlap."""
    out: list[str] = []
    with canvas("overlap", 2.8, out) as axes:
        for arm, values, colour, line in (("not shown", control, BLUE, "-"), ("shown", treated, ORANGE, "--")):
            total = sum(values) or 1.0
            share = [value / total for value in values]
            axes.stairs(share, edges, color=colour, label=arm, linestyle=line, linewidth=1.6)
            axes.stairs(share, edges, color=colour, fill=True, alpha=0.15)
        for end in (eps, 1 - eps):
            axes.axvline(end, color=FOREGROUND, linewidth=0.8, linestyle=":")
        axes.set(xlabel="propensity", ylabel="share of the arm's trials")
        axes.legend(loc="upper right")
    return out[0]


def reliability(name: str, table: Points, predicted: str, found: str) -> str:
    """What came true against what was predicted, part by part; the last two arguments name the axes."""
    out: list[str] = []
    with canvas(name, 3.2, out) as axes:
        most = max([*table["predicted"], *table["found"], 1e-9])
        axes.plot([0, most], [0, most], "--", color=GREY, linewidth=1)
        axes.plot(table["predicted"], table["found"], "o-", color=BLUE, markersize=5, linewidth=0.8)
        for x, low, high in zip(table["predicted"], table["low"], table["high"], strict=True):
            if low is not None:
                axes.plot([x, x], [low, high], color=BLUE, linewidth=2, solid_capstyle="round")
        axes.set(xlabel=predicted, ylabel=found)
    return out[0]


def tenths(table: Points) -> str:
    """Found effect with its interval and predicted effect of each part of the trials, best prediction first."""
    out: list[str] = []
    with canvas("tenths", 3.2, out) as axes:
        places = range(len(table["predicted"]), 0, -1)
        for x, low, high in zip(places, table["low"], table["high"], strict=True):
            if low is not None:
                axes.plot([x, x], [low, high], color=BLUE, linewidth=2, solid_capstyle="round")
        axes.plot(places, table["found"], "o", color=BLUE, markersize=6, label="found")
        axes.plot(places, table["predicted"], "s", color=ORANGE, fillstyle="none", markersize=7, label="predicted")
        axes.axhline(0, color=FOREGROUND, linewidth=0.8)
        axes.set_xticks(list(places)[::-1])
        axes.set(xlabel="tenth of the trials, best predicted effect first", ylabel="effect, percentage points")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+g}")
        axes.legend(loc="upper right")
    return out[0]


def by_place(rows: Mapping[str, Mapping[int, Interval]], axis: str) -> str:
    """Rates by place in the list, one mark a policy (at most three)."""
    out: list[str] = []
    with canvas("places", 3.0, out) as axes:
        for (name, rates), (mark, colour), shift in zip(rows.items(), MARKS, (-0.15, 0.0, 0.15), strict=False):
            for place, (_, low, high) in rates.items():
                if low is not None and high is not None:
                    axes.plot([place + shift] * 2, [low, high], color=colour, linewidth=2, solid_capstyle="round")
            places = [place + shift for place in rates]
            axes.plot(places, [value for value, _, _ in rates.values()], mark, color=colour, markersize=6, label=name)
        axes.set_xticks(sorted({place for rates in rows.values() for place in rates}))
        axes.set(xlabel="place in the list", ylabel=axis)
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return out[0]


def qini(share: Sequence[float], gain: Sequence[float], random: Sequence[float]) -> str:
    """Gain by share of trials shown, best predicted effect first, against showing the same share at random."""
    out: list[str] = []
    with canvas("qini", 3.0, out) as axes:
        axes.plot(share, gain, color=BLUE, linewidth=2, label="by predicted effect")
        axes.plot(share, random, "--", color=GREY, linewidth=1.4, label="at random")
        axes.axhline(0, color=FOREGROUND, linewidth=0.8)
        axes.set(xlabel="share of trials shown", ylabel="gain per trial, in outcome probability")
        axes.legend(loc="lower right")
    return out[0]


def love(features: Sequence[str], before: Sequence[float], after: Sequence[float]) -> str:
    """Absolute standardised mean difference of each feature before and after weighting (love plot)."""
    out: list[str] = []
    labels = [textwrap.fill(label, LABEL) for label in features]
    with canvas("love", _rows(labels) + 1.1, out) as axes:
        places = [-place for place in range(len(features))]
        axes.plot([abs(value) for value in before], places, "s", color=ORANGE, fillstyle="none", label="before")
        axes.plot([abs(value) for value in after], places, "o", color=BLUE, label="after weighting")
        axes.axvline(0.1, color=FOREGROUND, linewidth=0.8, linestyle=":")
        axes.set_yticks(places, labels)
        axes.set_xlabel("absolute standardised mean difference")
        axes.set_xlim(left=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return out[0]
