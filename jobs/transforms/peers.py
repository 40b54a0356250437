"""User-based collaborative filtering: what those took whose items are most like the user's.

Users are compared with a fixed sample of them, as large as fits every task, however many users there are: each one's
neighbours are found where its own row lies, and no table of users x users or users x items is made.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.histories import arrays, latest
from jobs.transforms.sources import best

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

SAMPLE = 2_000  # users compared with; where there are no more, all of them
NEAREST = 50
BUCKETS = 1 << 20


def sample(history: DataFrame, users: int, model_days: tuple[int, ...]) -> DataFrame:
    """About SAMPLE of the ``users``, by a hash of the id: user_id, model and the latest 50 items before its day."""
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(BUCKETS))
    some = history.where(bucket < min(BUCKETS, BUCKETS * SAMPLE // max(users, 1)))
    return some.select("user_id", "history").mapInArrow(
        _latest_items(model_days), "user_id string, model int, items array<int>"
    )


def _latest_items(model_days: tuple[int, ...]) -> Callable:
    def take(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [
                [latest(day, item, before).astype(np.int32) for before in model_days]
                for day, item, _ in arrays(batch.column(1))
            ]
            models = range(len(model_days))
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array([user for user in batch.column(0).to_pylist() for _ in models], pa.string()),
                    pa.array([model for _ in found for model in models], pa.int32()),
                    pa.array([mine for each in found for mine in each], pa.list_(pa.int32())),
                ],
                ["user_id", "model", "items"],
            )

    return take


@dataclass(frozen=True)
class Peers:
    """The users of the sample and their items, both ways round.

    ``takers[first[i]:first[i + 1]]`` are those who took item i, ``items[start[p]:start[p + 1]]`` what user p took.
    """

    place: dict[str, int]
    start: np.ndarray
    items: np.ndarray
    first: np.ndarray
    takers: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, size: int) -> "Peers":
        """``rows`` has user_id and items of one model, in any order; ``size`` is how many items there are."""
        rows = rows.sort_values("user_id")
        taken = [np.asarray(each, np.int64) for each in rows["items"]]
        items = np.concatenate([*taken, np.empty(0, np.int64)])
        times = np.array([len(each) for each in taken], np.int64)
        order = np.argsort(items, kind="stable")
        return cls(
            {user: n for n, user in enumerate(rows["user_id"])},
            np.r_[0, np.cumsum(times)],
            items,
            np.r_[0, np.cumsum(np.bincount(items, minlength=size))],
            np.repeat(np.arange(len(rows)), times)[order],
        )

    def scores(self, user_id: str, recent: np.ndarray) -> np.ndarray:
        """For every item, which share of the user's 50 nearest took it, weighted by their cosines; shape (items,).

        ``recent`` are the user's own latest items. The nearest are others than the user and share an item; where there
        are none all scores are 0.
        """
        near, cosine = self._nearest(user_id, recent)
        size = len(self.first) - 1
        if not len(near):
            return np.zeros(size)
        taken = [self.items[self.start[peer] : self.start[peer + 1]] for peer in near]
        weight = np.repeat(cosine / cosine.sum(), [len(each) for each in taken])
        return np.bincount(np.concatenate(taken), weight, minlength=size)

    def _nearest(self, user_id: str, recent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the nearest, ascending, of equals the first, and their cosines of sets of items."""
        met = [self.takers[self.first[item] : self.first[item + 1]] for item in recent]
        both = np.bincount(np.concatenate([*met, self.takers[:0]]), minlength=len(self.place))
        if user_id in self.place:
            both[self.place[user_id]] = 0
        size = np.maximum(np.diff(self.start) * len(recent), 1)
        cosine = both / np.sqrt(size)
        near = np.sort(best(cosine, np.ones(len(cosine), dtype=bool), NEAREST))
        return near, cosine[near]
