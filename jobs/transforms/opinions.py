"""What users said of items: feedback events that are believed, and what each of them says."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

MICRO = 1_000_000  # what is said is summed in integer millionths: exact, so in any order the same
REASONS = ("impossible_rating", "empty_comment", "bot_feedback", "double_click", "overruled_vote")


def counted(site: Any, kinds: Sequence[str]) -> list[str]:
    """Those event types that the site counts as feedback."""
    return sorted(set(kinds) & set(site.feedback))


def votes(site: Any) -> list[str]:
    """Event types of which a user has one an item: the last."""
    return counted(site, (*site.opinions.votes, *site.opinions.ratings))


def pressed(site: Any) -> list[str]:
    """Event types that a double click repeats."""
    return sorted({*site.feedback, *site.clicks})


def is_comment(site: Any) -> Column:
    """Whether an event counts by what its text says."""
    return _is(counted(site, site.opinions.comments))


def believed(marked: DataFrame, site: Any) -> DataFrame:
    """INTERACTIONS with a ``reason``: more feedback has one now, ``votes`` is filled and ``valence`` of ratings.

    Of a user's votes for an item on one day the last is kept, and ``votes`` says how many there were. Votes of other
    days stay: on every as-of day the last one before it counts, whatever came later.
    """
    how, sound, vote = site.opinions, F.col("reason").isNull(), _is(votes(site))
    rating = _is(counted(site, how.ratings))
    on_scale = F.coalesce(F.col("rating").between(how.rating_low, how.rating_high), F.lit(False))
    text = F.trim(F.coalesce(F.col("text"), F.lit("")))
    told = F.when(sound & (vote | is_comment(site)), 1)
    day, pair_day = Window.partitionBy("user_id", "event_day"), Window.partitionBy("user_id", "item_id", "event_day")
    steps = (
        ("impossible_rating", rating & ~on_scale),
        ("empty_comment", is_comment(site) & (text == "")),
        ("bot_feedback", told.isNotNull() & (F.count(told).over(day) > how.max_per_user_day)),
        ("double_click", _again(site)),
    )
    frame = marked.repartition("user_id")  # every window is within a user, so one shuffle is enough
    for reason, wrong in steps:
        frame = _because(frame, reason, wrong)
    moment = F.struct("event_ts", "event_id")
    cast = F.when(sound & vote, moment)
    valence = (F.col("rating") - how.rating_low) * (2.0 / (how.rating_high - how.rating_low)) - 1.0
    frame = frame.withColumns(
        {
            "votes": F.when(sound & vote, F.count(cast).over(pair_day)).cast("int"),
            "valence": F.when(rating & on_scale, valence),
            "latest": F.max(cast).over(pair_day),
        }
    )
    return _because(frame, "overruled_vote", vote & (moment < F.col("latest"))).select(*marked.columns)


def _again(site: Any) -> Column:
    """Whether the user pressed the same on the same item a moment before, and nothing else in between."""
    past = (
        Window.partitionBy("user_id", "item_id")
        .orderBy("event_ts", "event_id")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    mine = _is(pressed(site))
    same = ("event_type", "rating", "text")
    last = F.last(F.when(F.col("reason").isNull() & mine, F.struct("event_ts", *same)), ignorenulls=True).over(past)
    elapsed = F.col("event_ts").cast("double") - last["event_ts"].cast("double")
    alike = elapsed <= site.opinions.double_click_seconds
    for name in same:
        alike = alike & F.col(name).eqNullSafe(last[name])
    return mine & alike


def _because(frame: DataFrame, reason: str, wrong: Column) -> DataFrame:
    """Rows without a reason so far get this one where ``wrong`` holds."""
    return frame.withColumn("reason", F.coalesce(F.col("reason"), F.when(wrong, F.lit(reason))))


def _is(kinds: Sequence[str]) -> Column:
    return F.col("event_type").isin(list(kinds)) if kinds else F.lit(False)


def weighted(site: Any) -> Column:
    """What an event says, in the site's weights: 0 where it is no feedback, or nobody knows what it says."""
    weight = F.lit(0.0)
    for name, points in sorted(site.feedback.items()):
        weight = F.when(F.col("event_type") == name, F.lit(float(points))).otherwise(weight)
    scaled = _is([*site.opinions.ratings, *site.opinions.comments])
    return weight * F.when(scaled, F.coalesce(F.col("valence"), F.lit(0.0))).otherwise(F.lit(1.0))


def daily(site: Any) -> list[Column]:
    """What a user said of an item on a day: feedback other than votes, the vote, votes, comments read and their sum."""
    micro, vote = F.round(weighted(site) * MICRO).cast("bigint"), _is(votes(site))
    read = F.when(is_comment(site), F.round(F.col("valence") * MICRO).cast("bigint"))
    cast = F.when(vote, F.coalesce(F.col("votes"), F.lit(1)))
    return [
        (F.sum(F.when(vote, F.lit(0)).otherwise(micro)) / MICRO).alias("feedback"),
        (F.max(F.when(vote, micro)) / MICRO).alias("vote"),
        F.coalesce(F.sum(cast), F.lit(0)).cast("bigint").alias("votes"),
        F.count(read).alias("comments"),
        (F.coalesce(F.sum(read), F.lit(0)) / MICRO).alias("sentiment"),
    ]


def replaced(days: DataFrame, site: Any) -> DataFrame:
    """Days of ``daily`` in which a vote is told by what it changes, as it takes the place of the pair's last one.

    ``vote_change`` sums to the last vote before any day, and ``voters``, 1 on the day of the first, to the users who
    have voted. The change is also part of ``feedback``.
    """
    zero = {"voters": F.lit(0).cast("bigint"), "vote_change": F.lit(0.0)}
    if not votes(site):
        return days.withColumns(zero)
    past = Window.partitionBy("user_id", "item_id").orderBy("event_day").rowsBetween(Window.unboundedPreceding, -1)
    told = days.withColumn("earlier", F.last("vote", ignorenulls=True).over(past))
    vote, earlier = F.col("vote"), F.col("earlier")
    change = F.when(vote.isNull(), F.lit(0.0)).otherwise(vote - F.coalesce(earlier, F.lit(0.0)))
    return told.withColumns(
        {
            "voters": (vote.isNotNull() & earlier.isNull()).cast("bigint"),
            "vote_change": change,
            "feedback": F.col("feedback") + change,
        }
    )
