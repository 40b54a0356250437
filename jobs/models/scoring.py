"""Scoring of candidate pairs, batch by batch, from boosters that were checked and travel as bytes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs.models import pooling, ranker
from jobs.models.boosting import Calibration
from jobs.models.folds import fold_of
from jobs.models.pooling import Pooling
from jobs.models.propensity import Propensity, clip, overlap
from jobs.models.uplift import Learner
from jobs.tables.contracts import FEATURES, SCORES

COUNTS = ("treated", "treated_outcomes", "control", "control_outcomes")


@dataclass(frozen=True)
class Scorer:
    """Ranker, propensity, effect learner and pooling of one night; small enough to travel to every worker."""

    booster: bytes
    calibration: Calibration
    propensity: Propensity
    learner: Learner
    pooling: Pooling
    folds: int
    overlap_eps: float

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """SCORES rows of candidates joined with their pairs' counts; missing features are NaN, missing counts 0."""
        every = ranker.matrix(frame)
        matrix = every[:, len(ranker.COLUMNS) - len(FEATURES) :]
        counts = frame[list(COUNTS)].fillna(0).astype(np.int32)
        fold = fold_of(frame["user_id"], self.folds)
        e = self.propensity.predict(matrix, fold)
        predicted = self.learner.predict(matrix, clip(e, self.overlap_eps), fold)
        pooled = pooling.posterior(self.pooling, predicted, frame["item_id"], counts)
        own = (counts["treated"].to_numpy() > 0) & (counts["control"].to_numpy() > 0)
        relevance = ranker.Fitted(self.booster, self.calibration, 0).relevance(every)
        return pd.DataFrame(
            {
                "user_id": frame["user_id"].to_numpy(),
                "item_id": frame["item_id"].to_numpy(),
                "category": frame["category"].to_numpy(),
                "relevance": relevance,
                "effect": pooled["effect"].to_numpy(),
                "effect_low": pooled["low"].to_numpy(),
                "effect_high": pooled["high"].to_numpy(),
                "identified": overlap(e, self.overlap_eps) & (own | pooled["both_arms"].to_numpy()),
                "propensity_shown": e,
                **{name: counts[name].to_numpy() for name in COUNTS},
                "price": frame["item_price"].to_numpy(dtype=np.float64),
            }
        )

    def batches(self) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        """A function for Spark's ``mapInArrow``."""

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                if batch.num_rows:
                    scored = self.score(batch.to_pandas())
                    yield pa.RecordBatch.from_pandas(scored, schema=SCORES.arrow_schema, preserve_index=False)

        return run
