"""Where the pages of a night are: addresses, and the links on task instances."""

import os
from urllib.parse import quote

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError


def mlflow_address(environment: Environment) -> str | None:
    """Address of MLflow for a browser: NIGHTLIFT_MLFLOW_UI, else where the jobs find it; None where there is none."""
    try:
        return (os.environ.get("NIGHTLIFT_MLFLOW_UI") or environment.mlflow_uri).rstrip("/")
    except SetupError:
        return None


def mlflow_run(address: str, run_id: str) -> str:
    """Page of a run."""
    return f"{address}/#/runs/{quote(run_id, safe='')}"
