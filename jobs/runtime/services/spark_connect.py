"""One warm Spark: a Spark Connect server that the night's Spark jobs share, so that no job pays for a cold JVM."""

import os
import secrets
from pathlib import Path

import pyspark

from jobs.runtime.services.home import Home, Say
from jobs.runtime.services.processes import LOCALHOST, free_port, listens, start, wait_for

PORT = 15002
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


def healthy(home: Home) -> bool:
    """Whether the recorded server listens."""
    return home.process("spark") is not None and listens(home.port("spark", PORT))


def up(home: Home, say: Say) -> None:
    """Start the server; only who knows its token can use it."""
    if healthy(home):
        return
    home.end("spark")
    port = free_port(home.port("spark", PORT), home.taken, say, "Spark")
    say(f"starting Spark on {LOCALHOST}:{port}")
    token = secrets.token_urlsafe(24)
    scratch = home.path / "spark"
    events = scratch / "events"
    events.mkdir(parents=True, exist_ok=True)
    settings = {
        "spark.connect.grpc.binding.address": LOCALHOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.bindAddress": LOCALHOST,
        "spark.driver.host": LOCALHOST,
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.rolling.enabled": "false",  # one file an application: what a link can point at
        "spark.eventLog.compress": "true",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": os.environ.get("NIGHTLIFT_SHUFFLE_PARTITIONS", "4"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.local.dir": str(scratch),
    }
    home_of_spark = Path(pyspark.__file__).parent
    command = [str(home_of_spark / "bin" / "spark-submit"), "--class", SERVER, "--name", "nightlift"]
    command += ["--master", "local[*]", "--driver-memory", os.environ.get("NIGHTLIFT_SPARK_MEMORY", "2g")]
    for key, value in settings.items():
        command += ["--conf", f"{key}={value}"]
    env = home.environ(
        {
            "SPARK_HOME": str(home_of_spark),
            "SPARK_LOCAL_IP": LOCALHOST,
            "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
            "OMP_NUM_THREADS": "1",
        }
    )
    log = home.log("spark")
    process = start([*command, "spark-internal"], log, env, scratch)
    home.keep("spark", process)
    wait_for(lambda: listens(port), process, "Spark", log, 120.0)
    # by name: for an address the client would ask for TLS
    home.record["spark_remote"] = f"sc://localhost:{port}/;token={token}"
    home.record.setdefault("ports", {})["spark"] = port
