"""The ranker is judged on what happened, retrieved or not, beside what is done by hand."""

import numpy as np
import pandas as pd
import pytest

from jobs.models.metrics import Estimate
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
