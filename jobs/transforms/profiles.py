"""Latent factors by matrix factorisation, and user profiles."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import reduce

from pyspark import inheritable_thread_target
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.places import places
from jobs.transforms.segments import segments
from jobs.transforms.sources import ALPHA, HISTORY, REGULARISATION


def ratings(days: DataFrame, users: DataFrame, items: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """Outcomes of each pair in the 364 days before as-of day k as ``n_k``, by the places of its ids: user, item, n_k.

    One sorted partition, so that what is fitted on it is the same to the last bit.
    """
    ages = [F.datediff(F.lit(as_of), F.col("event_day")) for as_of in as_ofs]
    counts = (
        days.where(F.col("outcomes") > 0)
        .groupBy("user_id", "item_id")
        .agg(*(F.sum(F.when(age.between(1, HISTORY), F.col("outcomes"))).alias(f"n_{k}") for k, age in enumerate(ages)))
    )
    return (
        counts.join(F.broadcast(places(users, "user_id", "user")), on="user_id", how="inner")
        .join(F.broadcast(places(items, "item_id", "item")), on="item_id", how="inner")
        .select(F.col("user").cast("int"), F.col("item").cast("int"), *(f"n_{k}" for k in range(len(as_ofs))))
        .repartition(1)
        .sortWithinPartitions("user", "item")
    )


def factors(
    rated: DataFrame, users: DataFrame, items: DataFrame, as_ofs: Sequence[date], rank: int, iterations: int, seed: int
) -> DataFrame:
    """FACTORS of users and items by implicit ALS (Hu, Koren, Volinsky 2008) on the log counts of ``ratings``.

    One block, so that sums have one order: the same input gives the same factors to the last bit. It keeps one core
    busy, so the as-of days are fitted side by side.
    """
    ids = {"user": places(users, "user_id", "user"), "item": places(items, "item_id", "item")}

    def fit(k: int) -> ALSModel:
        mine = rated.where(F.col(f"n_{k}") > 0).select("user", "item", F.log1p(f"n_{k}").cast("float").alias("rating"))
        als = ALS(
            rank=rank, maxIter=iterations, implicitPrefs=True, alpha=ALPHA, regParam=REGULARISATION,
            seed=seed, userCol="user", itemCol="item", ratingCol="rating", numUserBlocks=1, numItemBlocks=1,
        )  # fmt: skip
        return als.fit(mine)

    with ThreadPoolExecutor() as pool:
        models = list(pool.map(inheritable_thread_target(rated.sparkSession)(fit), range(len(as_ofs))))
    parts = []
    for as_of, model in zip(as_ofs, models, strict=True):
        for kind, learnt in (("user", model.userFactors), ("item", model.itemFactors)):
            named = learnt.join(F.broadcast(ids[kind]), F.col("id") == F.col(kind), how="inner").select(
                F.lit(kind).alias("kind"), F.col(f"{kind}_id").alias("id"), F.lit(as_of).alias("as_of"),
                F.to_json("features").alias("factors"),
            )  # fmt: skip
            parts.append(named)
    return reduce(DataFrame.unionByName, parts)


def profiles(
    users: DataFrame,
    user_features: DataFrame,
    preferences: DataFrame,
    factors: DataFrame,
    as_of: date,
    most_segments: int,
    seed: int,
) -> DataFrame:
    """USER_PROFILES of all users at ``as_of``; a user without an event is segment -1, 'new'.

    ``preferences`` has user_id and preferences of those who have any.
    """
    mine = user_features.where(F.col("as_of") == F.lit(as_of))
    segment = segments(mine, most_segments, seed)
    liked = factors.where((F.col("kind") == "user") & (F.col("as_of") == F.lit(as_of))).select(
        F.col("id").alias("user_id"), "factors"
    )
    return (
        users.select("user_id")
        .join(segment, on="user_id", how="left")
        .join(preferences, on="user_id", how="left")
        .join(liked, on="user_id", how="left")
        .select(
            "user_id",
            F.coalesce("segment", F.lit(-1)).cast("int").alias("segment"),
            F.coalesce("segment_label", F.lit("new")).alias("segment_label"),
            F.coalesce("preferences", F.lit("[]")).alias("preferences"),
            "factors",
        )
    )
