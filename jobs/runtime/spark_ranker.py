"""The relevance ranker trained on Spark executors: the features, sampling and stopping of ``jobs.models.ranker``."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost as xgb
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from xgboost.spark import SparkXGBClassifier, SparkXGBRanker

from jobs.models import ranker
from jobs.models.boosting import Calibration, predict, to_bytes
from jobs.models.ranker import COLUMNS, Fitted
from jobs.runtime.site import Ranker
from jobs.runtime.spark import cached

KEY = ("user_id", "as_of", "item_id")
ROWS = "label float, thinned float, weight float, back boolean, keep boolean, qid int"


def fit(table: DataFrame, settings: Ranker, seed: int, like: Fitted | None = None) -> Fitted:
    """``ranker.fit`` on labelled candidates in Spark, by ``settings.workers`` tasks at once (xgboost.spark).

    Users stay whole in one task, so that a group of ``rank:ndcg`` is never torn. Only the users kept back come to the
    driver, as one prediction, label and weight a row. Needs a classic session: Spark Connect has no barrier stages.
    """
    outcomes = F.sum("label").over(Window.partitionBy("user_id", "as_of")).alias("outcomes")
    features = (F.col(name).cast("float").alias(name) for name in COLUMNS)
    laid_out = table.select(*KEY, "label", "weight", outcomes, *features)
    laid_out = laid_out.repartition(settings.workers, "user_id").sortWithinPartitions(*KEY)
    schema = ", ".join([ROWS, *(f"`{name}` float" for name in COLUMNS)])
    with cached(laid_out.mapInArrow(_prepared(settings), schema)) as rows:
        train = rows.where("keep")
        if like is not None:
            booster = _train(train, settings, seed, like.rounds)
            return Fitted(_finished(booster, train, settings, seed), like.calibration, like.rounds)
        booster = _train(train, settings, seed, settings.rounds, stopping=True)
        rounds = booster.best_iteration + 1
        fitted = _finished(booster[:rounds], train.where("NOT back"), settings, seed)
        said = rows.where("back").mapInArrow(_predicted(fitted), "said double, label float, thinned float")
        back = said.toArrow().to_pandas().sort_values(["said", "label", "thinned"])  # tasks end in any order
    values = (back[name].to_numpy() for name in ("said", "label", "thinned"))
    return Fitted(fitted, Calibration.fit(*values), rounds)


def _train(rows: DataFrame, settings: Ranker, seed: int, rounds: int, stopping: bool = False) -> xgb.Booster:
    """The first trees: all of them, or those before ``ranking_rounds``."""
    given = _given(ranker.learning(settings, seed), settings, rounds)
    if stopping:
        given |= {"validation_indicator_col": "back", "early_stopping_rounds": settings.early_stopping_rounds}
    if settings.objective == "rank:ndcg":
        return _booster(SparkXGBRanker(qid_col="qid", **given).fit(rows))
    given.pop("objective")  # the classifier's own
    return _booster(SparkXGBClassifier(weight_col="weight", **given).fit(rows))


def _finished(booster: xgb.Booster, rows: DataFrame, settings: Ranker, seed: int) -> bytes:
    """The booster with its trees of ``rank:ndcg``, where it is to have some."""
    if ranker.refined(settings):
        given = _given(ranker.refining(settings, seed), settings, settings.ranking_rounds)
        booster = _booster(SparkXGBRanker(qid_col="qid", xgb_model=booster, **given).fit(rows))
    return to_bytes(booster)


def _given(learning: dict[str, Any], settings: Ranker, rounds: int) -> dict[str, Any]:
    """Arguments of an estimator; a task has the cores Spark gives it."""
    return {name: value for name, value in learning.items() if name != "nthread"} | {
        "features_col": list(COLUMNS),
        "label_col": "label",
        "num_workers": settings.workers,
        "n_estimators": rounds,
        "feature_weights": ranker.COLUMN_WEIGHTS,
        "verbose": False,
    }


def _booster(model: Any) -> xgb.Booster:
    """A model's booster without names of features, as the single machine makes it."""
    booster = model.get_booster()
    booster.feature_names = booster.feature_types = None
    return booster


def _prepared(settings: Ranker) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Rows sorted by KEY with what ``ranker.thin`` says of them, and their groups counted from 0 in each task."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        last, groups = None, -1
        for batch in batches:
            if not batch.num_rows:
                continue
            frame = batch.to_pandas()
            back, keep, weight = ranker.thin(frame, settings, frame["outcomes"].to_numpy())
            group = pd.Series(list(zip(frame["user_id"], frame["as_of"], strict=True)), dtype=object)
            before = group.shift()
            before.iloc[0] = last
            new = np.array([one != other for one, other in zip(group, before, strict=True)])
            qid = groups + np.cumsum(new)
            last, groups = group.iloc[-1], int(qid[-1])
            made = {
                "label": frame["label"].astype(np.float32),
                "thinned": frame["weight"].astype(np.float32),
                "weight": weight.astype(np.float32),
                "back": back,
                "keep": keep,
                "qid": qid.astype(np.int32),
            }
            made |= {name: frame[name] for name in COLUMNS}
            yield pa.RecordBatch.from_pandas(pd.DataFrame(made), preserve_index=False)

    return run


def _predicted(raw: bytes) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a booster says of rows, with their labels and weights."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            frame = batch.to_pandas()
            said = pa.array(predict(raw, ranker.unplaced(ranker.matrix(frame))), pa.float64())
            yield pa.RecordBatch.from_arrays(
                [said, batch.column("label"), batch.column("thinned")], ["said", "label", "thinned"]
            )

    return run
