"""Publish tonight's lists: load the version beside the old one, audit it, move the pointer, then the model aliases.

Fails when an audit of the new version fails; yesterday's version then stays published.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import pyarrow as pa

from jobs.models.decisions import CHALLENGER, CHAMPION, RELEVANCE
from jobs.models.metrics import Estimate, of_document
from jobs.runtime import registry, result, tracking
from jobs.runtime.args import JobArgs, run
from jobs.tables import retention, versions
from jobs.tables.contracts import ITEM_EFFECTS, RECOMMENDATIONS, RELEVANCE_LISTS, RUN_METRICS, USER_PROFILES
from jobs.tables.lake import Lake

VERDICTS = {
    CHALLENGER: "effects proved: adjusted lists",
    CHAMPION: "tonight's effects NOT proved: adjusted lists by the champion's",
    RELEVANCE: "effects NOT proved: relevance lists for everyone",
}
BESIDE = (ITEM_EFFECTS, USER_PROFILES, RELEVANCE_LISTS)
HEADLINE = (
    "ranker_ndcg_10",
    "qini",
    "average_effect",
    "list_effect",
    "list_effect_by_relevance",
    "list_proved_share",
    "ope_gain_over_relevance_rule_dr",
    "effects_gate",
)


def headline(metrics: pa.Table) -> dict[str, Estimate | float]:
    """The figures of RUN_METRICS by which nights are compared; an Estimate where there is an interval."""
    return {row["metric"]: of_document(row) for row in metrics.to_pylist() if row["metric"] in HEADLINE}


def publish(args: JobArgs, lake: Lake, lists: pa.Table, metrics: pa.Table, verdict: str) -> dict[str, Any]:
    """Load, audit and point; then the models of the published version become champions. A dry run undoes its load.

    The uplift model is one of them only where the lists rest on it: with a failed gate they have no uplift_version.
    """
    beside = {table.name: lake.read_arrow(table, table.names) for table in BESIDE} | {RUN_METRICS.name: metrics}
    experiment = tracking.experiment_of(args)
    if args.dry_run:
        return versions.rehearse(args.site, args.environment, lists, beside, verdict, experiment)
    done = versions.publish(args.site, args.environment, lists, beside, verdict, args.force, experiment)
    if done["state"] != "kept":
        made_by = {"ranker": done["ranker_version"], "uplift": done["uplift_version"]}
        registry.promote(args, {model: version for model, version in made_by.items() if version is not None})
    return done


def drop_old(args: JobArgs, lake: Lake, version: str) -> None:
    """Drop versions older than ``keep_days``, but not tonight's, nor the one with which the control group began."""
    running = lake.read_json("feedback")["running"]
    gone = retention.drop_old(args.site, args.environment, {version, *([running["version_id"]] if running else [])})
    if gone:
        print(f"dropped {len(gone)} versions of more than {args.site.keep_days} days before: {', '.join(gone)}")


def is_news(lake: Lake, done: Mapping[str, Any]) -> bool:
    """Whether nobody was told of the published version yet: a run killed after it moved the pointer told nobody."""
    if done["state"] != "unchanged":
        return bool(done["state"] == "published")
    return not lake.has("published") or lake.read_json("published")["version_id"] != done["version_id"]


def rows_by_table(lake: Lake) -> dict[str, int]:
    """Rows of each table that the mart gets."""
    return {table.name: int(lake.manifest(table)["rows"]) for table in (RECOMMENDATIONS, *BESIDE, RUN_METRICS)}


def main(argv: Sequence[str] | None = None) -> int:
    """Publish RECOMMENDATIONS and the tables beside them; a dry run audits them and keeps nothing."""
    args = JobArgs.parse(argv)
    with versions.alone(args.site, args.environment):
        _finish(args, Lake(args))
    return 0


def _finish(args: JobArgs, lake: Lake) -> None:
    chosen = {model: lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")}
    verdict = VERDICTS[chosen["uplift"]["decision"]["chosen"]]
    lists = lake.read_arrow(RECOMMENDATIONS, RECOMMENDATIONS.names)
    metrics = lake.read_arrow(RUN_METRICS, RUN_METRICS.names)
    with tracking.nested_run(args, "publish", [RECOMMENDATIONS]):
        done = publish(args, lake, lists, metrics, verdict)
        mlflow.log_metric("rows", done["rows"])
        mlflow.set_tags({name: done[name] for name in ("version_id", "state", "checksum")})
    note = f"{done['state']}: version {done['version_id']} of {args.date}, {done['rows']:,} rows; {verdict}"
    print(note)
    if not args.dry_run:
        drop_old(args, lake, done["version_id"])
    result.record(note=note, run_date=args.date.isoformat(), version_id=done["version_id"])
    if is_news(lake, done):
        result.record(published_rows=rows_by_table(lake))
    tags = {"version_id": done["version_id"], "verdict": verdict, "state": done["state"]}
    tags[tracking.NOTE] = note
    tags |= {f"decision_{model}": one["decision"]["said"] for model, one in chosen.items()}
    tracking.finish_night(args, headline(metrics), tags)
    lake.write_json("published", {name: str(value) for name, value in done.items()} | {"verdict": verdict})


if __name__ == "__main__":
    run(main)
