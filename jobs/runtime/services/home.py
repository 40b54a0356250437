"""The folder the local services live in, and the record of what runs there."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.services.processes import Process, read_json, write_private

Say = Callable[[str], None]
MARKER = ".made-by-nightlift"
PRIVATE = ("airflow", "docs", "lake", "logs", "mlartifacts", "spark")


@dataclass
class Home:
    """State of the local services: ``services.json`` (mode 600), logs and secrets below ``path``."""

    path: Path
    sites: Path
    record: dict[str, Any]
    taken: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, environment: Environment) -> "Home":
        """The home of ``environment``, made where it is missing; what holds data is private to its owner."""
        environment.home.mkdir(parents=True, exist_ok=True)
        if set(os.listdir(environment.home)) <= {".lock"}:
            (environment.home / MARKER).touch()
        for name in PRIVATE:
            (environment.home / name).mkdir(exist_ok=True, mode=0o700)
        return cls(environment.home, environment.sites, read_json(environment.home / "services.json"))

    def save(self) -> None:
        """Write services.json."""
        write_private(self.path / "services.json", json.dumps(self.record, indent=2, sort_keys=True) + "\n")

    def forget(self, *keys: str) -> None:
        """Drop what no longer runs."""
        for key in keys:
            self.record.pop(key, None)

    def log(self, name: str) -> Path:
        """Log file of one service."""
        return self.path / "logs" / f"{name}.log"

    def process(self, name: str) -> Process | None:
        """The recorded process, where it still runs."""
        process = self._recorded(name)
        return process if process and process.alive() else None

    def _recorded(self, name: str) -> Process | None:
        kept = self.record.get("processes", {}).get(name)
        return Process(kept["pid"], kept["created"]) if kept else None

    def keep(self, name: str, process: Process) -> None:
        """Record a process that was just started."""
        self.record.setdefault("processes", {})[name] = process.record()

    def end(self, *names: str) -> list[str]:
        """End the recorded processes of these names, and what killed ones left; those that ran."""
        ended = []
        for name in names:
            process = self._recorded(name)
            if process:
                ended += [name] if process.alive() else []
                process.end()
            self.record.get("processes", {}).pop(name, None)
        return ended

    def port(self, name: str, default: int) -> int:
        """The port this service had last time, or its usual one."""
        return int(self.record.get("ports", {}).get(name, default))

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment of a child: this one, the clone on PYTHONPATH, and where home and sites are."""
        bin_folder = str(Path(sys.executable).parent)
        paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            **os.environ,
            "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", "/usr/bin:/bin")]),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "PYSPARK_PYTHON": sys.executable,
            "NIGHTLIFT_HOME": str(self.path),
            "NIGHTLIFT_SITES": str(self.sites),
            "OMP_WAIT_POLICY": "PASSIVE",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # in the logs of tasks it is noise
            **(extra or {}),
        }
