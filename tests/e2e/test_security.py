"""Nobody in who does not belong: roles, ports and secrets of the services of a real night."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from tests.e2e import canary
from tests.e2e.conftest import Night

HERE = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
DAG = "/api/v2/dags/nightly_corner"


def members(night: Night) -> list[psutil.Process]:
    """Every process of the services, with their children."""
    record = json.loads((night.folder / "home" / "services.json").read_text())["processes"]
    roots = {name: psutil.Process(kept["pid"]) for name, kept in record.items()}
    assert {"postgres", "mlflow", "spark", "airflow-scheduler", "airflow-api-server"} <= set(roots)
    return [member for root in roots.values() for member in (root, *root.children(recursive=True))]


def listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports that processes listen on."""
    found = set()
    for process in processes:
        try:
            found |= {tuple(one.laddr) for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:  # a task's process that has ended since
            continue
    return found


def test_the_services_listen_on_this_machine_only(night: Night, first: tuple[object, ...]) -> None:
    found = listening(members(night))
    record = json.loads((night.folder / "home" / "services.json").read_text())
    assert set(record["ports"].values()) <= {port for _, port in found}
    assert {address for address, _ in found} <= HERE


def test_a_port_open_to_others_is_seen() -> None:
    with socket.socket() as open_port:
        open_port.bind(("0.0.0.0", 0))
        open_port.listen()
        assert ("0.0.0.0", open_port.getsockname()[1]) in listening([psutil.Process()])


def test_files_with_secrets_are_their_owners_alone(night: Night, first: tuple[object, ...]) -> None:
    home = night.folder / "home"
    private = [home / "services.json", home / "airflow-admin-password", *(home / "airflow" / "secrets").iterdir()]
    assert len(private) >= 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    for name in ("airflow", "logs", "lake", "mlartifacts", "docs", "spark"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o700, name


# -- roles -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(night: Night, first: tuple[object, ...]) -> dict[str, requests.Session]:
    """Sessions of a viewer, an operator and the admin, who makes the other two."""
    sessions = {}
    for name, role in (("admin", None), ("viewer", "Viewer"), ("operator", "Op")):
        password = night.password if role is None else f"{name}-of-the-tests"
        if role:
            who = {"username": name, "first_name": name, "last_name": name, "email": f"{name}@localhost"}
            body = who | {"password": password, "roles": [{"name": role}]}
            made = sessions["admin"].post(f"{night.address('airflow_url')}/auth/fab/v1/users", json=body, timeout=30)
            assert made.status_code in (200, 201), made.text
        sessions[name] = session = requests.Session()
        login = {"username": name, "password": password}
        answer = session.post(f"{night.address('airflow_url')}/auth/token", json=login, timeout=30)
        assert answer.status_code == 201, answer.text
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return sessions


def ask(night: Night, person: requests.Session, method: str, path: str, body: object = None) -> int:
    address = f"{night.address('airflow_url')}{path}"
    return person.request(method, address, json=body, timeout=60, allow_redirects=False).status_code


CHANGES = {
    "trigger": ("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"run_date": "no day"}}),
    "switch off": ("PATCH", DAG, {"is_paused": False}),
    "clear": ("POST", f"{DAG}/clearTaskInstances", {"dry_run": True, "task_ids": ["report"]}),
    "delete": ("DELETE", f"{DAG}/dagRuns/nothing", None),
    "a user": ("POST", "/auth/fab/v1/users", {"username": "x"}),
    "a connection": ("POST", "/api/v2/connections", {"connection_id": "x", "conn_type": "http"}),
    "a pool": ("PATCH", "/api/v2/pools/spark", {"name": "spark", "slots": 1}),
}


def test_a_viewer_sees_the_night_and_changes_nothing(night: Night, people: dict[str, requests.Session]) -> None:
    viewer = people["viewer"]
    for path in (DAG, f"{DAG}/dagRuns", "/nightlift/sites/corner", "/nightlift/docs/reports/corner/2024-03-04.html"):
        assert ask(night, viewer, "GET", path) == 200, path
    assert {what: ask(night, viewer, *change) for what, change in CHANGES.items()} == dict.fromkeys(CHANGES, 403)
    for path in ("/api/v2/connections", "/api/v2/variables", "/auth/fab/v1/users", "/api/v2/config"):
        assert ask(night, viewer, "GET", path) == 403, path


def test_an_operator_runs_nights_and_makes_no_users(night: Night, people: dict[str, requests.Session]) -> None:
    operator = people["operator"]
    assert ask(night, operator, *CHANGES["trigger"]) in (400, 422), "let in, and refused for the day that is none"
    assert ask(night, operator, *CHANGES["switch off"]) == 200
    assert ask(night, operator, *CHANGES["clear"]) == 200
    assert ask(night, operator, *CHANGES["a user"]) == 403


def test_the_admin_may_do_both(night: Night, people: dict[str, requests.Session]) -> None:
    assert ask(night, people["admin"], *CHANGES["trigger"]) in (400, 422)
    assert ask(night, people["admin"], "GET", "/auth/fab/v1/users") == 200


@pytest.mark.parametrize("token", [None, "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"])
def test_nobody_else_is_let_in(night: Night, first: tuple[object, ...], token: str | None) -> None:
    nobody = requests.Session()
    if token:
        nobody.headers["Authorization"] = f"Bearer {token}"
    pages = ["/nightlift/", "/nightlift/sites/corner", "/nightlift/docs/reports/corner/2024-03-04.html"]
    for path in [DAG, "/api/v2/connections", "/auth/fab/v1/users", *pages]:
        assert ask(night, nobody, "GET", path) in (401, 403, 303), path
    for change in CHANGES.values():
        assert ask(night, nobody, *change) in (401, 403)


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_the_canary_is_in_the_environment_of_the_night(night: Night, first: tuple[object, ...]) -> None:
    record = json.loads((night.folder / "home" / "services.json").read_text())["processes"]
    for name in ("mlflow", "spark"):  # Airflow's parts get the same and write their title over it
        given = psutil.Process(record[name]["pid"]).environ()
        assert given[canary.VARIABLE] == canary.CANARY and canary.CANARY in given["WAREHOUSE_URL"], name


def test_the_canary_is_in_no_file_of_the_night(night: Night, first: tuple[object, ...]) -> None:
    home = night.folder / "home"
    names = [name for name, _ in canary.texts(home)]
    kinds = (
        "logs/mlflow.log",
        "logs/spark.log",
        "airflow/logs/",
        "docs/reports/",
        "docs/data_docs/",
        "mlartifacts/",
        "spark/events/",
        "lake/",
    )
    for kind in kinds:
        assert any(name.startswith(kind) for name in names), kind
    assert len([name for name in names if name.startswith("airflow/logs/dag_id=nightly_corner/")]) >= 16
    assert canary.files(home) == []


def test_the_canary_is_in_no_row_of_airflow_mlflow_and_warehouse(night: Night, first: tuple[object, ...]) -> None:
    urls = canary.databases(night.folder / "home")
    assert len(urls) >= 3
    for url in urls:
        assert canary.tables(url) == []
    (pushed,) = night_rows(urls, "airflow", "SELECT count(*) FROM xcom")
    (runs,) = night_rows(urls, "mlflow", "SELECT count(*) FROM runs")
    assert pushed > 20 and runs > 2


def night_rows(urls: list[str], database: str, query: str) -> tuple[int]:
    (url,) = [url for url in urls if f"/{database}?" in url]
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()[0]  # type: ignore[arg-type, return-value]


def test_a_job_that_fails_with_the_password_in_its_address_does_not_say_it(
    night: Night, first: tuple[object, ...]
) -> None:
    nowhere = f"postgresql://me:{canary.CANARY}@127.0.0.1:1/shop"
    given = {"NIGHTLIFT_SITES": "my-shop/sites", "WAREHOUSE_URL": nowhere, "NIGHTLIFT_DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.extract", "--site", "corner", "--date", "2024-03-04"],
        cwd=night.folder,
        env={**night.environment, **given},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "WAREHOUSE_URL" in done.stderr
    assert canary.CANARY not in done.stdout + done.stderr


def test_a_canary_in_a_log_a_packed_log_or_a_table_is_found(
    night: Night, first: tuple[object, ...], tmp_path: Path
) -> None:
    import pyarrow as pa

    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "plain.log").write_text(f"url=postgresql://me:{canary.CANARY}@host/shop\n")
    with pa.output_stream(str(tmp_path / "local-1.zstd"), compression="zstd") as packed:
        packed.write(b"x" * 1000 + canary.CANARY.encode())
    (tmp_path / "clean.log").write_text("nothing here")
    assert canary.files(tmp_path) == ["local-1.zstd", "logs/plain.log"]
    url = canary.databases(night.folder / "home")[0]
    with psycopg.connect(url, autocommit=True) as connection:
        for column, value in (("text", canary.CANARY), ("bytea", canary.CANARY.encode())):
            connection.execute(f"CREATE TABLE public.leak (said {column})")  # type: ignore[arg-type]
            connection.execute("INSERT INTO public.leak VALUES (%s)", (value,))
            try:
                assert canary.tables(url) == ["public.leak"]
            finally:
                connection.execute("DROP TABLE public.leak")
    assert os.environ.get(canary.VARIABLE) is None
