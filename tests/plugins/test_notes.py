"""The note a DAG run ends with."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from jobs.runtime.site import Site
from nightlift import notes
from tests.plugins.airflow_web import Web


@pytest.fixture
def session(web: Web):
    from airflow.utils.session import create_session

    with create_session() as session:
        session.execute(text("SET session_replication_role = replica"))  # XComs without their task instances
        yield session
        session.rollback()


def run_of(session, site: str, **said: str):
    """A DAG run whose tasks said these lines, in this order."""
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.types import DagRunType

    at = datetime(2024, 1, 8, 2, tzinfo=UTC)
    run = DagRun(
        dag_id=f"nightly_{site}", run_id="manual__1", run_after=at, state="running", run_type=DagRunType.MANUAL
    )
    session.add(run)
    session.flush()
    for minute, (task, line) in enumerate(said.items()):
        session.add(
            XComModel(
                dag_run_id=run.id, dag_id=run.dag_id, run_id=run.run_id, task_id=task, key="note", value=line,
                timestamp=at.replace(minute=minute),
            )
        )  # fmt: skip
    session.flush()
    return run


def test_a_published_night_notes_its_version(session, shop: Site) -> None:
    run = run_of(session, shop.site, publish="published: version aaaaaaaa of 2024-01-08, 8 rows; effects proved")
    notes.on_dag_run_success(run)
    session.flush()
    session.expire(run)
    assert run.note == "published: version aaaaaaaa of 2024-01-08, 8 rows; effects proved"


def test_a_failed_night_notes_the_task_and_what_was_published_all_the_same(session, shop: Site) -> None:
    run = run_of(session, shop.site, publish="published: version aaaaaaaa", report="report failed: MLflow is away")
    notes.on_dag_run_failed(run)
    assert run.note == "published: version aaaaaaaa; report failed: MLflow is away"


def test_a_night_of_another_dag_has_no_note(session, shop: Site) -> None:
    run = run_of(session, shop.site)
    notes.on_dag_run_success(run)
    assert run.note is None


def test_a_persons_note_stays_and_ours_is_written_anew(session, shop: Site) -> None:
    run = run_of(session, shop.site, publish="published: version aaaaaaaa")
    run.note = "first try"
    notes.on_dag_run_success(run)
    assert run.note == "published: version aaaaaaaa"
    run.note = "look at this"
    run.dag_run_note.user_id = "admin"
    notes.on_dag_run_success(run)
    assert run.note == "look at this"


def test_the_plugin_brings_the_listener(web: Web) -> None:
    from airflow._shared.listeners.listener import ListenerManager
    from airflow.plugins_manager import integrate_listener_plugins

    manager = ListenerManager()
    integrate_listener_plugins(manager)
    assert manager.has_listeners
