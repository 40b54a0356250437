"""Missed nights as docs/operations.md has them: Airflow's own backfill command, on a database of its own."""

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from jobs.runtime.environment import Environment
from nightlift import run_date
from tests.plugins.airflow_web import Web

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
DAG = "nightly_grocery"


def airflow(*words: str) -> str:
    """What Airflow's command line says; its database is that of the ``web`` fixture."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *words], env={**os.environ, "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags")},
        text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def database(web: Web, warehouse: Environment) -> str:
    """Address of Airflow's database, which knows the DAG of the demo's site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTLIFT_SITES", str(ROOT / "config" / "sites"))
        airflow("dags", "reserialize")
    return urlsplit(warehouse.warehouse_url)._replace(path="/airflow").geturl()


def rows(database: str, query: str) -> list[tuple[datetime, datetime]]:
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type, return-value]


def test_a_dag_that_was_off_runs_the_newest_night_only(database: str) -> None:
    ((start, end),) = rows(
        database,
        f"SELECT next_dagrun_data_interval_start, next_dagrun_data_interval_end FROM dag WHERE dag_id = '{DAG}'",
    )
    assert end - start == timedelta(days=1)
    assert datetime.now(UTC) - timedelta(days=1) < end <= datetime.now(UTC), "the nights before are skipped"


def test_the_backfill_of_the_page_makes_the_seven_nights_it_says(database: str) -> None:
    found = re.search(r"python -m jobs airflow (backfill create .+?) --dry-run", PAGE.replace("\\\n", " "))
    assert found is not None
    words = shlex.split(found[1])
    assert words[words.index("--dag-id") + 1] == DAG
    made = f"SELECT data_interval_start, data_interval_end FROM dag_run WHERE dag_id = '{DAG}' ORDER BY 2"
    assert rows(database, made) == []
    airflow(*words)
    nights = [
        run_date.resolve({"dag_run": SimpleNamespace(data_interval_start=start, data_interval_end=end)})
        for start, end in rows(database, made)
    ]
    assert nights == [date(2026, 3, day) for day in range(2, 9)]
