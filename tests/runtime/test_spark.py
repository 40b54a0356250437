"""The Spark session of a job outside any cluster, and the two helpers jobs lay their data out with."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import AwayError
from jobs.runtime.site import Outcome, Site
from jobs.runtime.spark import SETTINGS, by_user, cached, spark_session


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    monkeypatch.delenv("SPARK_ENV_LOADED", raising=False)
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    return JobArgs(site, date(2024, 1, 8), Environment(tmp_path, tmp_path, str(tmp_path), {}))


def test_a_session_has_the_projects_settings_keeps_users_together_and_is_closed(job: JobArgs) -> None:
    with spark_session(job, "test") as spark:
        assert {key: spark.conf.get(key) for key in SETTINGS} == SETTINGS
        rows = spark.range(60).select(F.concat(F.lit("u"), F.col("id") % 12).alias("user_id"), "id")
        places = by_user(rows).select("user_id", F.spark_partition_id().alias("place")).distinct().collect()
        assert len(places) == 12
        assert len({row.place for row in places}) > 1
    assert SparkSession.getActiveSession() is None


def test_what_is_cached_is_computed_once_and_let_go_even_after_an_error(job: JobArgs) -> None:
    with spark_session(job, "test") as spark:
        rows = spark.range(60).select(F.rand().alias("draw"))  # another draw each time it is computed
        with cached(rows) as kept:
            assert kept.storageLevel.useMemory
            assert kept.agg(F.sum("draw")).collect() == kept.agg(F.sum("draw")).collect()
        assert not rows.storageLevel.useMemory
        with pytest.raises(ZeroDivisionError), cached(rows):
            raise ZeroDivisionError
        assert not rows.storageLevel.useMemory


def test_a_cached_table_laid_out_by_user_is_joined_and_grouped_without_a_shuffle(
    job: JobArgs, capsys: pytest.CaptureFixture[str]
) -> None:
    with spark_session(job, "test") as spark:
        rows = spark.range(60).select((F.col("id") % 12).alias("user_id"), (F.col("id") % 5).alias("item_id"))
        key = ["user_id", "item_id"]
        with cached(by_user(rows)) as kept:
            capsys.readouterr()
            kept.join(rows.hint("merge"), on=key, how="left").groupBy(*key).count().explain()
    plan = capsys.readouterr().out.split("InMemoryRelation")
    assert "SortMergeJoin" in plan[0]
    assert "Exchange" not in plan[0]
    assert plan[1].count("ENSURE_REQUIREMENTS") == 1  # of the other side


def test_a_spark_of_others_that_does_not_answer_is_one_line_without_its_token(
    job: JobArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://somebody@127.0.0.1:1/;token=hush")
    with (
        pytest.raises(AwayError, match=r"^Spark at 127.0.0.1:1 does not answer; start it, or correct SPARK_REMOTE$"),
        spark_session(job, "test"),
    ):
        pass
