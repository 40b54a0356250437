"""Airflow on this machine: API server, scheduler, DAG processor and triggerer with the LocalExecutor."""

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
from psycopg import sql

from jobs.runtime.environment import ROOT
from jobs.runtime.services import spark_connect
from jobs.runtime.services.home import Home, Say
from jobs.runtime.services.processes import LOCALHOST, Process, free_port, once, secret, start, wait_for

PORT = 8080
PARTS = ("scheduler", "dag-processor", "triggerer", "api-server")
NAMES = tuple(f"airflow-{part}" for part in PARTS)
API_SERVER = "airflow-api-server"
SPARK_POOL = "spark"
MANAGER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


def healthy(home: Home) -> bool:
    """Whether all parts run, answer and read the site folder asked for."""
    return (
        all(home.process(name) for name in NAMES)
        and home.record.get("airflow_sites") == str(home.sites)
        and _healthy_parts(str(home.record.get("airflow_url")))
    )


def up(home: Home, say: Say) -> None:
    """Migrate the database where the version is new, make the admin, start the parts that do not run."""
    if healthy(home):
        return
    names = to_start(home)
    if home.end(*names) and home.record.get("airflow_sites") != str(home.sites):
        say(f"restarting Airflow: the site folder is now {home.sites}")
    port = home.port("airflow", PORT)
    if API_SERVER in names:
        port = free_port(port, home.taken, say, "Airflow")
        say(f"starting Airflow on {LOCALHOST}:{port} (this takes longest)")
    else:
        say(f"starting {', '.join(names)} again")
    env = home.environ(settings(home, port))
    _prepare(home, env)
    address = f"http://{LOCALHOST}:{port}"
    started = {}
    for part, name in zip(PARTS, NAMES, strict=True):
        if name not in names:
            continue
        options = {"api-server": ["--host", LOCALHOST, "--port", str(port), "--workers", "1"]}
        # the log server would listen on every address
        options |= {key: ["--skip-serve-logs"] for key in ("scheduler", "triggerer")}
        command = [sys.executable, "-m", "airflow", part, *options.get(part, [])]
        started[name] = start(command, home.log(name), env, home.path)
        home.keep(name, started[name])
    for name, process in started.items():
        wait_for(_ready(address, name, process), process, name, home.log(name), 180.0)
    home.record.update(airflow_url=address, airflow_sites=str(home.sites))
    home.record.setdefault("ports", {})["airflow"] = port


def to_start(home: Home) -> tuple[str, ...]:
    """Parts that were killed, so that a task that runs keeps its API server; all where that is not enough."""
    gone = tuple(name for name in NAMES if not home.process(name))
    same = home.record.get("airflow_sites") == str(home.sites)
    return gone if gone and same and API_SERVER not in gone else NAMES


def settings(home: Home, port: int) -> dict[str, str]:
    """Airflow's settings as environment variables; the secrets are made once and kept with mode 600."""
    folder = home.path / "airflow"
    keys = folder / "secrets"
    address = f"http://{LOCALHOST}:{port}"
    database = str(home.record["airflow_database_url"]).replace("postgresql://", "postgresql+psycopg2://", 1)
    values = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "utc",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGER,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": secret(
            keys / "fernet", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__SECRET_KEY": secret(keys / "api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(keys / "jwt", lambda: secrets.token_urlsafe(64)),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",  # of a killed scheduler; usually after 5 minutes
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "8",  # a task waits 2 minutes for an API server that starts
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "NIGHTLIFT_SPARK_POOL": SPARK_POOL,
        "NIGHTLIFT_START_DATE": secret(folder / "start-date", lambda: datetime.now(UTC).date().isoformat()),
    }
    if "AIRFLOW_CONN_SPARK_DEFAULT" not in os.environ:
        connection = {
            "conn_type": "spark",
            "host": "sc://localhost",
            "port": home.record.get("ports", {}).get("spark", spark_connect.PORT),
        }
        values["AIRFLOW_CONN_SPARK_DEFAULT"] = json.dumps(connection)
    return values


def _prepare(home: Home, env: dict[str, str]) -> None:
    """Database, pool and admin, once for each Airflow version and database."""
    from importlib.metadata import version

    (home.path / "airflow").mkdir(exist_ok=True, mode=0o700)
    database = str(home.record["airflow_database_url"])
    wanted = f"nightlift: Airflow {version('apache-airflow')}, pool {SPARK_POOL}"
    if prepared(database) == wanted:
        return
    log = home.log("airflow-migrate")
    once([sys.executable, "-m", "airflow", "db", "migrate"], log, env, home.path)
    pool = ["pools", "set", SPARK_POOL, "1", "Spark jobs: one at a time on the warm server"]
    once([sys.executable, "-m", "airflow", *pool], log, env, home.path)
    password = secret(home.path / "airflow-admin-password", lambda: secrets.token_urlsafe(18))
    command = [sys.executable, "-m", "airflow", "users", "create", "--username", "admin", "--role", "Admin"]
    command += ["--firstname", "Nightlift", "--lastname", "Admin", "--email", "admin@localhost"]
    once(command, log, env, home.path, stdin=f"{password}\n{password}\n")  # not an argument: those are public
    prepared(database, wanted)


def prepared(database: str, by: str | None = None) -> str | None:
    """What made a database Airflow's, None where nothing did; ``by`` is written down.

    It is the comment on Airflow's own table of migrations, so that a lost database is made again and one restored from
    an older dump is migrated.
    """
    with psycopg.connect(database) as connection:
        if by is not None:
            connection.execute(sql.SQL("COMMENT ON TABLE public.alembic_version IS {}").format(sql.Literal(by)))
        found = connection.execute("SELECT obj_description(to_regclass('public.alembic_version'), 'pg_class')")
        return found.fetchall()[0][0]  # type: ignore[no-any-return]


def _ready(address: str, name: str, process: Process) -> Callable[[], bool]:
    """Readiness of one part, as the API server reports it."""
    if name == API_SERVER:
        return lambda: bool(_health(address))
    key = name.removeprefix("airflow-").replace("-", "_")
    return lambda: process.alive() and _health(address).get(key, {}).get("status") == "healthy"


def _healthy_parts(address: str) -> bool:
    return all(part.get("status") == "healthy" for part in _health(address).values()) and bool(_health(address))


def _health(address: str) -> dict[str, dict[str, str]]:
    try:
        with urlopen(f"{address}/api/v2/monitor/health", timeout=10) as answer:
            return dict(json.load(answer))
    except (URLError, OSError, ValueError):
        return {}
