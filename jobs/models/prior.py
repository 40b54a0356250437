"""Where a pair's two outcome rates may lie before its own trials are counted: one empirical-Bayes prior an item.

A prior is a distribution over (rate when shown, rate when not shown) on a fixed grid, the nonparametric maximum
likelihood estimate from the counts of the item's users, fitted by EM. It is shrunken to its category's prior, and that
to the prior of all items, by pseudo-users. Where a pair is judged, its prior is fitted without the users of its user's
fold; where it is scored, with everybody. Only pairs seen in both arms say how the two rates go together in the prior of
all: where one arm was never seen, the log is silent.

Sources: Kiefer and Wolfowitz, Annals of Mathematical Statistics 1956 (NPMLE); Robbins 1956, Efron, "Large-Scale
Inference", 2010 (empirical Bayes); Dempster, Laird and Rubin 1977 (EM).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jobs.models.folds import fold_of
from jobs.models.rows import Rows
from jobs.tables.contracts import PAIR_COUNTS

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
RATES = np.array(
    [1e-5, 3e-4, 1e-3, 2.5e-3, 6e-3, 0.014, 0.03, 0.06, 0.1, 0.15, 0.22, 0.3, 0.42, 0.56, 0.72, 0.9]
)  # about even steps of what ten trials can tell apart
SHOWN, NOT_SHOWN = (axis.ravel() for axis in np.meshgrid(RATES, RATES, indexing="ij"))  # rates of the grid's points
EFFECT = SHOWN - NOT_SHOWN
BY_EFFECT = np.argsort(EFFECT, kind="stable")
CHUNK = 2_000  # rows at once: their grids stay in the processor's cache
BASE = 64  # counts are below it: there are at most 52 periods
STRENGTH = 30.0  # pseudo-users' worth of its category's prior in an item's
CATEGORY_STRENGTH = 8_000.0  # pseudo-users' worth of the prior of all in a category's: it speaks for several items
NEAR = 1.0  # trials' worth of its item's rates in a pair's near rates
BOTH = 2  # trials in each arm from which a pair speaks about both rates
EM_STEPS, EM_TOLERANCE = 80, 1e-5
COLUMNS = (
    "rate_shown", "rate_not_shown", "prior_effect", "prior_sd", "item_rate_shown", "item_rate_not_shown",
    "near_rate_shown", "near_rate_not_shown", "near_difference", "own_rate_shown", "own_rate_not_shown", "shown_share",
    *PAIR_COUNTS,
)  # fmt: skip  # what a learner sees of a pair's posterior, in the order of ``Posterior.matrix``


@dataclass(frozen=True)
class Cells:
    """How many users of each fold have the same counts on an item; four arrays of equal length."""

    item: Codes
    fold: Codes
    key: Codes
    users: Floats


@dataclass(frozen=True)
class Posterior(Rows):
    """A pair's rates and effect given its own counts, each of shape (n,); ``low`` and ``high`` hold 90 %.

    ``near_shown`` and ``near_not_shown`` are its own rates, each shrunken to its item's by ``NEAR`` trials.
    """

    shown: Floats
    not_shown: Floats
    effect: Floats
    sd: Floats
    low: Floats
    high: Floats
    item_shown: Floats
    item_not_shown: Floats
    near_shown: Floats
    near_not_shown: Floats

    @property
    def near_difference(self) -> Floats:
        """Difference of the pair's own rates, each shrunken to its item's (Sato et al., RecSys 2020)."""
        return self.near_shown - self.near_not_shown

    def matrix(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """The learner's columns ``COLUMNS``, shape (n, 16); ``counts`` has shape (n, 4). A rate of no trial is NaN."""
        posterior = (self.shown, self.not_shown, self.effect, self.sd, self.item_shown, self.item_not_shown)
        near = (self.near_shown, self.near_not_shown, self.near_difference)
        n1, y1, n0, y0 = counts.T
        own = [
            np.divide(y, n, out=np.full(len(n), np.nan), where=n > 0) for y, n in ((y1, n1), (y0, n0), (n1, n1 + n0))
        ]
        return np.column_stack([*posterior, *near, *own, counts]).astype(np.float32)


def pack(counts: ArrayLike) -> Codes:
    """One integer for the four counts of each row of an array of shape (n, 4)."""
    whole = np.asarray(counts, dtype=np.int64)
    return ((whole[:, 0] * BASE + whole[:, 1]) * BASE + whole[:, 2]) * BASE + whole[:, 3]


def unpack(key: Codes) -> Codes:
    """The four counts of each key, shape (n, 4)."""
    return np.column_stack([(key // BASE**place) % BASE for place in (3, 2, 1, 0)])


def likelihood(key: Codes) -> Floats:
    """Binomial likelihood of each key at each point of the grid, shape (n, points), rows scaled to a maximum of 1."""
    shown, not_shown = _by_arm(key)
    return (shown[:, :, None] * not_shown[:, None, :]).reshape(len(key), -1)


def _by_arm(key: Codes) -> tuple[Floats, Floats]:
    """The likelihood of each arm's counts at each rate, shape (n, rates), rows scaled to a maximum of 1."""
    n1, y1, n0, y0 = unpack(key).T
    return BINOMIAL[n1, y1], BINOMIAL[n0, y0]


def _binomial() -> Floats:
    """Likelihood of y outcomes in n trials at each rate, shape (BASE, BASE, rates), scaled to a maximum of 1."""
    n, y = (axis[:, :, None].astype(np.float64) for axis in np.meshgrid(range(BASE), range(BASE), indexing="ij"))
    log = y * np.log(RATES) + (n - y) * np.log1p(-RATES)
    return np.exp(log - log.max(axis=2, keepdims=True))


BINOMIAL = _binomial()


def bits(values: ArrayLike) -> Codes:
    """Number of bits set in each 64-bit mask."""
    return np.bitwise_count(np.asarray(values, dtype=np.int64).view(np.uint64)).astype(np.int64)


def mask_counts(shown: Codes, outcome: Codes, eligible: Codes) -> Codes:
    """Counts (n, 4) of pairs from their masks of periods: shown, outcome, and active user with the item in play."""
    treated, control = shown & eligible, eligible & ~shown
    return np.column_stack([bits(treated), bits(treated & outcome), bits(control), bits(control & outcome)])


def count_cells(pairs: pd.DataFrame, active: "pd.Series[int]", in_play: "pd.Series[int]", folds: int) -> Cells:
    """Cells of every user and item, those without a row in ``pairs`` (never shown, no outcome) included.

    Args:
        pairs: user_id, item_id and masks ``shown`` and ``outcome``.
        active: mask of each user's active periods, indexed by user_id.
        in_play: mask of each item's periods in play, indexed by item_id; codes follow its order.
        folds: number of folds of users.
    """
    user_fold = fold_of(active.index, folds)
    user, item = (
        active.index.get_indexer(pd.Index(pairs["user_id"])),
        in_play.index.get_indexer(pd.Index(pairs["item_id"])),
    )
    known = (user >= 0) & (item >= 0)
    user, item = user[known], item[known]
    mask, play = active.to_numpy(np.int64), in_play.to_numpy(np.int64)
    shown, outcome = (pairs[name].to_numpy(np.int64)[known] for name in ("shown", "outcome"))
    eligible = mask[user] & play[item]
    of_pairs = pd.DataFrame(
        {"item": item, "fold": user_fold[user], "key": pack(mask_counts(shown, outcome, eligible)), "users": 1.0}
    )
    # Everybody, by the number of common periods, less the pairs counted one by one.
    masks, which = np.unique(play, return_inverse=True)
    parts = [
        of_pairs,
        of_pairs.assign(key=pack(np.column_stack([bits(eligible) * (p == 2) for p in range(4)])), users=-1.0),
    ]
    for place, common in enumerate(masks):
        number = bits(mask & common)
        table = np.zeros((folds, int(number.max(initial=0)) + 1))
        np.add.at(table, (user_fold, number), 1.0)
        fold, times = np.nonzero(table)
        items = np.flatnonzero(which == place)
        parts.append(
            pd.DataFrame(
                {
                    "item": np.repeat(items, len(fold)),
                    "fold": np.tile(fold, len(items)),
                    "key": np.tile(times * BASE, len(items)),
                    "users": np.tile(table[fold, times], len(items)),
                }
            )
        )
    total = (
        pd.concat(parts, ignore_index=True).groupby(["item", "fold", "key"], as_index=False, sort=True)["users"].sum()
    )
    total = total[total["users"] > 0]
    return Cells(*(total[name].to_numpy() for name in ("item", "fold", "key", "users")))


def em(chance: Floats, users: Floats, parent: Floats, strength: float = STRENGTH) -> Floats:
    """Weights (rows, points) of the grid, one row a set of ``users`` (rows, cells), shrunken to ``parent``.

    ``chance`` is the likelihood (cells, points); ``parent`` has shape (rows, points) or (points,).
    """
    parents = np.broadcast_to(parent, (len(users), chance.shape[1]))
    weights, total = parents.copy(), users.sum(axis=1, keepdims=True) + strength
    moving = np.arange(len(users))  # each row stops by itself: a fold must not depend on another's users
    for _ in range(EM_STEPS):
        share = users[moving] / np.maximum(weights[moving] @ chance.T, 1e-300)
        new = (weights[moving] * (share @ chance) + strength * parents[moving]) / total[moving]
        moved = np.abs(new - weights[moving]).max(axis=1)
        weights[moving] = new
        moving = moving[moved >= EM_TOLERANCE]
        if not len(moving):
            break
    return weights


@dataclass(frozen=True)
class Prior:
    """``weights`` of shape (folds + 1, items + 1, points): those of fold k are learnt without its users.

    The last of the folds leaves nobody out, the last of the items is for one that is not among ``items``.
    """

    items: tuple[str, ...]
    weights: NDArray[np.float32]

    @property
    def everybody(self) -> int:
        """The fold that leaves nobody out: for pairs that are scored, not judged."""
        return len(self.weights) - 1

    def document(self) -> bytes:
        """The weights in NumPy's format, which carries no code."""
        sink = io.BytesIO()
        np.save(sink, self.weights, allow_pickle=False)
        return sink.getvalue()

    @classmethod
    def of(cls, items: Sequence[str], raw: bytes) -> "Prior":
        """The prior of ``document``."""
        return cls(tuple(items), np.load(io.BytesIO(raw), allow_pickle=False))

    def posterior(self, fold: Codes, item_ids: ArrayLike, counts: ArrayLike) -> Posterior:
        """What each pair's own counts (n, 4) make of its item's prior, in the fold that left its user out."""
        code = pd.Index(self.items).get_indexer(pd.Index(np.asarray(item_ids, dtype=object)))
        code = np.where(code < 0, len(self.items), code)
        rows = self.weights.shape[1]
        group = (np.asarray(fold, dtype=np.int64) * rows + code) * BASE**4 + pack(counts)
        distinct, place = np.unique(group, return_inverse=True)
        out = np.empty((len(distinct), 10))
        flat = self.weights.reshape(-1, self.weights.shape[2])
        for start in range(0, len(distinct), CHUNK):
            part = distinct[start : start + CHUNK]
            out[start : start + CHUNK] = _moments(flat[part // BASE**4].astype(np.float64), part % BASE**4)
        return Posterior(*out[place].T)


def _moments(prior: Floats, key: Codes) -> Floats:
    """The fields of a Posterior, shape (n, 10)."""
    size = len(RATES)
    grid = prior.reshape(-1, size, size)
    shown, not_shown = _by_arm(key)
    after = grid * shown[:, :, None] * not_shown[:, None, :]
    after /= np.maximum(after.sum(axis=(1, 2), keepdims=True), 1e-300)

    def rates(weights: Floats) -> tuple[Floats, Floats]:
        # row by row, not by BLAS: the same whatever rows come with it
        return (weights.sum(axis=2) * RATES).sum(axis=1), (weights.sum(axis=1) * RATES).sum(axis=1)

    own = rates(after)
    effect = own[0] - own[1]
    flat = after.reshape(len(key), -1)
    variance = np.maximum((flat * EFFECT**2).sum(axis=1) - effect**2, 0.0)
    reached = np.cumsum(flat.take(BY_EFFECT, axis=1), axis=1)
    ends = [EFFECT[BY_EFFECT][np.minimum((reached < share).sum(axis=1), size**2 - 1)] for share in (0.05, 0.95)]
    n1, y1, n0, y0 = unpack(key).T
    item_shown, item_not_shown = rates(grid)
    near = (y1 + NEAR * item_shown) / (n1 + NEAR), (y0 + NEAR * item_not_shown) / (n0 + NEAR)
    return np.column_stack([*own, effect, np.sqrt(variance), *ends, item_shown, item_not_shown, *near])


def fit(cells: Cells, item_ids: Sequence[str], categories: Sequence[str], folds: int) -> Prior:
    """Priors of all items, of each category towards it, and of each item towards its category.

    One for each fold, without its users, and one with everybody.
    """
    keys, place = np.unique(cells.key, return_inverse=True)
    chance = likelihood(keys)
    counts = unpack(keys)

    def without(rows: NDArray[Any] | slice, used: Codes) -> Floats:
        """Users of the cells ``used`` outside each fold, and all of them; shape (folds + 1, used)."""
        by_fold = np.zeros((folds + 1, len(keys)))
        np.add.at(by_fold, (cells.fold[rows], place[rows]), cells.users[rows])
        return (by_fold.sum(axis=0) - by_fold)[:, used]

    both = np.flatnonzero((counts[:, 0] >= BOTH) & (counts[:, 2] >= BOTH))
    flat = np.full(len(EFFECT), 1.0 / len(EFFECT))
    everybody = without(slice(None), both)
    top = em(chance[both], everybody, flat, strength=1.0) if len(both) else np.tile(flat, (folds + 1, 1))
    names, of_item = np.unique(np.asarray(categories, dtype=str), return_inverse=True)
    of_cell = of_item[cells.item]
    out = np.empty((folds + 1, len(item_ids) + 1, len(EFFECT)), dtype=np.float32)
    out[:, -1] = top
    by_category = np.argsort(of_cell, kind="stable")
    bounds = np.searchsorted(of_cell[by_category], np.arange(len(names) + 1))
    for number in range(len(names)):
        inside = by_category[bounds[number] : bounds[number + 1]]
        used = np.unique(place[inside])
        parent = em(chance[used], without(inside, used), top, CATEGORY_STRENGTH)
        for item in np.flatnonzero(of_item == number):
            mine = inside[cells.item[inside] == item]
            used = np.unique(place[mine])
            out[:, item] = em(chance[used], without(mine, used), parent)
    return Prior(tuple(item_ids), out)
