"""**What:** the night of a site. Reads the warehouse, learns what showing an item changes, publishes tomorrow's lists.

**When it fails:** the failing task's log ends with one line: what, where, what to do. Readers keep the version
published before. The run's note says which task it was.

**Rerun:** clear the failed task with those after it, or trigger with `run_date`. The same night twice gives the same
version.

**Roll back:** `python -m jobs rollback --site SITE`, or the command of a certain version from the Effects page.
"""

import os
from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, TaskGroup, chain

from jobs.runtime.site import Site
from nightlift import assets, notify, sites
from nightlift.operators import JobOperator, SparkJobOperator
from nightlift.tasks import GROUPS, SPARK_TASKS, dag_id, doc

# on one machine the pool has one place: two Spark jobs at once share cores and memory, and take longer than in turn
SPARK_POOL = os.environ.get("NIGHTLIFT_SPARK_POOL") or "default_pool"

OVERRULE = "Overrule a gate"
MODELS = {"challenger": "challenger: trained tonight", "champion": "champion: made the lists before"}

PARAMS = {
    "run_date": sites.run_date(
        "Night to run", "Nothing dated on or after this day is read. Empty: the end of the data interval."
    ),
    "force": Param(
        False,
        type="boolean",
        title="Publish over a newer night",
        description="Publish even where a newer run date is published.",
    ),
    "dry_run": Param(False, type="boolean", title="Dry run", description="Do everything but publish."),
    "choose_ranker": Param(
        None,
        type=["null", "string"],
        enum=[None, "challenger", "champion"],
        values_display={"null": "the comparison decides", **MODELS},
        section=OVERRULE,
        title="Whose ranker",
        description="Whose ranker makes the lists, against the comparison. Empty: the comparison decides.",
    ),
    "choose_uplift": Param(
        None,
        type=["null", "string"],
        enum=[None, "challenger", "champion", "relevance"],
        values_display={"null": "the gate decides", **MODELS, "relevance": "relevance: nobody's effects"},
        section=OVERRULE,
        title="Whose effects",
        description="Whose effects rank the lists, against the gate. Empty: the gate decides.",
    ),
    "reason": Param(
        None,
        type=["null", "string"],
        maxLength=500,
        section=OVERRULE,
        title="Reason",
        description="Why a choice is made; it is recorded with the choice, which is refused without it.",
    ),
}


def _task(name: str, site: Site) -> JobOperator | SparkJobOperator:
    outlets = [assets.published(site.site)] if name == "publish" else []
    given = {"task_id": name, "site": site.site, "doc_md": doc(name, site.site), "outlets": outlets}
    on_spark = name in SPARK_TASKS or (name == "train_ranker" and site.ranker.distributed_rows is not None)
    return SparkJobOperator(pool=SPARK_POOL, **given) if on_spark else JobOperator(**given)


def nightly(site: Site) -> DAG:
    """The DAG of one site."""
    with DAG(
        dag_id=dag_id(site.site),
        description=f"Effect-adjusted recommendations of {site.site}",
        doc_md=(__doc__ or "").replace("SITE", site.site),
        schedule=CronDataIntervalTimetable(site.schedule, timezone="UTC"),
        start_date=sites.START,
        catchup=False,
        max_active_runs=1,
        params=PARAMS,
        tags=["nightlift", site.domain],
        deadline=notify.deadline(dag_id(site.site)),
        default_args={
            "on_failure_callback": notify.on_failure(),
            **sites.RETRIES,
            "execution_timeout": timedelta(hours=2),
        },
    ) as dag:
        task = {}
        for group, (meaning, names) in GROUPS.items():
            with TaskGroup(group, prefix_group_id=False, tooltip=meaning, doc_md=meaning):
                task |= {name: _task(name, site) for name in names}
        chain(*(task[name] for name in ("extract", "check_raw", "clean", "check_clean", "evaluate_feedback")))
        chain(
            *(task[name] for name in ("check_clean", "build_features", "generate_candidates", "train_ranker", "score"))
        )
        chain(*(task[name] for name in ("build_features", "build_trials", "train_uplift", "check_effects", "score")))
        chain(*(task[name] for name in ("score", "adjust", "check_recommendations", "publish", "report")))
        task["evaluate_feedback"] >> task["adjust"]
    return dag


globals().update({f"nightly_{site.site}": nightly(site) for site in sites.readable()})
