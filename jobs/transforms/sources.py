"""What single sources of retrieval bring one user at one as-of day: numpy only, no table of users and items.

Each returns item numbers, best first; what lies on or after the as-of day was left out by the caller.
"""

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark import cloudpickle

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

NEW_USER = 5  # with outcomes on fewer items a user is new
PRIOR_EVENTS = 5.0  # of all users' that a new user's own events in categories are added to
HISTORY = 364  # days of outcomes that factors are learnt from
ALPHA, REGULARISATION = 10.0, 0.1  # of the factorisation: Hu, Koren and Volinsky, ICDM 2008


@dataclass(frozen=True)
class Limits:
    """How many items each source brings, and how long the outcome window is.

    A new user gets ``popularity`` items of all categories besides, no more than ``per_category`` of one: as many as a
    list may hold. ``negative_share`` of the rows without an outcome are kept, drawn by a hash of user, item and day, in
    all label windows but the latest, in which the ranker is judged.
    """

    repeat: int
    popularity: int
    item_cf: int
    factorisation: int
    window_days: int
    negative_share: float = 1.0
    everything: bool = False  # on the run date every allowed item is a candidate, retrieved or not
    trending: int = 0
    per_category: int = 0
    user_cf: int = 0
    content: int = 0
    new_items: int = 0


def best(score: np.ndarray, allowed: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the ``most`` allowed items with the highest positive score, ties by number; NaN is no score."""
    usable = np.flatnonzero(allowed & (score > 0))
    if most <= 0 or not len(usable):
        return usable[:0]
    value = score[usable]
    if len(usable) > most:  # only what may be among them is sorted
        few = value >= np.partition(value, len(value) - most)[len(value) - most]
        usable, value = usable[few], value[few]
    return usable[np.lexsort((usable, -value))[:most]]


def rise(week: np.ndarray, month: np.ndarray) -> np.ndarray:
    """How far the outcomes of the last 7 days lie above those of the 21 days before, in deviations of chance.

    ``week`` and ``month`` are an item's outcomes of the last 7 and 28 days, shape (items,). Deviations are a Poisson
    count's, with one outcome added, so that an item's first few are no sensation.
    """
    expected = (month - week) / 3.0
    return np.asarray((week - expected) / np.sqrt(expected + 1.0))


def likeness(vectors: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Mean cosine of every item with the items ``taken``, shape (items,); NaN where none of these says anything.

    ``vectors`` has length 1, or 0 for an item that says nothing, shape (items, dimensions).
    """
    told = vectors[taken]
    told = told[told.any(axis=1)]
    return np.round(vectors @ told.mean(axis=0), 5) if len(told) else np.full(len(vectors), np.nan)


def fold_in(factors: np.ndarray, gram: np.ndarray, items: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A user's factors from those of the items (items, rank), as a last half step of ALS finds them, shape (rank,).

    ``gram`` is factors' factors; ``items`` the user had outcomes on and ``counts`` how many. Users the factorisation
    never saw have theirs this way, and everybody's are as new as their last outcome. NaN where the factorisation knows
    none of the items.
    """
    mine = factors[items]
    known = mine.any(axis=1)
    if not known.any():
        return np.full(factors.shape[1], np.nan)
    mine, trust = mine[known].astype(np.float64), ALPHA * np.log1p(counts[known])
    normal = gram + (mine * trust[:, None]).T @ mine + REGULARISATION * known.sum() * np.eye(len(gram))
    return np.asarray(np.linalg.solve(normal, mine.T @ (1.0 + trust)))


def newcomers(there: np.ndarray, enough: np.ndarray, users: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Which available items too few users had for other sources, all of them lately: bool, shape (items,).

    ``there`` is whether an item is available, ``enough`` whether the other sources may bring it, ``users`` how many had
    an outcome on it and ``new`` how many of these had their first one within rhythm.ITEM_WEEKS.
    """
    return np.asarray(there & ~enough & (users == new))


@dataclass(frozen=True)
class Shelves:
    """The popular items of an as-of day with each one's place in its category, and each category's share of demand."""

    items: np.ndarray
    category: np.ndarray
    place: np.ndarray  # from 0
    share: np.ndarray  # by category

    @classmethod
    def of(cls, popular: np.ndarray, category: np.ndarray, demand: np.ndarray) -> "Shelves":
        """``popular`` has item numbers, best first; ``category`` and ``demand`` are each item's, shape (items,)."""
        kinds = category[popular]
        place = pd.Series(kinds).groupby(kinds).cumcount().to_numpy()
        total = np.bincount(kinds, demand[popular], minlength=int(category.max(initial=-1)) + 1)
        return cls(popular, kinds, place, total / max(total.sum(), 1.0))

    def for_new_user(self, interest: np.ndarray, most: int, per_category: int) -> np.ndarray:
        """Categories take turns by all users' demand and the user's own ``interest``, events by category.

        D'Hondt's highest averages: a category's n-th item counts its weight over n.
        """
        inside = self.place < per_category
        weight = PRIOR_EVENTS * self.share + interest
        turn = weight[self.category[inside]] / (self.place[inside] + 1.0)
        return self.items[inside][np.argsort(-turn, kind="stable")[:most]]
