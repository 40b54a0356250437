"""The ranker finds a planted order, says probabilities, stops in time, and is the same to the last byte."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from jobs.models import boosting, ranker
from jobs.models.folds import uniform_ids
from jobs.models.metrics import list_metrics, rank_positions
from jobs.runtime.site import Ranker
from jobs.tables.contracts import PAIR_FEATURES, SHOWN_POSITION

QUICK = Ranker(
    rounds=80, early_stopping_rounds=10, ranking_rounds=5, max_depth=3, learning_rate=0.1, negative_share=0.5
)


def candidates(users: int = 300, items: int = 20, seed: int = 0, signal: bool = True) -> tuple[pd.DataFrame, NDArray]:
    """Candidates of two as-of days and their true probabilities, which two features and nothing else decide."""
    rng = np.random.default_rng(seed)
    rows = users * items
    noise = {name: rng.normal(size=rows).astype(np.float32) for name in PAIR_FEATURES}
    nothing = np.zeros(rows, np.float32)  # so that a column more or less draws no other rows
    frame = pd.DataFrame({name: noise.get(name, nothing) for name in ranker.COLUMNS})
    frame.loc[rng.random(rows) < 0.2, "feedback"] = np.nan
    frame[SHOWN_POSITION] = np.float32(np.nan)
    frame["user_id"] = np.repeat([f"u{n:03d}" for n in range(users)], items)
    frame["item_id"] = np.tile([f"i{n:02d}" for n in range(items)], users)
    frame["as_of"] = pd.to_datetime(np.where(np.arange(rows) % items < items // 2, "2024-01-01", "2024-01-08"))
    strength = 1.5 * frame["outcomes_28d"] - frame["days_since_last"] if signal else 0.0
    probability = (1 / (1 + np.exp(2.0 - strength))) * np.ones(rows)
    frame["label"] = (rng.random(rows) < probability).astype(np.int32)
    frame["weight"] = np.float32(1)
    return frame.sort_values(["user_id", "item_id", "as_of"], ignore_index=True), np.asarray(probability)


@pytest.fixture(scope="module")
def learnt() -> ranker.Fitted:
    return ranker.fit(candidates()[0], QUICK, 0)


def ndcg(frame: pd.DataFrame, score: NDArray) -> float:
    listed = frame[["user_id", "item_id"]].assign(score=score, hit=frame["label"])
    listed["position"] = rank_positions(listed, ["score"], [False])
    relevant = frame[frame["label"] == 1].groupby("user_id").size()
    return float(list_metrics(listed, relevant, 5)["ndcg"].mean())


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_ranker_recovers_a_planted_order(objective: str) -> None:
    patient = QUICK.model_copy(update={"objective": objective, "early_stopping_rounds": 40})
    fitted = ranker.fit(candidates()[0], patient, 0)
    unseen, probability = candidates(seed=1)
    score = fitted.score(ranker.matrix(unseen))
    best, chance = ndcg(unseen, probability), ndcg(unseen, np.random.default_rng(2).random(len(unseen)))
    assert ndcg(unseen, score) > chance + 0.85 * (best - chance)


def test_relevance_is_a_probability_though_negatives_were_thinned() -> None:
    unseen, probability = candidates(seed=1)
    relevance = ranker.fit(candidates(users=2400)[0], QUICK, 0).relevance(ranker.matrix(unseen))
    assert relevance.mean() == pytest.approx(probability.mean(), rel=0.08)
    for tenth in np.array_split(np.argsort(relevance), 10):
        assert relevance[tenth].mean() == pytest.approx(probability[tenth].mean(), abs=0.06)


def test_rows_thinned_at_retrieval_count_as_those_they_stand_for() -> None:
    frame, _ = candidates(users=900)
    kept = (frame["label"] == 1) | (np.random.default_rng(3).random(len(frame)) < 0.25)
    thinned = frame[kept].reset_index(drop=True)
    thinned["weight"] = np.where(thinned["label"] == 1, 1, 4).astype(np.float32)
    fitted = ranker.fit(thinned, QUICK, 0)
    unseen, probability = candidates(seed=1)
    relevance = fitted.relevance(ranker.matrix(unseen))
    assert relevance.mean() == pytest.approx(probability.mean(), rel=0.08)
    assert fitted == ranker.fit(thinned, QUICK.model_copy(update={"negative_share": 1.0}), 0)  # and never thinned twice


def test_boosting_stops_where_there_is_nothing_to_learn(learnt: ranker.Fitted) -> None:
    frame, _ = candidates(signal=False)
    nothing = ranker.fit(frame, QUICK, 0)
    assert nothing.rounds < 15 < learnt.rounds
    assert ranker.fit(frame, QUICK, 0, like=replace(learnt, rounds=23)).rounds == 23


def test_a_second_fit_is_the_same_to_the_last_byte(learnt: ranker.Fitted) -> None:
    assert ranker.fit(candidates()[0], QUICK, 0) == learnt
    assert ranker.fit(candidates(seed=3)[0], QUICK, 0).booster != learnt.booster


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_machines_with_more_threads_learn_the_same_to_the_last_byte(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = []
    for count in (1, 2, 5):
        monkeypatch.setattr(boosting, "threads", lambda count=count: count)
        learnt.append(ranker.fit(candidates()[0], QUICK.model_copy(update={"objective": objective}), 0))
    assert learnt[0].rounds > 2 and learnt[0] == learnt[1] == learnt[2]


def test_a_list_weighs_as_much_as_its_best_order_could_bring() -> None:
    frame = candidates(users=2)[0].assign(label=1)
    outcomes = np.repeat([1, 3], [len(frame) - 5, 5])
    weight = ranker.thin(frame, QUICK, outcomes).weight
    assert weight[0] == 1.0
    assert weight[-1] == pytest.approx(1 / (1 + 1 / np.log2(3) + 1 / 2))
    many = ranker.thin(frame, QUICK, np.full(len(frame), 10)).weight
    assert ranker.thin(frame, QUICK, np.full(len(frame), 500)).weight == pytest.approx(many), "ten places are judged"


def test_trees_that_rank_go_on_from_those_that_say_probabilities(learnt: ranker.Fitted) -> None:
    frame, _ = candidates()
    alone = ranker.fit(frame, QUICK.model_copy(update={"ranking_rounds": 0}), 0)
    first, both = (boosting.from_bytes(each.booster) for each in (alone, learnt))
    assert alone.rounds == learnt.rounds == first.num_boosted_rounds()
    assert both.num_boosted_rounds() == learnt.rounds + 5
    assert both.get_dump()[: learnt.rounds] == first.get_dump()
    ranked = QUICK.model_copy(update={"objective": "rank:ndcg"})
    only = ranker.fit(frame, ranked, 0)
    assert boosting.from_bytes(only.booster).num_boosted_rounds() == only.rounds


def test_like_another_ranker_all_users_are_learnt_from(learnt: ranker.Fitted) -> None:
    frame, _ = candidates()
    back = uniform_ids(frame["user_id"], "ranker stopping") < ranker.STOPPING_SHARE
    assert 0 < back.sum() < len(frame)
    changed = frame.assign(label=np.where(back, 1 - frame["label"], frame["label"]).astype(np.int32))
    first, second = (ranker.fit(each, QUICK, 0, like=learnt) for each in (frame, changed))
    assert first.booster != second.booster
    assert first.booster != learnt.booster
    assert (first.rounds, first.calibration) == (learnt.rounds, learnt.calibration)


def test_missing_features_are_nan_and_columns_are_in_order() -> None:
    frame, _ = candidates(users=2)
    frame["feedback"] = frame["feedback"].astype("Float32")
    made = ranker.matrix(frame)
    assert made.shape == (len(frame), len(ranker.COLUMNS))
    place = ranker.COLUMNS.index("feedback")
    assert np.isnan(made[:, place]).sum() == frame["feedback"].isna().sum() > 0
    for name in ("outcomes_28d", "days_since_last"):
        assert made[:, ranker.COLUMNS.index(name)].tolist() == frame[name].tolist()


def listed(seed: int = 0, shown: bool = True) -> pd.DataFrame:
    """Candidates of lists in which the first places are taken far more than what stands there deserves.

    ``outcomes_28d`` is what users want. Yesterday's lists of ten were ordered by ``factor_score`` instead, which nobody
    wants anything by; every tenth user got none, and every tenth item its place by chance.
    """
    frame, _ = candidates(seed=seed)
    rng, rows = np.random.default_rng(seed + 50), len(frame)
    frame["days_since_last"] = np.float32(0)
    frame["factor_score"] = rng.normal(size=rows).astype(np.float32)
    by_chance = np.where(rng.random(rows) < 0.1, 3.0 * rng.normal(size=rows), frame["factor_score"])
    place = frame.assign(by=by_chance).groupby(["user_id", "as_of"])["by"].rank(ascending=False)
    seen = shown & (place <= 5) & (uniform_ids(frame["user_id"], "nobody shows") > 0.1)
    frame[SHOWN_POSITION] = np.where(seen, place, np.nan).astype(np.float32)
    wanted = 1 / (1 + np.exp(2.0 - 1.5 * frame["outcomes_28d"]))
    pulled = np.where(seen, 0.7 / np.sqrt(place), 0.0)
    frame["label"] = (rng.random(rows) < wanted + (1 - wanted) * pulled).astype(np.int32)
    return frame


@pytest.mark.parametrize("objective", ["binary:logistic", "rank:ndcg"])
def test_what_a_place_brought_is_not_put_down_to_the_item_that_stood_there(objective: str) -> None:
    how = QUICK.model_copy(update={"objective": objective, "early_stopping_rounds": 40})
    log, unseen = listed(), listed(seed=1, shown=False)
    told, untold = (ranker.fit(each, how, 0) for each in (log, log.assign(**{SHOWN_POSITION: np.float32(np.nan)})))
    best, chance = ndcg(unseen, unseen["outcomes_28d"].to_numpy()), ndcg(unseen, np.zeros(len(unseen)))
    mine, naive = (ndcg(unseen, each.score(ranker.matrix(unseen))) for each in (told, untold))
    assert mine > chance + 0.9 * (best - chance)
    assert naive < mine - 0.15 * (best - chance)


def test_who_is_scored_has_no_place_and_relevance_is_what_such_users_do_on_average() -> None:
    log = listed()
    fitted = ranker.fit(log, QUICK, 0)
    other = listed(seed=1)
    relevance = fitted.relevance(ranker.unplaced(ranker.matrix(other)))
    assert relevance.mean() == pytest.approx(other["label"].mean(), rel=0.08), "shown or not, as nobody knows yet"
