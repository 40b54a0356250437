"""Average effects of all trials, each category and each item: raw difference, doubly robust, and pooled by level.

Beside them the doubly robust effects in each segment of users, and in each segment and category.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import doubly_robust, explanation, pooling
from jobs.models.doubly_robust import Z90
from jobs.models.engine import Predicted
from jobs.models.sample import Sample
from jobs.tables.contracts import ITEM_EFFECTS, PAIR_COUNTS

Floats = NDArray[np.float64]
MIN_USERS = 10  # whose trials a group's standard error can be made of
CELL = "segment_category"


def table(sample: Sample, predicted: Predicted, items: pd.DataFrame) -> pd.DataFrame:
    """Rows of ITEM_EFFECTS; ``items`` is ITEM_PERIODS indexed by item_id."""
    trials, inside = sample.trials, predicted.inside
    keys = {"all": np.full(len(sample.item), "all", dtype=object), "category": sample.category, "item": sample.item}
    counts = items.assign(all="all", item=items.index)
    out, parent = [], None
    for level, key in keys.items():
        number = counts.groupby(level)[list(PAIR_COUNTS)].sum()
        share = pd.Series(trials.weight * inside).groupby(key).sum() / pd.Series(trials.weight).groupby(key).sum()
        robust = doubly_robust.by_group(
            predicted.score[inside], trials.weight[inside], trials.users[inside], key[inside]
        )
        mean = _parent_mean(level, number, parent, items)
        rows, parent = _level(level, number, share, robust, mean)
        out.append(rows)
    return pd.concat(out, ignore_index=True)


def _parent_mean(level: str, number: pd.DataFrame, parent: pd.Series | None, items: pd.DataFrame) -> Floats | None:
    """What each group of a level is shrunken to; None at the top."""
    if parent is None:
        return None
    if level == "category":
        return np.full(len(number), parent.iloc[0])
    return parent.reindex(items["category"].reindex(number.index)).to_numpy()


def _level(
    level: str, number: pd.DataFrame, share: pd.Series, robust: pd.DataFrame, parent: Floats | None
) -> tuple[pd.DataFrame, pd.Series]:
    """Rows of one level and its pooled effects, towards which the next level is shrunken."""
    n1, y1, n0, y0 = (number[name].to_numpy(np.float64) for name in PAIR_COUNTS)
    rate1, rate0 = y1.sum() / max(n1.sum(), 1), y0.sum() / max(n0.sum(), 1)
    raw, raw_variance = pooling.own_difference(number, np.full(len(number), rate1), np.full(len(number), rate0))
    estimate = robust["estimate"].reindex(number.index).to_numpy()
    known = robust["error"].where(robust["clusters"] >= MIN_USERS, np.inf)
    error = known.reindex(number.index).fillna(np.inf).to_numpy()
    found = np.nan_to_num(estimate)
    mean = found if parent is None else parent
    between = 1.0 if parent is None else pooling.moment_variance(found - mean, error)
    pooled, left = pooling.combine(found, error**2, mean, between)
    overlap_share = share.reindex(number.index).to_numpy()
    about = pd.DataFrame(
        {
            "level": level,
            "key": number.index.astype(str),
            "treated": n1.astype(np.int64),
            "control": n0.astype(np.int64),
            "overlap_share": overlap_share,
            "identified": (n1 > 0) & (n0 > 0) & (np.nan_to_num(overlap_share) > 0),
        }
    )
    methods = {"difference": (raw, np.sqrt(raw_variance)), "aipw": (estimate, error), "pooled": (pooled, np.sqrt(left))}
    rows = [_with_interval(about, method, value, spread) for method, (value, spread) in methods.items()]
    return pd.concat(rows, ignore_index=True), pd.Series(pooled, index=number.index)


def _with_interval(about: pd.DataFrame, method: str, value: Floats, spread: Floats) -> pd.DataFrame:
    """The groups for which the method has an estimate and a standard error."""
    low, high = np.maximum(value - Z90 * spread, -1.0), np.minimum(value + Z90 * spread, 1.0)
    return about.assign(method=method, estimate=value, low=low, high=high)[np.isfinite(value) & np.isfinite(spread)]


def by_segment(sample: Sample, predicted: Predicted) -> pd.DataFrame:
    """Rows of ITEM_EFFECTS for each segment, and for each segment and category, doubly robust from trials with overlap.

    Counts are sums of weights: of all trials, not only the sampled. Cells of fewer than MIN_USERS users are left out.
    """
    every = np.full(len(sample.item), "", dtype=object)
    made = [_cells(sample, predicted, level, key) for level, key in (("segment", every), (CELL, sample.category))]
    return pd.concat(made, ignore_index=True)


def _cells(sample: Sample, predicted: Predicted, level: str, category: NDArray[Any]) -> pd.DataFrame:
    trials, inside = sample.trials, predicted.inside
    cells = explanation.heat_map(
        predicted.score[inside], trials.weight[inside], trials.users[inside], sample.segment[inside], category[inside]
    )
    frame = pd.DataFrame(
        {
            "segment": sample.segment,
            "category": category,
            "treated": trials.weight * (trials.treated == 1),
            "control": trials.weight * (trials.treated == 0),
            "overlap_share": trials.weight * inside,
        }
    )
    sums = frame.groupby(["segment", "category"]).sum().reset_index()
    out = cells.merge(sums, on=["segment", "category"])
    names = zip(out["segment"], out["category"], strict=True)
    return out.assign(
        level=level,
        key=[json.dumps(name, ensure_ascii=False) if level == CELL else name[0] for name in names],
        method="aipw",
        low=out["low"].clip(lower=-1.0),
        high=out["high"].clip(upper=1.0),
        overlap_share=out["overlap_share"] / (out["treated"] + out["control"]),
        treated=out["treated"].round().astype(np.int64),
        control=out["control"].round().astype(np.int64),
        identified=(out["treated"] > 0) & (out["control"] > 0),
    )[ITEM_EFFECTS.names]
