"""Where the night runs: the addresses of warehouse, lake, MLflow and Spark, in one place.

An environment variable wins; otherwise the services of ``$NIGHTLIFT_HOME/services.json``, which ``make up`` writes.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jobs.runtime.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """Addresses of everything outside this process; secrets live only here and in the files of ``home``."""

    home: Path
    sites: Path
    lake: str
    services: Mapping[str, Any]

    @classmethod
    def load(cls) -> "Environment":
        """The environment of this process; a service that is not running is missed when it is asked for."""
        home = Path(os.environ.get("NIGHTLIFT_HOME") or ROOT / ".nightlift").expanduser().resolve()
        sites = Path(os.environ.get("NIGHTLIFT_SITES") or ROOT / "config" / "sites").expanduser().resolve()
        record = home / "services.json"
        services = json.loads(record.read_text()) if record.exists() else {}
        return cls(home, sites, os.environ.get("NIGHTLIFT_LAKE") or str(home / "lake"), services)

    @property
    def warehouse_url(self) -> str:
        """libpq URL of the warehouse."""
        return self._address("WAREHOUSE_URL", "warehouse_url", "warehouse")

    @property
    def mlflow_uri(self) -> str:
        """Address of the MLflow tracking server."""
        return self._address("MLFLOW_TRACKING_URI", "mlflow_uri", "MLflow server")

    @property
    def mlflow_page(self) -> str:
        """Address of MLflow for people: NIGHTLIFT_MLFLOW_UI, else the jobs' own without its user and password."""
        address = os.environ.get("NIGHTLIFT_MLFLOW_UI") or re.sub(r"//[^/@]*@", "//", self.mlflow_uri)
        return address.rstrip("/")

    def mlflow_run(self, run_id: str, experiment: str | None) -> str:
        """Page of a run among those of trained models: MLflow's own default is its pages for language models.

        Only an address with the experiment can ask for them; without it (None) the run's page is one of the latter.
        """
        run = f"runs/{quote(run_id, safe='')}"
        if experiment is None:
            return f"{self.mlflow_page}/#/{run}"
        return f"{self.mlflow_page}/#/experiments/{quote(experiment, safe='')}/{run}?workflowType=machine_learning"

    @property
    def spark_remote(self) -> str | None:
        """Address of a warm Spark Connect server (``sc://``), or None where Spark starts in the process."""
        return os.environ.get("SPARK_REMOTE") or self.services.get("spark_remote")

    def _address(self, variable: str, key: str, what: str) -> str:
        address = os.environ.get(variable) or self.services.get(key)
        if not address:
            raise SetupError(f"no {what}: {variable} is not set and no service runs in {self.home}; run `make up`")
        return str(address)
