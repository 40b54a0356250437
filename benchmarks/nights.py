"""Nights without Airflow: what the benchmarks judge is made by the night's own jobs.

Whole nights run on services of their own (``started``, ``run_jobs``). Where relevance alone is judged, features,
candidates and ranker are made in this process from clean tables (``relevance``), and no service is needed.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from jobs import build_features, generate_candidates
from jobs.models import ranker
from jobs.models.folds import threads
from jobs.runtime import labelled, services
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.errors import NightliftError, SetupError
from jobs.runtime.site import find_site
from jobs.tables import contracts
from jobs.tables.lake import Lake

JOBS = (
    "extract", "clean", "evaluate_feedback", "build_features", "generate_candidates", "train_ranker", "build_trials",
    "train_uplift", "check_effects", "score", "adjust",
)  # fmt: skip
Took = dict[str, dict[str, float]]


def relevance(site: dict[str, Any], clean: dict[str, pd.DataFrame], run_date: date, folder: Path) -> pd.DataFrame:
    """Tonight's candidates with what the ranker makes of them, as in train_ranker and score.

    Columns are those of CANDIDATES, ``score`` (of the ranker) and ``relevance`` (the same, calibrated). ``site`` is the
    site file, ``clean`` the rows before the run date of users, items and interactions; nothing was shown.
    """
    name = str(site["site"])
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    os.environ |= {
        "NIGHTLIFT_SITES": str(folder),
        "NIGHTLIFT_LAKE": str(folder / "lake"),
        "NIGHTLIFT_HOME": str(folder),
    }
    argv = ["--site", name, "--date", run_date.isoformat()]
    args = JobArgs.parse(argv)
    lake = Lake(args)
    for table in (contracts.USERS, contracts.ITEMS, contracts.INTERACTIONS, contracts.EXPOSURES):
        lake.write_arrow(table, _complete(table.arrow_schema, clean.get(table.name, pd.DataFrame())))
    for job in (build_features, generate_candidates):
        start = monotonic()
        job.main(argv)
        print(f"{job.__name__}: {monotonic() - start:.0f} s", flush=True)
    start = monotonic()
    frame = labelled.read(lake, labelled.IS_LABELLED)
    earlier = frame[frame["as_of"] < frame["as_of"].max()].reset_index(drop=True)
    settings, seed = args.site.ranker, args.site.seed
    fitted = ranker.fit(frame, settings, seed, like=ranker.fit(earlier, settings, seed))
    print(f"ranker: {len(frame):,} rows, {fitted.rounds} rounds, {monotonic() - start:.0f} s", flush=True)
    tonight = lake.read_pandas(contracts.CANDIDATES, where=ds.field("as_of") == run_date)
    score = fitted.score(ranker.matrix(tonight), threads())
    return tonight.assign(score=score, relevance=fitted.calibration.apply(score))


def _complete(schema: pa.Schema, frame: pd.DataFrame) -> pa.Table:
    """The frame in Arrow with nothing in the columns that it lacks; more columns stay."""
    columns = {
        field.name: pa.array(frame[field.name], field.type) if field.name in frame else pa.nulls(len(frame), field.type)
        for field in schema
    }
    return pa.table(columns | {name: pa.array(frame[name]) for name in frame if name not in columns})


def own_environment(home: Path) -> Environment:
    """This process's environment from now on: everything in a new folder ``home``, nothing from outside."""
    if home.exists():
        raise SetupError(f"{home} holds an earlier run; remove it or name another --home")
    os.environ |= {
        "NIGHTLIFT_HOME": str(home),
        "NIGHTLIFT_SITES": str(ROOT / "benchmarks" / "sites"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYSPARK_PYTHON": sys.executable,
    }
    for name in ("NIGHTLIFT_LAKE", "WAREHOUSE_URL", "MLFLOW_TRACKING_URI", "SPARK_REMOTE"):
        os.environ.pop(name, None)
    return Environment.load()


@contextlib.contextmanager
def started(home: Path, keep: bool) -> Iterator[Environment]:
    """Services in a new folder ``home``, ended and, unless they are to be kept, removed afterwards."""
    environment = own_environment(home)
    try:
        yield services.up(environment, with_airflow=False)
    finally:
        (services.stop if keep else services.clean)(environment)


def run_jobs(
    environment: Environment, site: str, day: date, load: Path, jobs: Sequence[str] = JOBS
) -> tuple[Lake, Took]:
    """Load the raw tables in the folder ``load`` and run a night's jobs; its lake, and what each job took."""
    taken = {"load": timed(["jobs", "load", "--site", site, "--from", str(load)])}
    for job in jobs:
        taken[job] = timed([f"jobs.{job}", "--site", site, "--date", day.isoformat()])
    return Lake(JobArgs(find_site(site, environment.sites), day, environment)), taken


def timed(module: Sequence[str]) -> dict[str, float]:
    """Seconds and peak resident megabytes (of its own process) of ``python -m module``; NightliftError on failure."""
    start, peak = monotonic(), 0
    process = psutil.Popen([sys.executable, "-m", *module], cwd=ROOT, env=os.environ)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        sleep(0.1)
    if process.returncode:
        raise NightliftError(f"{module[0]} ended with {process.returncode}; its error is above")
    found = {"seconds": round(monotonic() - start, 1), "peak_mb": round(peak / 2**20)}
    print(f"{' '.join(module[:2])}: {found['seconds']:.0f} s, {found['peak_mb']:.0f} MB", flush=True)
    return found
