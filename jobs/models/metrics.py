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


def list_metrics(ranked: pd.DataFrame, relevant: pd.Series, k: int) -> pd.DataFrame:
    """NDCG, recall, precision and hit rate at k of each user with something relevant.

    ``ranked`` has user_id, position (1 = best) and hit (0/1); ``relevant`` counts each user's relevant items, inside
    the list or not, so what was never retrieved counts as missed. The ideal list has min(k, relevant) hits at its top
    (Jarvelin and Kekalainen 2002, binary gain). ``map`` is average precision, over min(k, relevant). Returns a frame
    indexed by user_id.
    """
    top = ranked[ranked["position"] <= k].sort_values(["user_id", "position"], kind="stable")
    gain = pd.Series(top["hit"].to_numpy() / np.log2(top["position"].to_numpy() + 1.0), index=top["user_id"])
    dcg = gain.groupby(level=0).sum().reindex(relevant.index, fill_value=0.0)
    hits = top.groupby("user_id")["hit"].sum().reindex(relevant.index, fill_value=0)
    so_far = top.groupby("user_id")["hit"].cumsum().to_numpy()
    precise = pd.Series(top["hit"].to_numpy() * so_far / top["position"].to_numpy(), index=top["user_id"])
    precise = precise.groupby(level=0).sum().reindex(relevant.index, fill_value=0.0)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    return pd.DataFrame(
        {
            "ndcg": dcg / ideal[np.minimum(relevant.to_numpy(), k)],
            "recall": hits / relevant,
            "precision": hits / k,
            "map": precise / np.minimum(relevant, k),
            "hit_rate": (hits > 0).astype(float),
        }
    )


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


def novelty(buyers: ArrayLike, users: int) -> float:
    """Mean self-information of listed items in bits, -log2 of the share of users that had them lately (Zhou 2010)."""
    share = np.clip(np.asarray(buyers, dtype=np.float64), 1, users) / users
    return float(-np.log2(share).mean()) if len(share) else 0.0


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


def promised(effect: Floats, score: Floats, weight: Floats, share: float = 0.1) -> float:
    """Mean predicted effect of the best ``share`` of trials over their mean doubly robust score; 1 keeps the promise.

    NaN where the score's mean is not above 0. Selection of the best makes any noisy prediction promise too much
    ("winner's curse"; Andrews, Kitagawa and McCloskey, QJE 2024): scores it was not fitted on say by how much.
    """
    order = np.argsort(-effect, kind="stable")
    best = order[np.cumsum(weight[order]) <= share * weight.sum()]
    if not len(best):
        return float("nan")
    found = float(np.average(score[best], weights=weight[best]))
    return float(np.average(effect[best], weights=weight[best])) / found if found > 0 else float("nan")
