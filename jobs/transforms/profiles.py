"""Latent factors and user profiles: matrix factorisation, segments with plain labels, preferences."""

from datetime import date

from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.recommendation import ALS
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PROFILE_FEATURES = (
    "user_days_since_last",
    "user_active_days_91d",
    "user_outcomes_91d",
    "user_value_91d",
    "user_items_91d",
)


def factors(days: DataFrame, as_of: date, rank: int, iterations: int, seed: int, history: int = 364) -> DataFrame:
    """FACTORS of users and items by implicit ALS (Hu, Koren, Volinsky 2008) on log counts before ``as_of``.

    Ids are numbered in their order and the ratings lie sorted in one partition and one block: the same input gives the
    same factors to the last bit.
    """
    age = F.datediff(F.lit(as_of), F.col("event_day"))
    counts = days.where(age.between(1, history)).groupBy("user_id", "item_id").agg(F.sum("outcomes").alias("n"))
    counts = counts.where(F.col("n") > 0)
    people, things = _numbered(counts, "user_id", "user"), _numbered(counts, "item_id", "item")
    ratings = (
        counts.join(F.broadcast(people), on="user_id", how="inner")
        .join(F.broadcast(things), on="item_id", how="inner")
        .select("user", "item", F.log1p("n").cast("float").alias("rating"))
        .repartition(1)
        .sortWithinPartitions("user", "item")
    )
    als = ALS(
        rank=rank, maxIter=iterations, implicitPrefs=True, alpha=10.0, regParam=0.1, seed=seed,
        userCol="user", itemCol="item", ratingCol="rating", numUserBlocks=1, numItemBlocks=1,
    )  # fmt: skip
    model = als.fit(ratings)
    parts = []
    for kind, learnt, ids in (("user", model.userFactors, people), ("item", model.itemFactors, things)):
        named = learnt.join(ids, learnt["id"] == ids[kind], how="inner").select(
            F.lit(kind).alias("kind"), F.col(f"{kind}_id").alias("id"), F.lit(as_of).alias("as_of"),
            F.to_json("features").alias("factors"),
        )  # fmt: skip
        parts.append(named)
    return parts[0].unionByName(parts[1])


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
    """Segment 0 has the most outcomes; clusters are renumbered so that their numbers mean the same every night."""
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
        "cluster", (F.row_number().over(order) - 1).alias("segment"), _label().alias("segment_label")
    )
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


def _numbered(counts: DataFrame, key: str, name: str) -> DataFrame:
    return (
        counts.select(key)
        .distinct()
        .select(key, (F.row_number().over(Window.orderBy(key)) - 1).cast("int").alias(name))
    )
