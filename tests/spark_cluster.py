"""A Spark master and two workers as processes of this machine, on loopback, with ports the system chose."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from jobs.runtime.services.processes import LOCALHOST, start, wait_for

WORKERS = 2
DEPLOY = "org.apache.spark.deploy"
SHORT_LIVED = "-XX:TieredStopAtLevel=1"  # a JVM of half a minute never earns back what the second compiler costs


@dataclass(frozen=True)
class Cluster:
    """Port of the master, and the folder of each worker."""

    port: int
    folders: tuple[Path, ...]

    def applications(self) -> list[set[str]]:
        """Ids of the applications that had an executor, worker by worker."""
        return [{path.name for path in folder.glob("app-*") if any(path.iterdir())} for folder in self.folders]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """The cluster, its logs in ``folder``; the workers have none of this process's import path."""
    home = Path(pyspark.__file__).parent
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = {**given, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": LOCALHOST, "SPARK_DAEMON_MEMORY": "256m"}
    env["JAVA_TOOL_OPTIONS"] = SHORT_LIVED
    ports = ["--host", LOCALHOST, "--port", "0", "--webui-port", "0"]
    with ExitStack() as ended:

        def run(name: str, sign: str, *words: str) -> str:
            log = folder / f"{name}.log"
            process = start([str(home / "bin" / "spark-class"), *words], log, env, folder)
            ended.callback(process.end)
            wait_for(lambda: re.search(sign, log.read_text()) is not None, process, name, log, 60.0)
            found = re.search(sign, log.read_text())
            assert found is not None
            return found[0]

        address = run("master", rf"spark://{LOCALHOST}:\d+", f"{DEPLOY}.master.Master", *ports)
        folders = tuple(folder / f"worker-{number}" for number in range(WORKERS))
        for place in folders:
            limits = ["--cores", "1", "--memory", "1g", "--work-dir", str(place)]
            run(place.name, "Successfully registered", f"{DEPLOY}.worker.Worker", *ports, *limits, address)
        yield Cluster(int(address.rpartition(":")[2]), folders)
