"""What to look at before believing a night's effects: arrays in, documents for the report out.

Other estimators of the average, hidden confounding, weight caps, a negative control, other learners, and what the
effects depend on. None of it gates: the refutations do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jobs.models import (
    comparison,
    doubly_robust,
    engine,
    estimators,
    explanation,
    instrumental,
    metrics,
    plain,
    propensity,
    refutation,
    scoring,
    sensitivity,
    uplift,
)
from jobs.models.engine import Fitted, Predicted
from jobs.models.estimators import Finding, Nuisance
from jobs.models.metrics import Estimate
from jobs.models.propensity import seen_both
from jobs.models.sample import Sample
from jobs.models.sensitivity import Residuals
from jobs.runtime.figure_words import points_said
from jobs.runtime.site import Effects

TRIALS = 60_000  # of whole users, for what is fitted or sorted often
COMPARED_TRIALS = 40_000
SHAP_TRIALS = 5_000
STRENGTHS = (1.05, 1.1, 1.25, 1.5, 2.0)
CAPS = (0.005, 0.01, 0.02, 0.05, 0.1)
CATEGORIES = 20
POSTERIOR = "posterior of the pair's own counts"

Document = dict[str, Any]


def diagnose(sample: Sample, fitted: Fitted, adjusted: Sequence[str], how: Effects, seed: int) -> Document:
    """Everything, with ``metrics`` to compare nights by and ``warnings`` in sentences."""
    predicted = fitted.predicted
    rows = refutation.whole_users(sample.trials.users, TRIALS, "diagnosis")
    part, inside = sample.take(rows), predicted.inside & rows
    near, said = sample.take(inside), predicted.take(inside)
    few = refutation.whole_users(near.trials.users, COMPARED_TRIALS, "comparison")
    findings = side_by_side(near, said, how, seed)
    document = {
        "trials": len(near.item),
        "estimators": [_finding(found) for found in findings],
        "disagreements": [list(pair) for pair in estimators.disagreements(findings)],
        "sensitivity": hidden_confounding(near, said),
        "caps": weight_caps(sample, predicted),
        "negative_control": negative_control(part, how, seed),
        "importance": importance(near, said, fitted, adjusted),
        "surrogate": surrogate(near, said, adjusted),
        "heat_map": heat_map(sample, predicted),
        "comparison": comparison.compare(near.take(few), said.take(few), how, seed),
    }
    return document | {"metrics": figures(document, findings), "warnings": warnings(document)}


def side_by_side(sample: Sample, predicted: Predicted, how: Effects, seed: int) -> list[Finding]:
    """The average effect by every method, on trials with overlap."""
    found = estimators.side_by_side(sample.trials, _nuisance(predicted), sample.item, sample.instrument)
    return [*found, instrumental.late(sample.trials, sample.instrument, how, seed)]


def hidden_confounding(sample: Sample, predicted: Predicted) -> Document:
    """How strong a hidden cause must be to erase the average effect, on trials with overlap.

    ``robustness_value`` is of the partially linear effect, ``e_value`` and ``bounds`` of AIPW's; two values are those
    for the effect and for the end of its 90 % interval nearer to zero.
    """
    trials, nuisance = sample.trials, _nuisance(predicted)
    linear, robust = estimators.partially_linear(trials, nuisance).estimate, estimators.aipw(trials, nuisance).estimate
    assert linear is not None and robust is not None
    left = Residuals(*estimators.residuals(trials, nuisance), trials.weight)
    nearest = max(linear.low, 0.0) + min(linear.high, 0.0)
    given = (trials, nuisance.e, nuisance.mu0, nuisance.mu1)
    return {
        "robustness_value": [sensitivity.robustness_value(value, left) for value in (linear.value, nearest)],
        "e_value": list(sensitivity.e_value(robust, float(np.average(nuisance.mu0, weights=trials.weight)))),
        "bounds": [{"strength": each} | vars(sensitivity.bounds(*given, each)) for each in STRENGTHS],
        "erasing_strength": sensitivity.erasing_strength(*given),
    }


def weight_caps(sample: Sample, predicted: Predicted) -> list[Document]:
    """The average effect and what is left to learn it from, by the bound that the propensity has to keep from 0 and 1.

    Weights are at most one over the bound; trials outside it are left out (Crump et al., Biometrika 2009).
    """
    trials = sample.trials
    rows: list[Document] = []
    for cap in CAPS:
        inside, e = propensity.overlap(predicted.e, cap), propensity.clip(predicted.e, cap)
        if not inside.any():
            continue
        score = doubly_robust.scores(trials.treated, trials.outcome, e, predicted.mu0, predicted.mu1)
        inverse = trials.weight / np.where(trials.treated == 1, e, 1 - e)
        arms = {name: inverse[inside & (trials.treated == arm)] for arm, name in enumerate(("control", "treated"))}
        rows.append(
            {
                "cap": cap,
                "share": float(np.average(inside, weights=trials.weight)),
                "effect": doubly_robust.average(trials, score, inside).interval().document(),
            }
            | {f"ess_{name}": propensity.effective_sample_size(weight) for name, weight in arms.items()}
        )
    return rows


def negative_control(sample: Sample, how: Effects, seed: int) -> Document:
    """The "effect" of being shown in the next period on this one's outcome, with a 90 and a 99 % interval.

    ``note`` says why there is none where too few trials have a next period.
    """
    untreated = sample.take((sample.trials.treated == 0) & (sample.shown_next >= 0))
    later = replace(untreated.trials, treated=untreated.shown_next)
    if lack := engine.short_arm(later, how.folds):
        return {"estimate": None, "wide": None, "note": f"by showing in the next period there are {lack}"}
    found = refutation.negative_control(untreated.trials, untreated.shown_next, how, seed)
    wide = found.interval(doubly_robust.Z99)
    return {"estimate": found.interval().document(), "wide": wide.document(), "note": ""}


def importance(sample: Sample, predicted: Predicted, fitted: Fitted, adjusted: Sequence[str]) -> Document:
    """How far each part moves the published effect, on average: features by SHAP, and the posterior.

    The effect is linear in both, so the learner's SHAP values count as much as the calibration keeps of them.
    """
    rows = refutation.whole_users(sample.trials.users, SHAP_TRIALS, "shap")
    said, weight = predicted.take(rows), sample.trials.weight[rows]
    slopes = np.array(fitted.effects.slopes)
    shap = explanation.contributions(fitted.effects.learner, said.seen.matrix, said.clipped, said.seen.fold)
    counted = scoring.parts(said.posterior, np.zeros(len(shap)), sample.counts[rows], said.off) @ slopes
    kept = np.where(seen_both(sample.counts[rows]), slopes[2], slopes[5])
    moved = np.column_stack([counted - np.average(counted, weights=weight), kept[:, None] * shap])
    table = explanation.importance(moved, weight, (POSTERIOR, *uplift.names(adjusted)))
    return {"trials": int(rows.sum())} | table.to_dict("list")


def surrogate(sample: Sample, predicted: Predicted, adjusted: Sequence[str]) -> Document:
    """The shallow tree that imitates the effect, as text and as nodes, and its R2 on users it was not fitted to.

    It asks for what people know, so its fidelity says how much of the effect can be told in their words.
    """
    matrix, words = plain.columns(sample, adjusted)
    found = explanation.surrogate(predicted.effect, matrix, sample.trials.weight, sample.trials.users, words)
    return {"fidelity": metrics.as_document(found.fidelity), "text": found.text(), "nodes": found.nodes()}


def heat_map(sample: Sample, predicted: Predicted) -> Document:
    """Mean effect by user segment and item category, of the categories with most trials."""
    trials, inside = sample.trials, predicted.inside
    table = explanation.heat_map(
        predicted.score[inside],
        trials.weight[inside],
        trials.users[inside],
        sample.segment[inside],
        sample.category[inside],
    )
    most = table.groupby("category")["trials"].sum().nlargest(CATEGORIES).index
    return dict(table[table["category"].isin(most)].to_dict("list"))


def figures(document: Document, findings: Sequence[Finding]) -> Document:
    """Figures by which nights are compared, with 90 % intervals where there is one."""
    found: dict[str, Any] = {
        f"effect_by_{_slug(one.method)}": one.estimate.document() for one in findings if one.estimate is not None
    }
    hidden, control = document["sensitivity"], document["negative_control"]
    alone = {
        "robustness_value": hidden["robustness_value"][0],
        "robustness_value_of_interval": hidden["robustness_value"][1],
        "e_value": hidden["e_value"][0],
        "e_value_of_interval": hidden["e_value"][1],
        "erasing_strength": hidden["erasing_strength"],
        "disagreements": float(len(document["disagreements"])),
    }
    found |= {name: metrics.as_document(value) for name, value in alone.items()}
    found["surrogate_fidelity"] = document["surrogate"]["fidelity"]
    found |= {"negative_control": control["estimate"]} if control["estimate"] else {}
    for row in document["comparison"]["learners"]:
        found |= {f"learner_{row['name']}_{name}": row["figures"][name] for name in comparison.BETTER}
    return found


def warnings(document: Document) -> list[str]:
    """What an engineer should know before believing the effects, a sentence each."""
    said = [
        f"{first} and {second} disagree: their 90 % intervals of the average effect do not meet"
        for first, second in document["disagreements"]
    ]
    wide = document["negative_control"]["wide"]
    if wide and not wide["low"] <= 0.0 <= wide["high"]:
        said.append(
            f"the negative control finds an effect of {points_said(wide, '99 %')} on outcomes before the showing: who "
            "is shown differs in what no feature says, or showing follows the last outcome at once"
        )
    for row in document["comparison"]["learners"]:
        if row["better"]:
            said.append(f"learner {row['name']} is better than the site's by {' and '.join(row['better'])}")
    return said


def _nuisance(predicted: Predicted) -> Nuisance:
    return Nuisance(predicted.clipped, predicted.mu0, predicted.mu1)


def _finding(found: Finding) -> Document:
    estimate: Estimate | None = found.estimate
    return {
        "method": found.method,
        "over": found.over,
        "estimate": estimate.document() if estimate else None,
        "note": found.note,
    }


def _slug(method: str) -> str:
    return method.lower().replace(",", "").replace(" ", "_")
