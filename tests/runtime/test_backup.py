"""docs/operations.md on the worst day: backed up, everything lost, restored on a machine that has nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.services import airflow
from jobs.runtime.site import Outcome, Site
from jobs.tables import mart_schema, versions
from jobs.tables.load import load_folder
from tests import small_night

MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 8), date(2024, 1, 9), date(2024, 1, 10)
SITE = Site(site="shop", outcome=Outcome(event_types=("purchase",)), list_length=5)
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
KEPT = "airflow-admin-password"


class Machine:
    """A home of its own, and a folder beside it in which commands are run and backups lie."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        given = {name: value for name, value in os.environ.items() if name != "WAREHOUSE_URL"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.given = given | {"NIGHTLIFT_HOME": str(self.home), "PYTHONPATH": str(ROOT), "PATH": path}

    def run(self, script: str, fails: bool = False) -> str:
        """What a script says; AssertionError where it fails, or does not although it should."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self.folder, env=self.given, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, f"{script}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    @property
    def environment(self) -> Environment:
        record = json.loads((self.home / "services.json").read_text())
        return Environment(self.home, self.folder, str(self.home / "lake"), record)

    def seen(self) -> dict[str, object]:
        """What a reader sees, and where the pointer stands."""
        mart = SITE.warehouse.mart_schema
        with mart_schema.reading(self.environment, mart) as connection:
            assert connection is not None
            lists = connection.execute(f"SELECT * FROM {mart}.recommendations ORDER BY user_id, rank").fetchall()  # type: ignore[arg-type]
            pointer = connection.execute(f"SELECT * FROM {mart}.published_view").fetchall()  # type: ignore[arg-type]
        return {"lists": lists, "pointer": pointer, "chain": versions.status(SITE, self.environment)}


def block(first: str) -> str:
    """The page's block of commands that goes on with ``first`` after ``make stop``; the last `make up` is left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [one for one in blocks if one.startswith(f"make stop\n{first}")]
    return str(found).replace("make stop", "python -m jobs stop").removesuffix("make up\n")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.run("python -m jobs clean --yes")


def test_a_machine_that_lost_everything_is_restored_from_the_backup_to_the_last_row_and_goes_on(
    machine: Machine, folder: Path
) -> None:
    machine.run("python -m jobs postgres psql --command 'CREATE ROLE shop_app LOGIN'")
    load_folder(SITE, folder, machine.environment)
    for version, day in (("aaaaaaaa", MONDAY), ("bbbbbbbb", TUESDAY)):
        versions.publish(SITE, machine.environment, small_night.lists(version, day), small_night.beside(), "proved")
    versions.rollback(SITE, machine.environment)
    machine.run(
        "python -m jobs postgres psql --command 'GRANT nightlift_reader TO shop_app' warehouse; python -m jobs postgres"
        " psql --command 'CREATE TABLE alembic_version (version_num text)' airflow"
    )
    airflow.prepared(machine.environment.services["airflow_database_url"], "an earlier Airflow")
    (machine.home / KEPT).write_text("hush")
    (machine.home / "lake" / "file").write_text("rows")
    before = machine.seen()
    assert [row["version_id"] for row in before["chain"] if row["published"]] == ["aaaaaaaa"]  # type: ignore[attr-defined]

    machine.run(block("for name in warehouse airflow mlflow; do\n    python -m jobs postgres pg_dump"))
    machine.run("python -m jobs clean --yes")
    assert not machine.home.exists()
    machine.run(block("python -m jobs postgres psql"))

    assert machine.seen() == before and len(before["lists"]) == 8  # type: ignore[arg-type]
    assert ((machine.home / KEPT).read_text(), (machine.home / "lake" / "file").read_text()) == ("hush", "rows")
    services = machine.environment.services
    assert airflow.prepared(services["airflow_database_url"]) == "an earlier Airflow", "it is migrated by `make up`"
    with psycopg.connect(services["warehouse_url"].replace("postgres@", "shop_app@")) as connection:
        assert connection.execute("SELECT count(*) FROM mart.recommendations").fetchall() == [(8,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM mart.published")
    with psycopg.connect(services["warehouse_url"]) as connection:
        assert connection.execute("SELECT count(*) FROM raw.interactions").fetchall() == [(3,)]
    again = versions.publish(SITE, machine.environment, small_night.lists("aaaaaaaa", MONDAY), {}, "proved")
    assert again["state"] == "unchanged" and again["checksum"] == before["pointer"][0][-3]  # type: ignore[index]
    later = small_night.lists("cccccccc", WEDNESDAY)
    made = versions.publish(SITE, machine.environment, later, small_night.beside(), "proved")
    assert made["state"] == "published" and versions.rollback(SITE, machine.environment)["from"] == "cccccccc"


def test_a_database_that_nothing_prepared_says_so(warehouse: Environment) -> None:
    assert airflow.prepared(warehouse.warehouse_url) is None


def test_the_programs_are_for_the_server_of_this_machine_alone(tmp_path: Path) -> None:
    elsewhere = Machine(tmp_path)
    elsewhere.given["WAREHOUSE_URL"] = "postgresql://somebody@elsewhere/shop"
    said = elsewhere.run("python -m jobs postgres pg_dump --file x.dump warehouse", fails=True)
    assert said.startswith("error: WAREHOUSE_URL names another server") and len(said.splitlines()) == 1
    assert not (tmp_path / "x.dump").exists() and not (tmp_path / "home").exists()
