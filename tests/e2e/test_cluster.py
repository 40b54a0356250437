"""The night's Spark jobs on a master and two workers, through spark-submit, beside the night one machine made."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import find_site
from jobs.tables.contracts import RAW_EXPOSURES, RAW_INTERACTIONS, RAW_ITEMS, RAW_USERS, TABLES
from jobs.tables.lake import Lake
from jobs.tables.schema import Table
from nightlift.operators import SparkJobOperator
from nightlift.tasks import SPARK_TASKS
from tests.e2e.conftest import Night
from tests.e2e.test_night import RUN_DATE
from tests.spark_cluster import SHORT_LIVED, Cluster, cluster
from tests.task_context import context

JOBS = ("clean", "build_features", "generate_candidates", "build_trials", "score")
RAW = tuple(table.name for table in (RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS, RAW_EXPOSURES))
CHOSEN = ("chosen_ranker", "chosen_uplift")


@pytest.fixture(scope="module")
def lakes(
    night: Night, first: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lake, Lake, Cluster]]:
    """The lake one machine wrote, the lake the cluster wrote from the same raw rows and models, and the cluster."""
    folder, sites = tmp_path_factory.mktemp("cluster"), night.folder / "my-shop" / "sites"
    site = find_site("corner", sites)
    here, there = (
        Lake(JobArgs(site, RUN_DATE, Environment(folder, sites, str(lake), {})))
        for lake in (night.folder / "home" / "lake", folder / "lake")
    )
    for name in (*RAW, *CHOSEN):
        partition = Path(name) / f"run_date={RUN_DATE}"
        shutil.copytree(Path(here.root) / partition, Path(there.root) / partition)
    with pytest.MonkeyPatch.context() as patch, cluster(folder) as spark:
        connection = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": spark.port}
        for name, value in {
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(connection),
            "MLFLOW_TRACKING_URI": night.address("mlflow_uri"),
            "NIGHTLIFT_HOME": str(folder),
            "NIGHTLIFT_LAKE": str(folder / "lake"),
            "NIGHTLIFT_SITES": str(sites),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_TOOL_OPTIONS": SHORT_LIVED,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }.items():
            patch.setenv(name, value)
        for name in ("SPARK_REMOTE", "SPARK_HOME"):
            patch.delenv(name, raising=False)
        for job in JOBS:
            operator = SparkJobOperator(task_id=job, site="corner", conf={"spark.ui.enabled": "false"})
            operator.execute(context(run_date=RUN_DATE.isoformat()))
        yield here, there, spark


def rows(lake: Lake, table: Table) -> pd.DataFrame:
    """The table's partition in an order that does not depend on how it was written."""
    found = lake.read_arrow(table)
    single = [field.name for field in found.schema if not pa.types.is_nested(field.type)]
    order = [*table.key, *(name for name in single if name not in table.key)]
    return found.to_pandas().sort_values(order, ignore_index=True)


def test_every_job_had_an_executor_on_both_workers(lakes: tuple[Lake, Lake, Cluster]) -> None:
    assert set(JOBS) == SPARK_TASKS
    first, second = lakes[2].applications()
    assert len(first) == len(JOBS) and first == second


def test_the_cluster_writes_the_tables_of_one_machine_to_the_last_row(lakes: tuple[Lake, Lake, Cluster]) -> None:
    here, there, _ = lakes
    written = {path.name for path in Path(there.root).iterdir()} - {*RAW, *CHOSEN}
    assert {"interactions", "quarantine", "factors", "user_profiles", "candidates", "trials", "scores"} <= written
    for name in sorted(written):
        if table := TABLES.get(name):
            mine, theirs = rows(here, table), rows(there, table)
            assert len(theirs) or not len(mine), name
            pd.testing.assert_frame_equal(theirs, mine, check_exact=True, obj=name)
        else:
            assert there.read_json(name) == here.read_json(name), name
