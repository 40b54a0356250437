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
    """The habits of the sample's users before a day, both ways round.

    ``items[start[p]:start[p + 1]]`` is what user p took, with the ``share`` of his habits; the others who took item i
    are ``takers[first[i]:first[i + 1]]``, each with the ``pull`` of i on him. ``rarity`` is each item's.
    """

    place: dict[str, int]
    start: np.ndarray
    items: np.ndarray
    share: np.ndarray
    first: np.ndarray
    takers: np.ndarray
    pull: np.ndarray
    rarity: np.ndarray

    @classmethod
    def of(cls, histories: pa.Table, size: int, before: int) -> "Peers":
        """``histories`` has the columns of ``histories.histories``, in any order; ``size`` is how many items there are.

        ``before`` is the day, since 1970.
        """
        rows = histories.sort_by("user_id").combine_chunks()
        lists = [arrays(chunk) for chunk in rows.column("history").chunks]
        kept = [habits(*each, before) for chunk in lists for each in chunk]
        items = np.concatenate([*(each for each, _ in kept), np.empty(0, np.int64)]).astype(np.int64)
        worth = np.concatenate([*(each for _, each in kept), np.empty(0)])
        owner = np.repeat(np.arange(len(kept)), [len(each) for each, _ in kept])
        takers = np.bincount(items, minlength=size)
        rarity = np.log1p(len(kept) / (1.0 + takers))
        order = np.argsort(items, kind="stable")
        total, pull = np.bincount(owner, worth, minlength=len(kept)), _pull(worth, rarity[items])
        length = np.sqrt(np.bincount(owner, pull**2, minlength=len(kept)))
        return cls(
            {user: n for n, user in enumerate(rows.column("user_id").to_pylist())},
            np.r_[0, np.cumsum(np.bincount(owner, minlength=len(kept)))],
            items,
            worth / total[owner],
            np.r_[0, np.cumsum(takers)],
            owner[order],
            (pull / length[owner])[order],
            rarity,
        )

    def scores(self, user_id: str, items: np.ndarray, worth: np.ndarray) -> np.ndarray:
        """For every item, its mean share of the habits of the user's 100 nearest; shape (items,).

        ``items`` and ``worth`` are the user's own habits (``histories.habits``). Neighbours weigh their cosine squared.
        The nearest are others than the user and share an item; where there are none all scores are 0.
        """
        near, cosine = self._nearest(user_id, items, worth)
        size = len(self.rarity)
        if not len(near):
            return np.zeros(size)
        weight = cosine**2 / (cosine**2).sum()
        taken = [slice(self.start[peer], self.start[peer + 1]) for peer in near]
        share = np.concatenate([each * self.share[rows] for each, rows in zip(weight, taken, strict=True)])
        return np.bincount(np.concatenate([self.items[rows] for rows in taken]), share, minlength=size)

    def _nearest(self, user_id: str, items: np.ndarray, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the nearest, ascending, of equals the first, and their cosines of habits."""
        mine = _pull(worth, self.rarity[items])
        mine /= max(float(np.sqrt((mine**2).sum())), 1e-12)
        met = [slice(self.first[item], self.first[item + 1]) for item in items]
        both = np.concatenate([*(each * self.pull[rows] for each, rows in zip(mine, met, strict=True)), np.empty(0)])
        who = np.concatenate([*(self.takers[rows] for rows in met), self.takers[:0]])
        cosine = np.round(np.bincount(who, both, minlength=len(self.place)), 9)
        if user_id in self.place:
            cosine[self.place[user_id]] = 0.0
        near = np.sort(best(cosine, np.ones(len(cosine), dtype=bool), NEAREST))
        return near, cosine[near]


def _pull(worth: np.ndarray, rarity: np.ndarray) -> np.ndarray:
    """How much a habit says of who has it: the more outcomes the more, and the fewer others have it."""
    return np.asarray(np.log1p(worth / 1e6) * rarity)
