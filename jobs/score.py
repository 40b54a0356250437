"""Score every candidate of the night on the executors: relevance, propensity, effect and whether it is identified."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import functions as F

from jobs.models.scoring import Scorer
from jobs.runtime import registry
from jobs.runtime.args import JobArgs, run
from jobs.runtime.spark import SETTINGS, by_user, spark_session
from jobs.tables import listings
from jobs.tables.contracts import CANDIDATES, ITEM_PERIODS, PAIR_PERIODS, SCORES, USER_PERIODS
from jobs.tables.lake import Lake
from jobs.transforms.listed import with_listed
from jobs.transforms.trials import pair_counts


def load_scorer(args: JobArgs, lake: Lake) -> Scorer:
    """The models chosen tonight; DataError where a file's sha256 is not the recorded one."""
    chosen = [lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")]
    with tempfile.TemporaryDirectory() as folder:
        files = [
            registry.load_checked(args, one["model_uri"], one["sha256"], Path(folder) / str(number))
            for number, one in enumerate(chosen)
        ]
    return Scorer.of(*files)


def main(argv: Sequence[str] | None = None) -> int:
    """Candidates joined with their pairs' counts, scored by ``mapInArrow``, written with each user's rows together."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    scorer = load_scorer(args, lake)
    parts = int(SETTINGS["spark.sql.shuffle.partitions"])
    with spark_session(args, "score") as spark:
        candidates = lake.read_spark(spark, CANDIDATES).where(F.col("as_of") == F.lit(args.date))
        periods = [lake.read_spark(spark, table) for table in (PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS)]
        joined = with_listed(pair_counts(by_user(candidates), *periods), listings.in_force(args, spark, [args.date]))
        # what comes after is not shuffled: a range or a sort of all would score everything once more to sample it
        scored = joined.mapInArrow(scorer.batches(), SCORES.spark_ddl)
        ordered = scored.sortWithinPartitions("user_id", "item_id")
        lake.write_spark(SCORES, ordered, parts, inputs=[CANDIDATES, PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS])
    return 0


if __name__ == "__main__":
    run(main)
