"""Which candidates make a list: the best by score under caps, or a mix of score and variety; all users at once."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
POOL = 10  # times the list's length: as many of a user's best are looked at for variety
SMOOTHING = 0.01  # of the list's shares with the wanted ones, so that their divergence is finite

Variety = Literal["none", "mmr", "calibrated"]


@dataclass(frozen=True)
class Mix:
    """How a list is composed.

    ``mmr`` is maximal marginal relevance (Carbonell and Goldstein 1998): score against the greatest similarity to what
    is listed already. ``calibrated`` keeps the list's categories near the user's own shares (Steck 2018). ``weight`` of
    either is between 0, the score alone, and 1.
    """

    length: int
    max_per_category: int
    max_per_brand: int | None = None
    variety: Variety = "none"
    weight: float = 0.0


@dataclass(frozen=True)
class Facets:
    """What is known of candidates, each of shape (rows,): codes of user, category and brand (-1: no brand known).

    ``share`` is the user's share of outcomes in the row's category; ``vector`` (rows, d) has the items' vectors of
    length 1 or 0.
    """

    user: Places
    category: Places
    brand: Places
    share: Floats
    vector: NDArray[np.float32]

    def take(self, rows: Places) -> "Facets":
        """The facets of some rows."""
        return Facets(self.user[rows], self.category[rows], self.brand[rows], self.share[rows], self.vector[rows])


def select(order: Places, score: Floats, facets: Facets, mix: Mix) -> Places:
    """The rows of each user's list, in the order given, which has each user's rows together, best first.

    Only the best ``max_per_category`` of a category are looked at; if that or the brands' cap leaves a list short, the
    best of those passed over fill it. ``score`` has shape (rows,).
    """
    mine, value = facets.take(order), score[order]
    picked = occurrence(_pair(mine.user, mine.category)) < mix.max_per_category
    if mix.variety == "none" and mix.max_per_brand is None:
        picked[picked] = occurrence(mine.user[picked]) < mix.length
    else:
        pool = np.flatnonzero(picked)
        pool = pool[occurrence(mine.user[pool]) < POOL * mix.length]
        picked = np.zeros(len(order), dtype=bool)
        picked[pool[_greedy(value[pool], mine.take(pool), mix)]] = True
    lacking = mix.length - np.bincount(mine.user[picked], minlength=mine.user.max(initial=-1) + 1)
    rest = np.flatnonzero(~picked)
    picked[rest[occurrence(mine.user[rest]) < lacking[mine.user[rest]]]] = True
    return order[picked]


def occurrence(codes: Places) -> Places:
    """How many earlier places hold the same code, shape (n,)."""
    order = np.argsort(codes, kind="stable")
    _, first, times = np.unique(codes[order], return_index=True, return_counts=True)
    out = np.empty(len(codes), dtype=np.int64)
    out[order] = np.arange(len(codes)) - np.repeat(first, times)
    return out


def _greedy(score: Floats, facets: Facets, mix: Mix) -> Places:
    """Places picked one a user and step: the greatest gain, ties to the earlier; a full brand gains nothing."""
    if not len(score):
        return np.zeros(0, dtype=np.int64)
    start = np.flatnonzero(np.r_[True, facets.user[1:] != facets.user[:-1]])
    owner = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(score)]))
    brand = np.unique(_pair(owner, facets.brand), return_inverse=True)[1]
    kind = np.unique(_pair(owner, facets.category), return_inverse=True)[1]
    level = _scaled(score, start, owner)
    weight = 0.0 if mix.variety == "none" else mix.weight
    brands, kinds = np.zeros(brand.max() + 1, dtype=np.int64), np.zeros(kind.max() + 1, dtype=np.int64)
    like, open_ = np.zeros(len(score)), np.ones(len(score), dtype=bool)
    picked = []
    for step in range(mix.length):
        extra = -like if mix.variety == "mmr" else _nearer(facets.share, kinds[kind], step)
        gain = np.where(open_, (1 - weight) * level + weight * extra, -np.inf)
        best = np.maximum.reduceat(gain, start)
        found = np.flatnonzero((gain == best[owner]) & open_)
        people, first = np.unique(owner[found], return_index=True)
        if not len(people):
            break
        new = found[first]
        picked.append(new)
        open_[new] = False
        kinds[kind[new]] += 1
        if mix.max_per_brand is not None:
            brands[brand[new[facets.brand[new] >= 0]]] += 1
            open_ &= brands[brand] < mix.max_per_brand
        if mix.variety == "mmr":
            last = np.full(len(start), -1)
            last[people] = new
            near = np.einsum("ij,ij->i", facets.vector, facets.vector[last[owner]])
            like = np.where(last[owner] >= 0, np.maximum(like, near), like)
    return np.concatenate(picked)


def _nearer(share: Floats, listed: Places, step: int) -> Floats:
    """By how much one more item of its category brings the list's shares nearer the user's (less divergence)."""
    before, after = ((1 - SMOOTHING) * count / (step + 1) + SMOOTHING * share for count in (listed, listed + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share > 0, share * np.log(after / before), 0.0)


def _scaled(score: Floats, start: Places, owner: Places) -> Floats:
    """Scores between 0 and 1 within each user; 1 where all are equal."""
    low, high = np.minimum.reduceat(score, start)[owner], np.maximum.reduceat(score, start)[owner]
    return np.where(high > low, (score - low) / np.where(high > low, high - low, 1.0), 1.0)


def _pair(first: Places, second: Places) -> Places:
    """One code for two; the second may be -1."""
    return first * (int(second.max(initial=0)) + 2) + second + 1
