"""What the jobs before `publish` leave in the lake, small enough to read."""

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from jobs.runtime.args import JobArgs
from jobs.tables import contracts
from jobs.tables.lake import Lake

HEADLINE = {
    "ranker_ndcg_10": (0.4, 0.35, 0.45),
    "qini": (0.02, 0.01, 0.03),
    "average_effect": (0.05, 0.04, 0.06),
    "list_effect": (0.1, 0.08, 0.12),
    "list_effect_by_relevance": (0.06, 0.05, 0.07),
    "ope_gain_over_relevance_rule_dr": (0.03, 0.02, 0.04),
    "effects_gate": (1.0, None, None),
    "list_proved_share": (0.125, 0.1, 0.15),
    "users": (3.0, None, None),
    "list_rows": (8.0, None, None),
    "list_identified_share": (1.0, 1.0, 1.0),
}


def lists(
    version: str,
    day: date,
    uplift: str | None = "1",
    score: float = 0.5,
    held_out: int = 1,
    users: int = 4,
    run: str = "run",
) -> pa.Table:
    """Two items for each user, best first; the last ``held_out`` users keep the relevance list."""
    rows = [
        {
            "run_date": day,
            "user_id": f"u{user}",
            "rank": rank,
            "item_id": f"i{rank}",
            "score": score / rank,
            "relevance": 0.1,
            "effect": 0.02,
            "effect_low": 0.01,
            "effect_high": 0.03,
            "identified": True,
            "policy": "relevance" if user >= users - held_out else "adjusted",
            "propensity": 1.0,
            "reason": "because",
            "ranker_version": "1",
            "uplift_version": uplift,
            "version_id": version,
            "mlflow_run_id": run,
        }
        for user in range(users)
        for rank in (1, 2)
    ]
    return pa.Table.from_pylist(rows, schema=contracts.RECOMMENDATIONS.arrow_schema)


def beside(metrics: dict[str, tuple[float, float | None, float | None]] = HEADLINE) -> dict[str, pa.Table]:
    """One row of each table that is published beside the lists, and the night's figures."""
    effect = {
        "level": "all",
        "key": "all",
        "method": "aipw",
        "estimate": 0.05,
        "low": 0.04,
        "high": 0.06,
        "treated": 10,
        "control": 20,
        "overlap_share": 0.9,
        "identified": True,
    }
    profile = {"user_id": "u0", "segment": 0, "segment_label": "few purchases", "preferences": "[]", "factors": None}
    relevance = {"user_id": "u0", "rank": 1, "item_id": "i1", "relevance": 0.1}
    figures = [{"metric": name, "value": v, "low": low, "high": high} for name, (v, low, high) in metrics.items()]
    return {
        table.name: pa.Table.from_pylist(rows, schema=table.arrow_schema)
        for table, rows in (
            (contracts.ITEM_EFFECTS, [effect]),
            (contracts.USER_PROFILES, [profile]),
            (contracts.RELEVANCE_LISTS, [relevance]),
            (contracts.RUN_METRICS, figures),
        )
    }


def choice(chosen: str) -> dict[str, Any]:
    """What ``record_choice`` leaves of a decision by the gate."""
    decision = {"chosen": chosen, "why": "it won", "reason": "", "figures": {}, "said": f"{chosen} by the gate; it won"}
    model = {"version": "1", "model_uri": "models:/shop-model/1", "sha256": "f" * 64}
    return model | {"decision": decision, "challenger": "1", "champion": None, "metrics": {}}


def write(job: JobArgs, version: str, day: date, **changed: object) -> JobArgs:
    """Write the night of ``day`` to the lake; the gate passed where the lists have an uplift version."""
    job = replace(job, date=day)
    lake, made = Lake(job), lists(version, day, **changed)  # type: ignore[arg-type]
    lake.write_arrow(contracts.RECOMMENDATIONS, made)
    for name, table in beside().items():
        lake.write_arrow(contracts.TABLES[name], table)
    holds = made["uplift_version"][0].as_py() is not None
    lake.write_json("feedback", {"running": None})
    lake.write_json("effects_gate", {"passed": holds, "checks": []})
    for model, chosen in (("ranker", "challenger"), ("uplift", "challenger" if holds else "relevance")):
        lake.write_json(f"chosen_{model}", choice(chosen))
    return job
