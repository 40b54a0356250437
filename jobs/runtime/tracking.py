"""MLflow runs: one parent run a night, a nested run a task with figures, both tagged, and digests of what was read."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import mlflow
import requests
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric

from jobs.models.metrics import Estimate
from jobs.runtime import result
from jobs.runtime.args import JobArgs, dag_run
from jobs.runtime.environment import ROOT
from jobs.runtime.errors import AwayError
from jobs.tables.lake import Lake
from jobs.tables.schema import Table

BATCH = 1000  # metrics a server takes at once
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description


def client(args: JobArgs) -> mlflow.MlflowClient:
    """A client of the environment's tracking server, which becomes this process's server.

    AwayError where it does not answer: MLflow's own client would try again for minutes before it says so.
    """
    address = args.environment.mlflow_uri
    try:
        if address.startswith("http"):
            requests.get(f"{address.rstrip('/')}/health", timeout=10)
    except requests.RequestException as error:
        where, what = urlsplit(address).netloc.rpartition("@")[2], type(error).__name__
        said = f"MLflow at {where} does not answer ({what}); run `make up` or check MLFLOW_TRACKING_URI"
        raise AwayError(said) from None
    mlflow.set_tracking_uri(address)
    return mlflow.MlflowClient()


@cache
def _git_commit() -> str:
    git = shutil.which("git")  # an image may hold the code without git
    if git is None:
        return "none"
    answer = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "none"


def tags(args: JobArgs) -> dict[str, str]:
    """Where a run or a model version comes from: site, run_date, git_commit, config_hash and dag_run."""
    return {
        "site": args.site.site,
        "run_date": args.date.isoformat(),
        "git_commit": _git_commit(),
        "config_hash": args.site.digest,
        "dag_run": dag_run(),
    }


def experiment_of(args: JobArgs) -> str:
    """Id of the site's experiment, found or created."""
    client(args)
    return str(mlflow.set_experiment(args.site.site).experiment_id)


def night_run(args: JobArgs) -> str:
    """Id of the night's parent run: one per site, run date and DAG run (NIGHTLIFT_DAG_RUN), found or created.

    It is RUNNING until ``finish_night`` ends it, or FAILED once a nested run failed.
    """
    server, about = client(args), {"level": "night", **tags(args)}
    experiment = experiment_of(args)
    wanted = " and ".join(f"tags.{key} = '{about[key]}'" for key in ("level", "site", "run_date", "dag_run"))
    first: dict[str, Any] = {"max_results": 1, "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"]}
    found = server.search_runs([experiment], wanted, **first)
    if not found:
        made = server.create_run(experiment, tags=about, run_name=f"{args.site.site} {args.date}")
        found = server.search_runs([experiment], wanted, **first)
        if found[0].info.run_id != made.info.run_id:  # a task beside this one was first
            server.delete_run(made.info.run_id)
    return str(found[0].info.run_id)


@contextmanager
def nested_run(args: JobArgs, name: str, inputs: Sequence[Table] = ()) -> Iterator[str]:
    """A run under the night's, with the lake tables it reads as inputs; yields its id. Where it fails the night has."""
    parent, lake = night_run(args), Lake(args)
    try:
        with mlflow.start_run(run_name=name, parent_run_id=parent, tags={"level": "task", **tags(args)}) as run:
            result.record(mlflow_run_id=run.info.run_id, mlflow_experiment_id=run.info.experiment_id)
            for table in inputs:
                source = resolve_dataset_source(f"{lake.uri}/{table.name}")
                given = MetaDataset(source, name=table.name, digest=lake.digest([table])[:32])  # type: ignore[abstract]
                mlflow.log_input(given)
            yield run.info.run_id
    except BaseException:
        mlflow.MlflowClient().set_terminated(parent, "FAILED")
        raise


def finish_night(args: JobArgs, figures: Mapping[str, Estimate | float], more_tags: Mapping[str, str]) -> None:
    """Put headline figures and tags on the parent run, so that nights compare, and end it."""
    parent = night_run(args)
    mlflow.log_metrics(flat(figures), run_id=parent)
    for key, value in more_tags.items():
        mlflow.MlflowClient().set_tag(parent, key, value)
    mlflow.MlflowClient().set_terminated(parent)


def link_night(args: JobArgs, paths: Mapping[str, str]) -> None:
    """Lead from the description of the night's run to its pages: ``paths`` below NIGHTLIFT_PAGES, by their names.

    Airflow's tasks have that address; a job run by hand has none, and leaves the description as it is.
    """
    address = os.environ.get("NIGHTLIFT_PAGES", "")
    if not address.startswith("http"):
        return
    parent, server = night_run(args), mlflow.MlflowClient()
    said = server.get_run(parent).data.tags.get(NOTE, "").split("\n\n")[0]
    leads = " · ".join(f"[{name}]({address}/{quote(path, safe='/')})" for name, path in paths.items())
    server.set_tag(parent, NOTE, f"{said}\n\n{leads}".strip())


def log_estimates(estimates: Mapping[str, Estimate | float]) -> None:
    """Log figures to the run that is open; an Estimate also as ``_low`` and ``_high``."""
    mlflow.log_metrics(flat(estimates))


def log_curves(curves: Mapping[str, Sequence[float | None]]) -> None:
    """Log curves to the run that is open as metrics with steps, from 1, so that MLflow draws nights over one another.

    A point that is None is left out.
    """
    run, now = mlflow.active_run(), int(time.time() * 1000)
    assert run is not None
    points = [
        Metric(name, float(value), now, step)
        for name, curve in curves.items()
        for step, value in enumerate(curve, 1)
        if value is not None
    ]
    for start in range(0, len(points), BATCH):
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points[start : start + BATCH])


def flat(estimates: Mapping[str, Estimate | float]) -> dict[str, float]:
    """Figures as MLflow's metrics; an Estimate is three: value, ``_low`` and ``_high``."""
    metrics: dict[str, float] = {}
    for name, estimate in estimates.items():
        if isinstance(estimate, Estimate):
            metrics |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        else:
            metrics[name] = float(estimate)
    return metrics


def short_hash(*parts: str) -> str:
    """First 16 hex digits of the sha256 of parts: what ``version_id`` is made with."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
