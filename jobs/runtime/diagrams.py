"""The report's diagrams: causal graph, surrogate tree and heat map as inline SVG, in the style of the plots."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from jobs.runtime.figure_words import points
from jobs.runtime.plots import BLUE, FOREGROUND, GREY, ORANGE, canvas

PER_ROW = 4
BENDS = tuple(sign * bend for bend in (0.08, 0.14, 0.2, 0.25, 0.3, 0.35, 0.42, 0.5, 0.6, 0.7) for sign in (1, -1))
MOST_CATEGORIES = 20
Place = tuple[float, float]


def causal_graph(graph: nx.DiGraph, adjusted: tuple[str, ...]) -> str:
    """The graph: causes above their effects, latent nodes dashed, adjusted nodes filled, shown and outcome outlined."""
    places = _places(graph)
    depth = 1 - min(y for _, y in places.values())
    out: list[str] = []
    with canvas("causal-graph", 0.85 * depth, out) as axes:
        axes.set(xlim=(0, 1), ylim=(0.5 - depth, 0.5))
        axes.axis("off")
        boxes = {}
        for name, (x, y) in places.items():
            label = axes.text(x, y, name.replace("_", "\n"), ha="center", va="center", bbox=_box(graph, name, adjusted))
            boxes[name] = label.get_bbox_patch()
        axes.figure.canvas.draw()  # only then do the boxes know their size
        for tail, head in graph.edges:
            line = "--" if graph.nodes[tail]["latent"] else "-"
            others = [box for name, box in boxes.items() if name not in (tail, head)]
            bend = _bend(axes, places[tail], places[head], others)
            _arrow(axes, (places[tail], boxes[tail]), (places[head], boxes[head]), line, bend)
    return out[0]


def _bend(axes: Any, tail: Place, head: Place, others: Sequence[Any]) -> float:
    """The slightest bend with which an arrow passes beside all other boxes, else the one that crosses fewest."""
    (x, y), (u, v) = axes.transData.transform([tail, head])
    along = np.linspace(0, 1, 40)[:, None]
    boxes = [box.get_window_extent().padded(3) for box in others]

    def crossed(bend: float) -> int:
        middle = ((x + u) / 2 + bend * (v - y), (y + v) / 2 - bend * (u - x))  # where arc3 pulls the curve to
        points = (
            (1 - along) ** 2 * np.array((x, y))
            + 2 * along * (1 - along) * np.array(middle)
            + along**2 * np.array((u, v))
        )
        return sum(bool(box.count_contains(points)) for box in boxes)

    return min(BENDS, key=lambda bend: (crossed(bend), abs(bend)))


def _arrow(axes: Any, tail: tuple[Place, Any], head: tuple[Place, Any], line: str = "-", bend: float = 0.08) -> None:
    """An arrow between two places, from the edge of one box to the edge of the other."""
    ends = {"patchA": tail[1], "patchB": head[1], "shrinkA": 2, "shrinkB": 2}
    look = {"arrowstyle": "-|>", "color": GREY, "linestyle": line, "connectionstyle": f"arc3,rad={bend}"}
    drawn = axes.annotate("", head[0], tail[0], arrowprops=ends | look, zorder=1)
    drawn.set_in_layout(False)  # the axes would shrink for a bend, and boxes move into the way of arrows placed before


def _places(graph: nx.DiGraph) -> dict[str, Place]:
    """Node -> (x, y): shown and outcome in the last row, above it one row a generation, ``PER_ROW`` nodes at most."""
    last = ["shown", "outcome"]
    layers = [sorted(set(layer) - set(last)) for layer in nx.topological_generations(graph)]
    rows = [layer[start : start + PER_ROW] for layer in layers for start in range(0, len(layer), PER_ROW)]
    shift = 0.11  # neighbouring rows stand apart, so that an arrow passes beside a box
    return {
        name: ((place + 1) / (len(row) + 1) + (0 if row is last else shift * (-1) ** depth), -float(depth))
        for depth, row in enumerate([*rows, last])
        for place, name in enumerate(row)
    }


def _box(graph: nx.DiGraph, name: str, adjusted: tuple[str, ...]) -> dict[str, Any]:
    edge = ORANGE if name in ("shown", "outcome") else FOREGROUND
    line = "--" if graph.nodes[name]["latent"] else "-"
    fill = (*_rgb(BLUE), 0.3) if name in adjusted else "none"
    return {"boxstyle": "round,pad=0.35", "edgecolor": edge, "facecolor": fill, "linestyle": line, "linewidth": 1.2}


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


def surrogate_tree(nodes: Sequence[Mapping[str, Any]]) -> str:
    """The surrogate tree of ``Surrogate.nodes``: a question at each branch, yes to the left; at a leaf its effect.

    In percentage points, with the leaf's share of the trials.
    """
    places: dict[int, Place] = {}
    _place_below(nodes, 0, 0, places)
    wide, deep = max(x for x, _ in places.values()), -min(y for _, y in places.values())
    out: list[str] = []
    with canvas("surrogate-tree", 0.8 * (deep + 1), out) as axes:
        axes.set(xlim=(-0.5, wide + 0.5), ylim=(-deep - 0.4, 0.4))
        axes.axis("off")
        boxes = {}
        for place, (x, y) in places.items():
            node = nodes[place]
            if "left" in node:
                bound = "" if node["threshold"] is None else f"\n≤ {node['threshold']:.3g}"
                words, edge = f"{textwrap.fill(node['feature'], 18)}{bound}?", GREY
            else:
                words, edge = f"{points(node['effect'], unit='')}\n{node['share']:.0%}", BLUE
            look = {"boxstyle": "round,pad=0.3", "edgecolor": edge, "facecolor": "none"}
            boxes[place] = axes.text(x, y, words, ha="center", va="center", fontsize=8, bbox=look).get_bbox_patch()
        axes.figure.canvas.draw()
        for place in places:
            for child in _children(nodes[place]):
                _arrow(axes, (places[place], boxes[place]), (places[child], boxes[child]))
    return out[0]


def _children(node: Mapping[str, Any]) -> list[int]:
    return [node["left"], node["right"]] if "left" in node else []


def _place_below(nodes: Sequence[Mapping[str, Any]], at: int, depth: int, places: dict[int, Place]) -> float:
    """Place a node above the middle of its children, leaves side by side from 0; returns its x."""
    below = [_place_below(nodes, child, depth + 1, places) for child in _children(nodes[at])]
    leaves = sum("left" not in nodes[placed] for placed in places)
    x = sum(below) / 2 if below else float(leaves)
    places[at] = (x, -float(depth))
    return x


def heat_map(table: pd.DataFrame) -> str:
    """Mean effect by segment (columns) and category (rows) of ``explanation.heat_map``; ± where zero is inside.

    The ``MOST_CATEGORIES`` categories with most trials are drawn.
    """
    most = table.groupby("category")["trials"].sum().nlargest(MOST_CATEGORIES).index
    wide = table.pivot(index="category", columns="segment", values="estimate").reindex(most)
    unsure = (table["low"] <= 0) & (table["high"] >= 0)
    marks = table.assign(mark=np.where(unsure, "±", "")).pivot(index="category", columns="segment", values="mark")
    marks = marks.reindex(most)
    out: list[str] = []
    with canvas("heat-map", 0.3 * len(wide) + 1.0, out) as axes:
        reach = float(np.nanmax(np.abs(wide.to_numpy()))) or 1.0
        axes.pcolormesh(wide.to_numpy(), cmap="PuOr_r", vmin=-reach, vmax=reach)
        for row, column in np.argwhere(wide.notna().to_numpy()):
            strong = abs(wide.iloc[row, column]) > 0.6 * reach
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{100 * wide.iloc[row, column]:.2f}{marks.iloc[row, column]}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if strong else "black",
            )
        axes.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index))
        axes.set_xticks(np.arange(wide.shape[1]) + 0.5, list(map(str, wide.columns)))
        axes.set(xlabel="user segment; effect in percentage points")
        axes.invert_yaxis()
        axes.grid(False)
    return out[0]
