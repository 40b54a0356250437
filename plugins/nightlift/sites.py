"""What the DAGs of all sites share: where their files are, since when they run, what is tried again, the run date."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from airflow.sdk import Param

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site, load_site

START = datetime.fromisoformat(os.environ.get("NIGHTLIFT_START_DATE") or "2026-01-01").replace(tzinfo=UTC)
# a warehouse, MLflow or Spark that is away for a minute is back before the last try, which comes 90 s after the first
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=45)}


def read_all() -> Iterator[Site | SetupError]:
    """Every site file in the order of names, or what is wrong with it."""
    for path in sorted(Environment.load().sites.glob("*.yaml")):
        try:
            yield load_site(path)
        except SetupError as error:
            yield error


def readable() -> Iterator[Site]:
    """The sites whose files can be read; dags/site_files.py shows the others as an import error."""
    return (site for site in read_all() if isinstance(site, Site))


def run_date(title: str, description: str) -> Param:
    """The param that names the day before which everything is read."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)
