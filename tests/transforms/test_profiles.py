"""Segments are the same every night and bear different names; factors look back only."""

import json
from datetime import date, timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import profiles, sources
from tests.transforms.rows import QUIET

AS_OF = date(2024, 3, 1)
EARLIER = AS_OF - timedelta(days=21)
RANK = 4
LIKES = '[{"category":"even","share":1.0}]'
USERS, ITEMS = [f"u{n:02d}" for n in range(24)], [f"i{n:02d}" for n in range(12)]


def days(spark: SparkSession, extra: list[tuple[str, str, int]] = []) -> DataFrame:  # noqa: B006
    """Even users buy even items, odd users odd ones, 30 to 60 days before the as-of day; ``extra`` adds events."""
    bought = [
        (user, item, 30 + (u + i) % 30)
        for u, user in enumerate(USERS)
        for i, item in enumerate(ITEMS)
        if (u - i) % 2 == 0 and (u + i) % 5
    ]
    rows = [
        (u, i, "even" if int(i[1:]) % 2 == 0 else "odd", AS_OF - timedelta(days=n), 1, 1, 0.0, 100, *QUIET)
        for u, i, n in bought + extra
    ]
    return spark.createDataFrame(rows, contracts.PAIR_DAYS.spark_ddl)


def ids(spark: SparkSession, key: str, names: list[str]) -> DataFrame:
    return spark.createDataFrame([(name,) for name in names], f"{key} string")


def factors(spark: SparkSession, table: DataFrame) -> dict[tuple[str, str, date], str]:
    users, items = ids(spark, "user_id", USERS), ids(spark, "item_id", ITEMS)
    rated = profiles.ratings(table, users, items, [EARLIER, AS_OF])
    rows = profiles.factors(rated, users, items, [EARLIER, AS_OF], RANK, 5, 0).collect()
    return {(row.kind, row.id, row.as_of): row.factors for row in rows}


def features(spark: SparkSession) -> DataFrame:
    """User features of four plainly different habits, in sixes, two of which the same words describe."""
    habits = [(1, 80, 900), (1, 60, 40), (70, 3, 3), (20, 20, 20)]
    rows = []
    for n, user in enumerate(USERS):
        since, outcomes, items = habits[n % 4]
        values = dict.fromkeys(contracts.USER_FEATURES, 1.0) | {
            "user_days_since_last": float(since),
            "user_outcomes_91d": float(outcomes + n % 3),
            "user_items_91d": float(items + n % 3),
        }
        rows.append((user, AS_OF, *values.values()))
    return spark.createDataFrame(rows, contracts.USER_FEATURE_TABLE.spark_ddl)


@pytest.fixture(scope="module")
def learnt(spark: SparkSession) -> dict[tuple[str, str, date], str]:
    return factors(spark, days(spark))


def test_factors_find_who_likes_what(learnt: dict[tuple[str, str, date], str]) -> None:
    assert len(learnt) == 2 * (len(USERS) + len(ITEMS))
    user, item = (
        np.array([json.loads(learnt[kind, name, AS_OF]) for name in names])
        for kind, names in (("user", USERS), ("item", ITEMS))
    )
    score = user @ item.T
    even = (np.arange(len(USERS))[:, None] - np.arange(len(ITEMS))) % 2 == 0
    assert score[even].mean() > 0.5 > 0.2 > score[~even].mean()


def test_factors_are_the_same_to_the_last_bit(spark: SparkSession, learnt: dict[tuple[str, str, date], str]) -> None:
    assert factors(spark, days(spark).repartition(3)) == learnt


def test_factors_know_nothing_from_their_as_of_day_on(
    spark: SparkSession, learnt: dict[tuple[str, str, date], str]
) -> None:
    later = factors(spark, days(spark, [("u00", "i01", n) for n in (10, 21)] + [("u01", "i00", 0), ("u03", "i02", -5)]))
    old = {key: value for key, value in learnt.items() if key[2] == EARLIER}
    assert old == {key: value for key, value in later.items() if key[2] == EARLIER}
    assert later["user", "u00", AS_OF] != learnt["user", "u00", AS_OF]
    only_later = days(spark, [("u01", "i00", 0), ("u03", "i02", -5)])
    assert factors(spark, only_later) == learnt


def profile(spark: SparkSession, table: DataFrame, segments: int = 4) -> dict[str, tuple[int, str, str, str | None]]:
    people = ids(spark, "user_id", [*USERS, "newcomer"])
    nothing = spark.createDataFrame([], contracts.FACTORS.spark_ddl)
    likes = spark.createDataFrame([("u00", LIKES)], "user_id string, preferences string")
    rows = profiles.profiles(people, table, likes, nothing, AS_OF, segments, 0).collect()
    return {row.user_id: (row.segment, row.segment_label, row.preferences, row.factors) for row in rows}


@pytest.fixture(scope="module")
def people(spark: SparkSession) -> dict[str, tuple[int, str, str, str | None]]:
    return profile(spark, features(spark))


def test_segments_are_the_planted_habits_the_most_active_first(
    people: dict[str, tuple[int, str, str, str | None]],
) -> None:
    found = [{people[user][0] for user in USERS[habit::4]} for habit in range(4)]
    assert found == [{0}, {1}, {3}, {2}]


def test_a_label_names_one_segment(people: dict[str, tuple[int, str, str, str | None]]) -> None:
    labels = {segment: label for segment, label, _, _ in people.values()}
    assert len(labels) == len(set(labels.values())) == 5
    assert labels[-1] == "new"


def test_segments_do_not_depend_on_the_order_of_rows(
    spark: SparkSession, people: dict[str, tuple[int, str, str, str | None]]
) -> None:
    assert profile(spark, features(spark).orderBy("user_items_91d").repartition(3)) == people


def test_a_profile_has_the_users_preferences_and_an_empty_list_of_none(
    people: dict[str, tuple[int, str, str, str | None]],
) -> None:
    assert (people["u00"][2], people["u01"][2]) == (LIKES, "[]")
    assert people["newcomer"] == (-1, "new", "[]", None)


def test_folding_in_gives_the_factors_of_the_factorisation_and_of_a_user_it_never_saw(spark: SparkSession) -> None:
    rated = days(spark, [("u00", "i00", 50), ("u00", "i00", 40), ("u00", "i01", 31)])
    found = factors(spark, rated)
    table = np.array([json.loads(found["item", item, AS_OF]) for item in ITEMS])
    bought = [(row.item_id, row.outcomes) for row in rated.where("user_id = 'u00'").collect()]
    items = sorted({ITEMS.index(item) for item, _ in bought})
    counts = np.array([sum(n for item, n in bought if ITEMS.index(item) == k) for k in items])
    assert counts.max() > 1
    mine = sources.fold_in(table, table.T @ table, np.array(items), counts)
    np.testing.assert_allclose(mine, json.loads(found["user", "u00", AS_OF]), atol=1e-4)
    new = table @ sources.fold_in(table, table.T @ table, np.array([0, 2]), np.array([1, 1]))
    assert new[::2].min() > new[1::2].max()  # the rest of an even taste
    nothing = np.vstack([table, np.zeros(RANK)])
    assert np.isnan(sources.fold_in(nothing, table.T @ table, np.array([len(ITEMS)]), np.array([1]))).all()
