"""The night's sampled trials as arrays, with what is known of their pairs before and after each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import boosting, prior
from jobs.models.doubly_robust import Trials
from jobs.models.folds import fold_of
from jobs.models.rows import Rows
from jobs.tables.contracts import LISTED

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Sample(Rows):
    """Trials with their periods and pairs; ``counts`` has shape (n, 4), ``ahead`` and ``listed`` (n, 2), all else (n,).

    ``counts`` are of the pair's periods strictly before the trial's; ``ahead`` are its periods shown and not shown from
    the trial's on: they say how far a propensity was right, and nothing else may know them. ``listed`` has the columns
    contracts.LISTED. ``shown_next`` is 1 where the item was shown in the period after it, 0 where it was not, -1 where
    it could not be or the period is not over.
    """

    trials: Trials
    period: Codes
    item: NDArray[Any]
    category: NDArray[Any]
    segment: NDArray[Any]
    counts: Codes
    ahead: Codes
    listed: NDArray[np.float32]
    shown_next: NDArray[np.int32]
    logged: NDArray[np.float64]  # propensity, NaN where the log has none
    instrument: NDArray[np.float64] | None


@dataclass(frozen=True)
class Masks(Rows):
    """Bit p of a trial's pair: shown, with an outcome, and user active with the item in play in period p."""

    shown: Codes
    outcome: Codes
    eligible: Codes

    @classmethod
    def of(
        cls, frame: pd.DataFrame, pairs: pd.DataFrame, active: "pd.Series[int]", in_play: "pd.Series[int]"
    ) -> "Masks":
        """Masks of each row of ``frame`` (user_id, item_id); a pair, user or item without a row has no bit set.

        ``pairs`` is PAIR_PERIODS, ``active`` and ``in_play`` are masks indexed by user_id and item_id.
        """
        bits = frame[["user_id", "item_id"]].merge(pairs, how="left", on=["user_id", "item_id"])
        shown, outcome = (bits[name].fillna(0).to_numpy(np.int64) for name in ("shown", "outcome"))
        mask = active.reindex(frame["user_id"]).fillna(0).to_numpy(np.int64)
        return cls(shown, outcome, mask & in_play.reindex(frame["item_id"]).fillna(0).to_numpy(np.int64))

    def counts_before(self, period: Codes) -> Codes:
        """Counts (n, 4) of each pair in the periods strictly before ``period``."""
        earlier = (np.int64(1) << period) - 1
        return prior.mask_counts(self.shown & earlier, self.outcome & earlier, self.eligible & earlier)

    def ahead(self, period: Codes) -> Codes:
        """Periods shown and not shown (n, 2) of each pair from ``period`` on."""
        every = prior.mask_counts(self.shown, self.outcome, self.eligible)
        return (every - self.counts_before(period))[:, [0, 2]]

    def shown_after(self, period: Codes) -> NDArray[np.int32]:
        """Whether each pair was shown in the period after ``period``: 1, 0, or -1 where there is no such trial."""
        eligible, shown = ((mask >> (period + 1)) & 1 for mask in (self.eligible, self.shown))
        return np.where(eligible == 1, shown, -1).astype(np.int32)


def as_trials(frame: pd.DataFrame, adjusted: Sequence[str], folds: int) -> Trials:
    """Arrays of a TRIALS frame with the features ``adjusted``."""
    users = frame["user_id"].to_numpy()
    return Trials(
        boosting.matrix(frame, adjusted),
        frame["treated"].to_numpy(np.int32),
        frame["outcome"].to_numpy(np.float64),
        frame["weight"].to_numpy(np.float64),
        users,
        fold_of(users, folds),
    )


def of_frame(
    frame: pd.DataFrame, trials: Trials, masks: Masks, segments: "pd.Series[str]", instrument: str | None
) -> Sample:
    """The sample of a TRIALS frame; ``segments`` is indexed by user_id, ``instrument`` names a column."""
    period = frame["period"].to_numpy(np.int64)
    moved = None if instrument is None else frame[instrument].to_numpy(dtype=np.float64, na_value=np.nan)
    return Sample(
        trials,
        period,
        frame["item_id"].to_numpy(),
        frame["category"].to_numpy(),
        segments.reindex(frame["user_id"]).fillna("unknown").to_numpy(),
        masks.counts_before(period),
        masks.ahead(period),
        boosting.matrix(frame, LISTED),
        masks.shown_after(period),
        frame["logged_propensity"].to_numpy(dtype=np.float64, na_value=np.nan),
        moved,
    )
