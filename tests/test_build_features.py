"""A night counts the times of its own events only, and of all whose counting it missed; without outcomes it says so."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs import build_features
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Outcome, Site
from jobs.tables.contracts import INTERACTIONS, USER_TIMES
from jobs.tables.lake import FIRST_DAY, Lake

FIRST, SECOND, THIRD = date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 22)


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    environment = Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {})
    return JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), FIRST, environment)


def clean(args: JobArgs, night: date, start: date, days: list[int]) -> JobArgs:
    """The arguments of a night that cleaned an event of each of these days of January."""
    event = {"user_id": "u", "item_id": "i", "event_type": "purchase"}
    rows = [
        event
        | {"event_id": str(day), "event_ts": datetime(2024, 1, day, 9, tzinfo=UTC), "event_day": date(2024, 1, day)}
        for day in days
    ]
    args = replace(args, date=night)
    Lake(args).write_arrow(INTERACTIONS, pa.Table.from_pylist(rows, schema=INTERACTIONS.arrow_schema), (start, night))
    return args


def times(args: JobArgs, spark: SparkSession) -> list[int]:
    """Count the night's times; the days that every event of the past is counted on, once."""
    build_features._write_times(args, Lake(args), spark)
    rows = Lake(args).read_spark(spark, USER_TIMES).collect()
    assert {row.events for row in rows} == {1}
    return sorted(row.event_day.day for row in rows)


def test_times_of_a_night_are_those_of_its_own_events(args: JobArgs, spark: SparkSession) -> None:
    assert times(clean(args, FIRST, FIRST_DAY, [2, 6]), spark) == [2, 6]
    later = clean(args, SECOND, date(2024, 1, 5), [6, 7, 9])  # the 7th came late
    assert times(later, spark) == [2, 6, 7, 9]
    assert Lake(later).manifest(USER_TIMES)["rows"] == 3
    assert Lake(later).manifest(USER_TIMES)["covers"] == ["2024-01-05", "2024-01-15"]


def test_nights_that_were_cleaned_and_not_counted_are_made_up_for(args: JobArgs, spark: SparkSession) -> None:
    times(clean(args, FIRST, FIRST_DAY, [2, 6]), spark)
    clean(args, SECOND, date(2024, 1, 5), [6, 7, 9])
    assert times(clean(args, THIRD, date(2024, 1, 12), [17]), spark) == [2, 6, 7, 9, 17]


def test_a_lake_of_before_there_were_times_is_counted_from_its_first_day(args: JobArgs, spark: SparkSession) -> None:
    clean(args, FIRST, FIRST_DAY, [2, 6])
    assert times(clean(args, SECOND, date(2024, 1, 5), [6, 9]), spark) == [2, 6, 9]
    assert Lake(replace(args, date=SECOND)).manifest(USER_TIMES)["covers"][0] == FIRST_DAY.isoformat()


@pytest.mark.parametrize(
    ("first", "last", "missed"),
    [
        (FIRST - timedelta(days=1), THIRD - timedelta(days=1), None),
        (FIRST - timedelta(days=364), None, THIRD),
        (FIRST - timedelta(days=365), THIRD - timedelta(days=1), FIRST),
        (FIRST, THIRD, FIRST),  # as-of days are excluded
        (None, None, FIRST),
    ],
)
def test_a_night_without_an_outcome_to_learn_from_says_before_which_day(
    spark: SparkSession, first: date | None, last: date | None, missed: date | None
) -> None:
    rows = [("u", "i", day, 1) for day in (first, last) if day] + [("u", "i", FIRST - timedelta(days=1), 0)]
    days = spark.createDataFrame(rows, "user_id string, item_id string, event_day date, outcomes int")
    if missed is None:
        build_features.require_outcomes(days, (FIRST, THIRD))
        return
    with pytest.raises(DataError, match=f"no outcome event in the 364 days before {missed}"):
        build_features.require_outcomes(days, (FIRST, THIRD))
