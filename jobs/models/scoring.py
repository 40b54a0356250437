"""Scoring of candidate pairs, batch by batch, from models that were checked and travel as bytes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs.models import propensity, ranker, uplift
from jobs.models.boosting import Calibration
from jobs.models.doubly_robust import Z90
from jobs.models.folds import fold_of
from jobs.models.prior import COUNTS, Posterior, Prior
from jobs.models.propensity import Propensity, clip, overlap
from jobs.models.uplift import Learner
from jobs.tables.contracts import SCORES

Floats = NDArray[np.float64]


def parts(posterior: Posterior, learnt: Floats) -> Floats:
    """What an effect is put together of, shape (n, 3): posterior, difference of near rates, what the learner adds."""
    return np.column_stack([posterior.effect, posterior.near_difference, learnt])


@dataclass(frozen=True)
class Effects:
    """From a pair's features and counts to its effect: prior, learner of what the prior misses, and their calibration.

    ``both_arms`` holds the items that were seen shown and not shown.
    """

    prior: Prior
    learner: Learner
    slopes: tuple[float, float, float]  # how much of each of the ``parts`` is kept
    intercept: float
    error: float  # standard error of the calibrated mean
    both_arms: frozenset[str]

    def combine(self, posterior: Posterior, learnt: Floats) -> Floats:
        """Effects, shape (n,): each part as far as the calibration trusts it."""
        return np.clip(self.intercept + parts(posterior, learnt) @ np.array(self.slopes), -1.0, 1.0)

    def interval(self, posterior: Posterior, effect: Floats) -> tuple[Floats, Floats]:
        """90 % interval: the posterior's, moved with the effect and widened by the calibration's error."""
        below, above = posterior.effect - posterior.low, posterior.high - posterior.effect
        low, high = (np.hypot(np.maximum(side, 0.0), Z90 * self.error) for side in (below, above))
        return np.clip(effect - low, -1.0, 1.0), np.clip(effect + high, -1.0, 1.0)


@dataclass(frozen=True)
class Scorer:
    """Ranker, propensity and effects of one night; small enough to travel to every worker."""

    booster: bytes
    calibration: Calibration
    propensity: Propensity
    effects: Effects
    folds: int
    overlap_eps: float
    adjusted: tuple[str, ...]  # the features of propensity and learner

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """SCORES rows of candidates joined with their pairs' counts; missing features are NaN, missing counts 0."""
        every = ranker.matrix(frame)
        matrix = every[:, [ranker.COLUMNS.index(name) for name in self.adjusted]]
        counts = frame[list(COUNTS)].fillna(0).astype(np.int32)
        fold = fold_of(frame["user_id"], self.folds)
        e = self.propensity.predict(propensity.columns(matrix, counts.to_numpy()), fold)
        posterior = self.effects.prior.posterior(fold, frame["item_id"], counts.to_numpy())
        seen = uplift.columns(matrix, self.adjusted, posterior, counts.to_numpy())
        learnt = self.effects.learner.predict(seen, clip(e, self.overlap_eps), fold)
        effect = self.effects.combine(posterior, learnt)
        low, high = self.effects.interval(posterior, effect)
        own = (counts["treated"].to_numpy() > 0) & (counts["control"].to_numpy() > 0)
        both_arms = frame["item_id"].isin(self.effects.both_arms).to_numpy()
        return pd.DataFrame(
            {
                "user_id": frame["user_id"].to_numpy(),
                "item_id": frame["item_id"].to_numpy(),
                "category": frame["category"].to_numpy(),
                "relevance": ranker.Fitted(self.booster, self.calibration, 0).relevance(every),
                "effect": effect,
                "effect_low": low,
                "effect_high": high,
                "identified": overlap(e, self.overlap_eps) & (own | both_arms),
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
