"""Lists are judged on what happened, retrieved or not, beside what is done by hand and what each source would list."""

import numpy as np
import pandas as pd
import pytest

from jobs.models import evaluation, metrics
from jobs.models.metrics import Estimate
from jobs.models.selection import occurrence
from jobs.tables.contracts import SOURCES

VECTORS = pd.DataFrame([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], index=["a", "b", "c"])
REAL = pd.DataFrame({"user_id": ["u", "v", "v"], "item_id": ["b", "b", "never retrieved"]})
SCORES = np.array([0.1, 0.9, 0.2] * 2)
BY_HAND = {column for by in (evaluation.BASELINES, evaluation.BY_SOURCE) for column in by.values()}


def candidates() -> pd.DataFrame:
    """Two users and three items; a user's own counts favour ``b``, popularity and factors ``a``."""
    rows = pd.DataFrame({"user_id": np.repeat(["u", "v"], 3), "item_id": ["a", "b", "c"] * 2})
    rows = rows.assign(**dict.fromkeys(BY_HAND, np.nan), **dict.fromkeys(SOURCES, False))
    rows["popularity_rank"] = [1.0, 2.0, np.nan] * 2
    rows["outcomes_decayed_112d"] = rows["outcomes_364d"] = [1.0, 2.0, np.nan] * 2
    rows["factor_score"] = [0.9, 0.1, np.nan] * 2
    rows["item_buyers_91d"] = [2.0, 1.0, np.nan] * 2
    rows["from_repeat"] = rows["item_id"] == "b"
    rows["from_popularity"] = rows["item_id"] != "c"
    return rows


def judged(frame: pd.DataFrame, scores: np.ndarray, vectors: pd.DataFrame = VECTORS) -> dict[str, float]:
    found = evaluation.judge(frame, REAL, scores, vectors, 0)
    return {name: value.value if isinstance(value, Estimate) else value for name, value in found.items()}


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return judged(candidates(), SCORES)


def test_every_ranking_is_judged_on_the_same_candidates(figures: dict[str, float]) -> None:
    ideal_of_two = 1 + 1 / np.log2(3)
    first, second = (1 + 1 / ideal_of_two) / 2, (1 / np.log2(3) + 1 / np.log2(3) / ideal_of_two) / 2
    for name in ("ranker", "recency", "own_counts"):
        assert figures[f"{name}_ndcg_10"] == pytest.approx(first)
    assert figures["popularity_ndcg_10"] == figures["als_ndcg_10"] == pytest.approx(second)
    assert figures["ranker_hit_rate_10"] == 1.0
    assert figures["ranker_precision_10"] == pytest.approx(0.1)
    assert figures["ranker_map_10"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["ranker_lead_popularity_ndcg_10"] == pytest.approx(first - second)
    assert figures["ranker_lead_own_counts_ndcg_10"] == 0.0


def test_what_was_never_retrieved_counts_as_missed(figures: dict[str, float]) -> None:
    assert figures["candidate_recall"] == figures["ranker_recall_100"] == pytest.approx((1 + 1 / 2) / 2)
    recalls = {name: figures[f"{name}_recall"] for name in SOURCES}
    assert recalls == dict.fromkeys(SOURCES, 0.0) | {"from_repeat": 0.75, "from_popularity": 0.75}
    assert figures["test_users"] == 2


def test_each_source_is_judged_by_its_own_list(figures: dict[str, float]) -> None:
    assert set(evaluation.BY_SOURCE) == set(SOURCES)
    assert figures["from_repeat_ndcg_10"] == figures["ranker_ndcg_10"]
    assert figures["from_popularity_ndcg_10"] == figures["popularity_ndcg_10"]
    assert figures["from_repeat_coverage_10"] == pytest.approx(1 / 3)
    assert figures["from_item_cf_ndcg_10"] == figures["from_item_cf_coverage_10"] == 0.0
    assert "from_item_cf_novelty_10" not in figures, "nothing listed, nothing to be surprised at"


def test_spread_of_the_lists_is_that_of_their_top_ten(figures: dict[str, float]) -> None:
    assert figures["ranker_coverage_10"] == 1.0
    assert figures["ranker_gini_10"] == pytest.approx(0.0)
    assert figures["ranker_novelty_10"] == pytest.approx((0 + 1 + 1) / 3)
    assert figures["ranker_diversity_10"] == pytest.approx(2 / 3)
    assert figures["from_popularity_diversity_10"] == pytest.approx(0.0)
    assert "from_repeat_diversity_10" not in figures, "one item is not diverse"


def test_without_vectors_there_is_no_diversity() -> None:
    assert not [name for name in judged(candidates(), SCORES, pd.DataFrame()) if "diversity" in name]


def test_every_figure_of_users_has_an_interval_that_holds_it() -> None:
    found = evaluation.judge(candidates(), REAL, SCORES, VECTORS, 0)
    for name in ("ndcg_10", "recall_10", "precision_10", "map_10", "hit_rate_10", "novelty_10", "diversity_10"):
        figure = found[f"ranker_{name}"]
        assert isinstance(figure, Estimate) and figure.low <= figure.value <= figure.high


def test_rows_may_come_in_any_order_and_a_reversed_ranking_is_worse() -> None:
    frame, order = candidates(), np.random.default_rng(0).permutation(6)
    assert judged(frame.iloc[order], SCORES[order]) == pytest.approx(judged(frame, SCORES))
    assert judged(frame, -SCORES)["ranker_ndcg_10"] < judged(frame, SCORES)["ranker_ndcg_10"]


def test_what_the_ranker_does_not_see_is_not_listed() -> None:
    hidden = np.where(candidates()["item_id"] == "b", -np.inf, SCORES)
    found = judged(candidates(), hidden)
    assert found["ranker_ndcg_10"] == found["ranker_recall_100"] == 0.0
    assert found["ranker_coverage_10"] == pytest.approx(2 / 3)


def test_ties_go_to_the_more_popular_and_then_by_id() -> None:
    frame = pd.concat([candidates().iloc[:1]] * 130, ignore_index=True)
    frame["item_id"] = [f"i{n:03d}" for n in range(130)][::-1]
    frame["popularity_rank"] = np.where(frame["item_id"] == "i077", 1.0, np.nan)
    lists = evaluation.Candidates.of(frame, REAL.replace("b", "i000"), VECTORS)
    listed = frame["item_id"].to_numpy()[lists.best(np.zeros(130))[0]]
    assert listed.tolist() == ["i077", *(f"i{n:03d}" for n in range(100) if n != 77)]


def test_where_nobody_had_an_outcome_there_is_no_figure() -> None:
    assert evaluation.judge(candidates(), REAL.iloc[:0], SCORES, VECTORS, 0) == {"test_users": 0.0}


def test_the_judged_users_are_a_fixed_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    users = pd.Series([f"u{n:03d}" for n in range(100)] * 2)
    assert evaluation.drawn(users).tolist() == sorted(users.unique())
    monkeypatch.setattr(evaluation, "USERS", 30)
    some = evaluation.drawn(users).tolist()
    assert len(some) == 30 and some == sorted(some)
    assert some == evaluation.drawn(users[::-1]).tolist()
    assert set(evaluation.drawn(users[users != some[0]])) >= set(some[1:]), "who is drawn does not hang on the others"


def test_measures_equal_those_of_the_list_one_user_after_the_other() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user_id": np.repeat([f"u{n}" for n in range(40)], 30), "item_id": np.tile(np.arange(30), 40)}
    )
    frame = frame.assign(**dict.fromkeys(BY_HAND, 1.0), **dict.fromkeys(SOURCES, True), item_buyers_91d=1.0)
    frame["item_id"] = "i" + frame["item_id"].astype(str)
    scores = rng.random(len(frame))
    real = frame[rng.random(len(frame)) < 0.15][["user_id", "item_id"]]
    relevant = real.groupby("user_id").size()
    ranked = frame.merge(real.assign(hit=1.0), how="left", on=["user_id", "item_id"]).fillna({"hit": 0.0})
    order = np.lexsort((-scores, frame["user_id"]))
    position = np.empty(len(frame), dtype=int)
    position[order] = occurrence(pd.factorize(frame["user_id"])[0][order]) + 1
    slow = metrics.list_metrics(ranked.assign(position=position), relevant, 10).mean()
    found = evaluation.judge(frame, real, scores, pd.DataFrame(), 0)
    for name, value in slow.items():
        assert found[f"ranker_{name}_10"].value == pytest.approx(value)
