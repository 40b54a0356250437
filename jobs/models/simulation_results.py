"""What simulated nights come to: rows of ``jobs.simulate`` in, figures over seeds and sentences out.

A figure over seeds is their mean with a 90 % t interval: worlds are independent, nights of one world are not.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from jobs.models.metrics import Estimate, as_document

ALPHA = 0.1
SUMS = {
    "incremental": "true incremental outcomes",
    "outcomes": "all expected outcomes",
    "listed": "expected outcomes of what was listed",
}
RATES = ("overlap_share", "identified_share", "gate")


def over_seeds(values: "pd.Series[float]") -> Estimate | float:
    """Mean of one value a seed with its 90 % t interval; the bare value where there is one seed."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean
    half = float(stats.t.ppf(1 - ALPHA / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half)


def cumulative(rows: pd.DataFrame, what: str = "incremental") -> dict[str, list[Estimate | float]]:
    """By policy, the sum of ``what`` up to each night."""
    ordered = rows.sort_values("night")
    sums = ordered.assign(total=ordered.groupby(["policy", "seed"])[what].cumsum())
    nights = sums.groupby(["policy", "night"], sort=True)["total"]
    found = nights.agg(over_seeds)
    return {policy: found[policy].tolist() for policy in rows["policy"].unique()}


def against(rows: pd.DataFrame, what: str, base: str = "relevance") -> Estimate | float | None:
    """How much more of ``what`` the adjusted policy has than ``base`` after all nights, as a share of the base's size.

    Seed by seed, as both lived in the same world with the same luck. None where a policy is missing or the base has
    none.
    """
    total = rows.pivot_table(index="seed", columns="policy", values=what, aggfunc="sum")
    if not {"adjusted", base} <= set(total.columns) or (total[base] == 0).any():
        return None
    return over_seeds((total["adjusted"] - total[base]) / total[base].abs())


def coverage(nights: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Whether the interval of ``lift`` or ``running`` held the truth, one row an adjusted night."""
    return nights[f"{name}_true"].between(nights[f"{name}_low"], nights[f"{name}_high"])


def recovered_after(rows: pd.DataFrame, drift: int, base: str = "relevance") -> int | None:
    """Nights after night ``drift`` until the adjusted policy adds more than ``base``, in the mean over seeds, for good.

    1 is the first night in the changed world; None where the last night is not ahead.
    """
    nights = rows[rows["night"] > drift].pivot_table(index="night", columns="policy", values="incremental")
    behind = nights.index[nights["adjusted"] <= nights[base]]
    first = int(behind[-1]) + 1 if len(behind) else drift + 1
    return first - drift if first <= nights.index[-1] else None


def figures(rows: pd.DataFrame, drift: int | None = None) -> dict[str, Any]:
    """The document of a scenario: by policy and night, and what it comes to; ``drift`` is the last night before one."""
    adjusted = rows[rows["policy"] == "adjusted"]
    found: dict[str, Any] = {
        "scenario": str(rows["scenario"].iloc[0]),
        "nights": int(rows["night"].max()),
        "seeds": sorted(int(seed) for seed in rows["seed"].unique()),
        "cumulative_incremental": _documents(cumulative(rows)),
        "cumulative_outcomes": _documents(cumulative(rows, "outcomes")),
    }
    for what in SUMS:
        figure = against(rows, what)
        if figure is not None:
            found[f"{what}_against_relevance"] = as_document(figure)
    if len(adjusted):
        found |= of_adjusted(adjusted)
        if drift is not None and "relevance" in found["cumulative_incremental"]:
            found |= {"drift_after_night": drift, "recovered_after_nights": recovered_after(rows, drift)}
    return found


def of_adjusted(nights: pd.DataFrame) -> dict[str, Any]:
    """Coverage of the measured lift, and overlap and gate by night."""
    seed = nights["seed"]
    names = {"night": "night", "seed": "seed", "lift": "value", "lift_low": "low", "lift_high": "high"}
    lifts = nights.rename(columns=names | {"lift_true": "true"})[["seed", "night", "value", "low", "high", "true"]]
    by_night = nights.groupby("night", sort=True)
    return {
        "lift_coverage": as_document(over_seeds(coverage(nights, "lift").groupby(seed).mean())),
        "running_lift_always_covered": float(coverage(nights, "running").groupby(seed).all().mean()),
        "nightly_lift": lifts.sort_values(["seed", "night"]).to_dict("records"),
        **{name: [as_document(over_seeds(night[name])) for _, night in by_night] for name in RATES},
    }


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What a scenario's document says, in words."""
    out = [
        f"{policy}: {_said(series[-1], '.0f')} true incremental outcomes in {len(series)} nights."
        for policy, series in document["cumulative_incremental"].items()
    ]
    for what, words in SUMS.items():
        if f"{what}_against_relevance" in document:
            share = _said(document[f"{what}_against_relevance"], "+.1%")
            out.append(f"Adjusted against relevance, {words}: {share}.")
    if "lift_coverage" not in document:
        return out
    share, gate = document["identified_share"], document["gate"]
    nights = sorted({1, (len(share) + 1) // 2, len(share)})
    seen = ", ".join(f"{share[night - 1]['value']:.0%} on night {night}" for night in nights)
    out.append(f"Trials whose effect is identified: {seen}.")
    if document["scenario"] == "no_exploration":
        out.append(
            "No slot was random: overlap comes from the control group and from lists that change, and what an item"
            " does that is never shown cannot be known."
        )
    opened = sum(night["value"] for night in gate) / len(gate)
    out.append(f"The gate was open on {opened:.0%} of nights.")
    held = _said(document["lift_coverage"], ".1%")
    always = document["running_lift_always_covered"]
    out.append(f"The 90 % interval of the nightly lift held the true lift on {held} of nights.")
    out.append(f"The sequence of the running lift held the truth on every night in {always:.0%} of worlds.")
    if "drift_after_night" in document:
        since = document["recovered_after_nights"]
        again = "is not back above relevance" if since is None else f"is above relevance for good from night {since}"
        out.append(f"After the drift, adjusted {again} of the changed world.")
    return out


def _said(figure: Mapping[str, float | None], form: str) -> str:
    if figure["low"] is None:
        return format(figure["value"], form)
    return f"{figure['value']:{form}} (90 % interval {figure['low']:{form}} to {figure['high']:{form}})"


def _documents(series: Mapping[str, list[Estimate | float]]) -> dict[str, list[dict[str, float | None]]]:
    return {policy: [as_document(figure) for figure in nights] for policy, nights in series.items()}
