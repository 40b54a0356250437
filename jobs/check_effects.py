"""The gate: whether tonight's effects may rank lists. Failing it is a result, not an error: relevance is published.

A failed refutation, a Qini that may be zero or too few identified trials fall it; pairs without overlap are flagged
one by one. The diagnosis only warns: methods may disagree about whom they average over, the negative control also
answers to a policy that reacts within a period, and how much hidden confounding there is no data can tell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.models import decisions
from jobs.models.decisions import Decision
from jobs.models.metrics import Estimate
from jobs.runtime.args import JobArgs, run
from jobs.runtime.choices import Champion, Registered, record_choice
from jobs.runtime.figure_words import EFFECTS, points_said, said
from jobs.runtime.site import Effects
from jobs.tables.lake import Lake


def checks(record: Mapping[str, Any], how: Effects) -> list[dict[str, Any]]:
    """The gate's checks of an uplift record; all must pass."""
    figures, refuted = record["metrics"], record["refutations"]
    placebo, qini, share = refuted["placebo"], figures["qini"], figures["identified_share"]
    found = [
        (
            "placebo",
            placebo,
            0.0,
            placebo["low"] <= 0.0 <= placebo["high"],
            "a placebo treatment has no effect (99 % interval includes 0)",
        ),
        (
            "identified_share",
            share,
            how.min_identified_share,
            share["value"] >= how.min_identified_share,
            "share of trials with overlap and both arms of their item seen",
        ),
        (
            "qini",
            qini,
            0.0,
            qini["low"] > 0.0,
            "ranking by predicted effect beats showing at random (lower bound above 0)",
        ),
        *(
            (name, refuted[name], refuted["estimate"]["value"], bool(refuted[name]["stable"]), meaning)
            for name, meaning in (
                ("random_subset", "the average effect is the same among a random share of users"),
                ("random_common_cause", "the average effect is the same after adding a feature of noise"),
            )
        ),
    ]
    return [
        {
            "name": name,
            "value": figure["value"],
            "low": figure.get("low"),
            "high": figure.get("high"),
            "threshold": threshold,
            "passed": passed,
            "meaning": meaning,
        }
        for name, figure, threshold, passed, meaning in found
    ]


def told(check: Mapping[str, Any]) -> str:
    """A check's figure in words; the placebo's interval is a 99 % one."""
    if check["name"] in EFFECTS:
        return points_said(check, "99 %" if check["name"] == "placebo" else "90 %")
    return said(check)


def decide(args: JobArgs, made: list[dict[str, Any]], champion: Mapping[str, Any]) -> Decision:
    """Which effects rank tonight: by the gate, unless a person chose otherwise."""
    failed = [str(check["name"]) for check in made if not check["passed"]]
    qini = Estimate(**champion["qini"]) if champion["qini"] else None
    possible = (decisions.CHALLENGER, decisions.RELEVANCE, *([] if champion["missing"] else [decisions.CHAMPION]))
    decision = decisions.decide_uplift(failed, qini, champion["missing"])
    return decision.overridden(args.choices.get("uplift"), args.reason, possible)


def main(argv: Sequence[str] | None = None) -> int:
    """Write and print the gate's checks of the challenger, the diagnosis's warnings, and which effects rank tonight."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    record, warnings = lake.read_json("uplift"), lake.read_json("diagnosis")["warnings"]
    made = checks(record, args.site.effects)
    passed = all(check["passed"] for check in made)
    for check in made:
        print(f"{'pass' if check['passed'] else 'FAIL'}  {check['name']} = {told(check)}: {check['meaning']}")
    for warning in warnings:
        print(f"warn  {warning}")
    lake.write_json("effects_gate", {"passed": passed, "checks": made, "warnings": warnings})
    champion = record["champion"]
    decision = decide(args, made, champion)
    if decision.chosen == decisions.RELEVANCE:
        print("EFFECTS GATE FAILED: tonight everyone gets the relevance list; effects are shown as not identified")
    record_choice(lake, "uplift", decision, Registered.of(record), Champion.of(champion))
    return 0


if __name__ == "__main__":
    run(main)
