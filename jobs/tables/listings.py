"""The lists that were in force before as-of days, out of the lake's earlier nights."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.args import JobArgs
from jobs.tables.contracts import RECOMMENDATIONS
from jobs.tables.lake import Lake


def in_force(args: JobArgs, spark: SparkSession, as_ofs: Sequence[date]) -> DataFrame:
    """The version published last before each as-of day: user_id, item_id, as_of, rank, score.

    Its run date lies strictly before the as-of day, and so before the run date. A day before the first version has no
    rows.
    """
    lake = Lake(args)
    days: dict[tuple[date, str], list[date]] = {}
    for as_of in as_ofs:
        if found := lake.published_before(as_of):
            days.setdefault(found, []).append(as_of)
    parts = []
    for (day, version), mine in days.items():
        lists = Lake(replace(args, date=day)).read_spark(spark, RECOMMENDATIONS)
        every = F.explode(F.array(*(F.lit(as_of) for as_of in mine))).alias("as_of")
        lists = lists.where(F.col("version_id") == version)
        parts.append(lists.select("user_id", "item_id", every, "rank", "score"))
    if not parts:
        schema = "user_id string, item_id string, as_of date, rank int, score double"
        return spark.createDataFrame([], schema)
    return reduce(DataFrame.unionByName, parts)
