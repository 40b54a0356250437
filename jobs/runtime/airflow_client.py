"""The few calls of Airflow's REST API that a run needs."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from jobs.runtime.errors import NightliftError


class AirflowClient:
    """Airflow at ``address``, as the admin of this home."""

    def __init__(self, address: str, password_file: Path) -> None:
        self.address = address
        self._token = ""
        body = {"username": "admin", "password": password_file.read_text().strip()}
        self._token = self._call("POST", "/auth/token", body)["access_token"]

    def find_dag(self, dag_id: str) -> dict[str, Any] | None:
        """The DAG, or None while it is not parsed."""
        return self._call("GET", f"/api/v2/dags/{quote(dag_id)}", missing=True)

    def import_errors(self) -> list[str]:
        """Last line of every import error."""
        errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return [error["stack_trace"].strip().splitlines()[-1] for error in errors]

    def pause(self, dag_id: str, paused: bool) -> None:
        """Switch the DAG's schedule off or on."""
        self._call("PATCH", f"/api/v2/dags/{quote(dag_id)}", {"is_paused": paused})

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run with these params; its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """State of a run."""
        return str(self._call("GET", self._run(dag_id, run_id))["state"])

    def last_seconds(self, dag_id: str) -> float | None:
        """How long the DAG's newest successful run took; None before there is one."""
        wanted = "state=success&order_by=-start_date&limit=1"
        runs = self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns?{wanted}")["dag_runs"]
        if not runs:
            return None
        start, end = (datetime.fromisoformat(runs[0][name]) for name in ("start_date", "end_date"))
        return (end - start).total_seconds()

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run."""
        return list(self._call("GET", f"{self._run(dag_id, run_id)}/taskInstances?limit=200")["task_instances"])

    def log(self, dag_id: str, run_id: str, task: Mapping[str, Any]) -> list[str]:
        """Log lines of a task's last try."""
        path = f"{self._run(dag_id, run_id)}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        content = self._call("GET", f"{path}?full_content=true")["content"]
        return [line if isinstance(line, str) else str(line.get("event", "")) for line in content]

    @staticmethod
    def _run(dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"

    def _call(self, method: str, path: str, body: Any = None, missing: bool = False) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urlopen(Request(self.address + path, data, headers, method=method), timeout=60) as answer:
                return json.load(answer)
        except HTTPError as error:
            if missing and error.code == 404:
                return None
            said = error.read().decode(errors="replace")[:300]
            raise NightliftError(f"Airflow refused {method} {path}: {error.code} {said}") from error
        except (URLError, OSError) as error:
            raise NightliftError(f"Airflow at {self.address} does not answer ({error}); run `make up`") from error
