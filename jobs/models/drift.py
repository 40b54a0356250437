"""How far tonight is from the last nights: population stability of columns, and figures that must not move.

Population stability index (Siddiqi, "Credit Risk Scorecards", 2006, chapter 9): over bins b of the reference,
sum (p_b - q_b) ln(p_b / q_b) with p tonight's share of rows and q the reference's; symmetric, 0 where they are alike.
Rows of two samples of one population have a PSI of about (1/n + 1/m) chi2(bins - 1) (Yurdakul and Naranjo, Journal of
Risk Model Validation 2020): so much may be chance, and only what is beyond it counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Document = Mapping[str, Any]
DECILES = np.linspace(0.1, 0.9, 9)
ABOVE, OUTSIDE = 0.05, 0.1  # of the inner spread: cuts above their deciles, ends outside the reference's range
SMOOTHING, RARE = 0.5, 1e-4
SURE = 0.999  # of samples of one population stay below what is called chance


@dataclass(frozen=True)
class Shift:
    """One column's PSI, and what of it chance explains; rows tonight and of the reference."""

    column: str
    psi: float
    chance: float
    rows: int
    reference: int

    @property
    def beyond(self) -> float:
        """What chance does not explain."""
        return max(self.psi - self.chance, 0.0)

    def document(self) -> dict[str, Any]:
        """The shift for JSON."""
        names = ("column", "psi", "chance", "beyond", "rows", "reference")
        return {name: getattr(self, name) for name in names}


def cuts(reference: ArrayLike) -> Floats:
    """Edges of the bins, from the reference's known values: its deciles and the ends of its range; none of no values.

    A cut stands a little above its decile, and the ends a little outside the range: a value that many rows share, as
    isotonic calibration leaves them, shall not change its bin for having moved by a hair.
    """
    values = np.asarray(reference, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.zeros(0)
    deciles = np.quantile(values, DECILES)
    spread = float(deciles[-1] - deciles[0]) or float(values.std())
    low, high = float(values.min()), float(values.max())
    ends = (
        min(low - OUTSIDE * spread, np.nextafter(low, -np.inf)),
        max(high + OUTSIDE * spread, np.nextafter(high, np.inf)),
    )
    return np.unique([*ends, *(deciles + np.maximum(ABOVE * spread, np.spacing(np.abs(deciles))))])


def smoothed(probability: ArrayLike, seed: int) -> Floats:
    """Log odds of calibrated probabilities, with normal noise of half a unit.

    Isotonic calibration leaves a few values that many rows share, elsewhere every night. The noise lets the index see
    how likely the rows are, not where the steps lie; probabilities below 0.0001 count as that.
    """
    odds = np.clip(np.asarray(probability, np.float64), RARE, 1 - RARE)
    noise = np.random.default_rng([seed, 1]).normal(0.0, SMOOTHING, len(odds))
    return np.log(odds / (1 - odds)) + noise


def counts(values: ArrayLike, edges: Floats) -> NDArray[np.int64]:
    """Rows in each bin, shape (len(edges) + 2,): below the first edge, ..., above the last, and missing."""
    found = np.asarray(values, np.float64)
    known = np.isfinite(found)
    inside = np.bincount(np.searchsorted(edges, found[known]), minlength=len(edges) + 1)
    return np.append(inside, np.count_nonzero(~known))


def stability(column: str, tonight: ArrayLike, reference: ArrayLike) -> Shift:
    """PSI of tonight's values against the reference's, missing ones in a bin of their own; half a row in empty bins."""
    edges = cuts(reference)
    now, then = counts(tonight, edges), counts(reference, edges)
    filled = (now + then) > 0
    p, q = ((part[filled] + 0.5) / (part[filled] + 0.5).sum() for part in (now, then))
    rows, before = int(now.sum()), int(then.sum())
    chance = float(chi2.ppf(SURE, max(int(filled.sum()) - 1, 1))) * (1 / max(rows, 1) + 1 / max(before, 1))
    return Shift(column, float(((p - q) * np.log(p / q)).sum()), chance, rows, before)


def compare(tonight: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike]) -> list[Shift]:
    """Shifts of the columns both have, largest first."""
    found = [stability(name, values, reference[name]) for name, values in tonight.items() if name in reference]
    return sorted(found, key=lambda shift: (-shift.beyond, -shift.psi, shift.column))


def moved(shifts: Sequence[Document], level: float) -> list[str]:
    """The columns beyond ``level``, each with its index, in words."""
    return [
        f"{shift['column']} {shift['psi']:.2f} (chance {shift['chance']:.2f})"
        for shift in shifts
        if shift["beyond"] > level
    ]


def beside(tonight: Mapping[str, Document], before: Sequence[Mapping[str, Document]]) -> dict[str, float | None]:
    """Figures of a night beside those of the last nights: what NIGHTS has; None where there is nothing to compare with.

    A figure has value, low and high. ``average_effect_gap`` is how far tonight's interval is from all of the last
    nights' together, in sizes of their mean; 0 where they meet.
    """
    effects = _known("average_effect", before)
    return {
        "users_ratio": _ratio("users", tonight, before),
        "list_rows_ratio": _ratio("list_rows", tonight, before),
        "identified_share_change": _change("identified_share", tonight, before),
        "average_effect_gap": _gap(tonight["average_effect"], effects) if effects else None,
    }


def _known(name: str, nights: Sequence[Mapping[str, Document]]) -> list[Document]:
    return [night[name] for night in nights if name in night]


def _ratio(name: str, tonight: Mapping[str, Document], before: Sequence[Mapping[str, Document]]) -> float | None:
    values = [float(figure["value"]) for figure in _known(name, before)]
    return float(tonight[name]["value"]) / float(np.mean(values)) if values else None


def _change(name: str, tonight: Mapping[str, Document], before: Sequence[Mapping[str, Document]]) -> float | None:
    values = [float(figure["value"]) for figure in _known(name, before)]
    return float(tonight[name]["value"]) - float(np.mean(values)) if values else None


def _gap(now: Document, before: Sequence[Document]) -> float:
    low, high = min(figure["low"] for figure in before), max(figure["high"] for figure in before)
    size = abs(float(np.mean([figure["value"] for figure in before])))
    return max(0.0, now["low"] - high, low - now["high"]) / max(size, 1e-12)
