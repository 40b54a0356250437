"""build_features: daily aggregates, features of every as-of day, latent factors and user profiles.

Fails where clean has not run, or where nobody has an outcome before the earliest label window.
"""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import spark_session
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.transforms import calendar, features, profiles


def main(argv: Sequence[str] | None = None) -> int:
    """Build the features of the night."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    with spark_session(job, "build_features") as spark:
        _write_days(job, lake, spark)
        _write_features(job, lake, spark)
        _write_profiles(job, lake, spark)
    return 0


def _write_days(job: JobArgs, lake: Lake, spark: SparkSession) -> None:
    items = lake.read_spark(spark, contracts.ITEMS)
    interactions = lake.read_spark(spark, contracts.INTERACTIONS)
    site = job.site
    days = features.pair_days(interactions, items, site.outcome.event_types, site.feedback, site.outcome.value)
    shown = features.pair_shown_days(lake.read_spark(spark, contracts.EXPOSURES))
    for table, frame, source in (
        (contracts.PAIR_DAYS, days, contracts.INTERACTIONS),
        (contracts.PAIR_SHOWN_DAYS, shown, contracts.EXPOSURES),
    ):
        ordered = frame.repartition(2, "user_id").sortWithinPartitions(*table.key)
        lake.write_spark(table, ordered, inputs=[source])


def _write_features(job: JobArgs, lake: Lake, spark: SparkSession) -> None:
    items, days = lake.read_spark(spark, contracts.ITEMS), lake.read_spark(spark, contracts.PAIR_DAYS)
    shown = lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS)
    as_ofs = calendar.as_of_days(job.site, job.date)
    users = features.user_features(days, as_ofs).repartition(1).sortWithinPartitions("user_id", "as_of")
    lake.write_spark(contracts.USER_FEATURE_TABLE, users, inputs=[contracts.PAIR_DAYS])
    table = features.item_features(days, shown, items, as_ofs).repartition(1).sortWithinPartitions("item_id", "as_of")
    lake.write_spark(
        contracts.ITEM_FEATURE_TABLE, table, inputs=[contracts.PAIR_DAYS, contracts.PAIR_SHOWN_DAYS, contracts.ITEMS]
    )


def _write_profiles(job: JobArgs, lake: Lake, spark: SparkSession) -> None:
    days, settings = lake.read_spark(spark, contracts.PAIR_DAYS), job.site.profiles
    first, last = calendar.factor_days(job.site, job.date)
    _require_outcomes(lake, spark, first)
    parts = [
        profiles.factors(days, day, settings.factors, settings.factor_iterations, job.site.seed)
        for day in (first, last)
    ]
    both = parts[0].unionByName(parts[1]).repartition(1).sortWithinPartitions("as_of", "kind", "id")
    lake.write_spark(contracts.FACTORS, both, inputs=[contracts.PAIR_DAYS])
    table = profiles.profiles(
        lake.read_spark(spark, contracts.USERS),
        lake.read_spark(spark, contracts.USER_FEATURE_TABLE),
        days,
        lake.read_spark(spark, contracts.FACTORS),
        job.date,
        settings.segments,
        job.site.seed,
    )
    lake.write_spark(
        contracts.USER_PROFILES,
        table.repartition(1).sortWithinPartitions("user_id"),
        inputs=[contracts.USERS, contracts.USER_FEATURE_TABLE, contracts.FACTORS],
    )


def _require_outcomes(lake: Lake, spark: SparkSession, day: date) -> None:
    days = lake.read_spark(spark, contracts.PAIR_DAYS)
    if days.where((F.col("outcomes") > 0) & (F.col("event_day") < F.lit(day))).isEmpty():
        raise DataError(
            f"no outcome event before {day}, the earliest label window: check outcome.event_types of the site file, "
            "lower ranker.label_windows, or choose a later date"
        )


if __name__ == "__main__":
    run(main)
