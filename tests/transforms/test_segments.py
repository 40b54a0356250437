"""As many segments as the habits in the data, named apart in plain words, and the same from one night to the next."""

from datetime import date

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import segments

AS_OF = date(2024, 3, 1)
HABITS = (
    (2, 30, 60, 500.0, 50),
    (5, 12, 20, 150.0, 12),
    (70, 2, 3, 20.0, 3),
)  # days since, active, outcomes, value, items


def users(spark: SparkSession, habits: tuple[tuple[float, ...], ...], each: int, seed: int) -> DataFrame:
    """User features of ``each`` users a habit, who keep to it by a tenth or so."""
    rng, rows = np.random.default_rng(seed), []
    for h, habit in enumerate(habits):
        for n in range(each):
            now = dict(zip(segments.HABITS, np.array(habit) * rng.normal(1.0, 0.1, len(habit)), strict=True))
            values = dict.fromkeys(contracts.USER_FEATURES, 1.0) | {name: float(value) for name, value in now.items()}
            rows.append((f"h{h}u{n:03d}", AS_OF, *values.values()))
    return spark.createDataFrame(rows, contracts.USER_FEATURE_TABLE.spark_ddl)


def found(mine: DataFrame, most: int = 8) -> dict[str, tuple[int, str]]:
    rows = segments.segments(mine, most, 0).collect()
    return {row.user_id: (row.segment, row.segment_label) for row in rows}


@pytest.fixture(scope="module")
def tonight(spark: SparkSession) -> dict[str, tuple[int, str]]:
    return found(users(spark, HABITS, 40, 0))


def test_there_are_as_many_segments_as_habits_the_most_active_first(tonight: dict[str, tuple[int, str]]) -> None:
    assert {(user[:2], segment) for user, (segment, _) in tonight.items()} == {("h0", 0), ("h1", 1), ("h2", 2)}
    assert {label for _, label in tonight.values()} == {
        "frequent, recent, broad taste",
        "regular, recent, narrow taste",
        "occasional, lapsed, narrow taste",
    }


def test_the_next_night_gives_the_same_people_the_same_segment_and_name(
    spark: SparkSession, tonight: dict[str, tuple[int, str]]
) -> None:
    later = found(users(spark, HABITS, 44, 1))  # new users, and everybody did something else
    assert len(later) > len(tonight)
    assert np.mean([later[user] == mine for user, mine in tonight.items()]) > 0.98


def test_segments_of_the_same_words_say_how_active_they_are(spark: SparkSession) -> None:
    rare = (70, 2, 2, 2.0, 2)
    alike = ((1, 30, 90, 9_000.0, 90), (1, 30, 80, 50.0, 80), rare, rare)  # the first two differ in what they spend
    labels = dict(found(users(spark, alike, 20, 0)).values())
    assert labels == {
        0: "frequent, recent, broad taste, more active",
        1: "frequent, recent, broad taste, less active",
        2: "occasional, lapsed, narrow taste",
    }


@pytest.mark.parametrize("planted", [2, 3, 5])
def test_the_number_is_that_of_the_planted_clusters(planted: int) -> None:
    rng = np.random.default_rng(planted)
    middle = np.array([[8.0 * k, -8.0 * (k % 2), 0.0, 0.0, 0.0] for k in range(planted)])
    values = np.repeat(middle, 80, axis=0) + rng.normal(size=(80 * planted, 5))
    values = values[rng.permutation(len(values))]
    assert len(segments.centres(values, 8, 0)) == planted
    assert len(segments.centres(values, 2, 0)) == 2, "never more than the site allows"


def test_users_who_are_all_alike_are_one_segment() -> None:
    assert segments.centres(np.ones((50, 5)), 6, 0).tolist() == [[1.0] * 5]


def test_centres_repeat_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(size=(300, 5))
    assert segments.centres(values, 6, 0).tolist() == segments.centres(values, 6, 0).tolist()
