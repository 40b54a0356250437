"""What a user likes counts by how lately, and when he comes is told by the site's clock; counted by hand."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import preferences
from jobs.transforms.preferences import HALF_LIFE
from tests.transforms.rows import QUIET

AS_OF = date(2024, 3, 1)
ITEMS = [("milk", "dairy", 1.0, "farm"), ("cheese", "dairy", 3.0, " "), ("bread", "bakery", None, "farm")]
BOUGHT: dict[str, list[tuple[str, int, int]]] = {  # by user: item, age in days, outcomes
    "half": [("milk", 2, 1), ("bread", 2 + HALF_LIFE, 1)],
    "often": [("milk", 2, 1), ("bread", 2, 3)],
    "too late": [("milk", 0, 5), ("milk", -1, 5), ("milk", 365, 5), ("cheese", 4, 0)],
    "in time": [("milk", 1, 1), ("bread", 364, 1)],
    "all": [("milk", 1, 1), ("cheese", 1, 1), ("bread", 1, 2)],
    "unpriced": [("bread", 1, 1)],
    "partly priced": [("milk", 1, 1), ("bread", 1, 9)],
    "dearer": [("milk", 1 + HALF_LIFE, 1), ("cheese", 1, 1)],
}
MORNING = datetime(2024, 2, 5, 9, tzinfo=UTC)
CAME: dict[str, list[tuple[datetime, str | None]]] = {  # by user: when and by which channel
    "winter": [(datetime(2024, 2, 5, 23, 20, tzinfo=UTC), None)],  # in Berlin it is Tuesday, 0:20
    "summer": [(datetime(2023, 8, 7, 10, 20, tzinfo=UTC), None)],  # there 12:20
    "quarter past": [(datetime(2024, 2, 5, 12, 15, tzinfo=UTC), None)],  # in Kathmandu, at +5:45, 18:00
    "channels": [(MORNING, "app"), (MORNING, "app"), (MORNING, "shop"), (MORNING, None)],
    "many": [(MORNING, f"c{n}") for n in range(8) for _ in range(n + 1)],
}
Entries = list[dict[str, Any]]
Said = Callable[[str], Entries]


def times(spark: SparkSession, came: dict[str, list[tuple[datetime, str | None]]]) -> DataFrame:
    rows = [(user, at, at.date(), channel) for user, visits in came.items() for at, channel in visits]
    events = spark.createDataFrame(rows, "user_id string, event_ts timestamp, event_day date, channel string")
    return preferences.user_times(events)


def found(spark: SparkSession, brand: str = "brand", time_zone: str = "UTC") -> Said:
    """What is said of each user."""
    category = {name: kind for name, kind, _, _ in ITEMS}
    rows = [
        (user, item, category[item], AS_OF - timedelta(days=age), n, 1, 0.0, 100, *QUIET)
        for user, bought in BOUGHT.items()
        for item, age, n in bought
    ]
    days = spark.createDataFrame(rows, contracts.PAIR_DAYS.spark_ddl)
    items = spark.createDataFrame(ITEMS, "item_id string, category string, price double, brand string")
    made = preferences.preferences(days, items, times(spark, CAME), AS_OF, brand, time_zone).collect()
    by_user = {row.user_id: json.loads(row.preferences) for row in made}
    assert len(by_user) == len(made)
    return lambda user: by_user.get(user, [])


@pytest.fixture(scope="module")
def said(spark: SparkSession) -> Said:
    return found(spark)


def of(kind: str, entries: Entries) -> dict[str, float]:
    """Name and share of the entries of a kind, in order."""
    return {one[kind]: one["share"] for one in entries if kind in one}


def test_an_outcome_of_a_half_life_ago_counts_half(said: Said) -> None:
    assert list(of("category", said("half")).items()) == [("dairy", 0.6667), ("bakery", 0.3333)]
    assert list(of("category", said("often")).items()) == [("bakery", 0.75), ("dairy", 0.25)]


def test_a_preference_knows_the_year_before_its_as_of_day_and_nothing_else(said: Said) -> None:
    assert said("too late") == []
    assert of("category", said("in time")).keys() == {"dairy", "bakery"}


def test_brands_are_those_that_items_name_and_none_where_the_column_is_missing(spark: SparkSession, said: Said) -> None:
    assert of("brand", said("all")) == {"farm": 1.0}, "cheese has no brand"
    unbranded = found(spark, brand="maker")("all")
    assert of("brand", unbranded) == {} and of("category", unbranded) == of("category", said("all"))


def test_price_position_is_the_decayed_mean_of_what_is_priced(said: Said) -> None:
    position = {user: [one["price_position"] for one in said(user) if "price_position" in one] for user in BOUGHT}
    assert position["partly priced"] == [0.25], "bread has no price"
    assert position["all"] == [0.5]
    assert position["dearer"] == [pytest.approx(0.25 / 3 + 0.75 * 2 / 3, abs=1e-4)]
    assert position["unpriced"] == []


def test_hours_and_weekdays_are_the_sites_and_follow_summer_time(spark: SparkSession, said: Said) -> None:
    berlin, kathmandu = (found(spark, time_zone=zone) for zone in ("Europe/Berlin", "Asia/Kathmandu"))
    assert of("weekday", said("winter")) == {"Monday": 1.0} and of("weekday", berlin("winter")) == {"Tuesday": 1.0}
    part = [of("part_of_day", where(user)) for user in ("winter", "summer") for where in (said, berlin)]
    assert part == [{"evening": 1.0}, {"night": 1.0}, {"morning": 1.0}, {"afternoon": 1.0}]
    assert of("part_of_day", kathmandu("quarter past")) == {"evening": 1.0}


def test_channels_are_shares_of_the_events_that_have_one(said: Said) -> None:
    assert of("channel", said("channels")) == {"app": 0.6667, "shop": 0.3333}
    assert of("channel", said("winter")) == {}


def test_five_of_a_kind_are_named_and_keep_their_share_of_all(said: Said) -> None:
    shares = of("channel", said("many"))
    assert list(shares) == ["c7", "c6", "c5", "c4", "c3"]
    assert sum(shares.values()) == pytest.approx(30 / 36, abs=1e-3)


def test_events_of_one_quarter_of_an_hour_and_channel_are_one_row(spark: SparkSession) -> None:
    visits = [(MORNING + timedelta(minutes=n), "app") for n in (0, 14, 15)]
    rows = times(spark, {"u": [*visits, (MORNING, "shop")]}).collect()
    assert sorted((row.event_day, row.quarter, row.channel, row.events) for row in rows) == [
        (MORNING.date(), 36, "app", 2),
        (MORNING.date(), 36, "shop", 1),
        (MORNING.date(), 37, "app", 1),
    ]
