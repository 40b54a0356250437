"""All that is known of each user before the run date, as one row of arrays in which items are numbers.

Whatever is made of a user's pairs is then made where the user's row lies: no table of pairs is shuffled or sorted.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.tables import contracts

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

EPOCH = date(1970, 1, 1)
HISTORY = ("outcomes", "events", "feedback", "vote_change", "voters", "votes", "sentiment", "comments")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Person:
    """One user: what happened (day, item and ``HISTORY``), what was shown (item, days) and USER_FEATURES by as-of day.

    Days are counted from 1970; the rows of each are in no order. ``more`` has the lists that were asked for besides.
    """

    user_id: str
    history: Arrays
    shown: Arrays
    about: Arrays
    more: dict[str, Arrays]

    @property
    def bought(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Day, item and number of the outcomes."""
        some = self.history["outcomes"] > 0
        return self.history["day"][some], self.history["item"][some], self.history["outcomes"][some]


def people(
    users: DataFrame,
    days: DataFrame,
    shown: DataFrame,
    user_features: DataFrame,
    numbers: DataFrame,
    more: Mapping[str, DataFrame] | None = None,
) -> DataFrame:
    """One row for each of ``users`` (user_id): history, shown, about and the lists ``more``; an empty list is null.

    ``days`` is PAIR_DAYS, ``shown`` PAIR_SHOWN_DAYS, ``numbers`` has item_id and item. Each table of ``more`` has
    user_id, perhaps item_id, and columns of its own.
    """
    lists = {
        "history": _numbered(days, numbers, day_number("event_day").alias("day"), *HISTORY),
        "shown": _numbered(shown, numbers, "days"),
        "about": _listed(
            user_features,
            day_number("as_of").alias("as_of"),
            *(F.col(n).cast("float").alias(n) for n in contracts.USER_FEATURES),
        ),
    }
    for name, table in (more or {}).items():
        own = [column for column in table.columns if column not in ("user_id", "item_id")]
        lists[name] = _numbered(table, numbers, *own) if "item_id" in table.columns else _listed(table, *own)
    out = users.select("user_id")
    for name, table in lists.items():
        out = out.join(table.withColumnRenamed("list", name), on="user_id", how="left")
    return out


def numbers(spark: SparkSession, item_ids: "pd.Series[str]") -> DataFrame:
    """item_id and its place in ``item_ids`` as item."""
    places = np.arange(len(item_ids), dtype=np.int32)
    return spark.createDataFrame(pd.DataFrame({"item_id": item_ids, "item": places}), "item_id string, item int")


def day_number(name: str) -> Column:
    """The date column as days since 1970."""
    return F.datediff(F.col(name), F.lit(EPOCH))


def read(batch: pa.RecordBatch) -> Iterator[Person]:
    """The people of an Arrow batch of ``people``."""
    lists = {name: Lists.of(batch.column(name)) for name in batch.schema.names if name != "user_id"}
    for row, user_id in enumerate(batch.column("user_id").to_pylist()):
        mine = {name: each.row(row) for name, each in lists.items()}
        yield Person(user_id, mine.pop("history"), mine.pop("shown"), mine.pop("about"), mine)


@dataclass(frozen=True)
class Lists:
    """A column of lists of structs as one array a field, which the rows are slices of."""

    offsets: np.ndarray
    valid: np.ndarray
    fields: Arrays

    @classmethod
    def of(cls, column: pa.ListArray) -> "Lists":
        """The column's fields; a field of lists, all equally long, has shape (values, length)."""
        names = [column.type.value_type.field(k).name for k in range(column.type.value_type.num_fields)]
        fields = {name: _flat(column.values.field(k)) for k, name in enumerate(names)}
        return cls(column.offsets.to_numpy(), column.is_valid().to_numpy(zero_copy_only=False), fields)

    def row(self, n: int) -> Arrays:
        """The fields of one row; empty where it is null."""
        lo, hi = (self.offsets[n], self.offsets[n + 1]) if self.valid[n] else (0, 0)
        return {name: values[lo:hi] for name, values in self.fields.items()}


def _flat(values: pa.Array) -> np.ndarray:
    if not pa.types.is_list(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    inner = values.flatten().to_numpy(zero_copy_only=False)
    return inner.reshape(len(values), -1) if len(values) else inner.reshape(0, 0)


def _numbered(table: DataFrame, numbers: DataFrame, *columns: str | Column) -> DataFrame:
    return _listed(table.join(F.broadcast(numbers), on="item_id", how="inner"), "item", *columns)


def _listed(table: DataFrame, *columns: str | Column) -> DataFrame:
    return table.groupBy("user_id").agg(F.collect_list(F.struct(*columns)).alias("list"))
