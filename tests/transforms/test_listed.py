"""A pair's place in the list before: its rank, after all that is listed, or unknown."""

from datetime import date

from pyspark.sql import SparkSession

from jobs.transforms.listed import with_listed

FIRST, SECOND = date(2024, 1, 8), date(2024, 1, 15)
PAIRS = "user_id string, item_id string, as_of date, weight double"
LISTS = "user_id string, item_id string, as_of date, rank int, score double"


def test_rank_and_score_are_of_the_list_in_force_and_no_list_is_no_value(spark: SparkSession) -> None:
    pairs = [(user, item, day, 2.0) for user in "uv" for item in "ab" for day in (FIRST, SECOND)]
    lists = [("u", "a", FIRST, 1, 0.5), ("u", "c", FIRST, 2, 0.25), ("u", "b", SECOND, 1, 0.75)]
    found = with_listed(spark.createDataFrame(pairs, PAIRS), spark.createDataFrame(lists, LISTS))
    assert found.columns == ["user_id", "as_of", "item_id", "weight", "listed_position", "listed_score"]
    assert {(r.user_id, r.item_id, r.as_of): (r.listed_position, r.listed_score) for r in found.collect()} == {
        ("u", "a", FIRST): (1.0, 0.5),
        ("u", "b", FIRST): (3.0, None),
        ("u", "a", SECOND): (2.0, None),
        ("u", "b", SECOND): (1.0, 0.75),
        **{("v", item, day): (None, None) for item in "ab" for day in (FIRST, SECOND)},
    }
