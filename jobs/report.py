"""One self-contained HTML page a night: verdict, lists, effects, ranking, data, checks and how to roll back.

A record that is missing leaves its part out, and the page says which. Fails when MLflow is away; what is published
stays published.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.dataset as ds

from jobs.models.decisions import CHALLENGER
from jobs.runtime import pages, report_drift, report_feedback
from jobs.runtime import report_diagnosis as diagnosis
from jobs.runtime import report_parts as parts
from jobs.runtime import report_uplift as uplift_parts
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.figure_words import figures
from jobs.runtime.proof_words import proofs
from jobs.tables.contracts import (
    CLEAN_COUNTS,
    ITEM_EFFECTS,
    ITEMS,
    RAW_EXPOSURES,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    RECOMMENDATIONS,
    RELEVANCE_LISTS,
    RUN_METRICS,
)
from jobs.tables.lake import FIRST_DAY, Lake

Part = dict[str, Any]
INPUTS = (RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS, RAW_EXPOSURES)


def part(make: Callable[[], Part]) -> Part:
    """The values of one part of the page; ``missing`` says which record of the night is not there, else it is None."""
    try:
        return {"missing": None} | make()
    except DataError as error:
        return {"missing": str(error)}


def night_figures(lake: Lake) -> dict[str, Any]:
    """RUN_METRICS: value, low and high of each figure by name."""
    return {
        row["metric"]: {name: row[name] for name in ("value", "low", "high")}
        for row in parts.records(lake.read_pandas(RUN_METRICS))
    }


def verdict(lake: Lake) -> Part:
    """The night in one sentence, and what was published."""
    published, chosen = lake.read_json("published"), lake.read_json("chosen_uplift")["decision"]["chosen"]
    metrics = night_figures(lake)
    return {
        "text": parts.headline(published, metrics, chosen),
        "passed": chosen == CHALLENGER,
        "published": published,
        "proofs": proofs(metrics),
        "size": parts.size(metrics),
    }


def changes(args: JobArgs, lake: Lake) -> Part:
    """What is different from the version published before, and from plain relevance."""
    lists = lake.read_pandas(RECOMMENDATIONS, ["user_id", "rank", "item_id", "policy"])
    out = {"overlap": parts.list_overlap(lists, lake.read_pandas(RELEVANCE_LISTS)), "before": None, "places": ""}
    before = lake.published_before()
    if before:
        day, version = before
        of_version = ds.field("version_id") == version
        earlier = Lake(replace(args, date=day)).read_pandas(RECOMMENDATIONS, ["user_id", "rank", "item_id"], of_version)
        out |= {"before": f"version {version} of {day}", "places": parts.changed_places(lists, earlier)}
    return out


def examples(lake: Lake) -> Part:
    """Relevance list beside the published list of a few users."""
    columns = ["user_id", "item_id"]
    chosen = parts.example_users(
        lake.read_pandas(RECOMMENDATIONS, [*columns, "policy"]), lake.read_pandas(RELEVANCE_LISTS, columns)
    )
    theirs = ds.field("user_id").isin([user for user, _ in chosen])
    lists, relevance = lake.read_pandas(RECOMMENDATIONS, where=theirs), lake.read_pandas(RELEVANCE_LISTS, where=theirs)
    names = parts.item_names(lake.read_pandas(ITEMS))
    users = [
        {
            "user_id": user,
            "why": why,
            "rows": parts.side_by_side(
                lists[lists["user_id"] == user], relevance[relevance["user_id"] == user].drop(columns="user_id"), names
            ),
        }
        for user, why in chosen
    ]
    return {"users": users}


def days(covers: Sequence[str] | None) -> str:
    """Days that tonight's rows of a table are from; None where the whole table came."""
    if not covers:
        return "all"
    first, end = covers
    return f"all before {end}" if first == FIRST_DAY.isoformat() else f"{first} to before {end}"


def lineage(args: JobArgs, lake: Lake) -> Part:
    """Where the night came from: run, model versions and inputs."""
    models = {model: lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")}
    ids = lake.read_arrow(RECOMMENDATIONS, ["mlflow_run_id"])["mlflow_run_id"]
    manifests = {table.name: lake.manifest(table) for table in INPUTS}
    return {
        "mlflow_run_id": ids[0].as_py() if len(ids) else "none",
        "experiment": args.site.site,
        "settings": args.site.digest[:12],
        "models": [
            {"name": name, "version": record["version"], "uri": record["model_uri"], "sha256": record["sha256"][:12]}
            for name, record in models.items()
        ],
        "inputs": [
            {
                "name": name,
                "rows": f"{manifest['rows']:,}",
                "covers": days(manifest["covers"]),
                "sha256": ", ".join(entry["sha256"][:12] for entry in manifest["files"]),
            }
            for name, manifest in manifests.items()
        ],
    }


def decisions(lake: Lake) -> list[dict[str, str]]:
    """Which version of each model made the lists, and who decided it why."""
    models = {model: lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")}
    return [
        {
            "model": model,
            "version": one["version"],
            "before": one["champion"] or "none",
            "said": one["decision"]["said"],
        }
        for model, one in models.items()
    ]


def collect(args: JobArgs, lake: Lake) -> dict[str, Any]:
    """Everything the page shows, read from the night's records; ``links`` says whether other pages lie beside it."""
    docs, site = args.environment.home / "docs", args.site.site
    return {
        "site": site,
        "run_date": args.date.isoformat(),
        "links": True,
        "mlflow": "",
        "verdict": part(lambda: verdict(lake)),
        "changes": part(lambda: changes(args, lake)),
        "examples": part(lambda: examples(lake)),
        "effects": part(lambda: uplift_parts.effects(lake.read_pandas(ITEM_EFFECTS))),
        "harmed": part(lambda: uplift_parts.harmed(lake.read_pandas(ITEM_EFFECTS))),
        "uplift": part(
            lambda: {
                "plots": uplift_parts.uplift_plots(lake.read_json("uplift"), args.site.effects.overlap_eps),
                "figures": figures(lake.read_json("uplift")["metrics"]),
                "refutations": uplift_parts.refutations(lake.read_json("uplift")),
            }
        ),
        "graph": part(lambda: diagnosis.graph(args.site)),
        "estimators": part(lambda: diagnosis.estimators(lake.read_json("diagnosis"))),
        "hidden": part(lambda: diagnosis.hidden(lake.read_json("diagnosis"))),
        "caps": part(
            lambda: {
                "rows": diagnosis.caps(lake.read_json("diagnosis")),
                "site": f"{args.site.effects.overlap_eps:g}",
            }
        ),
        "learners": part(lambda: diagnosis.learners(lake.read_json("diagnosis"))),
        "causes": part(lambda: diagnosis.causes(lake.read_json("diagnosis"))),
        "off_policy": part(lambda: diagnosis.off_policy(lake.read_json("off_policy"))),
        "ranking": part(lambda: parts.ranking(lake.read_json("ranker"))),
        "cleaned": part(lambda: {"tables": parts.cleaned(lake.read_pandas(CLEAN_COUNTS))}),
        "checks": pages.night_values(docs, site, args.date)["checks"],
        "feedback": part(lambda: report_feedback.feedback(lake.read_json("feedback"))),
        "drift": part(lambda: report_drift.drift(lake.read_json("drift"), args.site.drift)),
        "gate": part(
            lambda: {
                "checks": uplift_parts.gate(lake.read_json("effects_gate")),
                "warnings": lake.read_json("effects_gate")["warnings"],
            }
        ),
        "decisions": part(lambda: {"rows": decisions(lake)}),
        "lineage": part(lambda: lineage(args, lake)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page beside the Data Docs and to the night's MLflow run, and the pages that list it anew."""
    import mlflow

    from jobs.runtime import result, tracking

    args = JobArgs.parse(argv)
    run_id, experiment = tracking.night_run(args), tracking.experiment_of(args)
    values = collect(args, Lake(args))
    values["mlflow"] = args.environment.mlflow_run(values["lineage"].get("mlflow_run_id", run_id), experiment)
    page = pages.render("report.html.j2", values)
    docs, site = args.environment.home / "docs", args.site.site
    path = pages.record_report(docs, site, args.date, page, values["verdict"].get("text") or "not decided")
    pages.rebuild(docs, site, args.date)
    copy = pages.render("report.html.j2", values | {"links": False})  # MLflow shows it alone, in a frame
    mlflow.MlflowClient().log_text(run_id, copy, "report.html")
    checks = pages.checks_page(docs, site, args.date)
    tracking.link_night(
        args, {"Report": path.relative_to(docs).as_posix(), "Data Docs": checks.relative_to(docs).as_posix()}
    )
    result.record(mlflow_run_id=run_id, mlflow_experiment_id=experiment, report=path.relative_to(docs).as_posix())
    print(f"report: {path.as_uri()}")
    print(f"all nights: {(docs / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    run(main)
