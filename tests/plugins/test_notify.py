"""A failing task and a late night tell somebody, where somebody is named, and nobody where not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.module_loading import import_string

from nightlift import notify

NAMED = {"NIGHTLIFT_NOTIFY": "nightlift_alerts", "NIGHTLIFT_DEADLINE_MINUTES": "90"}


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses the path /refused."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)["text"]))  # type: ignore[attr-defined]
        self.send_response(500 if self.path == "/refused" else 200)
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What a receiver on this machine gets: path and text; the connection names it."""
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say_where(monkeypatch, server.server_port, "secret/path")
    monkeypatch.setenv("RECEIVER_PORT", str(server.server_port))
    yield server.got  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def say_where(monkeypatch: pytest.MonkeyPatch, port: int, path: str) -> None:
    connection = {"conn_type": "http", "host": f"http://127.0.0.1:{port}", "password": path}
    monkeypatch.setenv("AIRFLOW_CONN_NIGHTLIFT_ALERTS", json.dumps(connection))


class Broken(BaseOperator):
    """A task that fails."""

    def execute(self, context: object) -> None:
        raise ValueError("no rows")


def failing(environment: dict[str, str]) -> BaseOperator:
    with DAG("nightly_shop", default_args={"on_failure_callback": notify.on_failure(environment)}):
        return Broken(task_id="publish")


def fail(task: BaseOperator) -> None:
    """What Airflow does with a task that raises."""
    with pytest.raises(ValueError, match="no rows"):
        task.execute({})
    context = {"ti": task, "dag": task.dag, "run_id": "scheduled__1"}
    for callback in task.on_failure_callback or []:
        callback(context)


def test_a_failing_task_says_which_task_of_which_night(got: list[tuple[str, str]]) -> None:
    fail(failing(NAMED))
    ((path, text),) = got
    assert path == "/secret/path"
    assert text.startswith("nightlift: publish of nightly_shop failed, run scheduled__1;")


def test_nobody_is_told_where_nobody_is_named(got: list[tuple[str, str]]) -> None:
    fail(failing({"NIGHTLIFT_DEADLINE_MINUTES": "90"}))
    assert got == []
    assert notify.deadline("nightly_shop", {"NIGHTLIFT_DEADLINE_MINUTES": "90"}) is None
    assert notify.deadline("nightly_shop", {"NIGHTLIFT_NOTIFY": "nightlift_alerts"}) is None


def test_a_late_night_is_told_by_the_triggerer(got: list[tuple[str, str]]) -> None:
    alert = notify.deadline("nightly_shop", NAMED)
    assert alert is not None and alert.interval == timedelta(minutes=90)
    assert isinstance(alert.callback, AsyncCallback)
    notifier = import_string(alert.callback.path)(**alert.callback.kwargs)
    asyncio.run(notifier.async_notify({}))
    assert got == [("/secret/path", notify.LATE.format(dag="nightly_shop", minutes=90))]


def test_what_goes_wrong_is_said_without_the_secret_path(
    got: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    say_where(monkeypatch, int(os.environ["RECEIVER_PORT"]), "refused")
    with pytest.raises(RuntimeError, match="nightlift_alerts was not reached: HTTPError") as told:
        notify.Webhook("nightlift_alerts", "late").notify({})
    assert "refused" not in str(told.value) and len(got) == 1
