"""build_trials: the trials effects are learnt from: exact counts of all of them, and a weighted sample with features.

Fails where build_features has not run, or where the log shows nothing in the periods: without exposures there is no
effect to learn.
"""

from collections.abc import Sequence
from dataclasses import asdict

import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import LONG_ROWS, spark_session
from jobs.tables import contracts, listings
from jobs.tables.lake import Lake
from jobs.transforms import candidates, listed, pairs, people, trials


def main(argv: Sequence[str] | None = None) -> int:
    """Build the trials of the night."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    periods = trials.Periods.of(job.site, job.date)
    with spark_session(job, "build_trials", LONG_ROWS) as spark:
        _write_trials(job, lake, spark, periods)
    return 0


def _write_trials(job: JobArgs, lake: Lake, spark: SparkSession, periods: trials.Periods) -> None:
    days = lake.read_spark(spark, contracts.PAIR_DAYS)
    active, masks = lake.read_spark(spark, contracts.USER_PERIODS), lake.read_spark(spark, contracts.PAIR_PERIODS)
    playing = _playing(job, lake, spark, days)
    near = trials.with_outcome(masks, active, playing)
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
    labelled = trials.label(drawn, masks, lake.read_spark(spark, contracts.EXPOSURES), periods)
    labelled = listed.with_listed(labelled, listings.in_force(job, spark, periods.starts[periods.first :]))
    known = lake.read_pandas(contracts.ITEMS, ["item_id", "category"])
    starts = list(periods.starts)
    sold = lake.read_pandas(contracts.ITEM_FEATURE_TABLE, where=ds.field("as_of").isin(starts))
    numbers = people.numbers(spark, known["item_id"])
    everyone = people.people(
        lake.read_spark(spark, contracts.USERS),
        days,
        lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS),
        lake.read_spark(spark, contracts.USER_FEATURE_TABLE).where(F.col("as_of").isin(starts)),
        numbers,
    )
    about = pairs.things(job.date, known["item_id"].tolist(), known["category"], sold)
    lake.write_spark(
        contracts.TRIALS,
        pairs.for_pairs(labelled, everyone, numbers, about),
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
