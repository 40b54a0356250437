"""Pieces of rows that several tests need."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import candidates, pairs, people, taste
from jobs.transforms.shown import Shown

QUIET = (
    0,
    0,
    0.0,
    0,
    0.0,
)  # votes, voters, vote_change, comments and sentiment of a PAIR_DAYS row: nobody said anything


def _lists(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct(fields))


PEOPLE = pa.schema(
    {
        "user_id": pa.string(),
        "history": _lists(day=pa.int32(), item=pa.int32(), **dict.fromkeys(people.HISTORY, pa.float64())),
        "shown": _lists(item=pa.int32(), days=pa.list_(pa.int64())),
        "about": _lists(as_of=pa.int32(), **dict.fromkeys(contracts.USER_FEATURES, pa.float32())),
        "masks": _lists(item=pa.int32(), shown=pa.int64(), outcome=pa.int64()),
        "active": _lists(active=pa.int64()),
        "listed": _lists(item=pa.int32(), rank=pa.int32(), score=pa.float64()),
        "placed": _lists(item=pa.int32(), day=pa.int32(), position=pa.int32()),
    }
)  # a row of ``people`` as retrieval reads it
GOODS = "item_id string, category string, price double, available_from timestamp, available_until timestamp"
ABOUT = (
    "item_rebuy_rate",
    "item_gap_days",
    "item_days_per_user",
    "item_new_users_56d",
    "item_trend_91d",
    "item_category_share_91d",
)


def event(day: int, item: int, **given: float) -> dict[str, float]:
    """A day's history of an item: one outcome and nothing said."""
    return dict.fromkeys(people.HISTORY, 0.0) | {"day": day, "item": item, "outcomes": 1.0, "events": 1.0} | given


def person(user_id: str, **lists: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of ``PEOPLE``; lists that are not given are null."""
    return dict.fromkeys(PEOPLE.names) | {"user_id": user_id} | lists


def feature_rows(
    spark: SparkSession,
    keys: list[tuple[str, str, date]],
    users: DataFrame,
    items: DataFrame,
    days: DataFrame,
    shown: Shown,
    user_features: DataFrame,
    item_features: DataFrame,
) -> list[dict[str, Any]]:
    """Feature rows of pairs (user_id, item_id, as_of)."""
    known = items.select("item_id", "category").toPandas().sort_values("item_id", ignore_index=True)
    numbers = people.numbers(spark, known["item_id"])
    everyone = people.people(users, days, shown.pairs, user_features, numbers)
    about = pairs.things(shown.run_date, known["item_id"].tolist(), known["category"], item_features.toPandas())
    asked = spark.createDataFrame(keys, "user_id string, item_id string, as_of date")
    return [row.asDict() for row in pairs.for_pairs(asked, everyone, numbers, about).collect()]


def things(days: list[int], category: np.ndarray) -> pairs.Things:
    """Items of which no feature is known."""
    nothing = np.full((len(category), len(contracts.ITEM_FEATURES)), np.nan, np.float32)
    return pairs.Things(days[-1], category, dict.fromkeys(days, nothing))


def unoffered(size: int) -> taste.Offers:
    """Items without a brand or a price."""
    return taste.Offers(np.full(size, -1), np.full(size, np.nan))


def unlearnt() -> candidates.Models:
    """A hundred items of which no model knows anything; each says something of its own."""
    nothing = np.zeros((100, 2)), np.full((100, 1), -1), np.zeros((100, 1))
    return candidates.Models(*([each] for each in nothing), np.eye(100), histories_of({}))


def histories_of(took: Mapping[str, Sequence[tuple[int, int, int]]]) -> pa.Table:
    """Histories (``histories.histories``) of users by the day, item and number of their outcomes."""
    fields = pa.struct([("day", pa.int32()), ("item", pa.int32()), ("n", pa.int32())])
    lists = [[dict(zip(("day", "item", "n"), each, strict=True)) for each in mine] for mine in took.values()]
    return pa.table({"user_id": pa.array(took, pa.string()), "history": pa.array(lists, pa.list_(fields))})
