"""build_features: daily aggregates, masks of the periods, features of every as-of day, factors and user profiles.

Fails where clean has not run, or where nobody has an outcome in the year before the earliest label window or tonight.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime import label_windows
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import by_user, cached, spark_session
from jobs.tables import contracts
from jobs.tables.lake import FIRST_DAY, Lake
from jobs.transforms import calendar, features, pairs, preferences, profiles, shown, trials
from jobs.transforms.sources import HISTORY


def main(argv: Sequence[str] | None = None) -> int:
    """Build the features of the night."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    windows = label_windows.plan(job, lake)
    lake.write_json(label_windows.PLAN, windows.document())
    as_ofs = calendar.as_of_days(job.site, job.date, windows.made)
    with spark_session(job, "build_features") as spark:
        _write_days(job, lake, spark, windows.made[0], as_ofs[0])
        _write_times(job, lake, spark)
        _write_periods(job, lake, spark)
        _write_features(job, lake, spark, as_ofs)
        _write_profiles(job, lake, spark, windows.retrieval_days(job.date))
    return 0


def _write_days(job: JobArgs, lake: Lake, spark: SparkSession, placed_from: date, first: date) -> None:
    """Aggregates by day; of what was shown from before the ``first`` as-of day, of its places since ``placed_from``."""
    items = lake.read_spark(spark, contracts.ITEMS)
    interactions = by_user(lake.read_spark(spark, contracts.INTERACTIONS))
    days = features.pair_days(interactions, items, job.site)
    ordered = days.sortWithinPartitions(*contracts.PAIR_DAYS.key)
    lake.write_spark(contracts.PAIR_DAYS, ordered, inputs=[contracts.INTERACTIONS])
    exposures = lake.read_spark(spark, contracts.EXPOSURES)
    placed = shown.pair_positions(exposures, job.date, placed_from)
    placed = placed.repartition(1).sortWithinPartitions(*contracts.PAIR_POSITIONS.key)
    lake.write_spark(contracts.PAIR_POSITIONS, placed, inputs=[contracts.EXPOSURES])
    table = shown.pair_shown_days(
        exposures,
        lake.read_spark(spark, contracts.USERS),
        items,
        job.date,
        first - timedelta(days=pairs.SHOWN_DAYS),
    )
    lake.write_spark(contracts.PAIR_SHOWN_DAYS, table, inputs=[contracts.EXPOSURES])


def _write_times(job: JobArgs, lake: Lake, spark: SparkSession) -> None:
    """Times of the days whose events changed since the last night that counted them: at first, of all."""
    before = lake.dates(contracts.USER_TIMES)
    nights = [night for night in [*lake.dates(contracts.INTERACTIONS), job.date] if not before or night > before[-1]]
    covers = [lake.manifest(contracts.INTERACTIONS, night)["covers"] for night in nights]
    start = min(date.fromisoformat(days[0]) if days else FIRST_DAY for days in covers)
    events = lake.read_spark(spark, contracts.INTERACTIONS).where(F.col("event_day") >= F.lit(start))
    table = preferences.user_times(events).repartition(1).sortWithinPartitions(*contracts.USER_TIMES.key)
    lake.write_spark(contracts.USER_TIMES, table, covers=(start, job.date), inputs=[contracts.INTERACTIONS])


def _write_periods(job: JobArgs, lake: Lake, spark: SparkSession) -> None:
    periods = trials.Periods.of(job.site, job.date)
    days = lake.read_spark(spark, contracts.PAIR_DAYS)
    seen = shown.Shown(lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS), job.date)
    active = trials.user_periods(days, periods).repartition(1).sortWithinPartitions("user_id")
    lake.write_spark(contracts.USER_PERIODS, active, inputs=[contracts.PAIR_DAYS])
    active = lake.read_spark(spark, contracts.USER_PERIODS)
    pairs = trials.pair_periods(days, seen, active, periods)
    both = [contracts.PAIR_DAYS, contracts.PAIR_SHOWN_DAYS]
    lake.write_spark(contracts.PAIR_PERIODS, pairs.sortWithinPartitions("user_id", "item_id"), inputs=both)
    pairs = lake.read_spark(spark, contracts.PAIR_PERIODS)
    items = trials.item_periods(lake.read_spark(spark, contracts.ITEMS), seen, pairs, active, periods)
    lake.write_spark(contracts.ITEM_PERIODS, items.repartition(1).sortWithinPartitions("item_id"), inputs=both)


def _write_features(job: JobArgs, lake: Lake, spark: SparkSession, as_ofs: Sequence[date]) -> None:
    items, days = lake.read_spark(spark, contracts.ITEMS), lake.read_spark(spark, contracts.PAIR_DAYS)
    seen = shown.Shown(lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS), job.date)
    users = features.user_features(days, as_ofs).repartition(1).sortWithinPartitions("user_id", "as_of")
    lake.write_spark(contracts.USER_FEATURE_TABLE, users, inputs=[contracts.PAIR_DAYS])
    table = features.item_features(days, seen, items, as_ofs).repartition(1).sortWithinPartitions("item_id", "as_of")
    lake.write_spark(
        contracts.ITEM_FEATURE_TABLE, table, inputs=[contracts.PAIR_DAYS, contracts.PAIR_SHOWN_DAYS, contracts.ITEMS]
    )


def _write_profiles(job: JobArgs, lake: Lake, spark: SparkSession, as_ofs: Sequence[date]) -> None:
    days, settings = lake.read_spark(spark, contracts.PAIR_DAYS), job.site.profiles
    users, items = lake.read_spark(spark, contracts.USERS), lake.read_spark(spark, contracts.ITEMS)
    require_outcomes(days, as_ofs)
    with cached(profiles.ratings(days, users, items, as_ofs)) as rated:
        found = profiles.factors(
            rated, users, items, as_ofs, settings.factors, settings.factor_iterations, job.site.seed
        )
        ordered = found.repartition(1).sortWithinPartitions("as_of", "kind", "id")
        lake.write_spark(contracts.FACTORS, ordered, inputs=[contracts.PAIR_DAYS])
    times = lake.read_spark(spark, contracts.USER_TIMES)
    table = profiles.profiles(
        users,
        lake.read_spark(spark, contracts.USER_FEATURE_TABLE),
        preferences.preferences(days, items, times, job.date, job.site.ranking.brand, settings.time_zone),
        lake.read_spark(spark, contracts.FACTORS),
        job.date,
        settings.segments,
        job.site.seed,
    )
    lake.write_spark(
        contracts.USER_PROFILES,
        table.repartition(1).sortWithinPartitions("user_id"),
        inputs=[
            contracts.USERS,
            contracts.ITEMS,
            contracts.PAIR_DAYS,
            contracts.USER_TIMES,
            contracts.USER_FEATURE_TABLE,
            contracts.FACTORS,
        ],
    )


def require_outcomes(days: DataFrame, as_ofs: Sequence[date]) -> None:
    """DataError where an as-of day, the first of which opens the earliest label window, has no outcome to learn from.

    ``days`` are PAIR_DAYS.
    """
    ages = [F.datediff(F.lit(as_of), F.col("event_day")) for as_of in as_ofs]
    (found,) = days.agg(*(F.count_if((F.col("outcomes") > 0) & age.between(1, HISTORY)) for age in ages)).collect()
    for as_of, outcomes in zip(as_ofs, found, strict=True):
        if not outcomes:
            raise DataError(
                f"no outcome event in the {HISTORY} days before {as_of}, which this night learns from: load newer or"
                " older events, check outcome.event_types of the site file, lower ranker.label_windows, or choose"
                " another date"
            )


if __name__ == "__main__":
    run(main)
