"""The report's parts about believing the effects: graph, other methods, hidden causes, learners, causes, rules judged.

``document`` is the night's record ``diagnosis``, where not said otherwise.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jobs.models import causal_graph
from jobs.runtime import diagrams, plots
from jobs.runtime.feature_words import feature
from jobs.runtime.figure_words import (
    cells,
    effect_cells,
    interval,
    number,
    points,
    points_between,
    points_said,
    share,
    share_said,
)
from jobs.runtime.proof_words import GAIN, ranking
from jobs.runtime.report_words import ESTIMATORS, JUDGED, LEARNERS, OFF_POLICY
from jobs.runtime.site import Site

Document = Mapping[str, Any]
FEATURES = 15
CELLS = 5  # of each end of the heat map
AXIS = "average effect of showing, percentage points"


def graph(site: Site) -> dict[str, Any]:
    """The causal graph with what is adjusted for, and that in a sentence."""
    made = causal_graph.of_site(site)
    groups = causal_graph.adjustment_set(made)
    latent = sorted(name for name in made if made.nodes[name]["latent"])
    spoken = _list(groups)
    sentence = (
        f"Adjusted for: {spoken} ({len(causal_graph.adjusted_columns(site))} columns). Given these, no path from a "
        "common cause to both showing and outcome is open: if the graph holds, what is left between them is the effect."
    )
    hidden = f"Assumed, but not measured: {_list(latent)}." if latent else "Every cause in the graph is measured."
    return {
        "sentence": sentence,
        "hidden": hidden,
        "declared": site.effects.graph is not None,
        "instrument": site.effects.instrument,
        "plot": {
            "svg": diagrams.causal_graph(made, groups),
            "summary": f"Causal graph of {len(made)} nodes and {len(made.edges)} arrows; adjusted for {spoken}.",
            "caption": "How to read it: an arrow says that a cause may change what it points to, and a missing arrow "
            "that it does not. Filled nodes are adjusted for, dashed ones nobody measured.",
        },
    }


def estimators(document: Document) -> dict[str, Any]:
    """Average effects by every method: plot, table, and the pairs that disagree."""
    found = document["estimators"]
    known = {row["method"]: row["estimate"] for row in found if row["estimate"]}
    table = [
        {
            "name": row["method"],
            "over": row["over"],
            **(effect_cells(row["estimate"]) if row["estimate"] else {"value": "none", "interval": "none"}),
            "note": "; ".join(filter(None, [ESTIMATORS.get(row["method"], ""), row["note"]])),
        }
        for row in found
    ]
    values = sorted(figure["value"] for figure in known.values())
    plot = {
        "svg": plots.intervals("estimators", {name: _points(figure) for name, figure in known.items()}, AXIS),
        "summary": f"{len(known)} methods; their average effects lie between {points(values[0])} and "
        f"{points(values[-1])}.",
        "caption": f"How to read it: every line is a 90 % interval, clustered by user, from the same "
        f"{document['trials']:,} trials with overlap. Methods that share an assumption agree where it holds; two whose "
        "lines do not meet cannot both be right, or average over different trials.",
    }
    return {"plot": plot, "table": table, "disagreements": [" and ".join(pair) for pair in document["disagreements"]]}


def hidden(document: Document) -> dict[str, Any]:
    """Sentences and bounds about hidden confounding, and what the negative control says."""
    found = document["sensitivity"]
    robust, e_value = found["robustness_value"], found["e_value"]
    sentences = [
        f"To erase the average effect, a hidden cause would have to explain {share(robust[0])} of what is left "
        f"unexplained both of showing and of the outcome, and {share(robust[1])} to bring zero into its 90 % interval "
        "(robustness value).",
        f"Or it would have to be tied to both by a risk ratio of {e_value[0]:.2f}, and of {e_value[1]:.2f} for the "
        "interval (E-value; 1 means that zero is inside anyway).",
        "Or it would have to change the odds of being shown by a factor of up to "
        f"{found['erasing_strength']:.2f} (marginal sensitivity model).",
    ]
    bounds = [
        {
            "strength": f"{row['strength']:g}",
            "between": points_between(row["lower"], row["upper"]),
            "interval": points_between(row["low"], row["high"]),
        }
        for row in found["bounds"]
    ]
    return {"sentences": sentences, "bounds": bounds, "control": _control(document["negative_control"])}


def _control(control: Document) -> dict[str, str]:
    """The negative control in a sentence, and whether it is quiet."""
    wide = control["wide"]
    if not wide:
        return {"tone": "", "text": f"Not computed: {control['note']}."}
    quiet = wide["low"] <= 0.0 <= wide["high"]
    text = (
        "Being shown in the next period cannot change the outcome of this one. Its estimated effect among trials not "
        f"shown is {points_said(wide, '99 %')}. "
    )
    if quiet:
        return {"tone": "good", "text": text + "It includes 0: nothing is seen that the features do not know."}
    return {
        "tone": "warn",
        "text": text + "It leaves out 0: who is shown differs in what no feature says, or showing follows the last "
        "outcome at once. It does not fail the gate, because a policy that reacts within a period does that, too.",
    }


def caps(document: Document) -> list[dict[str, str]]:
    """The average effect by the bound on the propensity."""
    return [
        {
            "cap": f"{row['cap']:g}",
            "weight": f"{1 / row['cap']:.0f}",
            "share": share(row["share"]),
            **effect_cells(row["effect"]),
            "ess": f"{number(round(row['ess_treated']))} and {number(round(row['ess_control']))}",
        }
        for row in document["caps"]
    ]


def learners(document: Document) -> dict[str, Any]:
    """Tonight's learner and the others: figures, paired differences, and who is better."""
    found = document["comparison"]
    table = [
        {
            "name": LEARNERS.get(row["name"], row["name"]) + (", tonight's" if place == 0 else ""),
            "autoc": _short(row["figures"]["autoc"]),
            "qini": _short(row["figures"]["qini"]),
            "loss": _short(row["figures"]["dr_loss"]),
            "autoc_gap": _gap(row["difference"]["autoc"]) if place else "",
            "loss_gap": _gap(row["difference"]["dr_loss"]) if place else "",
            "better": bool(row["better"]),
        }
        for place, row in enumerate(found["learners"])
    ]
    better = [LEARNERS.get(row["name"], row["name"]) for row in found["learners"] if row["better"]]
    return {
        "table": table,
        "better": _list(better) if better else "",
        "trials": f"{found['trials']:,}",
        "trees": str(found["trees"]),
        "left_out": found["left_out"] or "",
    }


def _short(figure: Document) -> str:
    return f"{number(figure['value'])} ({interval(figure['low'], figure['high'])})"


def _gap(figure: Document) -> str:
    return f"{figure['value']:+.5f} ({figure['low']:+.5f} to {figure['high']:+.5f})"


def causes(document: Document) -> dict[str, Any]:
    """What the effects depend on: importance, surrogate tree and heat map, each as a plot, the last with a table."""
    found, tree = document["importance"], document["surrogate"]
    names = [feature(name) for name in found["feature"]]
    top = dict(list(zip(names, found["contribution"], strict=True))[:FEATURES])
    first, scaled = next(iter(top)), {name: 100 * value for name, value in top.items()}
    importance = {
        "svg": plots.bars("importance", scaled, "mean change of the effect, percentage points"),
        "summary": f"{len(top)} parts of the predicted effect by how far they move it; first {first}, by "
        f"{scaled[first]:.2f} pp on average.",
        "caption": "How to read it: how far a feature moves the predicted effect of a trial up or down, on average "
        f"over {found['trials']:,} trials (SHAP values). It says what the model leans on, not what causes what.",
    }
    told = {name: None if value is None else max(value, 0.0) for name, value in tree["fidelity"].items()}
    leaves = [node["effect"] for node in tree["nodes"] if "left" not in node]
    surrogate = {
        "svg": diagrams.surrogate_tree(tree["nodes"]),
        "summary": f"A tree of {len(leaves)} leaves imitates the effect; leaf effects from {points(min(leaves))} to "
        f"{points(max(leaves))}.",
        "caption": "How to read it: start at the top, go left where the answer is yes; a leaf says the mean predicted "
        "effect in percentage points and its share of the trials. It asks only for what people know, and explains "
        f"{share_said(told)} of the variance of the effect for users it was not fitted to: the rest "
        "of the effect does not follow from these questions.",
    }
    return {"importance": importance, "surrogate": surrogate, "rules": tree["text"], **_heat_map(document["heat_map"])}


def _heat_map(cells: Document) -> dict[str, Any]:
    """Plot, segments by number, and the highest and lowest cells."""
    table = pd.DataFrame(dict(cells))
    if table.empty:
        return {"heat_map": None, "segments": [], "cells": []}
    segments = sorted(table["segment"].unique())
    ends = table.sort_values(["estimate", "segment", "category"], ascending=[False, True, True])
    ends = pd.concat([ends.head(CELLS), ends.iloc[CELLS:].tail(CELLS)])
    rows = [
        {
            "name": f"{row['category']}, segment {row['segment']}",
            **effect_cells({"value": row["estimate"], "low": row["low"], "high": row["high"]}),
        }
        for row in ends.to_dict("records")
    ]
    plot = {
        "svg": diagrams.heat_map(table.assign(segment=table["segment"].str.split(" ", n=1).str[0])),
        "summary": f"Mean effect in {len(table)} cells of user segment and category; the highest is {rows[0]['name']}, "
        f"{rows[0]['value']} (90 % interval {rows[0]['interval']}).",
        "caption": "How to read it: the doubly robust mean effect of a category in a user segment, in "
        "percentage points; ± where its 90 % interval includes zero. The highest of many cells is too high.",
    }
    return {"heat_map": plot, "segments": segments, "cells": rows}


def off_policy(record: Document) -> dict[str, Any]:
    """What rules of ranking would have brought: ``record`` is the night's record ``off_policy``."""
    found = record["metrics"]
    names = {name: JUDGED[name] for name in record["rules"]}
    values = [
        {"name": words, "method": OFF_POLICY[method], **cells(found[f"ope_{name}_rule_{method}"])}
        for name, words in names.items()
        for method in OFF_POLICY
    ]
    gained = {
        (f"over {names[name]}", method): found[f"ope_gain_over_{name}_rule_{key}"]
        for name in list(names)[1:]
        for key, method in OFF_POLICY.items()
    }
    tone, text = ranking(found[GAIN])
    ends = {f"{method}, {over}": _ends(figure) for (over, method), figure in gained.items()}
    plot = {
        "svg": plots.intervals("off-policy", ends, "more outcomes a trial"),
        "summary": text,
        "caption": "How to read it: right of zero, ranking by effect would have brought more. Lines are 90 % intervals "
        "of the difference on the same trials, of users drawn anew; where one crosses zero, nothing is proved. The "
        "direct method's knows nothing of its model's error.",
    }
    sizes = [
        {
            "name": words,
            "all": number(round(found[f"ope_{name}_rule_ess"]["value"])),
            "shown": number(round(found[f"ope_{name}_rule_ess_shown"]["value"])),
        }
        for name, words in names.items()
    ]
    about = {name: number(found[f"ope_{name}"]["value"]) for name in ("trials", "users")}
    gains = [{"name": over, "method": method, **cells(figure)} for (over, method), figure in gained.items()]
    return about | {
        "length": record["length"],
        "verdict": {"tone": tone, "text": text},
        "values": values,
        "gains": gains,
        "plot": plot,
        "sizes": sizes,
    }


def _points(figure: Document) -> tuple[float, float, float]:
    value, low, high = _ends(figure)
    return 100 * value, 100 * low, 100 * high


def _ends(figure: Document) -> tuple[float, float, float]:
    return figure["value"], figure["low"], figure["high"]


def _list(names: Any) -> str:
    """Names in a sentence."""
    spoken = [str(name).replace("_", " ") for name in names]
    return " and ".join([", ".join(spoken[:-1]), spoken[-1]]) if len(spoken) > 1 else "".join(spoken)
