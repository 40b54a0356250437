"""`kill -9` of the job that publishes, wherever it is: readers see whole versions, and the same job again is right."""

import json
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import mlflow
import pytest

from jobs import publish
from jobs.runtime import result
from jobs.runtime.args import JobArgs
from tests.faults.conftest import assert_whole, later, polling, published, query, version, whole, words
from tests.faults.wire import SECONDS, Wire

POINTER = b"VALUES ('recommendations'"
POINTS = {  # what the publisher says, or was answered, when it is killed, and what it had said before
    "staged: the version's table is there, without rows": (b'COPY "', False, b""),
    "loaded: its rows are there": (b"count(DISTINCT (version_id", False, b""),
    "audited": (b"ADD PRIMARY KEY", False, b""),
    "part of the history, which it does not know": (b"COMMIT", True, b""),
    "before commit: the pointer has moved": (b"COMMIT", False, POINTER),
    "after commit: it does not know": (b"COMMIT", True, POINTER),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed(
    job: JobArgs,
    start: Callable[..., BaseProcess],
    point: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop_at, answered, since = POINTS[point]
    before, after = later(job, 1), later(job, 2, uplift="2")
    assert publish.main(words(before)) == 0
    with polling(job) as seen:
        with Wire(job.environment.warehouse_url, stop_at, answered, since) as wire:
            process = start(after, WAREHOUSE_URL=wire.url)
            assert wire.held.wait(SECONDS), "the publisher never came to this point"
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL
        gone = answered and since  # what the server was told to commit is committed, whoever is there to hear of it
        assert published(job) == version(after.date if gone else before.date)
        assert champion(job) == "1"
        monkeypatch.setenv(result.VARIABLE, str(tmp_path / "told.json"))
        assert publish.main(words(after)) == 0
    assert seen == whole(before, after)
    assert published(job) == version(after.date)
    assert_whole(job)
    assert champion(job) == "2"
    assert json.loads((tmp_path / "told.json").read_text())["published_rows"], "who waits for the lists is told of them"
    assert query(job, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'") == [(0,)]


def champion(job: JobArgs) -> str:
    """Version of the effect model that is champion."""
    return str(mlflow.MlflowClient().get_model_version_by_alias(f"{job.site.site}-uplift", "champion").version)
