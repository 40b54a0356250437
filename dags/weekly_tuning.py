"""**What:** the tuning of a site. Tries settings of ranker, retrieval and list building on past label windows, in a
study that PostgreSQL keeps. The best makes the challengers of the next nights, which the champion is compared with.

**When it fails:** the nights go on with the settings they had. The log ends with one line: what, where, what to do.

**Rerun:** clear the task, or trigger with `run_date`. A study goes on where it was; a finished one is not done again.

**Roll back:** the settings hold while the site file is as it was; a night takes them only if its ranker does not lag
behind the champion. `python -m jobs rollback --site SITE` publishes the version before again.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site, load_site
from nightlift.operators import JobOperator
from nightlift.tasks import doc, tuning_dag_id

SITES = Path(os.environ.get("NIGHTLIFT_SITES") or Path(__file__).resolve().parents[1] / "config" / "sites")
START = datetime.fromisoformat(os.environ.get("NIGHTLIFT_START_DATE") or "2026-01-01").replace(tzinfo=UTC)


def weekly_tuning(site: Site) -> DAG:
    """The DAG of one site."""
    with DAG(
        dag_id=tuning_dag_id(site.site),
        description=f"Settings for the relevance lists of {site.site}",
        doc_md=(__doc__ or "").replace("SITE", site.site),
        schedule=CronDataIntervalTimetable(site.tuning.schedule, timezone="UTC"),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        params={
            "run_date": Param(
                None,
                type=["null", "string"],
                format="date",
                title="Night to tune on",
                description="The latest night up to this day is tuned on. Empty: the end of the data interval.",
            )
        },
        tags=["nightlift", site.domain],
        default_args={
            "retries": 1,
            "retry_delay": timedelta(seconds=10),
            "execution_timeout": timedelta(hours=6),
        },
    ) as dag:
        JobOperator(task_id="tune_models", site=site.site, doc_md=doc("tune_models", site.site))
    return dag


for path in sorted(SITES.glob("*.yaml")):
    with suppress(SetupError):  # dags/site_files.py shows it as an import error; the other sites keep their tuning
        globals()[f"weekly_tuning_{path.stem}"] = weekly_tuning(load_site(path))
