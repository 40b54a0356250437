"""One night through the Airflow scheduler, followed until it ends."""

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from jobs.runtime.airflow_client import AirflowClient
from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError

ENDED = ("success", "failed")
SILENT = (None, "None", "scheduled", "queued")
LOG_LINES = 30


def follow(environment: Environment, site: str, conf: dict[str, Any], console: Console, keep_schedule: bool) -> None:
    """Trigger ``nightly_<site>`` and show its tasks; NightliftError after the failing task's last log lines."""
    dag_id = f"nightly_{site}"
    client = AirflowClient(str(environment.services["airflow_url"]), environment.home / "airflow-admin-password")
    _wait_for_dag(client, dag_id)
    before = client.last_seconds(dag_id)
    run_id = client.trigger(dag_id, conf)
    client.pause(dag_id, False)
    try:
        with _display(console, before) as show:
            while (state := client.state(dag_id, run_id)) not in ENDED:
                show(client.tasks(dag_id, run_id))
                time.sleep(1.0)
            tasks = client.tasks(dag_id, run_id)
            show(tasks)
    finally:
        if not keep_schedule:
            client.pause(dag_id, True)
    if state == "success":
        return
    failed = next((task for task in tasks if task["state"] == "failed"), None)
    if failed is None:
        raise NightliftError(f"{dag_id} failed before any task ran; see {environment.home / 'logs'}")
    console.print(f"last lines of {failed['task_id']}:", markup=False)
    for line in client.log(dag_id, run_id, failed)[-LOG_LINES:]:
        console.print(f"  {line}", markup=False, highlight=False)
    raise NightliftError(f"task {failed['task_id']} of {dag_id} failed; the published version is unchanged")


def _wait_for_dag(client: AirflowClient, dag_id: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while client.find_dag(dag_id) is None:
        if time.monotonic() > end:
            why = "; ".join(client.import_errors()) or "the DAG processor has not read it"
            raise NightliftError(f"no DAG {dag_id}: {why}")
        time.sleep(1.0)


@contextlib.contextmanager
def _display(console: Console, before: float | None) -> Iterator[Any]:
    """A live table on a terminal, one line a state change elsewhere; ``before`` is how long the last night took."""
    if console.is_terminal:
        began = time.monotonic()
        with Live(console=console, refresh_per_second=2) as live:
            yield lambda tasks: live.update(_table(tasks, left(time.monotonic() - began, before)))
        return
    if before is not None:
        console.print(f"the last night took {before:.0f} s", markup=False, highlight=False)
    seen: dict[str, str] = {}

    def lines(tasks: list[dict[str, Any]]) -> None:
        for task in sorted(tasks, key=lambda task: task["start_date"] or "~"):
            state = task["state"]
            if state not in SILENT and seen.get(task["task_id"]) != state:
                seen[task["task_id"]] = state
                console.print(f"{task['task_id']}: {state} {_seconds(task)}".rstrip(), markup=False, highlight=False)

    yield lines


def left(seconds: float, before: float | None) -> str:
    """How much longer a night goes on that took ``seconds`` so far, judging by the last one's ``before``."""
    if before is None:
        return "no night before it to judge by"
    if seconds < before:
        return f"about {before - seconds:.0f} s left, if it takes as long as the last night"
    return f"{seconds - before:.0f} s longer than the last night"


def _table(tasks: list[dict[str, Any]], caption: str) -> Table:
    table = Table("task", "state", "seconds", caption=caption)
    colours = {"success": "green", "failed": "red", "running": "yellow", "up_for_retry": "magenta"}
    for task in sorted(tasks, key=lambda task: task["start_date"] or "~"):
        state = str(task["state"] or "waiting")
        table.add_row(task["task_id"], f"[{colours.get(state, 'dim')}]{state}", _seconds(task))
    return table


def _seconds(task: dict[str, Any]) -> str:
    if task["duration"]:
        return f"{task['duration']:.0f} s"
    if task["state"] != "running" or not task["start_date"]:
        return ""
    start = datetime.fromisoformat(task["start_date"].replace("Z", "+00:00"))
    return f"{max(0.0, (datetime.now(start.tzinfo) - start).total_seconds()):.0f} s"
