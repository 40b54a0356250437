"""How likely a trial was to be treated: cross-fitted by user, calibrated, and checked for overlap and balance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from jobs.models.boosting import Calibration, parameters, predict, to_bytes
from jobs.models.folds import threads
from jobs.runtime.site import Effects
from jobs.tables.contracts import LISTED

Floats = NDArray[np.float64]
HISTORY = ("shown_share", "treated", "control")  # of the pair's periods so far, beside the features and LISTED


SURE = 1e6  # periods' worth of a model that knows every pair's propensity
STRENGTHS = np.geomspace(0.25, 4_000.0, 40)  # periods' worth that are tried
LIKELY = 0.5  # probability of overlap from which a pair has it: as often wrongly said as wrongly denied


@dataclass(frozen=True)
class Propensity:
    """One booster a fold (fitted without that fold's users) and the calibration of their out-of-fold predictions.

    ``strength``: how many periods' worth the model knows of a pair's own propensity beside its own periods.
    """

    boosters: tuple[bytes, ...]
    calibration: Calibration
    strength: float = SURE

    def predict(self, matrix: NDArray[np.float32], fold: NDArray[np.int64], nthread: int = 1) -> Floats:
        """Calibrated propensities, shape (n,), each from the model that never saw the user."""
        raw = np.zeros(len(matrix))
        for k, booster in enumerate(self.boosters):
            raw[fold == k] = predict(booster, matrix[fold == k], nthread)
        return self.calibration.apply(raw)

    def overlap_chance(self, e: Floats, counts: NDArray[Any], eps: float) -> Floats:
        """Probability that a pair's own propensity lies inside [eps, 1 - eps], shape (n,).

        A prediction ``e`` is the mean of the propensities of pairs that look alike, and a mean inside does not put them
        there: of pairs shown in ten of ten periods nearly all may have been shown by rule. Their spread is that of a
        beta distribution with this mean and the weight of ``strength`` and of the pair's periods in ``counts`` (n, 4).
        """
        weight = self.strength + counts[:, 0] + counts[:, 2]
        a, b = _shapes(e, weight)
        return np.asarray(betainc(a, b, 1.0 - eps) - betainc(a, b, eps), dtype=np.float64)


def has_overlap(e: Floats, chance: Floats, counts: NDArray[Any], eps: float) -> NDArray[np.bool_]:
    """Pairs whose own propensity lies inside [eps, 1 - eps] as far as their log tells, shape (n,).

    Pairs seen shown and not shown: where the prediction ``e`` lies inside. Pairs seen in one arm only, or never: where
    their propensity lies inside more likely than not, by the ``chance`` of overlap.
    """
    return np.where(seen_both(counts), overlap(e, eps), chance >= LIKELY)


def unsure(chance: Floats, counts: NDArray[Any]) -> Floats:
    """Probability that a pair seen in one arm only has no overlap, by the ``chance`` of it, shape (n,); 0 elsewhere."""
    one = (counts[:, 0] > 0) != (counts[:, 2] > 0)
    return np.where(one, 1.0 - chance, 0.0)


def seen_both(counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Pairs whose ``counts`` (n, 4) have trials shown and not shown."""
    return np.asarray((counts[:, 0] > 0) & (counts[:, 2] > 0))


def strength(e: Floats, counts: NDArray[Any], ahead: NDArray[Any], weight: Floats) -> float:
    """Periods' worth of the predictions ``e``, by maximum likelihood from what came after them; one of ``STRENGTHS``.

    Given a pair's own propensity, the periods it is shown in are binomial; over pairs of the same prediction they are
    beta-binomial, and the more so the less the prediction knows (Skellam, JRSS B 1948; empirical Bayes as in Efron,
    "Large-Scale Inference", 2010, chapter 1). ``counts`` (n, 4) are before the trials, ``ahead`` (n, 2) shown and not
    shown from them on, of which two periods are needed; ``SURE`` where no trial has them.
    """
    shown, hidden = ahead.T.astype(np.float64)
    rows = shown + hidden >= 2
    if not rows.any():
        return SURE
    cells = pd.DataFrame(
        {
            "e": np.round(e[rows], 3),
            "n": (counts[:, 0] + counts[:, 2])[rows],
            "shown": shown[rows],
            "hidden": hidden[rows],
            "weight": weight[rows],
        }
    )
    cells = cells.groupby(["e", "n", "shown", "hidden"], as_index=False)["weight"].sum()
    mean, n, y, z, w = (cells[name].to_numpy(np.float64) for name in ("e", "n", "shown", "hidden", "weight"))
    fits = []
    for worth in STRENGTHS:
        a, b = _shapes(mean, worth + n)
        fits.append(float(w @ (betaln(a + y, b + z) - betaln(a, b))))
    return float(STRENGTHS[int(np.argmax(fits))])


def _shapes(mean: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The two parameters of beta distributions with these means, kept from 0 and 1, and weights."""
    kept = np.clip(mean, 5e-4, 1.0 - 5e-4)
    return kept * weight, (1.0 - kept) * weight


def names(adjusted: Sequence[str]) -> tuple[str, ...]:
    """Columns of the propensity's matrix where the features ``adjusted`` are adjusted for."""
    return (*adjusted, *HISTORY, *LISTED)


def columns(features: NDArray[np.float32], counts: NDArray[Any], listed: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features, ``HISTORY`` (how often the pair was shown so far) and where it stood in the list before.

    ``counts`` has shape (n, 4), of the periods strictly before the trial's; ``listed`` has the columns
    contracts.LISTED.
    """
    shown, not_shown = counts[:, 0], counts[:, 2]
    every = shown + not_shown
    share = np.divide(shown, every, out=np.full(len(counts), np.nan), where=every > 0)
    return np.column_stack([features, share, shown, not_shown, listed]).astype(np.float32)


def fit(
    matrix: NDArray[np.float32], treated: NDArray[Any], weight: Floats, fold: NDArray[np.int64], how: Effects, seed: int
) -> tuple[Propensity, Floats]:
    """Cross-fitted propensity model and its calibrated out-of-fold predictions.

    ``matrix`` (n, features) with NaN where missing; ``treated`` 0/1, ``weight`` and ``fold`` of shape (n,).
    """
    chosen = parameters(
        seed,
        objective="binary:logistic",
        max_depth=how.max_depth,
        learning_rate=how.learning_rate,
        min_child_weight=20.0,
    )
    boosters, raw = [], np.zeros(len(matrix))
    for k in range(how.folds):
        rest = fold != k
        data = xgb.QuantileDMatrix(matrix[rest], treated[rest], weight=weight[rest], max_bin=128)
        boosters.append(to_bytes(xgb.train(chosen, data, how.trees)))
        raw[~rest] = predict(boosters[-1], matrix[~rest], threads())
    calibration = Calibration.fit(raw, treated, weight)
    return Propensity(tuple(boosters), calibration), calibration.apply(raw)


def with_logged(estimated: Floats, logged: NDArray[Any]) -> Floats:
    """The logged propensity where the log has one, the estimated one elsewhere."""
    given = np.asarray(logged, dtype=np.float64)
    return np.where(np.isfinite(given), given, estimated)


def overlap(propensity: Floats, eps: float) -> NDArray[np.bool_]:
    """True where both arms had at least probability ``eps`` (Crump et al., Biometrika 2009)."""
    return (propensity >= eps) & (propensity <= 1.0 - eps)


def clip(propensity: Floats, eps: float) -> Floats:
    """Propensities moved into [eps, 1 - eps]."""
    return np.clip(propensity, eps, 1.0 - eps)


def effective_sample_size(weight: Floats) -> float:
    """Kish: (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / max(float((weight**2).sum()), 1e-12))


def balance(
    matrix: NDArray[np.float32], names: tuple[str, ...], treated: NDArray[Any], weight: Floats, propensity: Floats
) -> pd.DataFrame:
    """Standardised mean difference of each feature between the arms, as it is and after inverse-propensity weighting.

    Below 0.1 after weighting is balanced (Austin, Statistics in Medicine 2009). Missing values are left out.
    """
    inverse = weight * np.where(treated == 1, 1.0 / propensity, 1.0 / (1.0 - propensity))
    arms = [treated == 1, treated == 0]
    rows = []
    for place, name in enumerate(names):
        column = matrix[:, place].astype(np.float64)
        known = np.isfinite(column)
        if not all((arm & known).any() for arm in arms):
            continue
        spread = np.sqrt(np.mean([np.var(column[arm & known]) for arm in arms]))
        differences = [
            (np.average(column[a], weights=w[a]) - np.average(column[b], weights=w[b])) / max(spread, 1e-12)
            for w in (weight, inverse)
            for a, b in [(arms[0] & known, arms[1] & known)]
        ]
        rows.append((name, *differences))
    return pd.DataFrame(rows, columns=["feature", "before", "after"])
