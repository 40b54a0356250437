"""Score every candidate of the night on the executors: relevance, propensity, effect and whether it is identified."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import functions as F

from jobs.models.boosting import Calibration
from jobs.models.prior import Prior
from jobs.models.propensity import Propensity
from jobs.models.scoring import Effects, Scorer
from jobs.models.uplift import Learner
from jobs.runtime import registry
from jobs.runtime.args import JobArgs, run
from jobs.runtime.spark import SETTINGS, by_user, spark_session
from jobs.tables.contracts import CANDIDATES, ITEM_PERIODS, PAIR_PERIODS, SCORES, USER_PERIODS
from jobs.tables.lake import Lake
from jobs.transforms.trials import pair_counts


def load_scorer(args: JobArgs, lake: Lake) -> Scorer:
    """The night's models; DataError where a file's sha256 is not the recorded one."""
    relevance, effects = lake.read_json("ranker"), lake.read_json("uplift")
    with tempfile.TemporaryDirectory() as folder:
        first = registry.load_checked(args, relevance["model_uri"], relevance["sha256"], Path(folder) / "ranker")
        second = registry.load_checked(args, effects["model_uri"], effects["sha256"], Path(folder) / "uplift")
    ranker, recipe = json.loads(first["recipe.json"]), json.loads(second["recipe.json"])
    folds = range(recipe["folds"])
    boosters = tuple(
        {
            name.removeprefix(f"effect-{k}-").removesuffix(".ubj"): raw
            for name, raw in second.items()
            if name.startswith(f"effect-{k}-")
        }
        for k in folds
    )
    return Scorer(
        first["ranker.ubj"],
        Calibration.of(ranker["calibration"]),
        Propensity(
            tuple(second[f"propensity-{k}.ubj"] for k in folds), Calibration.of(recipe["propensity_calibration"])
        ),
        Effects(
            Prior.of(recipe["items"], second["prior.npy"]),
            Learner(recipe["recipe"], boosters),
            tuple(recipe["slopes"]),
            recipe["intercept"],
            recipe["error"],
            frozenset(recipe["both_arms"]),
        ),
        recipe["folds"],
        recipe["overlap_eps"],
        tuple(recipe["adjusted"]),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Candidates joined with their pairs' counts, scored by ``mapInArrow``, written with each user's rows together."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    scorer = load_scorer(args, lake)
    parts = int(SETTINGS["spark.sql.shuffle.partitions"])
    with spark_session(args, "score") as spark:
        candidates = lake.read_spark(spark, CANDIDATES).where(F.col("as_of") == F.lit(args.date))
        periods = [lake.read_spark(spark, table) for table in (PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS)]
        joined = pair_counts(by_user(candidates), *periods)
        # what comes after is not shuffled: a range or a sort of all would score everything once more to sample it
        scored = joined.mapInArrow(scorer.batches(), SCORES.spark_ddl)
        ordered = scored.sortWithinPartitions("user_id", "item_id")
        lake.write_spark(SCORES, ordered, parts, inputs=[CANDIDATES, PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS])
    return 0


if __name__ == "__main__":
    run(main)
