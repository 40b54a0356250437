"""Where the pages of a night are: addresses, and the links on task instances.

A link is made by the worker when its task ends, from what the job told (MLflow run, paths of pages, Spark application),
also when the task failed; Airflow keeps it in XCom.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError

PAGE = "/nightlift"  # where the effects page lives below Airflow


def mlflow_run(environment: Environment, run_id: str, experiment: str | None) -> str:
    """Page of a run; empty where there is no MLflow."""
    try:
        return environment.mlflow_run(run_id, experiment)
    except SetupError:
        return ""


def page(path: str) -> str:
    """A page that the night wrote, behind Airflow's login."""
    from airflow.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PAGE}/{quote(path, safe='/#')}"


class MlflowLink(BaseOperatorLink):
    """The task's run in MLflow."""

    name = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the run; empty where the task had none."""
        run_id, experiment = (operator.told.get(f"mlflow_{name}_id") for name in ("run", "experiment"))
        return mlflow_run(Environment.load(), run_id, experiment) if run_id else ""


class DataDocsLink(BaseOperatorLink):
    """The checks of the night."""

    name = "Data Docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the checks; empty where the task checks nothing."""
        return page(f"docs/{operator.told['data_docs']}") if operator.told.get("data_docs") else ""


class ReportLink(BaseOperatorLink):
    """The report of the night."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the report; empty before there is one."""
        return page(f"docs/{operator.told['report']}") if operator.told.get("report") else ""


class EffectsLink(BaseOperatorLink):
    """The effects page of the site."""

    name = "Effects page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the site's page."""
        return page(f"sites/{operator.site}")


class SparkLink(BaseOperatorLink):
    """The Spark application of the task: in the history server, or as its event log."""

    name = "Spark history"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The history server's page (NIGHTLIFT_SPARK_HISTORY), else this machine's event log; empty without either."""
        application = operator.told.get("spark_application")
        if not application:
            return ""
        history = os.environ.get("NIGHTLIFT_SPARK_HISTORY", "").rstrip("/")
        if history:
            return f"{history}/history/{quote(application, safe='')}/jobs/"
        return page(f"spark/{operator.site}/{application}") if event_log(Environment.load(), application) else ""


def event_log(environment: Environment, application: str) -> Path | None:
    """Path of the event log of this machine's warm Spark, or None; a log still written to ends in .inprogress."""
    folder = environment.home / "spark" / "events"
    logs = sorted(folder.glob("*")) if folder.is_dir() else []
    return next((log for log in logs if log.name.split(".")[0] == application), None)


LINKS = (EffectsLink(), MlflowLink(), DataDocsLink(), ReportLink())
SPARK_LINKS = (EffectsLink(), SparkLink())
