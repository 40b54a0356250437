"""How good lists are on a later period: the ranker's, those of baselines and each source's, on the same candidates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import metrics
from jobs.models.folds import hash_ids
from jobs.models.metrics import Estimate
from jobs.models.selection import occurrence
from jobs.tables.contracts import SOURCES

K = 10
FAR = 100  # recall is measured there too
USERS = 2_000  # judged at most, drawn by a hash: the same every night, and no dearer where there are millions
POPULARITY = "popularity_rank"
BASELINES = {  # the column to sort by, most first; ties, and what has no value, by popularity
    "popularity": POPULARITY,
    "recency": "outcomes_decayed_112d",
    "own_counts": "outcomes_364d",
    "als": "factor_score",
}
BY_SOURCE = {  # what each source sorts its own items by
    "from_repeat": "outcomes_decayed_112d",
    "from_popularity": POPULARITY,
    "from_item_cf": "item_cf_score",
    "from_factorisation": "factor_score",
    "from_trending": "item_trend",
    "from_category_popularity": POPULARITY,
    "from_user_cf": "user_cf_share",
    "from_content": "content_score",
    "from_new": "content_score",
}
WORST = -np.finfo(np.float64).max

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def judge(
    frame: pd.DataFrame, real: pd.DataFrame, scores: Floats, vectors: pd.DataFrame, seed: int
) -> dict[str, Estimate | float]:
    """Figures of the ranker, the baselines and the sources, named by ranking, measure and length of the list.

    NDCG, recall, precision, MAP and hit rate count all that had an outcome, retrieved or not. Novelty is in bits,
    diversity one less the mean cosine of a list's items (absent without ``vectors``). These are means over users with
    a 90 % interval; coverage and Gini belong to all lists together and have none. ``ranker_lead_<baseline>`` is a
    paired difference. ``<source>_recall`` is what all of a source's items hold, ``candidate_recall`` what all hold.

    Args:
        frame: all candidates of one as-of day, with the columns of CANDIDATES.
        real: distinct user_id and item_id of what had an outcome in the window.
        scores: of the ranker, shape (candidates,); -inf is not listed.
        vectors: of the items by item_id, length 1 or 0; an item that is not there is like none.
    """
    lists = Candidates.of(frame, real, vectors)
    known = len(lists.relevant)
    figures: dict[str, Estimate | float] = {"test_users": float(known)}
    if not known:
        return figures
    each: dict[str, Floats] = {}
    catalogue = frame["item_id"].nunique()
    for name, value in rankings(frame, scores):
        rows = lists.best(value)
        each |= {f"{name}_{measure}": values for measure, values in lists.measure(rows).items()}
        items = lists.item[rows[:, :K][rows[:, :K] >= 0]]
        figures[f"{name}_coverage_{K}"] = metrics.coverage(items, catalogue)
        figures[f"{name}_gini_{K}"] = metrics.gini(items, catalogue)
    for name in BASELINES:
        each[f"ranker_lead_{name}_ndcg_{K}"] = each[f"ranker_ndcg_{K}"] - each[f"{name}_ndcg_{K}"]
    brought = {"candidate": np.ones(len(frame), dtype=bool)} | {name: frame[name].to_numpy(bool) for name in SOURCES}
    for name, mine in brought.items():
        each[f"{name}_recall"] = (lists.hit & mine)[lists.cells].sum(axis=1, where=lists.cells >= 0) / lists.relevant
    return figures | metrics.bootstrap_means(each, seed=seed)


def rankings(frame: pd.DataFrame, scores: Floats) -> Iterator[tuple[str, Floats]]:
    """Name and values of each ranking, shape (candidates,), more is better; a source lists only what it brought."""
    yield "ranker", scores
    for name, column in BASELINES.items():
        yield name, _values(frame, column)
    for name, column in BY_SOURCE.items():
        yield name, np.where(frame[name].to_numpy(bool), _values(frame, column), -np.inf)


def _values(frame: pd.DataFrame, column: str) -> Floats:
    if column == POPULARITY:  # the order that ties fall back on
        return np.zeros(len(frame))
    values = frame[column].to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isnan(values), WORST, values)


@dataclass(frozen=True)
class Candidates:
    """Candidates of the judged users.

    Args:
        cells: rows of the frame, shape (users, most candidates of one), by popularity and then item_id; -1 is none.
        relevant: how many items of each user had an outcome, retrieved or not, shape (users,).
        hit, item, surprise: of each row of the frame, whether it had one, its number, and its novelty in bits.
        vector: of each item's number, shape (items, dimensions).
    """

    cells: Places
    relevant: Places
    hit: NDArray[np.bool_]
    item: Places
    surprise: Floats
    vector: NDArray[np.float32]

    @classmethod
    def of(cls, frame: pd.DataFrame, real: pd.DataFrame, vectors: pd.DataFrame) -> "Candidates":
        """The candidates of at most USERS users with an outcome."""
        users = pd.Index(drawn(real["user_id"]))
        number, names = pd.factorize(pd.concat([frame["item_id"], real["item_id"]], ignore_index=True), sort=True)
        item, wanted = number[: len(frame)].astype(np.int64), number[len(frame) :].astype(np.int64)
        owner, asked = users.get_indexer(frame["user_id"]), users.get_indexer(real["user_id"])
        pairs = asked[asked >= 0] * len(names) + wanted[asked >= 0]
        rank = frame[POPULARITY].to_numpy(np.float64, na_value=np.inf)
        mine = np.flatnonzero(owner >= 0)
        order = mine[np.lexsort((item[mine], np.where(np.isnan(rank), np.inf, rank)[mine], owner[mine]))]
        place = occurrence(owner[order])
        cells = np.full((len(users), place.max(initial=-1) + 1), -1)
        cells[owner[order], place] = order
        return cls(
            cells,
            np.bincount(asked[asked >= 0], minlength=len(users)),
            np.isin(owner * len(names) + item, pairs),
            item,
            metrics.surprise(frame["item_buyers_91d"].fillna(0.0), frame["user_id"].nunique()),
            vectors.reindex(names).fillna(0.0).to_numpy(np.float32),
        )

    def best(self, value: Floats) -> Places:
        """Rows of each user's best by ``value``, best first, shape (users, at most FAR); -1 is none, as is -inf."""
        listed = (self.cells >= 0) & (value[self.cells] > -np.inf)
        key = np.where(listed, value[self.cells], -np.inf)
        order = np.argsort(-key, axis=1, kind="stable")[:, :FAR]
        return np.take_along_axis(np.where(listed, self.cells, -1), order, axis=1)

    def measure(self, rows: Places) -> dict[str, Floats]:
        """Measures of each user's list of ``best``, shape (users,) each; NaN where a list is too short to have one."""
        listed = rows >= 0
        hits = self.hit[rows] & listed
        out = {f"{name}_{K}": values for name, values in metrics.at_k(hits, self.relevant, K).items()}
        out[f"recall_{FAR}"] = hits.sum(axis=1) / self.relevant
        top, there = rows[:, :K], listed[:, :K]
        size = there.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            novelty = self.surprise[top].sum(axis=1, where=there) / size
            if self.vector.size:
                unit = self.vector[self.item[top]] * there[:, :, None]
                both = (unit.sum(axis=1) ** 2).sum(axis=1) - (unit**2).sum(axis=(1, 2))
                out[f"diversity_{K}"] = np.where(size > 1, 1.0 - both / (size * (size - 1)), np.nan)
        return out | {f"novelty_{K}": np.where(size > 0, novelty, np.nan)}


def drawn(users: "pd.Series[str]") -> NDArray[np.object_]:
    """At most USERS of the distinct ``users``, those with the lowest hashes, in order of their ids."""
    distinct = np.sort(users.unique().astype(object))
    if len(distinct) <= USERS:
        return distinct
    return distinct[np.sort(np.argsort(hash_ids(distinct, "evaluation"), kind="stable")[:USERS])]
