"""build_trials: the trials effects are learnt from: exact counts of all of them, and a weighted sample with features.

Fails where build_features has not run, or where the log shows nothing in the periods: without exposures there is no
effect to learn.
"""

from collections.abc import Sequence
from dataclasses import asdict

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import by_user, cached, spark_session
from jobs.tables import contracts, listings
from jobs.tables.lake import Lake
from jobs.transforms import calendar, candidates, features, listed, trials
from jobs.transforms.shown import Shown


def main(argv: Sequence[str] | None = None) -> int:
    """Build the trials of the night."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    periods = trials.Periods(
        calendar.period_starts(job.site, job.date), job.site.period_days, job.site.outcome.window_days
    )
    with spark_session(job, "build_trials") as spark:
        _write_masks(job, lake, spark, periods)
        _write_trials(job, lake, spark, periods)
    return 0


def _write_masks(job: JobArgs, lake: Lake, spark: SparkSession, periods: trials.Periods) -> None:
    days = lake.read_spark(spark, contracts.PAIR_DAYS)
    shown = Shown(lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS), job.date)
    active = trials.user_periods(days, periods).repartition(1).sortWithinPartitions("user_id")
    lake.write_spark(contracts.USER_PERIODS, active, inputs=[contracts.PAIR_DAYS])
    active = lake.read_spark(spark, contracts.USER_PERIODS)
    pairs = trials.pair_periods(days, shown, active, periods)
    both = [contracts.PAIR_DAYS, contracts.PAIR_SHOWN_DAYS]
    lake.write_spark(contracts.PAIR_PERIODS, pairs.sortWithinPartitions("user_id", "item_id"), inputs=both)
    pairs = lake.read_spark(spark, contracts.PAIR_PERIODS)
    items = trials.item_periods(lake.read_spark(spark, contracts.ITEMS), shown, pairs, active, periods)
    lake.write_spark(contracts.ITEM_PERIODS, items.repartition(1).sortWithinPartitions("item_id"), inputs=both)


def _write_trials(job: JobArgs, lake: Lake, spark: SparkSession, periods: trials.Periods) -> None:
    days = lake.read_spark(spark, contracts.PAIR_DAYS)
    active, pairs = lake.read_spark(spark, contracts.USER_PERIODS), lake.read_spark(spark, contracts.PAIR_PERIODS)
    playing = _playing(job, lake, spark, days)
    near = trials.with_outcome(pairs, active, playing)
    (row,) = trials.universe(active, playing, near, periods).collect()
    if not row.trials:
        raise DataError(
            f"the exposure log of {job.site.site} shows nothing to an active user between {periods.starts[0]} and "
            f"{job.date}: without exposures there is no effect to learn; log what is shown"
        )
    shares = trials.rates(row.trials, row.near or 0, job.site.effects.max_trials)
    print(f"trials: {row.trials:,} in all, {row.near or 0:,} of pairs with an outcome; shares {shares}")
    lake.write_json("trial_shares", asdict(shares))
    drawn = trials.sample(active, playing, near, periods, shares, job.site.seed)
    labelled = trials.label(drawn, pairs, lake.read_spark(spark, contracts.EXPOSURES), periods)
    labelled = listed.with_listed(labelled, listings.in_force(job, spark, periods.starts[periods.first :]))
    mine = F.col("as_of").isin(list(periods.starts))
    with cached(by_user(labelled)) as kept:
        table = features.for_pairs(
            kept,
            lake.read_spark(spark, contracts.USER_FEATURE_TABLE).where(mine),
            lake.read_spark(spark, contracts.ITEM_FEATURE_TABLE).where(mine),
            days,
            Shown(lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS), job.date),
            periods.starts,
        )
        lake.write_spark(
            contracts.TRIALS,
            table.sortWithinPartitions(*contracts.TRIALS.key),
            inputs=[contracts.PAIR_PERIODS, contracts.USER_PERIODS, contracts.ITEM_PERIODS],
        )


def _playing(job: JobArgs, lake: Lake, spark: SparkSession, days: DataFrame) -> DataFrame:
    """Items that were in play and have enough users with an outcome; where none has, all that were in play."""
    items = (
        lake.read_spark(spark, contracts.ITEM_PERIODS).select("item_id", "category", "in_play").where("in_play != 0")
    )
    users = candidates.item_users(days, [job.date])
    known = users.where(F.col("users") >= job.site.candidates.min_item_users).select("item_id")
    enough = items.join(F.broadcast(known), on="item_id", how="inner")
    return items if enough.isEmpty() else enough


if __name__ == "__main__":
    run(main)
