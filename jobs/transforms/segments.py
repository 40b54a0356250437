"""Segments of users by their habits: how many is asked of the data, and each has a name in plain words of its own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

HABITS = (
    "user_days_since_last",
    "user_active_days_91d",
    "user_outcomes_91d",
    "user_value_91d",
    "user_items_91d",
)
SAMPLE = 4_000  # users that centres are learnt from, those with the lowest hashes: mostly the same every night
JUDGED = 1_000  # of them that the silhouette compares, each with each
STARTS = 4
BETTER = 0.02  # silhouette that one segment more has to bring: near a tie the number stays


def segments(mine: DataFrame, most: int, seed: int) -> DataFrame:
    """user_id, segment and segment_label of users with ``HABITS``, in at most ``most`` segments.

    Segment 0 has the most outcomes a user, so that numbers mean the same every night. k-means on standardised
    logarithms; the number is that of the best mean silhouette (Rousseeuw 1987), found on a sample.
    """
    logs = [F.log1p(F.coalesce(F.col(name).cast("double"), F.lit(0.0))).alias(f"log_{name}") for name in HABITS]
    rows = mine.select("user_id", *HABITS, *logs)
    drawn = rows.orderBy(F.xxhash64("user_id"), "user_id").limit(SAMPLE).select([f"log_{name}" for name in HABITS])
    values = np.column_stack([column.to_numpy() for column in drawn.toArrow().columns])
    middle, spread = np.round(values.mean(axis=0), 6), np.round(np.maximum(values.std(axis=0), 1e-6), 6)
    found = centres((values - middle) / spread, most, seed)
    scaled = [(F.col(f"log_{name}") - float(m)) / float(s) for name, m, s in zip(HABITS, middle, spread, strict=True)]
    clustered = rows.withColumn("cluster", nearest(scaled, found))
    return clustered.select("user_id", "cluster").join(F.broadcast(_named(clustered)), on="cluster").drop("cluster")


def centres(values: NDArray[np.float64], most: int, seed: int) -> NDArray[np.float64]:
    """Centres of the best number of clusters of ``values`` (users, habits), rounded; one where all users are alike."""
    different = len(np.unique(np.round(values, 6), axis=0))
    best, chosen = 0.0, np.round(values.mean(axis=0, keepdims=True), 6)
    for k in range(2, min(most, different) + 1):
        model = KMeans(k, n_init=STARTS, random_state=seed).fit(values)
        labels = model.labels_[:JUDGED]
        if not 1 < len(np.unique(labels)) < len(labels):
            continue
        score = float(silhouette_score(values[:JUDGED], labels))
        if score > best + (BETTER if len(chosen) > 1 else 0.0):
            best, chosen = score, np.round(model.cluster_centers_, 6)
    return chosen


def nearest(scaled: Sequence[Column], found: NDArray[np.float64]) -> Column:
    """Number of the nearest centre, the first where two are as near."""
    squares = [
        sum(((value - float(at)) * (value - float(at)) for value, at in zip(scaled, centre, strict=True)), F.lit(0.0))
        for centre in found
    ]
    places = [F.struct(square.alias("far"), F.lit(k).alias("cluster")) for k, square in enumerate(squares)]
    return F.array_min(F.array(*places))["cluster"]


def _named(clustered: DataFrame) -> DataFrame:
    """cluster, segment and segment_label: of segments with the same words each says how active it is."""
    means = clustered.groupBy("cluster").agg(*(_exact_mean(name).alias(f"mean_{name}") for name in HABITS))
    overall = clustered.agg(*(_exact_mean(name).alias(f"all_{name}") for name in HABITS))
    order = Window.orderBy(F.desc("mean_user_outcomes_91d"), "cluster")
    labels = means.crossJoin(overall).select(
        "cluster", (F.row_number().over(order) - 1).alias("segment"), _words().alias("words")
    )
    alike = Window.partitionBy("words")
    many, place = F.count("*").over(alike), F.row_number().over(alike.orderBy("segment"))
    beside = (
        F.when(many == 1, "")
        .when(place == 1, F.when(many == 2, ", more active").otherwise(", most active"))
        .when(place == many, F.when(many == 2, ", less active").otherwise(", least active"))
        .otherwise(F.format_string(", %d. most active", place))
    )
    return labels.select("cluster", "segment", F.concat("words", beside).alias("segment_label"))


def _exact_mean(name: str) -> Column:
    micro = F.round(F.coalesce(F.col(name).cast("double"), F.lit(0.0)) * 1000).cast("bigint")
    return F.sum(micro) / F.count("*") / 1000


def _words() -> Column:
    """Three plain words: how often, how recently, how broadly."""
    much, all_much = F.col("mean_user_outcomes_91d"), F.col("all_user_outcomes_91d")
    since = F.col("mean_user_days_since_last")
    items, all_items = F.col("mean_user_items_91d"), F.col("all_user_items_91d")
    often = F.when(much >= all_much * 1.5, "frequent").when(much >= all_much * 0.5, "regular").otherwise("occasional")
    recent = F.when(since <= 14, "recent").when(since <= 60, "cooling").otherwise("lapsed")
    broad = F.when(items >= all_items, "broad taste").otherwise("narrow taste")
    return F.concat_ws(", ", often, recent, broad)
