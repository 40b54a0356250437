"""The nights as Airflow's database has them."""

from datetime import UTC, date, datetime

import pytest

from jobs.runtime.site import Site
from nightlift import runs
from tests.plugins.airflow_web import Web


@pytest.fixture
def session(web: Web):
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
        session.rollback()


def add(session, site: str, run_id: str, at: datetime, state: str, conf: dict[str, str] | None = None, **more: object):
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    session.add(
        DagRun(
            dag_id=f"nightly_{site}", run_id=run_id, run_after=at, state=state, conf=conf or {},
            run_type=DagRunType.MANUAL, **more,
        )
    )  # fmt: skip
    session.flush()


def test_runs_come_newest_first_with_their_run_date(session, shop: Site) -> None:
    monday, tuesday = datetime(2024, 1, 8, 2, tzinfo=UTC), datetime(2024, 1, 9, 2, tzinfo=UTC)
    add(session, shop.site, "scheduled__1", tuesday, "success", logical_date=monday, data_interval=(monday, tuesday))
    add(session, shop.site, "manual__1", monday, "failed", {"run_date": "2017-12-03"})
    add(session, shop.site, "manual__2+x", datetime(2024, 1, 7, tzinfo=UTC), "queued")
    add(session, "another", "manual__9", tuesday, "success")
    found = runs.of_site(session, shop.site)
    assert [(run.run_id, run.run_date, run.state) for run in found] == [
        ("scheduled__1", date(2024, 1, 9), "success"),
        ("manual__1", date(2017, 12, 3), "failed"),
        ("manual__2+x", None, "queued"),
    ]
    assert found[2].path == f"/dags/nightly_{shop.site}/runs/manual__2%2Bx"
    assert [run.run_id for run in runs.of_site(session, shop.site, limit=1)] == ["scheduled__1"]
