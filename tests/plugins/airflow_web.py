"""Airflow's own web application with our plugin, on a database beside a warehouse, asked without a server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from jobs.runtime.environment import Environment
from jobs.runtime.services.airflow import MANAGER
from jobs.tables.warehouse import connect

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "only-for-tests"


@dataclass
class Web:
    """A browser without JavaScript: nobody, or one of the users."""

    app: Any

    def client(self, user: str | None = None) -> TestClient:
        """A client with the login of ``user``."""
        client = TestClient(self.app, follow_redirects=False, headers={"accept": "text/html"})
        if user:
            answer = client.post("/auth/token", json={"username": user, "password": PASSWORD})
            assert answer.status_code == 201, answer.text
            client.cookies.set("_token", answer.json()["access_token"])
        return client


@contextmanager
def application(warehouse: Environment, home: Path) -> Iterator[Web]:
    """The application; ``admin`` may read every DAG, ``guest`` none. ``home`` becomes AIRFLOW_HOME."""
    with connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")
    address = urlsplit(warehouse.warehouse_url)._replace(scheme="postgresql+psycopg2", path="/airflow").geturl()
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGER,
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address,
        "AIRFLOW__API__SECRET_KEY": "a-secret-for-tests-only",
        "AIRFLOW__API_AUTH__JWT_SECRET": "another-secret-of-64-characters-that-signs-the-tokens-of-tests-01",
    }
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
    )
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    from airflow import plugins_manager
    from airflow import settings as airflow_settings
    from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app

    def configure() -> None:
        purge_cached_app()
        plugins_manager._get_plugins.cache_clear()
        plugins_manager.get_fastapi_plugins.cache_clear()
        airflow_settings.configure_vars()
        airflow_settings.configure_orm()

    configure()
    app = create_app("core")
    with get_auth_manager().flask_app.app_context():
        users = get_auth_manager().security_manager
        for name, role in (("admin", "Admin"), ("guest", "Public")):
            users.add_user(name, name, name, f"{name}@localhost", users.find_role(role), PASSWORD)
    try:
        yield Web(app)
    finally:
        patch.undo()
        configure()
