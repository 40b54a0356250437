"""**What:** the tuning of a site. Tries settings of ranker, retrieval and list building on past label windows, in a
study that PostgreSQL keeps. The best makes the challengers of the next nights, which the champion is compared with.

**When it fails:** the nights go on with the settings they had. The log ends with one line: what, where, what to do.

**Rerun:** clear the task, or trigger with `run_date`. A study goes on where it was; a finished one is not done again.

**Roll back:** the settings hold while the site file is as it was; a night takes them only if its ranker does not lag
behind the champion. `python -m jobs rollback --site SITE` publishes the version before again.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from jobs.runtime.site import Site
from nightlift import sites
from nightlift.operators import JobOperator
from nightlift.tasks import doc, tuning_dag_id


def weekly_tuning(site: Site) -> DAG:
    """The DAG of one site."""
    with DAG(
        dag_id=tuning_dag_id(site.site),
        description=f"Settings for the relevance lists of {site.site}",
        doc_md=(__doc__ or "").replace("SITE", site.site),
        schedule=CronDataIntervalTimetable(site.tuning.schedule, timezone="UTC"),
        start_date=sites.START,
        catchup=False,
        max_active_runs=1,
        params={
            "run_date": sites.run_date(
                "Night to tune on", "The latest night up to this day is tuned on. Empty: the end of the data interval."
            )
        },
        tags=["nightlift", site.domain],
        default_args={
            **sites.RETRIES,
            "execution_timeout": timedelta(hours=6),
        },
    ) as dag:
        JobOperator(task_id="tune_models", site=site.site, doc_md=doc("tune_models", site.site))
    return dag


globals().update({f"weekly_tuning_{site.site}": weekly_tuning(site) for site in sites.readable()})
