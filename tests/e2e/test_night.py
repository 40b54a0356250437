"""One real night through the scheduler on a small generated shop, then what must hold of the next ones.

The tests of this file run in order on one state: Airflow, MLflow, Spark and PostgreSQL are started once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.e2e import tutorial

ROOT = Path(__file__).resolve().parents[2]
RUN_DATE, USERS, LIST_LENGTH = date(2024, 3, 4), 400, 5  # of the tutorial


class Night:
    """The command line on a state of its own, as a user outside the clone would call it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTLIFT", "AIRFLOW"))},
            "NIGHTLIFT_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
        }

    def command(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *words],
            cwd=self.folder,
            env={**self.environment, "NIGHTLIFT_SITES": "my-shop/sites"},
            text=True,
            capture_output=True,
            timeout=900,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if not fails else done.stderr

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.command("warehouse-url").strip()) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def airflow(self, path: str) -> dict[str, Any]:
        """What Airflow's API answers the admin."""
        home = self.folder / "home"
        address = json.loads((home / "services.json").read_text())["airflow_url"]
        login = {"username": "admin", "password": (home / "airflow-admin-password").read_text().strip()}
        token = requests.post(f"{address}/auth/token", json=login, timeout=30).json()["access_token"]
        answer = requests.get(f"{address}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30)
        answer.raise_for_status()
        return dict(answer.json())

    def published(self) -> tuple[object, ...]:
        ((version, run_date, rows, checksum),) = self.rows(
            "select version_id, run_date, rows, checksum from mart.published where table_name = 'recommendations'"
        )
        return version, run_date, rows, checksum


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    night = Night(tmp_path_factory.mktemp("night"))
    try:
        tutorial.follow(tutorial.PAGE.read_text(encoding="utf-8"), night.folder, night.environment)
        yield night
    finally:
        night.command("stop")


@pytest.fixture(scope="module")
def first(night: Night) -> tuple[object, ...]:
    """The first night's published version."""
    return night.published()


def test_every_user_gets_one_full_list_in_order(night: Night, first: tuple[object, ...]) -> None:
    assert first[1] == RUN_DATE and first[2] == USERS * LIST_LENGTH
    assert night.rows("select count(*), count(distinct user_id) from mart.recommendations") == [
        (USERS * LIST_LENGTH, USERS)
    ]
    assert night.rows(
        "select count(*) from mart.recommendations a join mart.recommendations b"
        " on a.user_id = b.user_id and a.rank = b.rank - 1 where a.score < b.score"
    ) == [(0,)]
    assert night.rows(
        "select count(*) from mart.recommendations where not (effect_low <= effect and effect <= effect_high)"
        " or relevance not between 0 and 1 or propensity <= 0 or propensity > 1 or reason = ''"
    ) == [(0,)]


def test_the_adjusted_lists_find_the_planted_effects(night: Night, first: tuple[object, ...]) -> None:
    policies = dict(night.rows("select policy, count(distinct user_id) from mart.recommendations group by 1"))
    assert set(policies) == {"adjusted", "relevance", "explore"}
    ((effect,),) = night.rows("select avg(effect) from mart.recommendations where policy = 'adjusted' and identified")
    ((relevant,),) = night.rows("select avg(effect) from mart.recommendations where policy = 'relevance'")
    assert 0.1 < effect < 0.4, "planted effects are 0.25 of what is left to win"
    assert effect > relevant


def test_the_run_says_in_airflow_what_it_published_and_where_to_look(night: Night, first: tuple[object, ...]) -> None:
    (run,) = night.airflow("/api/v2/dags/nightly_corner/dagRuns")["dag_runs"]
    assert run["note"].startswith(f"published: version {first[0]} of {RUN_DATE}, {first[2]:,} rows")
    events = night.airflow("/api/v2/assets/events?limit=100")["asset_events"]
    extras = {event["name"]: event["extra"] for event in events}
    assert extras["corner.recommendations"]["rows"] == first[2]
    assert {extra["version_id"] for extra in extras.values()} == {first[0]}
    links = {
        task: night.airflow(f"/api/v2/dags/nightly_corner/dagRuns/{run['dag_run_id']}/taskInstances/{task}/links")
        for task in ("train_ranker", "check_raw", "clean", "report")
    }
    shown = {task: {name for name, to in found["extra_links"].items() if to} for task, found in links.items()}
    assert shown == {
        "train_ranker": {"Effects page", "MLflow run"},
        "check_raw": {"Effects page", "Data Docs"},
        "clean": {"Effects page", "Spark history"},
        "report": {"Effects page", "MLflow run", "Report"},
    }


def test_the_next_night_publishes_and_rollback_returns(night: Night, first: tuple[object, ...]) -> None:
    later = RUN_DATE + timedelta(days=7)
    night.command("run", "--site", "corner", "--date", later.isoformat())
    assert night.published()[1] == later
    assert len(json.loads(night.command("status", "--site", "corner", "--json"))) == 2
    shown = json.loads(night.command("explain", "--site", "corner", "--user", "user-0001", "--json"))
    assert len(shown) == LIST_LENGTH and all(row["reason"] for row in shown)
    night.command("rollback", "--site", "corner")
    assert night.published() == first


def test_again_without_later_rows_gives_the_same_version_and_no_new_rows(
    night: Night, first: tuple[object, ...]
) -> None:
    before = night.rows("select count(*) from mart.recommendations_history")
    with psycopg.connect(night.command("warehouse-url").strip()) as connection:
        gone = connection.execute("delete from raw.interactions where event_ts >= %s", (RUN_DATE,)).rowcount
        gone_too = connection.execute("delete from raw.exposures where exposed_at >= %s", (RUN_DATE,)).rowcount
    assert gone > 0 and gone_too > 0
    night.command("run", "--site", "corner", "--date", RUN_DATE.isoformat())
    assert night.published() == first
    assert night.rows("select count(*) from mart.recommendations_history") == before


def test_an_unknown_site_is_one_line(night: Night) -> None:
    said = night.command("run", "--site", "nowhere", "--date", "2024-03-04", fails=True)
    assert len(said.strip().splitlines()) == 1 and "no site 'nowhere'" in said
