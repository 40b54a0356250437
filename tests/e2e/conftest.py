"""One night that every end-to-end test looks at: the tutorial, followed on a state of its own.

Airflow, MLflow, Spark and PostgreSQL are started once; the tests of test_night.py go on from there in their order.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.e2e import canary, tutorial

ROOT = Path(__file__).resolve().parents[2]
SITE_FILE = "# file: my-shop/sites/corner.yaml\n"
POSTGRES = """
from jobs.runtime.environment import Environment
from jobs.runtime.services import postgres
from jobs.runtime.services.home import Home
postgres.up(Home.open(Environment.load()), print)
"""


class Night:
    """The command line on a state of its own, as a user outside the clone would call it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTLIFT", "AIRFLOW"))},
            "NIGHTLIFT_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
            canary.VARIABLE: canary.CANARY,
        }
        # PostgreSQL first, so that everything that starts after it knows the warehouse by an address with a password
        subprocess.run([sys.executable, "-c", POSTGRES], cwd=ROOT, env=self.environment, check=True, timeout=120)
        self.environment["WAREHOUSE_URL"] = canary.with_password(self.address("warehouse_url"))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A command that goes on in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", *words], cwd=self.folder,
            env={**self.environment, "NIGHTLIFT_SITES": "my-shop/sites"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def command(self, *words: str, fails: bool = False) -> str:
        """What a command says; AssertionError where it fails, or does not although it should."""
        return self.end(self.start(*words), fails)

    def end(self, command: "subprocess.Popen[str]", fails: bool = False) -> str:
        """What a command said that was started."""
        said, errors = command.communicate(timeout=900)
        assert (command.returncode != 0) == fails, f"{command.args}: exit {command.returncode}\n{said}\n{errors}"
        return errors if fails else said

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.command("warehouse-url").strip()) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def address(self, key: str) -> str:
        """Address of a service."""
        return str(json.loads((self.folder / "home" / "services.json").read_text())[key])

    def process(self, name: str) -> int:
        """Process id of a service."""
        return int(json.loads((self.folder / "home" / "services.json").read_text())["processes"][name]["pid"])

    @property
    def password(self) -> str:
        """Password of the admin."""
        return (self.folder / "home" / "airflow-admin-password").read_text().strip()

    def airflow(self, path: str, method: str = "GET", **given: Any) -> dict[str, Any]:
        """What Airflow's API answers the admin; ``given`` is sent as JSON."""
        address, login = self.address("airflow_url"), {"username": "admin", "password": self.password}
        token = requests.post(f"{address}/auth/token", json=login, timeout=30).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{address}{path}", headers=bearer, json=given or None, timeout=30)
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}

    def published(self) -> tuple[object, ...]:
        ((version, run_date, rows, checksum),) = self.rows(
            "select version_id, run_date, rows, checksum from mart.published where table_name = 'recommendations'"
        )
        return version, run_date, rows, checksum


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    night = Night(tmp_path_factory.mktemp("night"))
    try:
        page = canary.with_comment(tutorial.PAGE.read_text(encoding="utf-8"), SITE_FILE)
        tutorial.follow(page, night.folder, night.environment)
        yield night
    finally:
        night.command("stop")


@pytest.fixture(scope="session")
def first(night: Night) -> tuple[object, ...]:
    """The first night's published version."""
    return night.published()
