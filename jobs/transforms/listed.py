"""Where a pair stood in the list before: what was published decides what is shown, whatever the pair's features say."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def with_listed(pairs: DataFrame, lists: DataFrame) -> DataFrame:
    """``pairs`` (user_id, item_id, as_of, ...) with contracts.LISTED.

    ``lists`` (user_id, item_id, as_of, rank, score) are those in force before an as-of day. ``listed_position`` is the
    item's rank in the user's list, one more than the list is long where it holds other items, and null where the user
    had none; ``listed_score`` is what the item was ranked by, null where it was not listed.
    """
    lengths = lists.groupBy("user_id", "as_of").agg(F.max("rank").alias("length"))
    return (
        pairs.join(lists, on=["user_id", "item_id", "as_of"], how="left")
        .join(F.broadcast(lengths), on=["user_id", "as_of"], how="left")
        .withColumn("listed_position", F.coalesce("rank", F.col("length") + 1).cast("float"))
        .withColumn("listed_score", F.col("score").cast("float"))
        .drop("rank", "score", "length")
    )
