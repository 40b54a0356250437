"""How good a list is and how well an effect ranks trials, each with an interval from a bootstrap over users."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.95)  # a 90 % interval
POINTS = 1_000  # of a targeting curve


@dataclass(frozen=True)
class Estimate:
    """A figure with its 90 % interval."""

    value: float
    low: float
    high: float

    def document(self) -> dict[str, float]:
        """The figure for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def as_document(figure: Estimate | float) -> dict[str, float | None]:
    """A figure with or without an interval for JSON."""
    return dict(figure.document()) if isinstance(figure, Estimate) else {"value": figure, "low": None, "high": None}


def of_document(document: Mapping[str, Any]) -> Estimate | float:
    """The figure of ``as_document``."""
    if document["low"] is None:
        return float(document["value"])
    return Estimate(*(float(document[name]) for name in ("value", "low", "high")))


def bootstrap_mean(values: ArrayLike, draws: int = 200, seed: int = 0) -> Estimate:
    """Mean of one value a user, with a percentile interval from resampled users."""
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        return Estimate(0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    means = [data[rng.integers(0, len(data), len(data))].mean() for _ in range(draws)]
    return Estimate(float(data.mean()), *map(float, np.quantile(means, QUANTILES)))


def bootstrap_means(values: Mapping[str, Floats], draws: int = 200, seed: int = 0) -> dict[str, Estimate]:
    """``bootstrap_mean`` of several values a user, all of shape (users,), by the same draws of users.

    NaN is a user without the value; a value that nobody has is left out.
    """
    names = [name for name, each in values.items() if not np.isnan(each).all()]
    if not names:
        return {}
    table = np.column_stack([values[name] for name in names])
    there, users = ~np.isnan(table), len(table)
    rng = np.random.default_rng(seed)
    times = np.stack([np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(draws)])
    times = np.vstack([np.ones(users), times])
    means = (times @ np.where(there, table, 0.0)) / np.maximum(times @ there, 1.0)
    low, high = np.quantile(means[1:], QUANTILES, axis=0)
    return {name: Estimate(*map(float, each)) for name, *each in zip(names, means[0], low, high, strict=True)}


def at_k(hits: ArrayLike, relevant: NDArray[np.int64], k: int) -> dict[str, Floats]:
    """NDCG, recall, precision, average precision (``map``) and hit rate at k of each user, shape (users,).

    ``hits`` (users, places) is 1 where the item at the place, best first, is relevant; ``relevant`` (users,) counts
    what is, inside the list or not, so what was never retrieved counts as missed. The ideal list has min(k, relevant)
    hits at its top (Jarvelin and Kekalainen 2002, binary gain); average precision is over min(k, relevant).
    """
    top = np.asarray(hits, dtype=np.float64)[:, :k]
    place = np.arange(1, top.shape[1] + 1)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    found, possible = top.sum(axis=1), np.minimum(relevant, k)
    return {
        "ndcg": top @ (1.0 / np.log2(place + 1.0)) / ideal[possible],
        "recall": found / relevant,
        "precision": found / k,
        "map": (top * np.cumsum(top, axis=1) / place).sum(axis=1) / possible,
        "hit_rate": (found > 0).astype(np.float64),
    }


def list_metrics(ranked: pd.DataFrame, relevant: pd.Series, k: int) -> pd.DataFrame:
    """``at_k`` of each user with something relevant, as a frame indexed by user_id.

    ``ranked`` has user_id, position (1 = best) and hit (0/1); ``relevant`` counts each user's relevant items.
    """
    top = ranked[ranked["position"] <= k]
    user, place = relevant.index.get_indexer(top["user_id"]), top["position"].to_numpy() - 1
    hits = np.zeros((len(relevant), k))
    hits[user[user >= 0], place[user >= 0]] = top["hit"].to_numpy()[user >= 0]
    return pd.DataFrame(at_k(hits, relevant.to_numpy(), k), index=relevant.index)


def rank_positions(frame: pd.DataFrame, by: list[str], ascending: list[bool]) -> NDArray[np.int64]:
    """Position 1..n of each row within its user; ties end with item_id, so the order is one."""
    order = frame.sort_values(["user_id", *by, "item_id"], ascending=[True, *ascending, True], kind="stable").index
    position = pd.Series(frame.loc[order].groupby("user_id", sort=False).cumcount().to_numpy() + 1, index=order)
    return position.loc[frame.index].to_numpy()


def coverage(items: ArrayLike, catalogue: int) -> float:
    """Share of the catalogue that appears in at least one list."""
    return float(len(np.unique(np.asarray(items, dtype=str))) / max(catalogue, 1))


def gini(items: ArrayLike, catalogue: int) -> float:
    """Gini coefficient of how often each item of the catalogue is listed: 0 = all equally, near 1 = few have it all."""
    counts = np.unique(np.asarray(items, dtype=str), return_counts=True)[1]
    size = max(catalogue, len(counts))
    if not len(counts):
        return 0.0
    ordered = np.concatenate([np.zeros(size - len(counts)), np.sort(counts)])
    return float((2 * np.arange(1, size + 1) - size - 1) @ ordered / (size * ordered.sum()))


def surprise(buyers: ArrayLike, users: int) -> Floats:
    """Self-information of items in bits, -log2 of the share of ``users`` that had them lately (Zhou 2010)."""
    return -np.log2(np.clip(np.asarray(buyers, dtype=np.float64), 1, users) / users)


def toc(weight: Floats, scored: Floats) -> tuple[Floats, Floats, float]:
    """Share q treated, mean score of the best q, and the mean of all, for rows ordered by predicted effect, best first.

    ``scored`` is each row's weight times its doubly robust score; a row may stand for several trials.
    """
    cumulative = np.cumsum(weight)
    top = np.cumsum(scored) / np.maximum(cumulative, 1e-12)
    return cumulative / cumulative[-1], top, float(top[-1])


def areas(weight: Floats, scored: Floats) -> dict[str, float]:
    """Areas under three curves of ``toc``.

    autoc: under TOC(q) = E[score | best q] - E[score]; qini: under q TOC(q), the gain over treating the same share
    at random; auuc: under q E[score | best q], not normalised, so not bounded by 0 and 1.
    """
    share, top, mean = toc(weight, scored)
    each, gain = weight / weight.sum(), top - mean
    return {
        "qini": float(each @ (share * gain)),
        "auuc": float(each @ (share * top)),
        "autoc": float(each @ gain),
    }


def targeting(
    effect: Floats, score: Floats, weight: Floats, users: ArrayLike, draws: int = 200, seed: int = 0
) -> dict[str, Estimate]:
    """Qini, AUUC and AUTOC of a predicted effect judged by doubly robust scores it was not fitted on.

    All arrays have shape (trials,); the interval resamples users. Beside them dr_loss: see ``resampled``. Source:
    Yadlowsky et al., "Evaluating treatment prioritization rules via rank-weighted average treatment effects", JASA
    2024.
    """
    return intervals(resampled(effect, score, weight, users, draws, seed))


def resampled(
    effect: Floats, score: Floats, weight: Floats, users: ArrayLike, draws: int = 200, seed: int = 0
) -> pd.DataFrame:
    """qini, auuc, autoc and dr_loss of an effect: the first row as they are, each other with users drawn anew.

    The same users and seed draw the same, so the rows of two effects belong together. The curves have ``POINTS`` points
    of equally many trials, which are summed user by user once, and one draw is held at a time. dr_loss is the mean
    squared distance of effect and score; its expectation is least for the true effect (Kennedy, EJS 2023; CausalML's
    dr_score).
    """
    codes, people = pd.factorize(np.asarray(users, dtype=object))
    size, points = len(people), min(POINTS, len(effect))
    point = np.empty(len(effect), dtype=np.int64)
    point[np.argsort(-effect, kind="stable")] = np.arange(len(effect)) * points // len(effect)
    weights, scored = (
        sparse.csr_array((values, (codes, point)), shape=(size, points)).T for values in (weight, weight * score)
    )
    by_user = np.bincount(codes, weight, size), np.bincount(codes, weight * (effect - score) ** 2, size)
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, size, size), minlength=size) for _ in range(draws))
    return pd.DataFrame(
        areas(weights @ times, scored @ times) | {"dr_loss": float(by_user[1] @ times / (by_user[0] @ times))}
        for times in chain([np.ones(size)], drawn)
    )


def intervals(drawn: pd.DataFrame) -> dict[str, Estimate]:
    """Figures in the first row of ``drawn`` with percentile intervals from the others."""
    return {
        str(name): Estimate(float(values.iloc[0]), *map(float, np.quantile(values.iloc[1:], QUANTILES)))
        for name, values in drawn.items()
    }
