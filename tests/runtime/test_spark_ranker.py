"""Spark executors train the same kind of ranker as one machine does, on the same rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.models import ranker
from jobs.models.boosting import from_bytes
from jobs.models.metrics import list_metrics, rank_positions
from jobs.models.ranker import Fitted
from jobs.runtime import labelled, spark_ranker
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.runtime.recipes import Recipe
from jobs.runtime.spark import spark_session
from jobs.tables.contracts import CANDIDATES, LISTED, PAIR_COUNTS, SHOWN_POSITION
from jobs.tables.lake import Lake
from tests.labelled_windows import DAYS, NIGHT, candidates, put, site

QUICK = site().ranker.model_copy(update={"rounds": 8, "learning_rate": 0.5, "negative_share": 0.5, "workers": 2})


def table(session: SparkSession, frame: pd.DataFrame) -> DataFrame:
    """The frame as the lake has it, over three partitions, so that it has to be laid out anew."""
    rows = pa.Table.from_pandas(
        frame.assign(as_of=frame["as_of"].dt.date)[CANDIDATES.names],
        schema=CANDIDATES.arrow_schema,
        preserve_index=False,
    )
    return session.createDataFrame(rows).repartition(3)


def ndcg(fitted: Fitted, frame: pd.DataFrame) -> float:
    listed = frame[["user_id", "item_id"]].assign(score=fitted.score(ranker.matrix(frame)), hit=frame["label"])
    listed["position"] = rank_positions(listed, ["score"], [False])
    return float(list_metrics(listed, frame[frame["label"] == 1].groupby("user_id").size(), 5)["ndcg"].mean())


@pytest.fixture(scope="module")
def known() -> pd.DataFrame:
    """Sorted by key; a fifth of a feature is missing."""
    frame = candidates(users=120).sort_values(["user_id", "item_id", "as_of"], ignore_index=True)
    frame.loc[np.random.default_rng(1).random(len(frame)) < 0.2, "outcomes_91d"] = np.nan
    return frame.assign(**dict.fromkeys(PAIR_COUNTS, np.nan), **dict.fromkeys(LISTED, np.float32(np.nan)))


@pytest.fixture(scope="module")
def together(spark: SparkSession, known: pd.DataFrame) -> Fitted:
    """What the cluster learns of the windows before the latest."""
    return spark_ranker.fit(table(spark, known[known["as_of"] < DAYS[2]]), QUICK, 0)


def test_a_cluster_learns_what_one_machine_learns(known: pd.DataFrame, together: Fitted) -> None:
    train, test = known[known["as_of"] < DAYS[2]].reset_index(drop=True), known[known["as_of"] == DAYS[2]]
    alone = ranker.fit(train, QUICK, 0)
    assert 1 <= together.rounds <= QUICK.rounds
    assert ndcg(together, test) == pytest.approx(ndcg(alone, test), abs=0.03) and ndcg(together, test) > 0.8
    relevance = together.relevance(ranker.matrix(test))
    assert relevance.mean() == pytest.approx(test["label"].mean(), rel=0.15), "negatives are weighted back"


def test_a_cluster_learns_to_rank_in_groups(spark: SparkSession, known: pd.DataFrame) -> None:
    ranked = QUICK.model_copy(update={"objective": "rank:ndcg", "rounds": 4})
    fitted = spark_ranker.fit(table(spark, known[known["as_of"] < DAYS[2]]), ranked, 0)
    assert ndcg(fitted, known[known["as_of"] == DAYS[2]]) > 0.8


def test_a_cluster_keeps_what_a_place_brought_apart_from_the_item(spark: SparkSession, known: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    pushed = known.assign(factor_score=rng.normal(size=len(known)).astype(np.float32))
    high = (pushed["factor_score"] > 0.5) & (rng.random(len(known)) < 0.7)
    pushed["label"] = np.where(high & (rng.random(len(known)) < 0.7), 1, pushed["label"]).astype(np.int32)
    pushed[SHOWN_POSITION] = np.where(high, 1.0, np.nan).astype(np.float32)
    train, test = pushed[pushed["as_of"] < DAYS[2]], known[known["as_of"] == DAYS[2]]
    test = test.assign(factor_score=rng.normal(size=len(test)).astype(np.float32))
    told, untold = (
        ndcg(spark_ranker.fit(table(spark, each), QUICK, 0), test)
        for each in (train, train.assign(**{SHOWN_POSITION: np.float32(np.nan)}))
    )
    assert told > untold + 0.05


def test_all_users_are_learnt_from_like_another_ranker(
    spark: SparkSession, known: pd.DataFrame, together: Fitted
) -> None:
    before = replace(together, rounds=3)
    fitted = spark_ranker.fit(table(spark, known), QUICK, 0, like=before)
    booster, alone = (from_bytes(one.booster) for one in (fitted, ranker.fit(known, QUICK, 0, like=before)))
    assert (fitted.rounds, fitted.calibration) == (3, together.calibration)
    assert booster.num_boosted_rounds() == alone.num_boosted_rounds() == 3 + QUICK.ranking_rounds
    assert booster.feature_names is alone.feature_names is None, "the form that is scored and explained"
    assert booster.num_features() == alone.num_features() == len(ranker.COLUMNS)
    assert booster.attributes() == alone.attributes()


def test_rows_are_those_that_one_machine_samples_and_groups_are_whole(spark: SparkSession, known: pd.DataFrame) -> None:
    outcomes = known.groupby(["user_id", "as_of"])["label"].transform("sum")
    thinned = ranker.thin(known, QUICK, outcomes.to_numpy())
    ordered = known.assign(outcomes=outcomes).sort_values(list(spark_ranker.KEY), ignore_index=True)
    batches = pa.Table.from_pandas(ordered.assign(as_of=ordered["as_of"].dt.date)).to_batches(700)
    made = pa.Table.from_batches(spark_ranker._prepared(QUICK)(batches)).to_pandas()
    assert made["keep"].sum() == thinned.keep.sum() < len(known) and made["back"].sum() == thinned.back.sum() > 0
    assert made["weight"].sum() == pytest.approx(thinned.weight.sum())
    groups = pd.Series(list(zip(ordered["user_id"], ordered["as_of"], strict=True)))
    assert made["qid"].is_monotonic_increasing and made["qid"].nunique() == groups.nunique()
    assert made.groupby("qid")["label"].size().eq(groups.value_counts(sort=False).iloc[0]).all()


@pytest.fixture
def args(tmp_path: Path, known: pd.DataFrame) -> JobArgs:
    environment = Environment(tmp_path, tmp_path, str(tmp_path), {})
    args = JobArgs(site(ranker=QUICK), NIGHT, environment)
    put(args, CANDIDATES, known.assign(as_of=known["as_of"].dt.date))
    return args


def limited(args: JobArgs, most: int | None) -> JobArgs:
    how = args.site.ranker.model_copy(update={"distributed_rows": most})
    return replace(args, site=args.site.model_copy(update={"ranker": how}))


def test_rows_beyond_the_sites_setting_are_trained_on_spark_and_those_within_are_not(
    spark: SparkSession, known: pd.DataFrame, together: Fitted, args: JobArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def session(*_: object, classic: bool) -> Iterator[SparkSession]:
        assert classic
        yield spark

    monkeypatch.setattr("jobs.runtime.spark.spark_session", session)
    for most in (None, len(known)):
        with labelled.labelled(limited(args, most), Lake(args)) as data:
            assert isinstance(data, labelled.InMemory)
    with labelled.labelled(limited(args, len(known) - 1), Lake(args)) as data:
        assert isinstance(data, labelled.InSpark)
        whole = labelled.InMemory(known, 0)
        assert (data.rows, data.outcomes, data.days) == (whole.rows, whole.outcomes, whole.days)
        pd.testing.assert_frame_equal(
            data.window(DAYS[1]), whole.window(DAYS[1]).reset_index(drop=True)[CANDIDATES.names]
        )
        again = data.fit(Recipe.of_site(args.site), before=DAYS[2])
        assert again == together, "the same rows give the same version, however they were laid out"


def test_a_recipe_learns_from_its_own_windows() -> None:
    two = Recipe.of_site(site(ranker=QUICK.model_copy(update={"label_windows": 2})))
    three = Recipe.of_site(site(ranker=QUICK))
    days = list(DAYS)
    assert labelled.windows(days, three, None) == days and labelled.windows(days, three, days[2]) == days[:2]
    assert labelled.windows(days, two, None) == days[1:] and labelled.windows(days, two, days[2]) == [days[1]]


def test_an_address_of_spark_connect_is_refused_in_a_line(args: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://somewhere")
    with (
        pytest.raises(SetupError, match="train_ranker needs a classic Spark"),
        spark_session(args, "train_ranker", classic=True),
    ):
        pass
