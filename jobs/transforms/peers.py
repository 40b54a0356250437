"""User-based collaborative filtering: what those take lately whose habits are most like the user's.

Users are compared with a fixed sample of them, as large as fits every task, however many users there are: each one's
neighbours are found where its own row lies, and no table of users x users or users x items is made. Habits fade, the
user's as well as the neighbours': Hu et al., "Modeling personalized item frequency information for next-basket
recommendation", SIGIR 2020 (TIFU-KNN).
"""

import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.sparse import csr_array

from jobs.transforms.histories import arrays, habits
from jobs.transforms.sources import best

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

SAMPLE = 2_000  # users compared with; where there are no more, all of them
NEAREST = 100
BUCKETS = 1 << 20


def sample(history: DataFrame, users: int) -> DataFrame:
    """Histories of about SAMPLE of the ``users``, by a hash of the id."""
    bucket = F.pmod(F.xxhash64("user_id"), F.lit(BUCKETS))
    return history.where(bucket < min(BUCKETS, BUCKETS * SAMPLE // max(users, 1)))


@dataclass(frozen=True)
class Peers:
    """The habits of the sample's users before a day, two tables of (users, items): where a user is, by his id.

    ``pulls`` is how much each habit says of him, in rows of length 1; ``shares`` is its share of all his habits.
    ``rarity`` is each item's.
    """

    place: dict[str, int]
    pulls: csr_array
    shares: csr_array
    rarity: np.ndarray

    @classmethod
    def of(cls, histories: pa.Table, size: int, before: int) -> "Peers":
        """``histories`` has the columns of ``histories.histories``, in any order; ``size`` is how many items there are.

        ``before`` is the day, since 1970.
        """
        rows = histories.sort_by("user_id").combine_chunks()
        kept = [habits(*each, before) for chunk in rows.column("history").chunks for each in arrays(chunk)]
        times = np.array([len(each) for each, _ in kept], np.int64)
        items = np.concatenate([*(each for each, _ in kept), np.empty(0, np.int64)]).astype(np.int64)
        worth = np.concatenate([*(each for _, each in kept), np.empty(0)])
        owner, start = np.repeat(np.arange(len(kept)), times), np.r_[0, np.cumsum(times)]
        rarity = np.log1p(len(kept) / (1.0 + np.bincount(items, minlength=size)))
        pull = _pull(worth, rarity[items])
        length = np.maximum(np.sqrt(np.bincount(owner, pull**2, minlength=len(kept))), 1e-12)
        total = np.maximum(np.bincount(owner, worth, minlength=len(kept)), 1.0)  # of habits long faded nothing is left
        shape = len(kept), size
        return cls(
            {user: n for n, user in enumerate(rows.column("user_id").to_pylist())},
            csr_array((pull / length[owner], items, start), shape=shape),
            csr_array((worth / total[owner], items, start), shape=shape),
            rarity,
        )

    def scores(self, user_id: str, items: np.ndarray, worth: np.ndarray) -> np.ndarray:
        """For every item, its mean share of the habits of the user's 100 nearest; shape (items,).

        ``items`` and ``worth`` are the user's own habits (``histories.habits``). Neighbours weigh their cosine squared.
        The nearest are others than the user and share an item; where there are none all scores are 0.
        """
        near, cosine = self._nearest(user_id, items, worth)
        if not len(near):
            return np.zeros(len(self.rarity))
        return np.asarray((cosine**2 / (cosine**2).sum()) @ self.shares[near])

    def _nearest(self, user_id: str, items: np.ndarray, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the nearest, ascending, of equals the first, and their cosines of habits."""
        mine, own = np.zeros(len(self.rarity)), _pull(worth, self.rarity[items])
        mine[items] = own / max(float(np.sqrt((own**2).sum())), 1e-12)
        cosine = np.round(self.pulls @ mine, 9)
        if user_id in self.place:
            cosine[self.place[user_id]] = 0.0
        near = np.sort(best(cosine, np.ones(len(cosine), dtype=bool), NEAREST))
        return near, cosine[near]


def _pull(worth: np.ndarray, rarity: np.ndarray) -> np.ndarray:
    """How much a habit says of who has it: the more outcomes the more, and the fewer others have it."""
    return np.asarray(np.log1p(worth / 1e6) * rarity)
