"""The ranker is judged on what happened, retrieved or not, beside what is done by hand."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from jobs import train_ranker
from jobs.models import ranker
from jobs.models.boosting import parameters, predict, to_bytes
from jobs.models.metrics import Estimate
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables.contracts import SOURCES
from jobs.train_ranker import judge


def candidates() -> pd.DataFrame:
    """Two users and three items; a user's own counts favour ``b``, popularity and factors ``a``."""
    rows = pd.DataFrame({"user_id": np.repeat(["u", "v"], 3), "item_id": ["a", "b", "c"] * 2})
    rows["popularity_rank"] = [1.0, 2.0, np.nan] * 2
    rows["outcomes_decayed_112d"] = [1.0, 2.0, np.nan] * 2
    rows["factor_score"] = [0.9, 0.1, np.nan] * 2
    rows["item_buyers_91d"] = [2.0, 1.0, np.nan] * 2
    rows = rows.assign(**dict.fromkeys(SOURCES, False))
    rows["from_repeat"] = rows["item_id"] == "b"
    rows["from_popularity"] = rows["item_id"] != "c"
    return rows


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    truth = pd.DataFrame({"user_id": ["u", "v", "v"], "item_id": ["b", "b", "never retrieved"]})
    found = judge(candidates(), truth, np.array([0.1, 0.9, 0.2] * 2), 0)
    return {name: value.value if isinstance(value, Estimate) else value for name, value in found.items()}


def test_every_ranking_is_judged_on_the_same_candidates(figures: dict[str, float]) -> None:
    ideal_of_two = 1 + 1 / np.log2(3)
    first, second = (1 + 1 / ideal_of_two) / 2, (1 / np.log2(3) + 1 / np.log2(3) / ideal_of_two) / 2
    assert figures["ranker_ndcg_10"] == figures["recency_ndcg_10"] == pytest.approx(first)
    assert figures["popularity_ndcg_10"] == figures["als_ndcg_10"] == pytest.approx(second)
    assert figures["ranker_map_10"] == pytest.approx((1 + 1 / 2) / 2)


def test_what_was_never_retrieved_counts_as_missed_by_each_source(figures: dict[str, float]) -> None:
    assert figures["candidate_recall"] == figures["ranker_recall_100"] == pytest.approx((1 + 1 / 2) / 2)
    recalls = {name: figures[f"{name}_recall"] for name in SOURCES}
    assert recalls == {
        "from_repeat": 0.75,
        "from_popularity": 0.75,
        "from_item_cf": 0.0,
        "from_factorisation": 0.0,
    }
    assert figures["test_users"] == 2


def test_spread_of_the_lists_is_that_of_their_top_ten(figures: dict[str, float]) -> None:
    assert figures["ranker_coverage_10"] == 1.0
    assert figures["ranker_gini_10"] == pytest.approx(0.0)
    assert figures["ranker_novelty_10"] == pytest.approx((0 + 1 + 1) / 3)


def booster(column: str) -> bytes:
    """A ranker that prefers candidates with more in ``column``."""
    rng = np.random.default_rng(0)
    data = rng.random((400, len(ranker.COLUMNS))).astype(np.float32)
    label = data[:, ranker.COLUMNS.index(column)]
    return to_bytes(xgb.train(parameters(0, max_depth=3), xgb.DMatrix(data, label), 20))


def champion(**changed: object) -> Champion:
    recipe = {"features": list(ranker.COLUMNS)} | changed
    files = {"recipe.json": json.dumps(recipe).encode(), train_ranker.JUDGED: booster("outcomes_28d")}
    return Champion(Registered("3", "models:/shop-ranker/3", "f" * 64), files, "")


def test_the_champion_is_compared_on_the_latest_window_by_the_booster_that_has_not_seen_it() -> None:
    args = JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), date(2024, 1, 8), Environment.load())
    rng = np.random.default_rng(1)
    test = pd.DataFrame(rng.random((600, len(ranker.COLUMNS))).astype(np.float32), columns=list(ranker.COLUMNS))
    test["user_id"], test["item_id"] = np.repeat([f"u{n}" for n in range(50)], 12), [f"i{n}" for n in range(12)] * 50
    wanted = test["outcomes_91d"] > 0.8
    real = test.loc[wanted, ["user_id", "item_id"]]
    lead, why = train_ranker.compare(args, champion(), test, real, test["outcomes_91d"].to_numpy())
    assert lead is not None and lead.low > 0.1 and not why, "the champion looks at another column"
    same = predict(champion().files[train_ranker.JUDGED], ranker.matrix(test))
    lead, _ = train_ranker.compare(args, champion(), test, real, same)
    assert lead is not None and (lead.low, lead.high) == (0.0, 0.0)


def test_a_champion_of_other_columns_or_none_cannot_be_compared() -> None:
    args = JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), date(2024, 1, 8), Environment.load())
    nothing = pd.DataFrame()
    for other in (champion(features=["x"]), replace(champion(), files={"recipe.json": b"{}"})):
        lead, why = train_ranker.compare(args, other, nothing, nothing, np.zeros(0))
        assert lead is None and "other columns" in why
    lead, why = train_ranker.compare(args, Champion(None, {}, "there is none"), nothing, nothing, np.zeros(0))
    assert (lead, why) == (None, "there is none")
