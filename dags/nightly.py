"""The night: one DAG a site file.

**What:** reads the warehouse, learns what showing an item changes, publishes tomorrow's recommendations.

**When it fails:** the failing task's log says what and where; readers keep the version published before.

**Rerun:** clear the failed task, or trigger with `run_date`. The same night twice gives the same version.

**Roll back:** `python -m jobs rollback --site SITE`.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, chain

from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site, load_site
from nightlift.operators import JobOperator, SparkJobOperator
from nightlift.tasks import SPARK_TASKS, TASKS, doc

SITES = Path(os.environ.get("NIGHTLIFT_SITES") or Path(__file__).resolve().parents[1] / "config" / "sites")
START = datetime.fromisoformat(os.environ.get("NIGHTLIFT_START_DATE") or "2026-01-01").replace(tzinfo=UTC)

PARAMS = {
    "run_date": Param(
        None,
        type=["null", "string"],
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Night to run, YYYY-MM-DD: nothing dated on or after it is read. Empty: end of the data interval.",
    ),
    "force": Param(False, type="boolean", description="Publish even where a newer run date is published."),
    "dry_run": Param(False, type="boolean", description="Do everything but publish."),
    "choose_ranker": Param(
        None,
        type=["null", "string"],
        enum=[None, "challenger", "champion"],
        description="Whose ranker makes the lists, against the comparison. Empty: the comparison decides.",
    ),
    "choose_uplift": Param(
        None,
        type=["null", "string"],
        enum=[None, "challenger", "champion", "relevance"],
        description="Whose effects rank the lists, against the gate; relevance: nobody's. Empty: the gate decides.",
    ),
    "reason": Param(
        None,
        type=["null", "string"],
        maxLength=500,
        description="Why a choice is made; it is recorded with it.",
    ),
}


def nightly(site: Site) -> DAG:
    """The DAG of one site."""
    with DAG(
        dag_id=f"nightly_{site.site}",
        description=f"Effect-adjusted recommendations of {site.site}",
        doc_md=__doc__,
        schedule=CronDataIntervalTimetable(site.schedule, timezone="UTC"),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        params=PARAMS,
        tags=["nightlift", site.domain],
        default_args={
            "retries": 1,
            "retry_delay": timedelta(seconds=10),
            "execution_timeout": timedelta(hours=2),
        },
    ) as dag:
        task = {
            name: (SparkJobOperator if name in SPARK_TASKS else JobOperator)(
                task_id=name, site=site.site, doc_md=doc(name, site.site)
            )
            for name in TASKS
        }
        chain(*(task[name] for name in ("extract", "check_raw", "clean", "check_clean", "evaluate_feedback")))
        chain(
            *(task[name] for name in ("check_clean", "build_features", "generate_candidates", "train_ranker", "score"))
        )
        chain(*(task[name] for name in ("build_features", "build_trials", "train_uplift", "check_effects", "score")))
        chain(*(task[name] for name in ("score", "adjust", "check_recommendations", "publish", "report")))
        task["evaluate_feedback"] >> task["adjust"]
    return dag


for path in sorted(SITES.glob("*.yaml")):
    with suppress(SetupError):  # dags/site_files.py shows it as an import error; the other sites keep their nights
        globals()[f"nightly_{path.stem}"] = nightly(load_site(path))
