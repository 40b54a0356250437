"""What the report says of effects: averages, plots of the models, refutations, the gate, and whom showing harms."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from jobs.models.item_effects import CELL
from jobs.runtime import plots
from jobs.runtime.feature_words import feature
from jobs.runtime.figure_words import (
    EFFECTS,
    Figure,
    cells,
    effect_cells,
    figures,
    number,
    points,
    points_between,
    points_said,
    said,
    share_said,
)
from jobs.runtime.report_parts import records
from jobs.runtime.report_words import METHODS, REFUTATIONS

CATEGORIES = 20
FEATURES = 20
NAMED = 5  # cells that harm, in a sentence
BY_CHANCE = 0.05  # of cells without any effect have a 90 % interval below zero


def effects(table: pd.DataFrame) -> dict[str, Any]:
    """Average by method and plot by category of ITEM_EFFECTS."""
    average = records(table[table["level"] == "all"])
    rows = {METHODS.get(row["method"], row["method"]): _figure(row) for row in average}
    frame = table[(table["level"] == "category") & (table["method"] == "pooled")]
    frame = frame.sort_values(["treated", "key"], ascending=[False, True]).head(CATEGORIES)
    by = records(frame.sort_values(["estimate", "key"], ascending=[False, True]))
    plot = None
    if by:
        ends = {row["key"]: (100 * row["estimate"], 100 * row["low"], 100 * row["high"]) for row in by}
        plot = {
            "svg": plots.intervals("category", ends, "effect of showing, percentage points"),
            "summary": f"Pooled effect of {len(by)} categories: from {by[-1]['key']}, {points_said(_figure(by[-1]))}, "
            f"to {by[0]['key']}, {points_said(_figure(by[0]))}.",
            "caption": f"How to read it: each dot is what showing an item of the category adds to the probability of "
            f"an outcome, the line its 90 % interval; a line across 0 means that no effect is proved. The {len(by)} "
            "categories shown most often.",
        }
    return {"averages": figures(rows, {}, rows), "plot": plot}


def uplift_plots(record: Mapping[str, Any], eps: float) -> dict[str, Any]:
    """Plots of an uplift record; one whose points the record lacks is None."""
    out: dict[str, Any] = dict.fromkeys(("overlap", "reliability", "qini", "tenths", "love"))
    known = record["metrics"]
    if "overlap" in record:
        hist = record["overlap"]
        out["overlap"] = {
            "svg": plots.overlap(hist["edges"], hist["control"], hist["treated"], eps),
            "summary": f"Propensity of shown and not shown trials; {share_said(known['overlap_share'])} of the "
            f"trials lie between {eps:g} and {1 - eps:g}.",
            "caption": "How to read it: effects can only be learnt where both lines have height; left of the first "
            "and right of the second dotted line there is no overlap and nothing is identified.",
        }
    if "reliability" in record:
        table = record["reliability"]
        apart = max(abs(a - b) for a, b in zip(table["predicted"], table["found"], strict=True))
        out["reliability"] = {
            "svg": plots.reliability("reliability", table, "mean propensity of the part", "share really shown"),
            "summary": f"Reliability of the propensity in {len(table['predicted'])} parts: the largest distance from "
            f"the diagonal is {number(apart)}.",
            "caption": "How to read it: on the dashed line a propensity of 0.3 means shown three times in ten; a "
            "curve away from it makes every weight wrong. Upright lines are 90 % intervals. The propensity was "
            "calibrated on these trials, so this is how well it was fitted, not how it does on later ones.",
        }
    if "qini_curve" in record:
        curve = record["qini_curve"]
        out["qini"] = {
            "svg": plots.qini(curve["share"], curve["gain"], curve["random"]),
            "summary": f"Uplift curve; the area between it and showing at random (Qini) is {said(known['qini'])}.",
            "caption": "How to read it: the further the curve lies above the dashed line, the better the predicted "
            "effect tells where showing helps; effects and scores come from users the model was not fitted on. Qini: "
            f"{said(known['qini'])}.",
        }
    if "tenths" in record:
        out["tenths"] = _tenths(record["tenths"])
    if record.get("balance", {}).get("feature"):
        table = pd.DataFrame(record["balance"])
        table = table.reindex(table["before"].abs().sort_values(ascending=False, kind="stable").index).head(FEATURES)
        names = [feature(name) for name in table["feature"]]
        out["love"] = {
            "svg": plots.love(names, table["before"].tolist(), table["after"].tolist()),
            "summary": f"Largest standardised difference between the arms: {number(known['balance_before']['value'])} "
            f"before and {number(known['balance_after']['value'])} after weighting.",
            "caption": "How to read it: a square far right is a feature in which shown and not shown trials differ; "
            "weighting has to bring it left of the dotted line at 0.1 (its circle), or the comparison is not fair. "
            f"The {len(table)} features that differed most.",
        }
    return out


def _tenths(table: Mapping[str, Any]) -> dict[str, str]:
    """Predicted and found effect of each tenth of the trials."""
    held = [
        low <= predicted <= high
        for predicted, low, high in zip(table["predicted"], table["low"], table["high"], strict=True)
        if low is not None
    ]
    best = {name: table[name][-1] for name in ("predicted", "found", "low", "high")}
    found = points_said({"value": best["found"], "low": best["low"], "high": best["high"]})
    return {
        "svg": plots.tenths(table),
        "summary": f"Best tenth by predicted effect: predicted {points(best['predicted'])}, found {found}; in "
        f"{sum(held)} of {len(held)} tenths the prediction lies in the interval of what was found.",
        "caption": "How to read it: dots are what showing really changed in that tenth of the trials (doubly robust "
        "scores the prediction was not fitted on), lines their 90 % intervals, clustered by user; they should fall "
        "from left to right. A square inside its line kept its promise; above it the effect was promised too high. "
        f"Best tenth: predicted {points(best['predicted'])}, found {found}.",
    }


def refutations(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every attempt to refute the average effect: what was done, what came out, what that means."""
    made = record["refutations"]
    first = made["estimate"]
    rows = [
        {
            "name": "estimate to refute",
            **effect_cells(first),
            "meaning": "The average effect on the sample of users that all attempts are made with.",
            "tone": "",
        }
    ]
    for name, (what, holds, good, bad) in REFUTATIONS.items():
        if name in made:
            fine = bool(holds(made[name]))
            rows.append(
                {
                    "name": name.replace("_", " "),
                    **effect_cells(made[name]),
                    "meaning": f"{what} {good if fine else bad}",
                    "tone": "good" if fine else "bad",
                }
            )
    return rows


def gate(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """The gate's checks."""
    return [
        {
            "name": check["name"].replace("_", " "),
            "result": "passed" if check["passed"] else "FAILED",
            "tone": "good" if check["passed"] else "bad",
            **(effect_cells if check["name"] in EFFECTS else cells)(check),
            "meaning": check["meaning"],
        }
        for check in record["checks"]
    ]


def harmed(table: pd.DataFrame) -> dict[str, Any]:
    """Effect of showing in each user segment of ITEM_EFFECTS, and the segments and categories where it takes away."""
    segments = records(table[table["level"] == "segment"].sort_values("key"))
    rows = [
        {
            "name": row["key"],
            **effect_cells(_figure(row)),
            "trials": f"{row['treated'] + row['control']:,}",
            "tone": "bad" if row["high"] < 0 else "good" if row["low"] > 0 else "",
            "verdict": "harmed" if row["high"] < 0 else "helped" if row["low"] > 0 else "not proved either way",
        }
        for row in segments
    ]
    return {"rows": rows, "sentence": _harmed_segments(rows), "cells": _harmed_cells(table[table["level"] == CELL])}


def _harmed_segments(rows: list[dict[str, str]]) -> str:
    names = [row["name"] for row in rows if row["verdict"] == "harmed"]
    if not rows:
        return "No segment has enough users to say."
    if names:
        return f"Showing takes outcomes away from {len(names)} of {len(rows)} segments: {', '.join(names)}."
    return f"In none of {len(rows)} segments does showing take outcomes away on average, beyond chance."


def _harmed_cells(cells: pd.DataFrame) -> str:
    """How many cells of segment and category lose by showing, which most, and how many of none would by chance."""
    if cells.empty:
        return "No cell of segment and category has enough users to say."
    below = cells[cells["high"] < 0].sort_values(["estimate", "key"])
    text = (
        f"Of {len(cells)} cells of segment and category, {len(below)} have an interval below zero; were there no "
        f"effect anywhere, chance would put about {BY_CHANCE * len(cells):.0f} there."
    )
    worst = [
        f"{category} for segment {segment}, {points(row['estimate'])} ({points_between(row['low'], row['high'])})"
        for row in records(below.head(NAMED))
        for segment, category in [json.loads(row["key"])]
    ]
    return f"{text} Lowest: {'; '.join(worst)}." if worst else text


def _figure(row: Mapping[str, Any]) -> Figure:
    return {"value": row["estimate"], "low": row["low"], "high": row["high"]}
