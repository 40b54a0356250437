"""Windows end before their as-of day, counted by hand."""

from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Row, SparkSession

from jobs.tables import contracts
from jobs.transforms import features
from jobs.transforms.shown import Shown, pair_shown_days
from tests.transforms.rows import GOODS, QUIET, feature_rows

AS_OF = date(2024, 3, 1)


def ago(days: int) -> date:
    return AS_OF - timedelta(days=days)


def rows(spark: SparkSession, ages: list[int]) -> dict[str, float | None]:
    """The feature row of one pair with an outcome of 1.00 on each of the days ``ages`` before the as-of day."""
    said = [("u", "i", "c", ago(n), 1, 1, 0.5, 100, *QUIET) for n in ages]
    days = spark.createDataFrame(said, contracts.PAIR_DAYS.spark_ddl)
    exposures = spark.createDataFrame(
        [("u", "i", ago(n)) for n in (-1, 0, 1, 8)], "user_id string, item_id string, exposed_day date"
    )
    items = spark.createDataFrame([("i", "c", 3.0, None, None)], GOODS)
    people = spark.createDataFrame([("u",)], "user_id string")
    run_date = ago(-3)
    shown = Shown(pair_shown_days(exposures, people, items, run_date, ago(91)), run_date)
    users = features.user_features(days, [AS_OF])
    about = features.item_features(days, shown, items, [AS_OF])
    (row,) = feature_rows(spark, [("u", "i", AS_OF)], people, items, days, shown, users, about)
    return row


def test_window_excludes_its_as_of_day_and_day_29(spark: SparkSession) -> None:
    row = rows(spark, [0, 1, 28, 29])
    assert row["outcomes_28d"] == row["user_outcomes_28d"] == row["item_outcomes_28d"] == 2
    assert row["outcomes_91d"] == row["category_outcomes_91d"] == 3
    assert (row["days_since_last"], row["mean_gap_days"], row["user_tenure_days"]) == (1, 14, 29)
    assert (row["shown_7d"], row["shown_28d"], row["days_since_shown"]) == (1, 2, 1)
    assert (row["feedback"], row["user_value_28d"], row["item_price"], row["item_buyers_28d"]) == (1.5, 2.0, 3.0, 1)
    assert row["category_share_91d"] == 1


def test_what_happens_from_the_as_of_day_on_changes_no_feature(spark: SparkSession) -> None:
    assert rows(spark, [5]) == rows(spark, [5, 0, -3, -40])


def test_decay_halves_exactly(spark: SparkSession) -> None:
    row = rows(spark, [28])
    assert (row["outcomes_decayed_28d"], row["gap_ratio"]) == (0.5, None)


def of_items(
    spark: SparkSession, goods: list[tuple[str, str, float | None, datetime | None, datetime | None]]
) -> dict[str, Row]:
    """Item features at AS_OF where nothing ever happened."""
    days = spark.createDataFrame([], contracts.PAIR_DAYS.spark_ddl)
    shown = Shown(spark.createDataFrame([], contracts.PAIR_SHOWN_DAYS.spark_ddl), AS_OF)
    found = features.item_features(days, shown, spark.createDataFrame(goods, GOODS), [AS_OF]).collect()
    return {row.item_id: row for row in found}


def test_a_price_position_is_the_percentile_rank_among_the_priced_items_of_the_category(spark: SparkSession) -> None:
    prices = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 9.0, "free": None}
    goods = [(name, "c", price, None, None) for name, price in prices.items()]
    found = of_items(spark, [*goods, ("alone", "other", 5.0, None, None)])
    positions = {name: row.price_position for name, row in found.items()}
    assert positions == {"a": 0.125, "b": 0.5, "c": 0.5, "d": 0.875, "free": None, "alone": 0.5}


def test_an_item_is_available_from_its_first_moment_to_before_its_last(spark: SparkSession) -> None:
    begins = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC)
    earlier, later = begins - timedelta(hours=1), begins + timedelta(hours=1)
    cases = {
        "always": (None, None, True),
        "from now on": (begins, None, True),
        "not yet": (later, None, False),
        "until later": (earlier, later, True),
        "until now": (earlier, begins, False),
        "gone": (None, earlier, False),
    }
    found = of_items(spark, [(name, "c", None, start, end) for name, (start, end, _) in cases.items()])
    assert {name: row.available for name, row in found.items()} == {name: said for name, (*_, said) in cases.items()}
