"""The simulator's plot: what each policy added, where there was overlap, and the measured lift beside the true one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from jobs.models.simulation_results import sentences
from jobs.runtime import pages, plots
from jobs.runtime.errors import SetupError
from jobs.runtime.plots import BLUE, FOREGROUND, GREY, MARKS, ORANGE, plt

LINES = {
    "adjusted": (BLUE, "-"),
    "relevance": (ORANGE, "--"),
    "popularity": (GREY, "-."),
    "random": (GREY, ":"),
    "oracle": (FOREGROUND, (0, (5, 1))),
}
SUFFIXES = (".png", ".html")


def check(path: Path) -> None:
    """SetupError where the plot cannot be written there, before hours are spent on it."""
    if path.suffix not in SUFFIXES:
        raise SetupError(f"--plot {path}: a plot is a file ending in {' or '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise SetupError(f"--plot {path}: there is no folder {path.absolute().parent}; make it first")


def save(document: Mapping[str, Any], path: Path) -> None:
    """Write the plot of a scenario's document as a picture or as a page."""
    with plots.styled("simulation"):
        figure = panels(document)
        if path.suffix == ".png":
            figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
            plt.close(figure)
        else:
            values = {"scenario": document["scenario"], "sentences": sentences(document), "svg": plots.inline(figure)}
            path.write_text(pages.render("simulation.html.j2", values), encoding="utf-8")


def panels(document: Mapping[str, Any]) -> Any:
    """Cumulative incremental outcomes by policy; below it overlap and lift where the adjusted policy was simulated."""
    parts = 3 if "nightly_lift" in document else 1
    figure, axes = plt.subplots(parts, figsize=(plots.WIDTH, 2.9 * parts), layout="constrained", squeeze=False)
    for policy, series in document["cumulative_incremental"].items():
        colour, line = LINES[policy]
        _band(axes[0, 0], series, colour, line, policy)
    axes[0, 0].axhline(0, color=FOREGROUND, linewidth=0.8)
    axes[0, 0].set(xlabel="night", ylabel="true incremental outcomes so far")
    axes[0, 0].legend(loc="upper left")
    if parts > 1:
        _overlap(axes[1, 0], document)
        _lift(axes[2, 0], document["nightly_lift"])
    for part in axes[:, 0]:
        part.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _band(axes: Any, series: Sequence[Mapping[str, float | None]], colour: str, line: Any, label: str) -> None:
    nights = range(1, len(series) + 1)
    axes.plot(nights, [figure["value"] for figure in series], color=colour, linestyle=line, label=label)
    known = [figure["low"] is not None for figure in series]
    if all(known):
        low, high = ([figure[end] for figure in series] for end in ("low", "high"))
        axes.fill_between(nights, low, high, color=colour, alpha=0.15, linewidth=0)


def _overlap(axes: Any, document: Mapping[str, Any]) -> None:
    _band(axes, document["identified_share"], BLUE, "-", "trials whose effect is identified")
    _band(axes, document["gate"], GREY, ":", "gate open")
    axes.set(xlabel="night", ylabel="share", ylim=(0, 1.05))
    axes.legend(loc="lower left")


def _lift(axes: Any, lifts: Sequence[Mapping[str, float]]) -> None:
    first = [night for night in lifts if night["seed"] == lifts[0]["seed"]]
    for night in first:
        axes.plot([night["night"]] * 2, [night["low"], night["high"]], color=BLUE, linewidth=2)
    nights = [night["night"] for night in first]
    for name, (mark, colour), label in zip(("value", "true"), MARKS, ("measured, 90 % interval", "true"), strict=False):
        axes.plot(nights, [night[name] for night in first], mark, color=colour, markersize=4, label=label)
    axes.axhline(0, color=FOREGROUND, linewidth=0.8)
    axes.set(xlabel=f"night of world {first[0]['seed']}", ylabel="lift, outcomes a user")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
