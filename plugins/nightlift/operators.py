"""Operators: a job of the night as a process of this environment, or through spark-submit on a cluster."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from jobs.runtime import result
from jobs.runtime.environment import Environment
from nightlift import assets, links, run_date
from nightlift.tasks import NOTE

ROOT = Path(__file__).resolve().parents[2]
FINAL_CODES = {2: "the data are wrong", 3: "the set-up is wrong"}  # running again changes nothing


def arguments(site: str, context: Mapping[str, Any]) -> list[str]:
    """Command line of a job in this DAG run."""
    params = context.get("params") or {}
    flags = [f"--{name.replace('_', '-')}" for name in ("force", "dry_run") if params.get(name)]
    said = ("choose_ranker", "choose_uplift", "reason")
    values = [f"--{name.replace('_', '-')}={params[name]}" for name in said if params.get(name)]
    return ["--site", site, "--date", run_date.resolve(context).isoformat(), *flags, *values]


def environment(context: Mapping[str, Any]) -> dict[str, str]:
    """Environment of a job: this one, the clone importable, its folders, its DAG run, and where its pages are read.

    The folders are named, since spark-submit's driver imports the jobs from an archive and would look for them there.
    """
    here = Environment.load()
    path = os.pathsep.join(
        dict.fromkeys([str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    )
    run_id = str(getattr(context.get("dag_run"), "run_id", ""))
    folders = {"NIGHTLIFT_HOME": str(here.home), "NIGHTLIFT_SITES": str(here.sites)}
    told = {"NIGHTLIFT_DAG_RUN": run_id, "NIGHTLIFT_PAGES": links.page("docs")}
    return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **told, **folders}


def final(code: int, line: str) -> AirflowFailException:
    """The error of a job that no retry mends."""
    return AirflowFailException(f"{FINAL_CODES[code]}, not retried: {line}")


class _Process:
    """One child process in a group of its own, so that killing the task ends all of it."""

    child: subprocess.Popen[str] | None = None

    def run(self, command: list[str], env: Mapping[str, str], log: Any) -> None:
        """Stream the output to ``log``; AirflowFailException for codes that no retry mends."""
        log.info("running %s", " ".join(command))
        self.child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        last = ""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            last = line.rstrip() or last
            log.info("%s", line.rstrip())
        code = self.child.wait()
        if code in FINAL_CODES:
            raise final(code, last)
        if code:
            raise AirflowException(f"exit code {code}: {last}")

    def kill(self) -> None:
        """End the child and its children."""
        if self.child and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)


@contextmanager
def listening(operator: Any, context: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Environment of a job; what the job tells, also of its failure, is then on the operator and in XCom."""
    failure = {}
    with tempfile.TemporaryDirectory(prefix="nightlift-") as folder:
        file = Path(folder) / "result.json"
        try:
            yield {**environment(context), result.VARIABLE: str(file)}
        except AirflowException as error:
            failure = {NOTE: f"{operator.task_id} failed: {error}"}
            raise
        finally:
            operator.told = result.told(file) | failure
            for name, value in operator.told.items():
                context["ti"].xcom_push(key=name, value=value)
    assets.announce(context["outlet_events"], operator.site, operator.told)


class JobOperator(BaseOperator):
    """Run ``python -m jobs.<task_id>`` with this interpreter in the clone."""

    operator_extra_links = links.LINKS

    def __init__(self, *, site: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site
        self.told: dict[str, Any] = {}
        self._process = _Process()

    def execute(self, context: Any) -> None:
        """Run the job; its output is the task's log."""
        command = [sys.executable, "-m", f"jobs.{self.task_id}", *arguments(self.site, context)]
        with listening(self, context) as env:
            self._process.run(command, env, self.log)

    def on_kill(self) -> None:
        """End the job with the task."""
        self._process.kill()


class SparkJobOperator(SparkSubmitOperator):
    """Run ``jobs/<task_id>.py`` on the cluster of ``spark_default``.

    Where that connection is a Spark Connect address (``sc://``), the warm server does the work and the job itself is
    a plain process; everywhere else it is spark-submit's.
    """

    operator_extra_links = links.SPARK_LINKS

    def __init__(self, *, site: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site
        self.told: dict[str, Any] = {}
        self._process = _Process()

    def execute(self, context: Any) -> None:
        """Run the job; its output is the task's log."""
        given = arguments(self.site, context)
        host = BaseHook.get_connection(self._conn_id).host or ""
        with listening(self, context) as env:
            if host.startswith("sc://"):
                self._process.run([sys.executable, "-m", f"jobs.{self.task_id}", *given], env, self.log)
            else:
                self._submit(given, env, context)

    def _submit(self, given: list[str], env: Mapping[str, str], context: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="nightlift-") as folder:
            self.name = f"nightlift {self.task_id} {self.site}"
            self.application = str(ROOT / "jobs" / f"{self.task_id}.py")
            self.application_args = given
            self.env_vars = {"PYSPARK_PYTHON": sys.executable, **env, **(self.env_vars or {})}
            self.py_files = shutil.make_archive(f"{folder}/jobs", "zip", ROOT, "jobs")
            try:
                super().execute(context)
            except AirflowException as error:  # spark-submit says that the job failed, the job says why
                told = result.told(Path(env[result.VARIABLE]))
                if told.get(result.EXIT_CODE) in FINAL_CODES:
                    raise final(told[result.EXIT_CODE], told[result.ERROR]) from error
                raise

    def on_kill(self) -> None:
        """End the job with the task."""
        if self._process.child:
            self._process.kill()
        else:
            super().on_kill()
