"""What the report says of earlier lists: how they did, what they changed, and what cannot be known."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.runtime import plots
from jobs.runtime.figure_words import Figure, figures, interval, points, points_between, said

Version = Mapping[str, Any]
AT_PLACE = re.compile(r"(click|outcome)_rate_(adjusted|relevance|explore)_(\d+)")
GROUPS = {"adjusted": "adjusted lists", "relevance": "relevance lists", "explore": "random slots"}
OF_SHOWN = {
    "click_rate_": "clicks a shown item",
    "outcome_rate_": "outcomes a shown item",
    "mean_vote_": "mean vote on a shown item",
    "like_share_": "share of votes on shown items that are above zero",
    "sentiment_": "mean sentiment of comments on shown items, from -1 to 1",
    "positive_comments_": "share of comments on shown items that are positive",
}


def feedback(record: Mapping[str, Any]) -> dict[str, Any]:
    """The running lift, what became of each version (newest last), and what the settings make unknowable."""
    return {
        "running": running(record["running"]) if record["running"] else None,
        "unknown": record["unknown"],
        "places": places(record["versions"]),
        "versions": [
            {
                "version_id": one["version_id"],
                "run_date": one["run_date"],
                "rows": figures(one["figures"], {name: words(name) for name in one["figures"]}),
                "lift": lift(one),
                "explore": explore(one["figures"]),
            }
            for one in record["versions"]
        ],
    }


def running(record: Mapping[str, Any]) -> dict[str, Any]:
    """The lift since the control group began, of all users and of each segment."""
    labels = {name: f"segment {label}" for name, label in record["labels"].items()} | {"lift_running": "all users"}
    return {
        "text": f"Since {record['since']}, {record['held_out']:,} of {record['users']:,} users have kept the relevance"
        " list, drawn by a hash. What the adjusted lists added, in outcomes a user and outcome window:",
        "rows": figures(record["figures"], labels),
    }


def places(versions: Sequence[Version]) -> dict[str, str] | None:
    """Rates by place in the list, of the first version whose exposures name their places; None where none does.

    Clicks where the site has them, else outcomes.
    """
    for one in versions:
        rates: dict[str, dict[str, dict[int, Figure]]] = {"click": {}, "outcome": {}}
        for name, figure in one["figures"].items():
            if match := AT_PLACE.fullmatch(name):
                rates[match[1]].setdefault(GROUPS[match[2]], {})[int(match[3])] = figure
        what = "click" if rates["click"] else "outcome"
        if rates[what]:
            return _places(one, what, rates[what])
    return None


def _places(one: Version, what: str, rates: Mapping[str, Mapping[int, Figure]]) -> dict[str, str]:
    drawn = {
        group: {place: _ends(figure) for place, figure in sorted(by.items())} for group, by in sorted(rates.items())
    }
    ends = [
        f"{group}, place {place} {said(rates[group][place])}"
        for group, by in drawn.items()
        for place in dict.fromkeys((min(by), max(by)))
    ]
    return {
        "svg": plots.by_place(drawn, f"{what}s a shown item"),
        "summary": f"Share of shown items with a{'n' if what == 'outcome' else ''} {what} by place, version "
        f"{one['version_id']}: {'; '.join(ends)}.",
        "caption": "How to read it: lines are 90 % intervals, clustered by user. Random slots get items drawn alike "
        "for every place, so what falls there from the first place on is the place itself (position bias); in the "
        "other lists the items differ from place to place, too.",
    }


def _ends(figure: Figure) -> plots.Interval:
    value = figure["value"]
    assert value is not None
    return value, figure["low"], figure["high"]


def lift(one: Version) -> str:
    """The measured lift of one version in a sentence, or why there is none."""
    found = one["lift"]
    if not found:
        return f"No measured lift: {one['why']}."
    return (
        f"Measured lift: {found['value']:+.3f} outcomes a user, 90 % interval {interval(found['low'], found['high'])};"
        " the control group was drawn at random, so this is measured, not modelled."
    )


def explore(known: Mapping[str, Figure]) -> str:
    """What random slots changed beside what the models had promised of the same items; empty where there were none."""
    if "explore_effect" not in known:
        return ""
    found, promised = known["explore_effect"], known["explore_effect_promised"]
    low, high = found["low"], found["high"]
    assert low is not None and high is not None and promised["value"] is not None
    kept = low <= promised["value"] <= high
    return (
        f"Random slots: a place changed the outcome probability of an item by {points(found['value'])}, 90 % interval"
        f" {points_between(low, high)}, against items drawn alike and not shown. The models had promised"
        f" {points(promised['value'])}, which is {'inside' if kept else 'outside'} the interval."
    )


def words(name: str) -> str:
    """A figure of a version in words."""
    for start, spoken in OF_SHOWN.items():
        if name.startswith(start):
            policy, _, place = name.removeprefix(start).partition("_")
            return f"{spoken}, {GROUPS.get(policy, policy)}" + (f", place {place}" if place else "")
    group, _, metric = name.partition("_")
    if group in GROUPS and metric and group != "explore":
        return f"{metric.replace('_', ' ').replace('ndcg', 'NDCG').replace('map', 'MAP')}, {GROUPS[group]}"
    return name.replace("_", " ")
