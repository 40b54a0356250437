"""Whether what was predicted came true: mean of both in parts of the trials, with intervals clustered by user."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jobs.models import doubly_robust
from jobs.models.doubly_robust import Z90

Floats = NDArray[np.float64]
PARTS = 10


def table(
    predicted: Floats, found: Floats, weight: Floats, users: ArrayLike, size: Floats | None = None
) -> pd.DataFrame:
    """Means of what was predicted and found in PARTS parts, lowest first: predicted, found, low, high and trials.

    All arrays have shape (n,). ``found`` is the outcome of a probability, or a doubly robust score of an effect, fitted
    without the trial. Parts have equal shares of ``size`` (default: the weight), equal predictions are in one part, and
    an empty part is left out. The 90 % interval is that of ``found``; a part of one user has none (NaN).
    """
    part = parts(predicted, weight if size is None else size)
    made = doubly_robust.by_group(found, weight, users, part)
    total = np.bincount(part, weight)
    mean = np.bincount(part, weight * predicted) / np.maximum(total, 1e-12)
    order, spread = made.index.to_numpy(np.int64), Z90 * made["error"].where(np.isfinite(made["error"])).to_numpy()
    value = made["estimate"].to_numpy()
    return pd.DataFrame(
        {
            "predicted": mean[order],
            "found": value,
            "low": value - spread,
            "high": value + spread,
            "trials": np.bincount(part)[order],
        }
    )


def parts(predicted: Floats, size: Floats) -> NDArray[np.int64]:
    """The part, from 0 for the lowest prediction, of each trial, shape (n,)."""
    values, place = np.unique(predicted, return_inverse=True)
    mass = np.bincount(place, size, len(values))
    middle = np.cumsum(mass) - mass / 2
    return np.minimum(PARTS * middle / max(float(mass.sum()), 1e-12), PARTS - 1).astype(np.int64)[place]


def document(made: pd.DataFrame) -> dict[str, list[float | None]]:
    """A table for JSON; what is not known is None."""
    return {str(name): [None if pd.isna(value) else float(value) for value in column] for name, column in made.items()}
