"""What each user had an outcome on and when, as one row of arrays in which items are numbers."""

import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.people import EPOCH

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

LATEST = 50  # items of a user that items' neighbours are counted by
HALF_LIFE = 112  # days after which an outcome says half as much of a habit


def histories(days: DataFrame, numbers: DataFrame) -> DataFrame:
    """One row a user: the days, items (by number) and counts of its outcomes as arrays; order does not matter."""
    bought = days.where(F.col("outcomes") > 0).join(F.broadcast(numbers), on="item_id", how="inner")
    day = F.datediff("event_day", F.lit(EPOCH))
    return bought.groupBy("user_id").agg(
        F.collect_list(F.struct(day.alias("day"), "item", F.col("outcomes").cast("int").alias("n"))).alias("history")
    )


def latest(day: np.ndarray, item: np.ndarray, before: int) -> np.ndarray:
    """Numbers of the latest 50 distinct items before a day, latest first, ties by number."""
    past = day < before
    seen, last = np.unique(item[past], return_inverse=True)
    recent = np.zeros(len(seen), dtype=np.int64)
    np.maximum.at(recent, last, day[past])
    return seen[np.lexsort((seen, -recent))][:LATEST]


def habits(day: np.ndarray, item: np.ndarray, n: np.ndarray, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the distinct items before a day, ascending, and their outcomes, each worth half after ``HALF_LIFE``.

    Worth is in millionths of an outcome: integers below 2**53 add up exactly, in whatever order they come.
    """
    past = day < before
    worth = np.rint(1e6 * 0.5 ** ((before - day[past]) / HALF_LIFE)).astype(np.int64) * n[past]
    items, place = np.unique(item[past], return_inverse=True)
    return items, np.bincount(place, worth, minlength=len(items))


def arrays(column: pa.ListArray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Day, item and count of each row of a column of histories."""
    offsets = column.offsets.to_numpy()
    day, item, n = (column.values.field(k).to_numpy(zero_copy_only=False) for k in range(3))
    for row in range(len(column)):
        lo, hi = (offsets[row], offsets[row + 1]) if column[row].is_valid else (0, 0)
        yield day[lo:hi], item[lo:hi], n[lo:hi]
