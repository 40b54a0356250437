"""Bits of the days an item was shown, against the days themselves."""

from datetime import date, timedelta
from random import Random

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.transforms.shown import Shown, pair_positions, pair_shown_days

RUN_DATE = date(2024, 3, 1)
REACH = 200
BEFORE = [RUN_DATE - timedelta(days=n) for n in (0, 1, 59, 60, 61, 109)]
Days = dict[tuple[str, str], set[date]]


def planted() -> Days:
    random = Random(0)
    pairs = [(f"u{n % 5}", f"i{n}") for n in range(20)]
    days = {pair: {RUN_DATE - timedelta(days=random.randint(1, REACH)) for _ in range(12)} for pair in pairs}
    days["u0", "edges"] = {RUN_DATE - timedelta(days=n) for n in (1, 60, 61, 120, 121, REACH)}
    return days


@pytest.fixture(scope="module")
def shown(spark: SparkSession) -> Shown:
    rows = [(user, item, day) for (user, item), days in planted().items() for day in days]
    outside = [("u0", "edges", RUN_DATE), ("u0", "edges", RUN_DATE - timedelta(days=REACH + 1))]

    def ids(place: int, name: str) -> DataFrame:
        return spark.createDataFrame([(key,) for key in sorted({row[place] for row in rows})], f"{name} string")

    table = spark.createDataFrame([*rows, *rows, *outside], "user_id string, item_id string, exposed_day date")
    first = RUN_DATE - timedelta(days=REACH)
    pairs = pair_shown_days(table, ids(0, "user_id"), ids(1, "item_id"), RUN_DATE, first).cache()
    assert pairs.count() == len(planted())
    return Shown(pairs, RUN_DATE)


@pytest.mark.parametrize("window", [7, 28, 60, 91])
def test_a_window_holds_exactly_its_days(spark: SparkSession, shown: Shown, window: int) -> None:
    days = spark.createDataFrame([(day,) for day in BEFORE], "before date")
    before = F.col("before")
    table = shown.pairs.crossJoin(days).select(
        "user_id",
        "item_id",
        "before",
        shown.any(before, window).alias("any"),
    )
    found = 0
    for row in table.collect():
        ages = [(row.before - day).days for day in planted()[row.user_id, row.item_id]]
        inside = [age for age in ages if 1 <= age <= window]
        assert row["any"] == bool(inside)
        found += len(inside)
    assert found


def test_a_fixed_day_and_a_column_of_it_say_the_same(shown: Shown) -> None:
    day = BEFORE[3]
    both = shown.pairs.select(shown.any(day, 91).alias("fixed"), shown.any(F.lit(day), 91).alias("column"))
    assert [row.fixed for row in both.collect()] == [row.column for row in both.collect()]


def test_positions_are_the_best_of_a_day_from_the_first_to_the_day_before_the_run_date(spark: SparkSession) -> None:
    def ago(days: int) -> date:
        return RUN_DATE - timedelta(days=days)

    logged = [(ago(1), 3), (ago(1), 2), (ago(1), None), (ago(2), None), (ago(7), 5), (ago(8), 1), (ago(0), 1)]
    rows = [("u", "i", day, place) for day, place in logged]
    table = spark.createDataFrame(rows, "user_id string, item_id string, exposed_day date, position int")
    found = pair_positions(table, RUN_DATE, ago(7)).collect()
    assert {(row.exposed_day, row.position) for row in found} == {(ago(1), 2), (ago(7), 5)}
    assert len(found) == 2
