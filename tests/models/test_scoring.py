"""A score is the models' outputs put together as the method says, row by row."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb
from scipy.stats import beta

from jobs.models import prior, ranker, scoring, uplift
from jobs.models.boosting import Calibration, parameters, predict, to_bytes
from jobs.models.doubly_robust import Z90
from jobs.models.folds import fold_of
from jobs.models.prior import Posterior, Prior
from jobs.models.propensity import Propensity
from jobs.models.uplift import Learner
from jobs.runtime.errors import DataError
from jobs.tables.contracts import FEATURES, PAIR_COUNTS, SCORES, USER_FEATURES

EPS = 0.1
WEIGHTS = np.random.default_rng(1).dirichlet(np.ones(len(prior.EFFECT)), (3, 3)).astype(np.float32)
PRIOR = Prior(("i0", "i1"), WEIGHTS)
SLOPES, INTERCEPT, ERROR = (0.8, 0.1, 0.5, 0.6, 0.2, 0.4), 0.01, 0.004
SQUEEZE = Calibration((0.0, 1.0), (0.02, 0.98))
STRENGTH = 3.0  # periods' worth of the propensity model


def booster(columns: int, seed: int, **given: object) -> bytes:
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(400, columns)).astype(np.float32)
    label = (data[:, seed % columns] > 0).astype(float)
    return to_bytes(xgb.train(parameters(seed, max_depth=2, **given), xgb.DMatrix(data, label), 4))


def scorer(adjusted: tuple[str, ...] = FEATURES) -> scoring.Scorer:
    logistic = {"objective": "binary:logistic"}
    width, seen = len(adjusted), len(uplift.names(adjusted))
    widths = {"all": seen, "history": len(prior.COLUMNS)}
    learner = Learner(
        "t",
        tuple(
            {
                view: {part: booster(size, seed + n) for n, part in enumerate(("m0", "m1"))}
                for view, size in widths.items()
            }
            for seed in (3, 7)
        ),
    )
    return scoring.Scorer(
        booster(len(ranker.COLUMNS), 9, **logistic),
        Calibration((0.0, 1.0), (0.0, 0.5)),
        scoring.EffectModel(
            Propensity((booster(width + 5, 1, **logistic), booster(width + 5, 2, **logistic)), SQUEEZE, STRENGTH),
            scoring.Effects(PRIOR, learner, SLOPES, INTERCEPT, ERROR, frozenset({"i0"})),
            2,
            EPS,
            adjusted,
        ),
    )


def frame(rows: int = 24) -> pd.DataFrame:
    """Candidates with counts; every third pair has none, the prior does not know item i2."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=rows).astype(np.float32) for name in ranker.COLUMNS})
    table["user_id"], table["item_id"] = [f"u{n % 7}" for n in range(rows)], [f"i{n % 3}" for n in range(rows)]
    table["category"] = "c"
    table["listed_position"] = np.where(np.arange(rows) % 4 == 0, np.nan, np.arange(rows) % 5 + 1)
    table["listed_score"] = np.where(np.arange(rows) % 3 == 0, np.nan, rng.random(rows))
    counts = {"treated": 4, "treated_outcomes": 2, "control": 6, "control_outcomes": 1}
    for name, count in counts.items():
        table[name] = np.where(np.arange(rows) % 3 == 0, np.nan, count)
    table.loc[rows - 1, ["control", "control_outcomes"]] = 0
    table.loc[rows - 2, ["treated", "treated_outcomes"]] = 0
    return table


def by_hand(one: scoring.Scorer, row: pd.Series) -> dict[str, float | bool]:
    """The score of one row, written out."""
    every = row[list(ranker.COLUMNS)].to_numpy(dtype=np.float32)[None, :]
    features = row[list(one.model.adjusted)].to_numpy(dtype=np.float32)[None, :]
    of_pair = row[[name for name in one.model.adjusted if name not in USER_FEATURES]].to_numpy(dtype=np.float32)
    fold = int(fold_of([row["user_id"]], 2)[0])
    n1, y1, n0, y0 = (0.0 if np.isnan(row[name]) else row[name] for name in PAIR_COUNTS)
    listed = row["listed_position"], row["listed_score"]
    history = np.array([[n1 / (n1 + n0) if n1 + n0 else np.nan, n1, n0, *listed]], np.float32)
    e = 0.02 + 0.96 * float(predict(one.model.propensity.boosters[fold], np.hstack([features, history]))[0])
    before = WEIGHTS[2, {"i0": 0, "i1": 1}.get(row["item_id"], 2)].astype(float)
    rate1, rate0 = prior.SHOWN, prior.NOT_SHOWN
    after = before * rate1**y1 * (1 - rate1) ** (n1 - y1) * rate0**y0 * (1 - rate0) ** (n0 - y0)
    after /= after.sum()
    tau, sd = after @ prior.EFFECT, np.sqrt(after @ prior.EFFECT**2 - (after @ prior.EFFECT) ** 2)
    item1, item0 = before @ rate1, before @ rate0
    near1, near0 = (y1 + item1) / (n1 + 1), (y0 + item0) / (n0 + 1)
    own = [after @ rate1, after @ rate0, tau, sd, item1, item0, near1, near0, near1 - near0]
    own += [y / n if n else np.nan for y, n in ((y1, n1), (y0, n0), (n1, n1 + n0))] + [n1, y1, n0, y0]
    seen = np.concatenate([of_pair, np.array(own, np.float32)])[None, :]
    learners = one.model.effects.learner.folds
    views = [
        {part: predict(raw, seen if view == "all" else seen[:, -16:])[0] for part, raw in boosters.items()}
        for each in learners
        for view, boosters in each.items()
    ]
    learnt = float(np.mean([view["m1"] - view["m0"] for view in views]))
    own_propensity = beta(e * (STRENGTH + n1 + n0), (1 - e) * (STRENGTH + n1 + n0))
    likely = own_propensity.cdf(1 - EPS) - own_propensity.cdf(EPS)
    unsure = 1 - likely if bool(n1) != bool(n0) else 0.0
    off = unsure * max(item1 - own[1] if n1 else own[0] - item0, 0.0) / 2
    kept = SLOPES[:3] if n1 and n0 else SLOPES[3:]
    effect = INTERCEPT + kept[0] * (tau - off) + kept[1] * (near1 - near0 - off) + kept[2] * learnt
    off *= kept[0] + kept[1]
    order = np.argsort(prior.EFFECT, kind="stable")
    reached, steps = np.cumsum(after[order]), prior.EFFECT[order]
    low, high = (steps[min(int((reached < share).sum()), len(steps) - 1)] for share in (0.05, 0.95))
    both_arms = bool(n1 and n0) or row["item_id"] == "i0"
    return {
        "relevance": 0.5 * float(predict(one.booster, every)[0]),
        "effect": effect,
        "effect_low": max(effect - np.linalg.norm([max(tau - low, 0.0) * (1 - unsure), Z90 * ERROR, off]), -1.0),
        "effect_high": min(effect + np.linalg.norm([max(high - tau, 0.0), Z90 * ERROR, off]), 1.0),
        "identified": bool(EPS <= e <= 1 - EPS if n1 and n0 else likely >= 0.5) and both_arms,
        "propensity_shown": e,
    }


@pytest.mark.parametrize("adjusted", [FEATURES, (*USER_FEATURES[:2], *FEATURES[-3:], "item_price")])
def test_scores_are_the_composition_done_by_hand(adjusted: tuple[str, ...]) -> None:
    one, table = scorer(adjusted), frame()
    scored = one.score(table)
    assert scored["identified"].nunique() == 2
    for place, row in table.iterrows():
        for name, value in by_hand(one, row).items():
            assert scored.loc[place, name] == pytest.approx(value, abs=1e-6), (place, name)


def test_what_is_judged_has_prior_and_learner_of_the_fold_without_its_user() -> None:
    """Predicted without ``known``: changing what was learnt without fold 0 changes the users of fold 0 alone."""
    model, table = scorer().model, frame()
    counts = table[list(PAIR_COUNTS)].fillna(0).to_numpy(np.int64)
    given = (
        table[list(FEATURES)].to_numpy(np.float32), table["user_id"], table["item_id"], counts,
        table[["listed_position", "listed_score"]].to_numpy(np.float32),
    )  # fmt: skip
    weights = WEIGHTS[[1, 1, 2]]
    learner = Learner("t", model.effects.learner.folds[1:] * 2)
    for effects in (replace(model.effects, prior=Prior(PRIOR.items, weights)), replace(model.effects, learner=learner)):
        moved = replace(model, effects=effects).predict(*given).effect != model.predict(*given).effect
        mine = fold_of(table["user_id"], 2) == 0
        assert moved[mine].any() and not moved[~mine].any()


def test_missing_counts_are_no_trials_and_leave_the_prior() -> None:
    one, table = scorer(), frame()
    scored = one.score(table)
    without = one.score(table.assign(**dict.fromkeys(PAIR_COUNTS, np.nan)))
    assert (without[list(PAIR_COUNTS)] == 0).all(axis=None)
    known = table["treated"].notna()
    assert np.allclose(without.loc[~known, "effect"], scored.loc[~known, "effect"])
    width, narrow = (part["effect_high"] - part["effect_low"] for part in (without, scored))
    assert (width[known] > narrow[known]).mean() > 0.8


def test_batches_are_rows_of_the_contract_in_any_split() -> None:
    one = scorer()
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    whole = pa.Table.from_batches(one.batches()(table.to_batches()))
    split = pa.Table.from_batches(one.batches()([table.to_batches()[0].slice(0, 0), *table.to_batches(5)]))
    assert whole.schema.equals(SCORES.arrow_schema)
    assert whole.num_rows == len(frame())
    assert split.equals(whole)


@pytest.mark.parametrize("adjusted", [FEATURES, FEATURES[-3:]])
def test_a_model_comes_back_from_its_files_and_scores_the_same(adjusted: tuple[str, ...]) -> None:
    one = scorer(adjusted)
    recipe = json.dumps({"calibration": one.calibration.document()}).encode()
    again = scoring.Scorer.of({"ranker.ubj": one.booster, "recipe.json": recipe}, one.model.files())
    pd.testing.assert_frame_equal(again.score(frame()), one.score(frame()))
    assert again.model.files() == one.model.files()


def test_a_model_of_other_columns_or_parts_is_refused() -> None:
    files = scorer().model.files()
    recipe = json.loads(files["recipe.json"])
    listed = ("adjusted", "propensity_columns", "columns")
    others = [recipe | {name: ["gone", *recipe[name]] for name in listed}]
    others += [recipe | {name: recipe[name][1:]} for name in listed]
    others += [{key: value for key, value in recipe.items() if key != name} for name in listed[:2]]
    for other in [*others, recipe | {"slopes": [1.0, 0.0, 1.0]}]:
        older = files | {"recipe.json": json.dumps(other).encode()}
        with pytest.raises(DataError, match=r"other (columns|parts)"):
            scoring.EffectModel.of(older)


def rated(shown: float, not_shown: float, item_shown: float, item_not_shown: float) -> Posterior:
    """The posterior of one pair with these rates, known to a tenth."""
    effect = shown - not_shown
    ends = 0.06, effect - 0.1, effect + 0.1
    rates = shown, not_shown, effect, *ends, item_shown, item_not_shown, shown, not_shown
    return Posterior(*(np.array([value]) for value in rates))


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [([10, 6, 0, 0], 0.6 - 0.2, 0.6 - 0.05), ([0, 0, 10, 1], 0.1 - 0.05, 0.6 - 0.05)],
    ids=["always shown", "never shown"],
)
@pytest.mark.parametrize("kept", [1.0, 0.5], ids=["all kept", "half kept"])
def test_an_effect_without_overlap_is_the_middle_of_its_bounds_and_the_interval_holds_them(
    counts: list[int], low: float, high: float, kept: float
) -> None:
    effects = scoring.Effects(PRIOR, Learner("t", ()), (1.0, 0.0, 1.0, kept, 0.0, 1.0), 0.0, 0.0, frozenset())
    pair, own, nothing = rated(0.6, 0.05, 0.2, 0.1), np.array([counts]), np.zeros(1)
    by_rule, by_chance = np.ones(1), np.zeros(1)
    effect = effects.combine(pair, nothing, own, by_rule)
    assert effect == pytest.approx(kept * (low + high) / 2)
    found = effects.interval(pair, effect, own, by_rule)
    assert found[0] == pytest.approx(kept * low) and found[1] == pytest.approx(
        effect + np.hypot(0.1, kept * (high - low) / 2)
    )
    plain = effects.combine(pair, nothing, own, by_chance)
    assert plain == pytest.approx(kept * high)
    assert np.ravel(effects.interval(pair, plain, own, by_chance)) == pytest.approx([plain[0] - 0.1, plain[0] + 0.1])


def test_bounds_never_raise_an_effect() -> None:
    counts = np.array([[10, 1, 0, 0]])
    assert scoring.doubt(rated(0.1, 0.3, 0.2, 0.3), counts, np.ones(1)) == 0.0
