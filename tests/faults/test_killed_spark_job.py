"""`kill -9` of a Spark job, and of the warm Spark under one: half a table is never read, and the same job is right."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pytest
import yaml

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.errors import DataError
from jobs.runtime.services import spark_connect
from jobs.runtime.services.home import Home
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.lake import FIRST_DAY, Lake
from jobs.tables.schema import Table

NIGHT = date(2024, 1, 11)
USERS, ITEMS, EVENTS = 2000, 20, 120_000  # so many that writing them takes a while
SECONDS = 300
TABLES = (contracts.USERS, contracts.ITEMS, contracts.INTERACTIONS, contracts.EXPOSURES, contracts.QUARANTINE)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobArgs]:
    """A night with a warm Spark of its own, and nothing but that."""
    folder = tmp_path_factory.mktemp("killed")
    site = Site(site="killed", outcome=Outcome(event_types=("purchase",)))
    (folder / "killed.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    args = JobArgs(site, NIGHT, Environment(folder / "home", folder, "", {}))
    home = Home.open(args.environment)
    spark_connect.up(home, print)
    home.save()
    yield args
    home = Home.open(args.environment)
    home.end("spark")


def extracted(night: JobArgs, name: str) -> Lake:
    """A lake of this name that holds the night's raw rows."""
    lake = Lake(replace(night, environment=replace(night.environment, lake=str(night.environment.sites / name))))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    events = {
        "event_id": [f"e{n}" for n in range(EVENTS)],
        "user_id": [f"u{n % USERS}" for n in range(EVENTS)],
        "item_id": [f"i{n % ITEMS if n % 1000 else 'nobody knows'}" for n in range(EVENTS)],
        "event_type": ["view"] * EVENTS,
        "event_ts": [start + timedelta(seconds=2 * n) for n in range(EVENTS)],
    }
    raw: list[tuple[Table, dict[str, list[Any]]]] = [
        (contracts.RAW_USERS, {"user_id": [f"u{n}" for n in range(USERS)]}),
        (contracts.RAW_ITEMS, {"item_id": [f"i{n}" for n in range(ITEMS)]}),
        (contracts.RAW_INTERACTIONS, events),
        (contracts.RAW_EXPOSURES, {}),
    ]
    for table, columns in raw:
        schema, count = table.arrow_schema, len(next(iter(columns.values()), []))
        whole = [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema]
        lake.write_arrow(table, pa.table(whole, schema=schema), (FIRST_DAY, NIGHT) if table.incremental else None)
    return lake


def clean(night: JobArgs, name: str) -> subprocess.Popen[str]:
    """The job as the operator starts it, on the lake of this name."""
    own = {key: value for key, value in os.environ.items() if key not in ("SPARK_REMOTE", "SPARK_ENV_LOADED")}
    given = {
        "NIGHTLIFT_HOME": str(night.environment.home),
        "NIGHTLIFT_SITES": str(night.environment.sites),
        "NIGHTLIFT_LAKE": str(night.environment.sites / name),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "jobs.clean", "--site", night.site.site, "--date", NIGHT.isoformat()]
    return subprocess.Popen(
        command, env=own | given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def server(night: JobArgs) -> psutil.Process:
    """The warm Spark."""
    found = Home.open(night.environment).process("spark")
    assert found, "no Spark runs"
    return psutil.Process(found.pid)


def attempts(lake: Lake, table: Table) -> set[Path]:
    """Folders that hold the table, or began to."""
    return set(Path(lake.root).glob(f"{table.name}/run_date=*/attempt-*"))


def when_it_writes(job: subprocess.Popen[str], lake: Lake, table: Table) -> None:
    """Wait until Spark has begun to write the table for a job just started, before anything of it is committed."""
    before, until = attempts(lake, table), time.monotonic() + SECONDS
    while not any((attempt / "_temporary").exists() for attempt in attempts(lake, table) - before):
        assert job.poll() is None and time.monotonic() < until, job.communicate()[0]
        time.sleep(0.002)


def assert_half(lake: Lake, table: Table) -> None:
    """Something of the table lies about, and no reader sees it."""
    assert attempts(lake, table)
    for read in (lake.read_arrow, lake.read_pandas, lake.manifest):
        with pytest.raises(DataError, match=f"{table.name} of {NIGHT} is not in the lake"):
            read(table)  # type: ignore[operator]


def rows(lake: Lake, table: Table) -> pd.DataFrame:
    """The table in the order of its columns."""
    found = lake.read_arrow(table).to_pandas()
    return found.sort_values(list(found.columns), ignore_index=True)


def test_a_job_and_then_the_spark_under_it_are_killed_while_they_write(night: JobArgs) -> None:
    undisturbed, lake = extracted(night, "undisturbed"), extracted(night, "disturbed")
    said = (job := clean(night, "undisturbed")).communicate(timeout=SECONDS)[0]
    assert job.returncode == 0, said

    killed = clean(night, "disturbed")
    when_it_writes(killed, lake, contracts.INTERACTIONS)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait(SECONDS) == -signal.SIGKILL
    assert_half(lake, contracts.INTERACTIONS)

    orphan = clean(night, "disturbed")
    when_it_writes(orphan, lake, contracts.INTERACTIONS)
    first = server(night)
    first.kill()
    started = time.monotonic()
    said = orphan.communicate(timeout=SECONDS)[0]
    assert orphan.returncode == 1, "the operator runs it again"
    assert time.monotonic() - started < 60, "its client would wait for 10 minutes"
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert error.endswith("went away in the middle of clean; run it again") and "Traceback" not in said
    assert_half(lake, contracts.INTERACTIONS)

    again = clean(night, "disturbed")
    said = again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0, said
    assert "starting Spark on" in said and server(night) != first
    for table in TABLES:
        pd.testing.assert_frame_equal(rows(lake, table), rows(undisturbed, table), check_exact=True, obj=table.name)
        assert len(attempts(lake, table)) == 1, "what was left is gone"
    assert len(rows(lake, contracts.INTERACTIONS)) == EVENTS - EVENTS // 1000
