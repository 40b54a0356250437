"""The nights of a site as Airflow ran them: state, failed tasks, and where to look."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import select
from sqlalchemy.orm import Session

from nightlift import run_date
from nightlift.tasks import dag_id

STOPPED = ("failed", "running", "up_for_retry")


@dataclass(frozen=True)
class Run:
    """One DAG run; ``run_date`` is None where nothing names one, ``at`` holds the tasks it failed or works at."""

    run_id: str
    run_date: date | None
    state: str
    at: tuple[str, ...]
    path: str  # below Airflow's root

    def task_path(self) -> str:
        """Where the first task it stands at is seen, else the run itself."""
        return f"{self.path}/tasks/{quote(self.at[0], safe='')}" if self.at else self.path


def of_site(session: Session, site: str, limit: int = 50) -> list[Run]:
    """The last runs of a site's DAG, newest first."""
    dag = dag_id(site)
    found = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag).order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(limit)
    ).all()
    wanted = select(TaskInstance.run_id, TaskInstance.task_id).where(
        TaskInstance.dag_id == dag,
        TaskInstance.run_id.in_([run.run_id for run in found]),
        TaskInstance.state.in_(STOPPED),
    )
    at: dict[str, list[str]] = defaultdict(list)
    for run_id, task_id in session.execute(wanted.order_by(TaskInstance.start_date)):
        at[run_id].append(task_id)
    return [
        Run(
            run.run_id,
            _run_date(run),
            str(run.state),
            tuple(at[run.run_id]),
            f"/dags/{quote(dag, safe='')}/runs/{quote(run.run_id, safe='')}",
        )
        for run in found
    ]


def _run_date(run: DagRun) -> date | None:
    try:
        return run_date.resolve({"params": run.conf, "dag_run": run})
    except AirflowFailException:
        return None
