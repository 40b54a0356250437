"""Lists in force before a day: the version published last, of a run date strictly before it and before tonight."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables import listings
from jobs.tables.lake import Lake
from tests import small_night

TONIGHT = date(2024, 2, 5)


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    return JobArgs(site, TONIGHT, Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {}))


def publish(args: JobArgs, day: date, score: float, state: str = "published", version: str = "") -> None:
    """A night whose best item has ``score``."""
    night = small_night.write(args, f"version-{day}", day, score=score)
    Lake(night).write_json("published", {"state": state, "version_id": version or f"version-{day}"})


def best(args: JobArgs, spark: SparkSession, *as_ofs: date) -> dict[date, float]:
    """Score of the best item of each list in force, the same for all users."""
    rows = listings.in_force(args, spark, as_ofs).where("rank = 1").collect()
    assert len(rows) == 4 * len({row.as_of for row in rows}) and {row.item_id for row in rows} <= {"i1"}
    return {row.as_of: row.score for row in rows}


def test_a_day_has_the_lists_published_last_before_it(args: JobArgs, spark: SparkSession) -> None:
    first, second = TONIGHT - timedelta(14), TONIGHT - timedelta(7)
    publish(args, first, 0.5)
    publish(args, second, 0.25)
    after = first + timedelta(1)
    assert best(args, spark, first, after, second, TONIGHT) == {after: 0.5, second: 0.5, TONIGHT: 0.25}


def test_tonights_lists_and_later_ones_are_never_in_force(args: JobArgs, spark: SparkSession) -> None:
    publish(args, TONIGHT - timedelta(7), 0.5)
    publish(args, TONIGHT, 0.25)
    publish(args, TONIGHT + timedelta(7), 0.125)
    assert best(args, spark, TONIGHT, TONIGHT + timedelta(30)) == {TONIGHT: 0.5, TONIGHT + timedelta(30): 0.5}
    assert Lake(args).published_before(TONIGHT + timedelta(30)) == (TONIGHT - timedelta(7), "version-2024-01-29")


def test_lists_that_were_not_published_were_not_in_force(args: JobArgs, spark: SparkSession) -> None:
    publish(args, TONIGHT - timedelta(21), 0.5)
    publish(args, TONIGHT - timedelta(14), 0.25, state="dry run")
    publish(args, TONIGHT - timedelta(7), 0.125, state="kept")
    assert best(args, spark, TONIGHT) == {TONIGHT: 0.5}
    publish(args, TONIGHT - timedelta(1), 0.0625, version="another")  # made anew since, and not published
    assert best(args, spark, TONIGHT) == {}


def test_before_the_first_night_nothing_is_in_force(args: JobArgs, spark: SparkSession) -> None:
    assert best(replace(args, date=TONIGHT), spark, TONIGHT) == {}
