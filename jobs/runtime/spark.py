"""The Spark session a job works in: a warm Spark Connect server, spark-submit's own, or a local one."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.runtime import result, services
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import AwayError, SetupError
from jobs.runtime.services.processes import LOCALHOST, listens
from jobs.runtime.services.spark_connect import PORT

SHUFFLE_PARTITIONS = int(os.environ.get("NIGHTLIFT_SHUFFLE_PARTITIONS", "4"))
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": str(SHUFFLE_PARTITIONS),
    "spark.sql.requireAllClusterKeysForCoPartition": "false",  # tables laid out by user join without a shuffle
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # not INT96, which Arrow reads without its zone
}


PATIENCE = 5  # tries in 10 s: a server that was killed under a job would be waited for 10 minutes
LONG_ROWS = {  # a row holds all of a user: few make a batch, and a partition is much work however few its bytes
    "spark.sql.execution.arrow.maxRecordsPerBatch": "200",
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
}


@contextmanager
def spark_session(
    args: JobArgs, name: str, more: Mapping[str, str] | None = None, classic: bool = False
) -> Iterator[SparkSession]:
    """A session with the project's settings and ``more``; closed afterwards, while a warm server stays up.

    ``classic`` is for what Spark Connect cannot do: beside a warm server a session of this process is started, and an
    address in SPARK_REMOTE is a SetupError. A warm server that was killed is started anew; one that is killed meanwhile
    is an AwayError.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"nightlift {name} {args.site.site} {args.date}")
    if classic and os.environ.get("SPARK_REMOTE"):
        raise SetupError(f"{name} needs a classic Spark: unset SPARK_REMOTE, let spark_default name a cluster")
    remote = None if classic else _warm(args.environment)
    if remote:
        builder = builder.remote(remote)
    elif "SPARK_ENV_LOADED" not in os.environ:  # neither Connect nor spark-submit: alone on this machine
        builder = builder.master("local[*]").config("spark.driver.bindAddress", "127.0.0.1")
        builder = builder.config("spark.driver.host", "127.0.0.1")  # large results are fetched from there
        builder = builder.config("spark.ui.enabled", "false").config("spark.driver.memory", "3g")
    session = builder.getOrCreate()
    if remote:
        from pyspark.sql.connect.client.retries import DefaultPolicy

        session.client.set_retry_policies([DefaultPolicy(max_retries=PATIENCE, max_backoff=5000)])
    result.record(spark_application=session.conf.get("spark.app.id", None))
    for key, value in (SETTINGS | dict(more or {})).items():
        session.conf.set(key, value)
    try:
        yield session
    except PySparkException as error:
        if remote and not _answers(remote):
            raise AwayError(f"Spark at {_place(remote)} went away in the middle of {name}; run it again") from error
        raise
    finally:
        session.stop()


def _warm(environment: Environment) -> str | None:
    """Address of the warm server where there is one; AwayError where it is somebody else's and does not answer."""
    remote = environment.spark_remote
    if not remote or _answers(remote):
        return remote
    if os.environ.get("SPARK_REMOTE"):
        raise AwayError(f"Spark at {_place(remote)} does not answer; start it, or correct SPARK_REMOTE")
    return services.spark_again(environment)


def _answers(remote: str) -> bool:
    address = urlsplit(remote)
    return listens(address.port or PORT, address.hostname or LOCALHOST)


def _place(remote: str) -> str:
    """Host and port: the rest of the address holds the token."""
    return urlsplit(remote).netloc.rpartition("@")[2]


def by_user(frame: DataFrame) -> DataFrame:
    """The frame with each user's rows in one partition, as joins and groups by user and anything else need them."""
    return frame.repartition(SHUFFLE_PARTITIONS, "user_id")


@contextmanager
def cached(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame, computed once however often it is read inside; a warm server would keep it for ever without this."""
    kept = frame.persist()
    try:
        kept.count()  # only what is computed tells the planner how it is laid out
        yield kept
    finally:
        kept.unpersist()
