"""Latent factors and user profiles: matrix factorisation, segments with plain labels, preferences."""

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.recommendation import ALS
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.places import places

HISTORY = 364
PROFILE_FEATURES = (
    "user_days_since_last",
    "user_active_days_91d",
    "user_outcomes_91d",
    "user_value_91d",
    "user_items_91d",
)


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

    One block, so that sums have one order: the same input gives the same factors to the last bit.
    """
    ids = {"user": places(users, "user_id", "user"), "item": places(items, "item_id", "item")}
    parts = []
    for k, as_of in enumerate(as_ofs):
        mine = rated.where(F.col(f"n_{k}") > 0).select("user", "item", F.log1p(f"n_{k}").cast("float").alias("rating"))
        als = ALS(
            rank=rank, maxIter=iterations, implicitPrefs=True, alpha=10.0, regParam=0.1, seed=seed,
            userCol="user", itemCol="item", ratingCol="rating", numUserBlocks=1, numItemBlocks=1,
        )  # fmt: skip
        model = als.fit(mine)
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
    days: DataFrame,
    factors: DataFrame,
    as_of: date,
    segments: int,
    seed: int,
) -> DataFrame:
    """USER_PROFILES of all users at ``as_of``; a user without an event is segment -1, 'new'."""
    mine = user_features.where(F.col("as_of") == F.lit(as_of))
    segment = _segments(mine, segments, seed)
    liked = factors.where((F.col("kind") == "user") & (F.col("as_of") == F.lit(as_of))).select(
        F.col("id").alias("user_id"), "factors"
    )
    return (
        users.select("user_id")
        .join(segment, on="user_id", how="left")
        .join(_preferences(days, as_of), on="user_id", how="left")
        .join(liked, on="user_id", how="left")
        .select(
            "user_id",
            F.coalesce("segment", F.lit(-1)).cast("int").alias("segment"),
            F.coalesce("segment_label", F.lit("new")).alias("segment_label"),
            F.coalesce("preferences", F.lit("[]")).alias("preferences"),
            "factors",
        )
    )


def _segments(mine: DataFrame, segments: int, seed: int) -> DataFrame:
    """Segment 0 has the most outcomes; clusters are renumbered so that their numbers mean the same every night.

    Of segments with the same words the less active carry a number, so that a label names one segment.
    """
    logs = [
        F.log1p(F.coalesce(F.col(name).cast("double"), F.lit(0.0))).alias(f"log_{name}") for name in PROFILE_FEATURES
    ]
    rows = mine.select("user_id", *PROFILE_FEATURES, *logs).repartition(1).sortWithinPartitions("user_id")
    vectors = VectorAssembler(inputCols=[f"log_{name}" for name in PROFILE_FEATURES], outputCol="raw_vector").transform(
        rows
    )
    scaled = (
        StandardScaler(withMean=True, withStd=True, inputCol="raw_vector", outputCol="features")
        .fit(vectors)
        .transform(vectors)
    )
    clustered = KMeans(k=segments, seed=seed, maxIter=20, predictionCol="cluster").fit(scaled).transform(scaled)
    means = clustered.groupBy("cluster").agg(*(_exact_mean(name).alias(f"mean_{name}") for name in PROFILE_FEATURES))
    overall = clustered.agg(*(_exact_mean(name).alias(f"all_{name}") for name in PROFILE_FEATURES))
    order = Window.orderBy(F.desc("mean_user_outcomes_91d"), "cluster")
    labels = means.crossJoin(overall).select(
        "cluster", (F.row_number().over(order) - 1).alias("segment"), _label().alias("words")
    )
    again = F.row_number().over(Window.partitionBy("words").orderBy("segment"))
    unique = F.when(again == 1, F.col("words")).otherwise(F.format_string("%s (%d)", "words", again))
    labels = labels.select("cluster", "segment", unique.alias("segment_label"))
    return clustered.select("user_id", "cluster").join(F.broadcast(labels), on="cluster", how="inner").drop("cluster")


def _exact_mean(name: str) -> Column:
    micro = F.round(F.coalesce(F.col(name).cast("double"), F.lit(0.0)) * 1000).cast("bigint")
    return F.sum(micro) / F.count("*") / 1000


def _label() -> Column:
    """Three plain words: how often, how recently, how broadly."""
    much, all_much = F.col("mean_user_outcomes_91d"), F.col("all_user_outcomes_91d")
    since = F.col("mean_user_days_since_last")
    items, all_items = F.col("mean_user_items_91d"), F.col("all_user_items_91d")
    often = F.when(much >= all_much * 1.5, "frequent").when(much >= all_much * 0.5, "regular").otherwise("occasional")
    recent = F.when(since <= 14, "recent").when(since <= 60, "cooling").otherwise("lapsed")
    broad = F.when(items >= all_items, "broad taste").otherwise("narrow taste")
    return F.concat_ws(", ", often, recent, broad)


def _preferences(days: DataFrame, as_of: date) -> DataFrame:
    """The top five categories of a user's last 364 days with their shares, as JSON."""
    age = F.datediff(F.lit(as_of), F.col("event_day"))
    counts = (
        days.where(age.between(1, 364) & (F.col("outcomes") > 0))
        .groupBy("user_id", "category")
        .agg(F.sum("outcomes").alias("n"))
    )
    total = F.sum("n").over(Window.partitionBy("user_id"))
    place = F.row_number().over(Window.partitionBy("user_id").orderBy(F.desc("n"), "category"))
    top = counts.withColumn("total", total).withColumn("place", place).where(F.col("place") <= 5)
    entry = F.struct("place", "category", F.round(F.col("n") / F.col("total"), 4).alias("share"))
    listed = top.groupBy("user_id").agg(F.sort_array(F.collect_list(entry)).alias("top"))
    plain = F.transform("top", lambda one: F.struct(one["category"].alias("category"), one["share"].alias("share")))
    return listed.select("user_id", F.to_json(plain).alias("preferences"))
