"""Every reason to disbelieve a row, each on a row of its own."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from jobs.tables import contracts
from jobs.transforms import clean

RUN_DATE = date(2024, 1, 8)
BOUNDS = clean.Bounds(RUN_DATE, max_value=100.0, max_quantity=50.0, max_events_per_user_day=3)
GOOD = {"user_id": "u", "item_id": "i", "event_type": "purchase", "event_ts": datetime(2024, 1, 7, 23, 59, tzinfo=UTC)}
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("kept", {}, None),
    ("no user", {"user_id": None}, "missing_key"),
    ("no time", {"event_ts": None}, "missing_key"),
    ("stranger", {"user_id": "x"}, "unknown_user"),
    ("strange item", {"item_id": "x"}, "unknown_item"),
    ("on the run date", {"event_ts": datetime(2024, 1, 8, tzinfo=UTC)}, "future"),
    ("negative", {"value": -0.01}, "impossible_value"),
    ("too dear", {"value": 100.5}, "impossible_value"),
    ("not a number", {"value": float("nan")}, "impossible_value"),
    ("infinite", {"value": float("inf")}, "impossible_value"),
    ("too many", {"quantity": 51.0}, "impossible_quantity"),
]


def raw_events(spark: SparkSession, rows: list[dict[str, Any]], channel: str | None = None) -> DataFrame:
    names = [*contracts.RAW_INTERACTIONS.names, "till", "channel"]
    schema = f"{contracts.RAW_INTERACTIONS.spark_ddl}, till int, channel string"
    raw = spark.createDataFrame([[row.get(name) for name in names] for row in rows], schema)
    return clean.with_channel(raw, channel)


def check(spark: SparkSession, rows: list[dict[str, Any]]) -> list[Row]:
    users = spark.createDataFrame([("u",), ("bot",)], "user_id string")
    items = spark.createDataFrame([("i",)], "item_id string")
    return clean.interactions(raw_events(spark, rows), users, items, BOUNDS).collect()


def test_every_reason_and_every_row_once(spark: SparkSession) -> None:
    rows = [GOOD | {"event_id": name} | change for name, change, _ in CASES]
    found = {row.event_id: row.reason for row in check(spark, rows)}
    assert found == {name: reason for name, _, reason in CASES}


def test_first_of_a_repeated_key_is_kept_whatever_the_order_of_rows(spark: SparkSession) -> None:
    early = GOOD | {"event_id": "e", "event_ts": datetime(2024, 1, 1, tzinfo=UTC), "value": 2.0}
    rows = [GOOD | {"event_id": "e", "value": 1.0}, early, early, GOOD | {"event_id": "other"}]
    for order in (rows, rows[::-1]):
        found = sorted((row.event_id, row.value or 0.0, row.reason or "kept") for row in check(spark, order))
        assert found == [("e", 1.0, "duplicate"), ("e", 2.0, "duplicate"), ("e", 2.0, "kept"), ("other", 0.0, "kept")]


@pytest.mark.parametrize(("named", "said"), [("till", ["7", None]), ("channel", ["app", None]), (None, [None, None])])
def test_the_channel_is_the_column_that_is_named_as_text(
    spark: SparkSession, named: str | None, said: list[str | None]
) -> None:
    rows = [GOOD | {"event_id": "1", "till": 7, "channel": "app"}, GOOD | {"event_id": "2", "channel": " "}]
    found = clean.kept(
        clean.interactions(
            raw_events(spark, rows, named),
            spark.createDataFrame([("u",)], "user_id string"),
            spark.createDataFrame([("i",)], "item_id string"),
            BOUNDS,
        )
    )
    assert found.columns == contracts.INTERACTIONS.names
    assert [row.channel for row in found.orderBy("event_id").collect()] == said


@pytest.mark.parametrize(("events", "reason"), [(3, None), (4, "bot_like")])
def test_a_user_day_above_the_bound_is_bot_like(spark: SparkSession, events: int, reason: str | None) -> None:
    rows = [GOOD | {"event_id": f"b{n}", "user_id": "bot"} for n in range(events)]
    assert {row.reason for row in check(spark, rows)} == {reason}


def test_a_propensity_outside_0_to_1_is_no_propensity(spark: SparkSession) -> None:
    names = contracts.RAW_EXPOSURES.names
    good = {"user_id": "u", "item_id": "i", "exposed_at": datetime(2024, 1, 7, tzinfo=UTC)}
    given = {"none": None, "one": 1.0, "zero": 0.0, "above": 1.1, "nan": float("nan")}
    rows = [good | {"exposure_id": name, "propensity": value} for name, value in given.items()]
    raw = spark.createDataFrame([[row.get(name) for name in names] for row in rows], contracts.RAW_EXPOSURES.spark_ddl)
    users, items = spark.createDataFrame([("u",)], "user_id string"), spark.createDataFrame([("i",)], "item_id string")
    marked = clean.exposures(raw, users, items, BOUNDS)
    found = {row.exposure_id: row.reason for row in marked.collect()}
    assert found == {
        "none": None,
        "one": None,
        "zero": "bad_propensity",
        "above": "bad_propensity",
        "nan": "bad_propensity",
    }
    assert clean.kept(marked).count() + clean.quarantined(marked, contracts.EXPOSURES).count() == len(rows)


def test_an_unknown_category_and_an_impossible_price(spark: SparkSession) -> None:
    raw = spark.createDataFrame(
        [("a", None, -1.0), ("b", " ", 2.0), ("c", "milk", 100.5)], "item_id string, category string, price double"
    )
    rows = {row.item_id: (row.category, row.price) for row in clean.items(raw, BOUNDS).collect()}
    assert rows == {"a": ("unknown", None), "b": ("unknown", 2.0), "c": ("milk", None)}


def test_users_without_any_attribute(spark: SparkSession) -> None:
    marked = clean.users(spark.createDataFrame([("a",), ("a",), (" ",), (None,)], "user_id string"))
    found = sorted((row.user_id or "", row.reason or "kept") for row in marked.collect())
    assert found == [("", "missing_key"), (" ", "missing_key"), ("a", "duplicate"), ("a", "kept")]
