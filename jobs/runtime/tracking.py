"""MLflow: one parent run a night, nested runs, inputs with digests, and models that load only if their sha256 fits."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

from jobs.models.boosting import sha256 as sha256_of
from jobs.models.metrics import Estimate
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT
from jobs.runtime.errors import DataError
from jobs.tables.contracts import Table
from jobs.tables.lake import Lake


@dataclass(frozen=True)
class Registered:
    """A registered model version: its number, address and the sha256 of its files."""

    version: str
    uri: str
    sha256: str


def _client(args: JobArgs) -> mlflow.MlflowClient:
    mlflow.set_tracking_uri(args.environment.mlflow_uri)
    return mlflow.MlflowClient()


def _git_commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "none"


def night_run(args: JobArgs) -> str:
    """Id of the night's parent run: one per site, run date and DAG run (NIGHTLIFT_DAG_RUN), found or created."""
    client = _client(args)
    tags = {
        "site": args.site.site,
        "run_date": args.date.isoformat(),
        "dag_run": os.environ.get("NIGHTLIFT_DAG_RUN", "manual"),
    }
    experiment = mlflow.set_experiment(args.site.site).experiment_id
    wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in ({"level": "night"} | tags).items())
    first: dict[str, Any] = {"max_results": 1, "order_by": ["attributes.start_time ASC", "attributes.run_id ASC"]}
    found = client.search_runs([experiment], wanted, **first)
    if not found:
        about = {"level": "night", "git_commit": _git_commit(), "config_hash": args.site.digest}
        made = client.create_run(experiment, tags=tags | about, run_name=f"{args.site.site} {args.date}")
        client.set_terminated(made.info.run_id)
        found = client.search_runs([experiment], wanted, **first)
        if found[0].info.run_id != made.info.run_id:  # a task beside this one was first
            client.delete_run(made.info.run_id)
    return str(found[0].info.run_id)


@contextmanager
def nested_run(args: JobArgs, name: str, inputs: Sequence[Table] = ()) -> Iterator[str]:
    """A run under the night's, with the lake tables it reads as inputs; yields its id."""
    parent, lake = night_run(args), Lake(args)
    with mlflow.start_run(run_id=parent), mlflow.start_run(run_name=name, nested=True) as run:
        mlflow.set_tags({"site": args.site.site, "run_date": args.date.isoformat(), "git_commit": _git_commit()})
        for table in inputs:
            source = resolve_dataset_source(f"{lake.uri}/{table.name}")
            given = MetaDataset(source, name=table.name, digest=lake.digest([table])[:32])  # type: ignore[abstract]
            mlflow.log_input(given)
        yield run.info.run_id


def log_estimates(estimates: Mapping[str, Estimate | float]) -> None:
    """Log figures to the run that is open; an Estimate also as ``_low`` and ``_high``."""
    flat: dict[str, float] = {}
    for name, estimate in estimates.items():
        if isinstance(estimate, Estimate):
            flat |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        else:
            flat[name] = float(estimate)
    mlflow.log_metrics(flat)


def register(args: JobArgs, model: str, files: Mapping[str, bytes], run_id: str) -> Registered:
    """Register files as a version of ``<site>-<model>`` with alias ``challenger``.

    A version with the same sha256 is reused, so the same night twice has the same number. The files are data
    (UBJSON, JSON): there is no environment to infer and nothing runs when they are loaded.
    """
    client, name, digest = _client(args), f"{args.site.site}-{model}", sha256_of(files)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get("sha256") == digest]
    if same:
        version = str(min(int(v.version) for v in same))
    else:
        with tempfile.TemporaryDirectory() as folder:
            for path, content in files.items():
                (Path(folder) / path).write_bytes(content)
            client.log_artifacts(run_id, folder, artifact_path=model)
        source = f"{client.get_run(run_id).info.artifact_uri}/{model}"
        tags = {"sha256": digest, "run_date": args.date.isoformat()}
        version = str(client.create_model_version(name, source, run_id, tags=tags).version)
    set_alias(args, model, version, "challenger")
    return Registered(version, f"models:/{name}/{version}", digest)


def set_alias(args: JobArgs, model: str, version: str, alias: str) -> None:
    """Point ``alias`` (challenger, champion) of ``<site>-<model>`` at a version."""
    _client(args).set_registered_model_alias(f"{args.site.site}-{model}", alias, version)


def load_checked(args: JobArgs, uri: str, sha256: str, folder: Path) -> dict[str, bytes]:
    """Files of a model version, downloaded into ``folder``; DataError where their sha256 is not the recorded one."""
    _client(args)
    root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    # The registry may add a file of its own beside ours; only names that were recorded as boosters or JSON count.
    files = {path.name: path.read_bytes() for path in sorted(root.iterdir()) if path.suffix in {".ubj", ".json"}}
    found = sha256_of(files)
    if found != sha256:
        raise DataError(
            f"{uri} has sha256 {found[:12]}, not {sha256[:12]} as recorded; someone changed it: run its training again"
        )
    return files


def log_figure(figure: Any, name: str) -> None:
    """Log a matplotlib figure to the run that is open."""
    mlflow.log_figure(figure, name)


def short_hash(*parts: str) -> str:
    """First 16 hex digits of the sha256 of parts: what ``version_id`` is made with."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
