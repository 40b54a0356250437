"""Local services: ports, secrets, and that only our own processes are ended."""

import os
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil
import pytest

from jobs.runtime import pages, services
from jobs.runtime.environment import Environment
from jobs.runtime.errors import AwayError, SetupError
from jobs.runtime.services import airflow, postgres, processes
from jobs.runtime.services.home import Home
from jobs.runtime.services.processes import Process


def test_taken_port_is_replaced_and_said() -> None:
    said: list[str] = []
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        chosen = processes.free_port(port, set(), said.append, "MLflow")
    assert chosen != port
    assert said == [f"port {port} is taken; MLflow uses {chosen}"]


def test_secret_is_private_and_stays(tmp_path: Path) -> None:
    first = processes.secret(tmp_path / "key")
    assert len(first) > 20 and processes.secret(tmp_path / "key") == first
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_reused_pid_is_not_ours(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        ours = Process.of(child.pid)
        stranger = Process(child.pid, ours.created - 100.0)
        stranger.end()
        assert not stranger.alive() and ours.alive()
    finally:
        child.kill()
        child.wait()


def test_clean_refuses_a_folder_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(SetupError, match="not made by Nightlift"):
        services.clean(Environment(tmp_path, tmp_path, "", {}))
    assert (tmp_path / "letter.txt").exists()


def test_private_folder_is_not_open_to_others(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    os.chmod(tmp_path / "a", 0o700)
    assert not postgres.open_to_others(inner)


def test_addresses_are_the_pages_that_nights_write_and_no_secret(tmp_path: Path) -> None:
    environment = Environment(tmp_path, tmp_path, "", {"mlflow_uri": "http://me:hush@127.0.0.1:5000", "secret": "hush"})
    docs, day = tmp_path / "docs", date(2024, 1, 8)
    before = services.addresses(environment, "shop", day)
    assert before["report"] == f"no night has written {pages.report_page(docs, 'shop', day)} yet"
    pages.record_report(docs, "shop", day, "<html>", "published")
    pages.rebuild(docs, "shop", day)
    after = services.addresses(environment, "shop", day)
    assert after["all nights"] == (docs / "index.html").as_uri()
    assert after["Data Docs"] == pages.checks_page(docs, "shop", day).as_uri()
    assert after["report"] == pages.report_page(docs, "shop", day).as_uri()
    assert "hush" not in str(after) and after["MLflow"] == "http://127.0.0.1:5000"
    assert "report" not in services.addresses(environment)


LEADER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
time.sleep(60)
"""


def test_what_a_killed_process_left_is_ended_and_nobody_else(tmp_path: Path) -> None:
    def children(process: Process) -> list[psutil.Process]:
        until = time.monotonic() + 30
        while not (found := psutil.Process(process.pid).children()):
            assert time.monotonic() < until
            time.sleep(0.01)
        return found

    first, second = (
        processes.start([sys.executable, "-c", LEADER], tmp_path / "log", os.environ, tmp_path) for _ in "12"
    )
    (orphan,), (other,) = children(first), children(second)
    psutil.Process(first.pid).kill()
    until = time.monotonic() + 30
    while first.alive():
        assert time.monotonic() < until
    assert orphan.is_running()
    Process(second.pid, second.created - 100.0).end()
    first.end()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert second.alive() and other.is_running()
    second.end()
    assert not other.is_running() or other.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("killed", "sites", "started"),
    [
        ("airflow-scheduler", "sites", ("airflow-scheduler",)),
        ("airflow-api-server", "sites", airflow.NAMES),  # the others know it by its address
        ("airflow-scheduler", "elsewhere", airflow.NAMES),
        ("", "sites", airflow.NAMES),  # all run, and one does not answer
    ],
)
def test_only_what_was_killed_of_airflow_is_started_so_that_tasks_keep_their_api_server(
    tmp_path: Path, killed: str, sites: str, started: tuple[str, ...]
) -> None:
    home = Home.open(Environment(tmp_path / "home", tmp_path / "sites", "", {}))
    home.record["airflow_sites"] = str(tmp_path / sites)
    for name in set(airflow.NAMES) - {killed}:
        home.keep(name, Process.of(os.getpid()))
    assert airflow.to_start(home) == started


def test_services_that_were_stopped_are_not_started_for_a_job(tmp_path: Path) -> None:
    with pytest.raises(AwayError, match="were stopped; run `make up`"):
        services.spark_again(Environment(tmp_path, tmp_path, "", {"spark_remote": "sc://localhost:1/;token=t"}))
