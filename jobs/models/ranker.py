"""The relevance ranker: XGBoost on retrieved candidates of past label windows, calibrated to probabilities.

Position bias. An item that stood high was taken more often, and a ranker that does not know it puts the items of
yesterday's lists on top of tomorrow's. Where places were logged, training sees the place at which an item was shown in
the label window, and whoever is scored or calibrated on has none: the place takes what is its own, the other columns
keep what is the item's (position as a feature: Zinkevich, "Rules of Machine Learning", rule 36; Zhao et al., RecSys
2019). It needs the same items at different places: random slots and held-out users see to that (Hager, Zoeter and de
Rijke, ICTIR 2025). What yesterday's order knew of a want that no column measures goes to the place, too: as effects
do, it rests on there being none. A later window judges by outcomes as they were, pulled ones included, and so flatters
a ranker that was not told. Where no place was logged nothing changes.

XGBoost's own ``lambdarank_unbiased`` (Hu et al., WWW 2019) would be wrong here. It supposes that an outcome is a click,
which only a place that is looked at can bring, and divides by the odds of looking, learnt from each row's order in its
group. Here an outcome counts whether or not it came through the list: most rows were never shown, so they have no place
and their outcomes no such odds, and showing adds to what would have happened instead of multiplying it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray

from jobs.models import boosting
from jobs.models.boosting import Calibration, parameters, predict, to_bytes
from jobs.models.folds import threads, uniform_ids, uniform_rows
from jobs.runtime.site import Ranker
from jobs.tables.contracts import FEATURES, RETRIEVAL_FEATURES, SHOWN_POSITION, SOURCES

COLUMNS = (*SOURCES, *RETRIEVAL_FEATURES, *FEATURES, SHOWN_POSITION)
PLACE = COLUMNS.index(SHOWN_POSITION)
# each tree sees the place: one without would put it down to what goes with it
COLUMN_WEIGHTS = np.where(np.arange(len(COLUMNS)) == PLACE, 1e6, 1.0).astype(np.float32)
STOPPING_SHARE = 0.15  # of users, whose rows only say when to stop
K = 10
BEST_DCG = np.cumsum(1 / np.log2(np.arange(2, K + 2)))  # of a list with 1 to K outcomes


@dataclass(frozen=True)
class Fitted:
    """A booster as bytes, its calibration and how many rounds it has.

    ``watched`` is the stopping metric (log loss, or NDCG@10 of ``rank:ndcg``) after each round that was tried, on the
    users kept back; empty where it was fitted like another.
    """

    booster: bytes
    calibration: Calibration
    rounds: int
    watched: tuple[float, ...] = ()

    def relevance(self, matrix: NDArray[np.float32], nthread: int = 1) -> NDArray[np.float64]:
        """Calibrated probability of the outcome in the window, shape (n,)."""
        return self.calibration.apply(predict(self.booster, matrix, nthread))

    def score(self, matrix: NDArray[np.float32], nthread: int = 1) -> NDArray[np.float64]:
        """Uncalibrated output, shape (n,): isotonic steps tie, this ranks."""
        return predict(self.booster, matrix, nthread)


def matrix(frame: pd.DataFrame) -> NDArray[np.float32]:
    """Feature matrix of shape (rows, len(COLUMNS)); missing is NaN."""
    return boosting.matrix(frame, COLUMNS)


def unplaced(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features, in place, as they are when scoring: nobody was shown anything yet."""
    features[:, PLACE] = np.nan
    return features


class Thinned(NamedTuple):
    """Which rows are of users kept back, which are learnt from, and with what weight; each of shape (n,)."""

    back: NDArray[np.bool_]
    keep: NDArray[np.bool_]
    weight: NDArray[np.float64]


def thin(frame: pd.DataFrame, settings: Ranker, outcomes: NDArray[Any]) -> Thinned:
    """Negatives are thinned by a hash of their key and weighted back; what retrieval thinned already is not.

    ``outcomes`` is how many outcomes each row's list (user and as-of day) has, shape (n,). A row weighs one over the
    DCG of its list's best order, as in NDCG: a household that buys much counts as often as one that buys little.
    """
    label, thinned = frame["label"].to_numpy(), frame["weight"].to_numpy(dtype=np.float32)
    drawn = uniform_rows(frame["user_id"], frame["item_id"], frame["as_of"].astype(str), salt="negatives")
    whole = (label > 0) | (thinned > 1)
    return Thinned(
        uniform_ids(frame["user_id"], "ranker stopping") < STOPPING_SHARE,
        whole | (drawn < settings.negative_share),
        np.where(whole, thinned, 1.0 / settings.negative_share) / BEST_DCG[np.clip(outcomes, 1, K).astype(int) - 1],
    )


def learning(settings: Ranker, seed: int) -> dict[str, Any]:
    """Parameters of XGBoost, wherever it is trained."""
    return parameters(
        seed,
        objective=settings.objective,
        max_depth=settings.max_depth,
        learning_rate=settings.learning_rate,
        min_child_weight=10.0,
        subsample=0.7,
        colsample_bytree=0.4,
        eval_metric="logloss" if settings.objective == "binary:logistic" else "ndcg@10",
    )


def refining(settings: Ranker, seed: int) -> dict[str, Any]:
    """Parameters of the trees that order the top of a list after those of ``binary:logistic``."""
    return learning(settings, seed) | {
        "objective": "rank:ndcg",
        "eval_metric": "ndcg@10",
        "learning_rate": settings.learning_rate / 2,
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": K,
    }


def refined(settings: Ranker) -> bool:
    """Whether there are such trees; of ``rank:ndcg`` all are."""
    return settings.objective == "binary:logistic" and settings.ranking_rounds > 0


def kept(frame: pd.DataFrame, sources: Sequence[str]) -> NDArray[np.bool_]:
    """Which candidates a ranker of these sources sees: all of them where it has every source."""
    if set(SOURCES) <= set(sources):
        return np.ones(len(frame), dtype=bool)
    return frame[list(sources)].to_numpy(bool).any(axis=1)


def fit(frame: pd.DataFrame, settings: Ranker, seed: int, like: Fitted | None = None) -> Fitted:
    """Fit on labelled candidates sorted by (user_id, item_id, as_of), all of them earlier than what is predicted.

    Some users are kept back: their rows stop the boosting and calibrate it (isotonic). All users are fitted ``like`` a
    ranker of before that was stopped and calibrated so: for as many rounds, and with its calibration.
    Trees of ``rank:ndcg`` group by (user, as_of): Burges 2010, LambdaMART. After those of ``binary:logistic``, whose
    number is ``rounds``, come ``ranking_rounds`` of them that go on from there.
    """
    label = frame["label"].to_numpy(dtype=np.float32)
    thinned = frame["weight"].to_numpy(dtype=np.float32)
    group = frame.groupby(["user_id", "as_of"], sort=True).ngroup().to_numpy()
    back, keep, weight = thin(frame, settings, np.bincount(group, label)[group])
    order = np.argsort(group, kind="stable")
    x = matrix(frame)

    def dmatrix(rows: NDArray[np.bool_], ref: xgb.QuantileDMatrix | None = None) -> xgb.QuantileDMatrix:
        picked = order[rows[order]]
        ranked = settings.objective == "rank:ndcg"
        return xgb.QuantileDMatrix(
            x[picked],
            label[picked],
            weight=None if ranked else weight[picked],
            qid=group[picked] if ranked else None,
            max_bin=128,
            ref=ref,
            feature_weights=COLUMN_WEIGHTS,
        )

    def finished(booster: xgb.Booster, data: xgb.QuantileDMatrix, rows: NDArray[np.bool_]) -> bytes:
        if refined(settings):
            sizes = np.unique(group[rows], return_counts=True)[1]  # the same rows, now as lists of equal weight
            data.set_info(group=sizes, weight=np.ones(len(sizes)))
            booster = xgb.train(refining(settings, seed), data, settings.ranking_rounds, xgb_model=booster)
        return to_bytes(booster)

    chosen = learning(settings, seed)
    if like is not None:
        data = dmatrix(keep)
        booster = xgb.train(chosen, data, like.rounds)
        return Fitted(finished(booster, data, keep), like.calibration, like.rounds)
    train = dmatrix(keep & ~back)
    watched: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        chosen,
        train,
        settings.rounds,
        evals=[(dmatrix(keep & back, ref=train), "stop")],
        early_stopping_rounds=settings.early_stopping_rounds,
        verbose_eval=False,
        evals_result=watched,
    )
    rounds = booster.best_iteration + 1
    fitted = finished(booster[:rounds], train, keep & ~back)
    calibration = Calibration.fit(predict(fitted, unplaced(x[back]), threads()), label[back], thinned[back])
    return Fitted(fitted, calibration, rounds, tuple(map(float, watched["stop"][chosen["eval_metric"]])))
