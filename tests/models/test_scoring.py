"""A score is the models' outputs put together as the method says, row by row."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb

from jobs.models import ranker, scoring
from jobs.models.boosting import Calibration, parameters, predict, to_bytes
from jobs.models.doubly_robust import Z90
from jobs.models.folds import fold_of
from jobs.models.pooling import Pooling
from jobs.models.propensity import Propensity
from jobs.models.uplift import Learner
from jobs.tables.contracts import FEATURES, SCORES

EPS = 0.1
POOLING = Pooling(
    slope=0.5,
    intercept=0.01,
    error=0.004,
    pair_variance=0.0009,
    item_variance=0.0004,
    rate_treated=0.2,
    rate_control=0.1,
    items={
        "item_id": ["i0", "i1"],
        "offset": [0.02, -0.03],
        "offset_variance": [0.0001, 0.0002],
        "rate_treated": [0.3, 0.25],
        "rate_control": [0.2, 0.05],
        "both_arms": [True, False],
    },
)
SQUEEZE = Calibration((0.0, 1.0), (0.02, 0.98))


def booster(columns: int, seed: int, **given: object) -> bytes:
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(400, columns)).astype(np.float32)
    label = (data[:, seed % columns] > 0).astype(float)
    return to_bytes(xgb.train(parameters(seed, max_depth=2, **given), xgb.DMatrix(data, label), 4))


def scorer() -> scoring.Scorer:
    logistic = {"objective": "binary:logistic"}
    width = len(FEATURES)
    return scoring.Scorer(
        booster(len(ranker.COLUMNS), 9, **logistic),
        Calibration((0.0, 1.0), (0.0, 0.5)),
        Propensity((booster(width, 1, **logistic), booster(width, 2, **logistic)), SQUEEZE),
        Learner("t", tuple({"m0": booster(width, seed), "m1": booster(width, seed + 1)} for seed in (3, 5))),
        POOLING,
        2,
        EPS,
    )


def frame(rows: int = 24) -> pd.DataFrame:
    """Candidates with counts; every third pair has none, item i2 is not in the pooling."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=rows).astype(np.float32) for name in ranker.COLUMNS})
    table["user_id"], table["item_id"] = [f"u{n % 7}" for n in range(rows)], [f"i{n % 3}" for n in range(rows)]
    table["category"] = "c"
    counts = {"treated": 4, "treated_outcomes": 2, "control": 6, "control_outcomes": 1}
    for name, count in counts.items():
        table[name] = np.where(np.arange(rows) % 3 == 0, np.nan, count)
    table.loc[rows - 1, ["control", "control_outcomes"]] = 0
    return table


def by_hand(one: scoring.Scorer, row: pd.Series) -> dict[str, float | bool]:
    """The score of one row, written out."""
    every = row[list(ranker.COLUMNS)].to_numpy(dtype=np.float32)[None, :]
    features = row[list(FEATURES)].to_numpy(dtype=np.float32)[None, :]
    fold = int(fold_of([row["user_id"]], 2)[0])
    e = 0.02 + 0.96 * float(predict(one.propensity.boosters[fold], features)[0])
    models = one.learner.folds[fold]
    tau = float((predict(models["m1"], features) - predict(models["m0"], features))[0])
    items = POOLING.table()
    known = row["item_id"] in items.index
    item = items.loc[row["item_id"]] if known else None
    mean = 0.01 + 0.5 * tau + (item["offset"] if known else 0.0)
    prior = 0.0009 + (item["offset_variance"] if known else 0.0004)
    n1, y1, n0, y0 = (0.0 if np.isnan(row[name]) else row[name] for name in scoring.COUNTS)
    if n1 and n0:
        p1 = (y1 + 4 * (item["rate_treated"] if known else 0.2)) / (n1 + 4)
        p0 = (y0 + 4 * (item["rate_control"] if known else 0.1)) / (n0 + 4)
        variance = p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0
        kept = prior / (prior + variance)
        effect, left = mean + kept * (y1 / n1 - y0 / n0 - mean), prior * (1 - kept)
    else:
        effect, left = mean, prior
    half = Z90 * np.sqrt(left + 0.004**2)
    both_arms = bool(n1 and n0) or bool(known and item["both_arms"])
    return {
        "relevance": 0.5 * float(predict(one.booster, every)[0]),
        "effect": effect,
        "effect_low": effect - half,
        "effect_high": effect + half,
        "identified": EPS <= e <= 1 - EPS and both_arms,
        "propensity_shown": e,
    }


def test_scores_are_the_composition_done_by_hand() -> None:
    one, table = scorer(), frame()
    scored = one.score(table)
    assert scored["identified"].nunique() == 2
    for place, row in table.iterrows():
        for name, value in by_hand(one, row).items():
            assert scored.loc[place, name] == pytest.approx(value, abs=1e-6), (place, name)


def test_missing_counts_are_no_trials_and_leave_the_prior() -> None:
    one, table = scorer(), frame()
    scored = one.score(table)
    without = one.score(table.assign(**dict.fromkeys(scoring.COUNTS, np.nan)))
    assert (without[list(scoring.COUNTS)] == 0).all(axis=None)
    known = table["treated"].notna() & (table["control"] > 0)
    assert np.allclose(without.loc[~known, "effect"], scored.loc[~known, "effect"])
    width, narrow = (part["effect_high"] - part["effect_low"] for part in (without, scored))
    assert (width[known] > narrow[known]).all()


def test_batches_are_rows_of_the_contract_in_any_split() -> None:
    one = scorer()
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    whole = pa.Table.from_batches(one.batches()(table.to_batches()))
    split = pa.Table.from_batches(one.batches()([table.to_batches()[0].slice(0, 0), *table.to_batches(5)]))
    assert whole.schema.equals(SCORES.arrow_schema)
    assert whole.num_rows == len(frame())
    assert split.equals(whole)
