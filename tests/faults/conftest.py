"""A site whose nights are published in processes that are killed, and a reader who looks all the time."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from psycopg import sql

from jobs.runtime import registry, tracking
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.registry import Card
from jobs.runtime.site import Outcome, Site, Warehouse
from jobs.tables import roles
from jobs.tables import warehouse as tables
from tests import small_night

ROWS = 8  # of a small night
_weeks = count()
_processes = multiprocessing.get_context("forkserver")  # each a real process; what they import is imported once
_processes.set_forkserver_preload(["jobs.publish"])


@pytest.fixture(scope="session")
def faulty(mlflow_server: Environment, tmp_path_factory: pytest.TempPathFactory) -> JobArgs:
    """A site with a registered version of both models."""
    folder = tmp_path_factory.mktemp("faults")
    site = Site(
        site="faults",
        outcome=Outcome(event_types=("purchase",)),
        list_length=5,
        keep_days=3650,
        warehouse=Warehouse(raw_schema="raw_faults", mart_schema="mart_faults"),
    )
    (folder / "faults.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    args = JobArgs(site, date(2024, 1, 1), replace(mlflow_server, sites=folder, lake=str(folder / "lake")))
    card = Card("what.", "when.", {}, pd.DataFrame({"x": [0.0]}), "effect")
    with tracking.nested_run(args, "training") as run_id:
        for model in ("ranker", "uplift"):
            for content in (b"one", b"two"):
                registry.register(args, model, {"model.ubj": content}, run_id, card)
    return args


@pytest.fixture
def job(faulty: JobArgs, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    """A night later than every night of an earlier test, as a job's process finds it."""
    for name, value in environ(faulty.environment).items():
        monkeypatch.setenv(name, value)
    return replace(faulty, date=date(2024, 1, 1) + timedelta(days=70 * next(_weeks)))


def environ(environment: Environment) -> dict[str, str]:
    """What a job's process is told."""
    return {
        "WAREHOUSE_URL": environment.warehouse_url,
        "MLFLOW_TRACKING_URI": environment.mlflow_uri,
        "NIGHTLIFT_SITES": str(environment.sites),
        "NIGHTLIFT_LAKE": environment.lake,
        "NIGHTLIFT_DAG_RUN": "manual__1",
    }


def later(job: JobArgs, days: int, uplift: str = "1") -> JobArgs:
    """The night ``days`` later, ready to be published; its version is made of its date."""
    day = job.date + timedelta(days=days)
    return small_night.write(job, version(day), day, uplift=uplift)


def version(day: date) -> str:
    """Version of the night of ``day``."""
    return f"{day:%Y%m%d}"


def words(job: JobArgs) -> list[str]:
    """Arguments of a job."""
    return ["--site", job.site.site, "--date", job.date.isoformat()]


def _publish(given: Mapping[str, str], words: list[str], output: str) -> None:
    """The job as the operator starts it; its output goes to a file."""
    from jobs import publish
    from jobs.runtime.args import run

    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(given)
    run(lambda: publish.main(words))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., BaseProcess]]:
    """Starts `publish` of a night in a process of its own; the output of the first is in ``1.log``."""
    started: list[BaseProcess] = []

    def begin(job: JobArgs, **given: str) -> BaseProcess:
        log = str(tmp_path / f"{len(started) + 1}.log")
        process = _processes.Process(target=_publish, args=(environ(job.environment) | given, words(job), log))
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()


def query(job: JobArgs, text: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the mart by an administrator."""
    with tables.connect(job.environment) as connection:
        return tables.execute(connection, sql.SQL(text).format(mart=sql.Identifier(job.site.warehouse.mart_schema)))


def published(job: JobArgs) -> str:
    """The version that readers see."""
    ((found,),) = query(job, "SELECT DISTINCT version_id FROM {mart}.recommendations")
    return str(found)


def assert_whole(job: JobArgs) -> None:
    """Every version has all its rows once, and nothing lies about that belongs to none."""
    rows = query(job, "SELECT version_id, count(*) FROM {mart}.recommendations_history GROUP BY 1 ORDER BY 1")
    known = query(job, "SELECT version_id, rows FROM {mart}.versions ORDER BY 1")
    assert rows == known and {count for _, count in rows} == {ROWS}
    for table in ("item_effects", "user_profiles", "relevance_lists"):
        assert query(job, f"SELECT version_id, 1 FROM {{mart}}.{table} ORDER BY 1") == [(name, 1) for name, _ in known]
    mart = job.site.warehouse.mart_schema
    lists = query(
        job,
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r'"
        f" AND nspname = '{mart}' AND relname ~ '^recommendations_' ORDER BY 1",
    )
    assert lists == [(f"recommendations_{name}",) for name, _ in known]


@contextmanager
def polling(job: JobArgs) -> Iterator[set[tuple[str, str, int]]]:
    """What a reader sees who looks as often as it can: smallest and largest version and the number of rows."""
    seen: set[tuple[str, str, int]] = set()
    stop, broken, looked = threading.Event(), [], threading.Event()
    view = sql.Identifier(job.site.warehouse.mart_schema, "recommendations")
    look = sql.SQL("SELECT min(version_id), max(version_id), count(*) FROM {}").format(view)

    def poll() -> None:
        try:
            with tables.connect(job.environment, autocommit=True) as connection:
                tables.execute(connection, sql.SQL("SET ROLE {}").format(sql.Identifier(roles.READER)))
                while not stop.wait(0.002):
                    seen.update(tables.execute(connection, look))
                    looked.set()
        except Exception as error:
            broken.append(error)
            looked.set()

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        assert looked.wait(60)
        yield seen
        looked.clear()
        assert looked.wait(60)
    finally:
        stop.set()
        reader.join()
    assert not broken, broken


def whole(*jobs: JobArgs) -> set[tuple[str, str, int]]:
    """What a reader may see of these nights."""
    return {(version(job.date), version(job.date), ROWS) for job in jobs}
