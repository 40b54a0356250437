"""The note of a DAG run: the line or lines its night ended with, written by the scheduler when the run ends.

No task has to talk to Airflow's API for it: what a job said lies in XCom, and the scheduler, whose session holds the
run, copies it. A note that a person wrote stays.
"""

from typing import Any

from airflow.listeners import hookimpl

from nightlift.tasks import NOTE

LENGTH = 1000  # what Airflow keeps of a note


@hookimpl
def on_dag_run_success(dag_run: Any) -> None:
    """Note what was published."""
    _note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any) -> None:
    """Note which task failed and why, after what was published all the same."""
    _note(dag_run)


def _note(dag_run: Any) -> None:
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    session, kept = object_session(dag_run), dag_run.dag_run_note
    if session is None or (kept is not None and kept.user_id is not None):
        return
    said = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=NOTE)
    rows = session.scalars(said.order_by(None).order_by(XComModel.timestamp)).all()
    if rows:
        dag_run.note = "; ".join(str(XComModel.deserialize_value(row)) for row in rows)[:LENGTH]
