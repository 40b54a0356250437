"""Local services: ports, secrets, and that only our own processes are ended."""

import os
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from jobs.runtime import pages, services
from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.runtime.services import postgres, processes
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
