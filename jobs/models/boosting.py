"""XGBoost boosters as bytes: trained with a seed, saved as UBJSON (no code runs on loading), checked by sha256."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from jobs.models.folds import threads

Floats = NDArray[np.float64]


def matrix(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float32]:
    """The columns of a frame as features, shape (n, columns), NaN where missing."""
    out = np.empty((len(frame), len(columns)), dtype=np.float32)
    for place, name in enumerate(columns):
        out[:, place] = frame[name].to_numpy(dtype=np.float32, na_value=np.nan)
    return out


def arrow_matrix(batch: pa.RecordBatch, columns: Sequence[str]) -> NDArray[np.float32]:
    """``matrix`` of an Arrow batch."""
    out = np.empty((batch.num_rows, len(columns)), dtype=np.float32)
    for place, name in enumerate(columns):
        out[:, place] = batch.column(name).cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return out


def parameters(seed: int, **given: Any) -> dict[str, Any]:
    """Parameters common to all boosters: histogram trees, a fixed seed and a fixed number of threads."""
    return {"tree_method": "hist", "max_bin": 128, "seed": seed, "nthread": threads(), "verbosity": 0} | given


def to_bytes(booster: xgb.Booster) -> bytes:
    """The booster as UBJSON, without its training attributes."""
    booster.set_attr(best_iteration=None, best_score=None)
    return bytes(booster.save_raw("ubj"))


@lru_cache(maxsize=64)
def from_bytes(raw: bytes, nthread: int = 1) -> xgb.Booster:
    """The booster of ``to_bytes``; cached, so a worker loads it once."""
    booster = xgb.Booster({"nthread": nthread})
    booster.load_model(bytearray(raw))
    return booster


def predict(raw: bytes, features: NDArray[np.float32], nthread: int = 1) -> Floats:
    """Predictions of a booster for features of shape (n, columns), missing = NaN; shape (n,)."""
    if not len(features):
        return np.zeros(0)
    return np.asarray(from_bytes(raw, nthread).inplace_predict(features), dtype=np.float64)


def sha256(files: Mapping[str, bytes]) -> str:
    """One sha256 over named files, whatever their order."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class Calibration:
    """A monotone map from a model's output to a probability, as knots that JSON can hold.

    Isotonic regression: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def fit(cls, predicted: Floats, label: NDArray[Any], weight: Floats | None = None) -> "Calibration":
        """Knots of the weighted isotonic regression of ``label`` on ``predicted``."""
        model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        model.fit(predicted, np.asarray(label, dtype=np.float64), sample_weight=weight)
        return cls(tuple(map(float, model.X_thresholds_)), tuple(map(float, model.y_thresholds_)))

    @classmethod
    def of(cls, document: Mapping[str, Sequence[float]]) -> "Calibration":
        """The calibration of a JSON document with ``x`` and ``y``."""
        return cls(tuple(document["x"]), tuple(document["y"]))

    def apply(self, predicted: Floats) -> Floats:
        """Calibrated probabilities, shape (n,)."""
        return np.interp(predicted, self.x, self.y)

    def document(self) -> dict[str, list[float]]:
        """Knots for JSON."""
        return {"x": list(self.x), "y": list(self.y)}
