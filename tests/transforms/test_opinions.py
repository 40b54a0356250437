"""Which feedback is believed, what it says, and that a vote counts from its day on and no day earlier."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.runtime.site import Opinions, Outcome, Site
from jobs.tables import contracts
from jobs.tables.schema import SPARK
from jobs.transforms import clean, features, opinions
from jobs.transforms.shown import Shown, pair_shown_days
from tests.transforms.rows import GOODS, feature_rows

DAY, AS_OF = date(2024, 1, 3), date(2024, 3, 1)
NOON = datetime(2024, 1, 3, 12, tzinfo=UTC)
SITE = Site(
    site="shop",
    outcome=Outcome(event_types=("purchase",)),
    feedback={"like": 1.0, "dislike": -2.0, "rating": 0.5, "comment": 3.0, "complete": 0.25},
    opinions=Opinions(max_per_user_day=4),
)
BOUNDS = clean.Bounds(DAY + timedelta(days=1), max_value=100.0, max_quantity=50.0, max_events_per_user_day=100)


def event(name: str, kind: str, seconds: float = 0.0, user: str = "u", item: str = "i", **more: Any) -> dict[str, Any]:
    moment = NOON + timedelta(seconds=seconds)
    return {"event_id": name, "user_id": user, "item_id": item, "event_type": kind, "event_ts": moment} | more


def marked(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    names = contracts.RAW_INTERACTIONS.names
    raw = spark.createDataFrame([[row.get(n) for n in names] for row in rows], contracts.RAW_INTERACTIONS.spark_ddl)
    users = spark.createDataFrame([("u",), ("v",)], "user_id string")
    items = spark.createDataFrame([(name,) for name in "ijklmn"], "item_id string")
    return opinions.believed(clean.interactions(clean.with_channel(raw, None), users, items, BOUNDS), SITE)


def reasons(spark: SparkSession, *rows: dict[str, Any]) -> dict[str, str | None]:
    return {row.event_id: row.reason for row in marked(spark, list(rows)).collect()}


def test_the_last_vote_of_a_day_is_kept_with_the_count_and_the_others_are_quarantined(spark: SparkSession) -> None:
    rows = [
        event("early", "like"),
        event("late", "dislike", 600),
        event("other", "like", 300, item="j"),
        event("next", "like", 24 * 3600 * -1),
        event("sold", "purchase", 700),
    ]
    for order in (rows, rows[::-1]):
        frame = marked(spark, order)
        found = {row.event_id: (row.reason, row.votes) for row in frame.collect()}
        assert found == {
            "early": ("overruled_vote", 2),
            "late": (None, 2),
            "other": (None, 1),
            "next": (None, 1),
            "sold": (None, None),
        }
    quarantined = clean.quarantined(frame, contracts.INTERACTIONS).collect()
    assert [(row.reason, row.key) for row in quarantined] == [("overruled_vote", "early")]
    assert dict(clean.kept(frame).dtypes) == {
        name: SPARK[kind.rstrip("?")] for name, kind in contracts.INTERACTIONS.columns.items()
    }


def test_a_double_click_is_one_and_a_change_of_mind_is_none(spark: SparkSession) -> None:
    found = reasons(
        spark,
        event("a", "complete", 0),
        event("b", "complete", 1.5),
        event("c", "complete", 3.0),
        event("d", "complete", 60),
        event("e", "like", 0, item="j"),
        event("f", "dislike", 0.5, item="j"),
        event("g", "like", 1.0, item="j"),
        event("h", "rating", 0, "v", "k", rating=4.0),
        event("i", "rating", 1, "v", "k", rating=5.0),
        event("x", "click", 0, user="v"),
        event("y", "click", 1, user="v"),
        event("z", "click", 1, user="v", item="j"),
        event("p", "purchase", 0),
        event("q", "purchase", 1),
    )
    assert {name for name, reason in found.items() if reason == "double_click"} == {"b", "c", "y"}
    assert {name for name, reason in found.items() if reason == "overruled_vote"} == {"e", "f", "h"}
    assert {name for name, reason in found.items() if reason is None} == set("adgixzpq")


@pytest.mark.parametrize(("rating", "valence"), [(1.0, -1.0), (3.0, 0.0), (4.5, 0.75), (5.0, 1.0)])
def test_a_rating_says_its_place_on_the_sites_scale(spark: SparkSession, rating: float, valence: float) -> None:
    (row,) = marked(spark, [event("r", "rating", rating=rating)]).collect()
    assert (row.reason, row.valence, row.votes) == (None, pytest.approx(valence), 1)


def test_what_says_nothing_and_what_a_bot_says_is_not_believed(spark: SparkSession) -> None:
    found = reasons(
        spark,
        event("none", "rating"),
        event("low", "rating", item="j", rating=0.5),
        event("nan", "rating", item="k", rating=float("nan")),
        event("blank", "comment", text="  "),
        event("empty", "comment", item="j"),
        event("said", "comment", item="k", text="fine"),
        *(event(f"bot{n}", "like", 60 * n, user="v", item=name) for n, name in enumerate("ijklm")),
        event("bought", "purchase", user="v"),
    )
    assert found == {
        "none": "impossible_rating",
        "low": "impossible_rating",
        "nan": "impossible_rating",
        "blank": "empty_comment",
        "empty": "empty_comment",
        "said": None,
        **{f"bot{n}": "bot_feedback" for n in range(5)},
        "bought": None,
    }
    assert set(found.values()) - {None} <= set(opinions.REASONS)


def test_a_type_the_site_gives_no_weight_is_no_feedback(spark: SparkSession) -> None:
    silent = SITE.model_copy(update={"feedback": {}})
    assert opinions.votes(silent) == [] and opinions.counted(silent, ("like",)) == []
    rows = [event("a", "like"), event("b", "dislike", 600), event("c", "rating", rating=99.0), event("d", "comment")]
    names = contracts.RAW_INTERACTIONS.names
    raw = spark.createDataFrame([[row.get(n) for n in names] for row in rows], contracts.RAW_INTERACTIONS.spark_ddl)
    users, items = spark.createDataFrame([("u",)], "user_id string"), spark.createDataFrame([("i",)], "item_id string")
    events = opinions.believed(clean.interactions(clean.with_channel(raw, None), users, items, BOUNDS), silent)
    assert {(row.reason, row.votes, row.valence) for row in events.collect()} == {(None, None, None)}
    goods = spark.createDataFrame([("i", "c")], "item_id string, category string")
    (day,) = features.pair_days(clean.kept(events), goods, silent).collect()
    assert (day.events, day.feedback, day.votes, day.voters, day.vote_change, day.comments) == (4, 0, 0, 0, 0, 0)


def told(spark: SparkSession) -> DataFrame:
    """PAIR_DAYS of three days of votes and comments by two users on one item."""
    said = [  # days before AS_OF, user, type, votes of the day, valence
        (30, "u", "like", 1, None),
        (20, "u", "dislike", 3, None),
        (10, "u", "rating", 1, 0.5),
        (20, "v", "like", 1, None),
        (20, "u", "comment", None, 0.8),
        (10, "v", "comment", None, -0.2),
        (10, "v", "comment", None, None),
        (10, "v", "complete", None, None),
    ]
    schema = (
        "event_day date, user_id string, event_type string, votes int, valence double, item_id string, value double"
    )
    rows = [(AS_OF - timedelta(days=n), user, kind, votes, said, "i", None) for n, user, kind, votes, said in said]
    items = spark.createDataFrame([("i", "c")], "item_id string, category string")
    return features.pair_days(spark.createDataFrame(rows, schema), items, SITE)


def at(spark: SparkSession, as_of: date) -> dict[str, dict[str, float | None]]:
    """Feature rows of both users' pairs at a day."""
    items = spark.createDataFrame([("i", "c", 3.0, None, None)], GOODS)
    people = spark.createDataFrame([("u",), ("v",)], "user_id string")
    nothing = spark.createDataFrame([], "user_id string, item_id string, exposed_day date")
    days = told(spark)
    shown = Shown(pair_shown_days(nothing, people, items, AS_OF, AS_OF - timedelta(days=91)), AS_OF)
    users, about = features.user_features(days, [as_of]), features.item_features(days, shown, items, [as_of])
    pairs = [(u, "i", as_of) for u in "uv"]
    return {row["user_id"]: row for row in feature_rows(spark, pairs, people, items, days, shown, users, about)}


def test_on_every_as_of_day_the_last_vote_before_it_counts(spark: SparkSession) -> None:
    then = {days: at(spark, AS_OF - timedelta(days=days)) for days in (0, 10, 20, 30)}
    assert [then[days]["u"]["vote"] for days in (30, 20, 10, 0)] == [None, 1.0, -2.0, 0.25]
    assert [then[days]["u"]["votes"] for days in (20, 10, 0)] == [1, 4, 5]
    assert [then[days]["u"]["item_mean_vote"] for days in (30, 20, 10, 0)] == [None, 1.0, -0.5, 0.625]
    assert [then[days]["u"]["item_voters"] for days in (30, 20, 10, 0)] == [0, 1, 2, 2]
    assert (then[0]["u"]["user_votes_91d"], then[0]["u"]["user_mean_vote"]) == (5, 0.25)


def test_comments_count_by_what_was_read_and_feedback_sums_what_is_not_overruled(spark: SparkSession) -> None:
    now = at(spark, AS_OF)
    assert (now["u"]["sentiment"], now["v"]["sentiment"]) == (pytest.approx(0.8), pytest.approx(-0.2))
    assert now["u"]["item_sentiment"] == pytest.approx(0.3), "the comment nobody could read is left out"
    assert now["u"]["feedback"] == pytest.approx(0.25 + 3 * 0.8)
    assert now["v"]["feedback"] == pytest.approx(1.0 - 3 * 0.2 + 0.25)
