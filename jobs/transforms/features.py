"""Daily aggregates, and the features of users, items and pairs whose every window ends before its as-of day."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.transforms import opinions
from jobs.transforms.opinions import MICRO
from jobs.transforms.shown import Shown

SHOWN_DAYS = 91  # an exposure older than this counts as not shown
MASK_BITS = 60


def pair_days(interactions: DataFrame, items: DataFrame, site: Any) -> DataFrame:
    """PAIR_DAYS: one row a user, item and day."""
    is_outcome, value = F.col("event_type").isin(*site.outcome.event_types), site.outcome.value
    cents = F.round(F.coalesce(F.col(value), F.lit(0.0)) * 100).cast("bigint") if value else F.lit(0).cast("bigint")
    days = interactions.groupBy("user_id", "item_id", "event_day").agg(
        F.count(F.when(is_outcome, 1)).alias("outcomes"),
        F.count("*").alias("events"),
        F.sum(F.when(is_outcome, cents).otherwise(F.lit(0))).alias("value_cents"),
        *opinions.daily(site),
    )
    return (
        opinions.replaced(days, site)
        .join(F.broadcast(items.select("item_id", "category")), on="item_id", how="inner")
        .select(*contracts.PAIR_DAYS.names)
    )


def user_features(days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """USER_FEATURE_TABLE of the users with an event before the as-of day."""
    active = days.groupBy("user_id", "event_day").agg(
        *(_summed(name) for name in ("outcomes", "value_cents", "votes", "voters", "vote_change"))
    )
    age, before = _before(active, as_ofs)
    table = before.groupBy("user_id", "as_of").agg(
        F.min(age).alias("user_days_since_last"),
        F.max(age).alias("user_tenure_days"),
        *(F.count(F.when(age <= n, 1)).alias(f"user_active_days_{n}d") for n in (28, 91)),
        *(_windowed("outcomes", age, n).alias(f"user_outcomes_{n}d") for n in (28, 91)),
        *((_windowed("value_cents", age, n) / 100).alias(f"user_value_{n}d") for n in (28, 91)),
        _windowed("votes", age, 91).alias("user_votes_91d"),
        _mean("vote_change", "voters").alias("user_mean_vote"),
    )
    tried = _distinct_pairs(days.where(F.col("outcomes") > 0), as_ofs, (91,), "user_id", "user_items")
    return _contract(table.join(tried, on=["user_id", "as_of"], how="left"), contracts.USER_FEATURE_TABLE)


def item_features(days: DataFrame, shown: Shown, items: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """ITEM_FEATURE_TABLE of all items at every as-of day."""
    bought = days.where(F.col("outcomes") > 0)
    daily = days.groupBy("item_id", "event_day").agg(
        *(_summed(name) for name in ("outcomes", "voters", "vote_change", "comments", "sentiment"))
    )
    age, before = _before(daily, as_ofs)
    sales = before.groupBy("item_id", "as_of").agg(
        *(_windowed("outcomes", age, n).alias(f"item_outcomes_{n}d") for n in (7, 28, 91)),
        F.min(F.when(F.col("outcomes") > 0, age)).alias("item_days_since_last"),
        F.sum("voters").alias("item_voters"),
        _mean("vote_change", "voters").alias("item_mean_vote"),
        _mean("sentiment", "comments").alias("item_sentiment"),
    )
    buyers = _distinct_pairs(bought, as_ofs, (28, 91), "item_id", "item_buyers")
    seen = _counted(shown.pairs, as_ofs, (7, 28), "item_id", "shown_to", lambda k, n: shown.any(as_ofs[k], n))
    user_age, user_before = _before(days.select("user_id", "event_day").distinct(), as_ofs)
    active = user_before.where(user_age <= 28).groupBy("as_of", "user_id").agg(F.min(user_age).alias("age"))
    active = active.groupBy("as_of").agg(
        *(F.count(F.when(F.col("age") <= n, 1)).alias(f"active_{n}d") for n in (7, 28))
    )
    table = (
        items.select("item_id", "category", F.col("price").alias("item_price"))
        .crossJoin(F.broadcast(_days_frame(items, as_ofs)))
        .join(sales, on=["item_id", "as_of"], how="left")
        .join(buyers, on=["item_id", "as_of"], how="left")
        .join(seen, on=["item_id", "as_of"], how="left")
        .join(F.broadcast(active), on="as_of", how="left")
    )
    counts = [f"item_outcomes_{n}d" for n in (7, 28, 91)] + [f"item_buyers_{n}d" for n in (28, 91)] + ["item_voters"]
    table = table.withColumns({name: F.coalesce(F.col(name), F.lit(0)) for name in counts}).withColumns(
        {
            "item_trend": (F.col("item_outcomes_7d") * 4 + 1) / (F.col("item_outcomes_28d") + 1),
            **{
                f"item_shown_users_{n}d": F.coalesce(F.col(f"shown_to_{n}d"), F.lit(0))
                / F.nullif(F.col(f"active_{n}d"), F.lit(0))
                for n in (7, 28)
            },
        }
    )
    return _contract(table, contracts.ITEM_FEATURE_TABLE)


def for_pairs(
    pairs: DataFrame,
    user_features: DataFrame,
    item_features: DataFrame,
    days: DataFrame,
    shown: Shown,
    as_ofs: Sequence[date],
) -> DataFrame:
    """``pairs`` (user_id, item_id, as_of, ...) with contracts.FEATURES: the one place a feature row is made.

    ``as_ofs`` are the as-of days of ``pairs``; what happened on or after an as-of day never enters its row. A feature
    without anything behind it is null. ``pairs`` is used twice: where it is dear, cache it with each user's rows in one
    partition, and nothing but the histories is shuffled. These are long, however small their files: never broadcast.
    Features are made of the pairs' keys alone and joined with the rest at the end: wide rows are sorted once.
    """
    key = ["user_id", "item_id", "as_of"]
    named = pairs.select(*key)
    about_items = F.broadcast(item_features.select("item_id", "as_of", "category", *contracts.ITEM_FEATURES))
    about_users = F.broadcast(user_features.select("user_id", "as_of", *contracts.USER_FEATURES))
    made = (
        named.join(shown.pairs.hint("merge"), on=["user_id", "item_id"], how="left")
        .withColumns(_shown_features(shown))
        .drop("days")
        .join(_pair_history(named, days.hint("merge"), as_ofs), on=key, how="left")
        .join(about_items, on=["item_id", "as_of"], how="left")
        .join(_category_history(days, as_ofs), on=["user_id", "category", "as_of"], how="left")
        .join(about_users, on=["user_id", "as_of"], how="left")
        .withColumn("category_share_91d", F.col("category_outcomes_91d") / F.nullif("user_outcomes_91d", F.lit(0)))
    )
    made = made.select(*key, "category", *(F.col(name).cast("float").alias(name) for name in contracts.FEATURES))
    kept = [name for name in pairs.columns if name != "category"]
    return (
        pairs.drop("category")
        .join(made.hint("merge"), on=key, how="inner")
        .select(*kept, "category", *contracts.FEATURES)
    )


def _pair_history(pairs: DataFrame, days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """What each user did with the item before the as-of day."""
    age = F.datediff("as_of", "event_day")
    outcome_age = F.when(F.col("outcomes") > 0, age)
    joined = pairs.select("user_id", "item_id", "as_of").join(
        days.where(F.col("event_day") < F.lit(max(as_ofs))).drop("category"),
        on=["user_id", "item_id"],
        how="inner",
    )
    table = (
        joined.where(age >= 1)
        .groupBy("user_id", "item_id", "as_of")
        .agg(
            *(_windowed("outcomes", age, n).alias(f"outcomes_{n}d") for n in (28, 91, 364)),
            *((F.sum(decayed(F.col("outcomes"), age, n)) / MICRO).alias(f"outcomes_decayed_{n}d") for n in (28, 112)),
            F.min(outcome_age).alias("days_since_last"),
            (F.max(outcome_age) - F.min(outcome_age)).alias("span"),
            F.count(outcome_age).alias("outcome_days"),
            _windowed("events", age, 28).alias("events_28d"),
            _exact("feedback").alias("feedback"),
            F.when(F.sum("voters") > 0, _exact("vote_change")).alias("vote"),
            F.sum("votes").alias("votes"),
            _mean("sentiment", "comments").alias("sentiment"),
        )
    )
    gap = F.when(F.col("outcome_days") > 1, F.col("span") / (F.col("outcome_days") - 1))
    return (
        table.withColumn("mean_gap_days", gap)
        .withColumn("gap_ratio", F.col("days_since_last") / gap)
        .drop("span", "outcome_days")
    )


def _shown_features(shown: Shown) -> dict[str, Column]:
    """On how many days the item was shown to the user before the as-of day, and how long ago; null beyond 91 days."""
    as_of = F.col("as_of")
    latest = shown.latest(as_of, SHOWN_DAYS)
    counts = {f"shown_{n}d": F.when(latest.isNotNull(), shown.count(as_of, n)) for n in (7, 28)}
    return counts | {"days_since_shown": latest}


def _category_history(days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    bought = days.where(F.col("outcomes") > 0)
    daily = bought.groupBy("user_id", "category", "event_day").agg(F.sum("outcomes").alias("outcomes"))
    age, before = _before(daily, as_ofs)
    return (
        before.where(age <= 91)
        .groupBy("user_id", "category", "as_of")
        .agg(F.sum("outcomes").alias("category_outcomes_91d"))
    )


def decayed(count: Column, age: Column, half_life: int) -> Column:
    """``count`` events of ``age`` days in integer millionths, halved every ``half_life`` days."""
    return count * F.round(F.pow(F.lit(0.5), age / half_life) * MICRO).cast("bigint")


def _summed(name: str) -> Column:
    return (_exact(name) if name in ("vote_change", "sentiment") else F.sum(name)).alias(name)


def _exact(name: str) -> Column:
    """The sum of a column of millionths, the same in any order."""
    return F.sum(F.round(F.col(name) * MICRO).cast("bigint")) / MICRO


def _mean(total: str, number: str) -> Column:
    """Sum of one column over the sum of another; null where there is nothing to count."""
    return _exact(total) / F.nullif(F.sum(number), F.lit(0))


def _windowed(column: str, age: Column, days: int) -> Column:
    return F.sum(F.when(age <= days, F.col(column)).otherwise(F.lit(0)))


def _days_frame(like: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    return like.sparkSession.createDataFrame([(day,) for day in as_ofs], "as_of date")


def _before(daily: DataFrame, as_ofs: Sequence[date]) -> tuple[Column, DataFrame]:
    """Each day once for every later as-of day, and the column with its age in days (1 = the day before)."""
    age = F.datediff("as_of", "event_day")
    return age, daily.join(F.broadcast(_days_frame(daily, as_ofs)), age >= 1, how="inner")


def _distinct_pairs(days: DataFrame, as_ofs: Sequence[date], windows: Sequence[int], by: str, name: str) -> DataFrame:
    """Pairs seen in each window before each as-of day, counted by ``by``: one bit an as-of day, so one shuffle."""
    tables = []
    for start in range(0, len(as_ofs), MASK_BITS):
        chunk = as_ofs[start : start + MASK_BITS]
        ages = [F.datediff(F.lit(as_of), F.col("event_day")) for as_of in chunk]
        masks = days.where((ages[0] <= max(windows)) & (ages[-1] >= 1)).groupBy("user_id", "item_id")
        pairs = masks.agg(*(F.bit_or(_mask(ages, n)).alias(f"mask_{n}") for n in windows))
        tables.append(
            _counted(pairs, chunk, windows, by, name, lambda k, n: F.col(f"mask_{n}").bitwiseAND(F.lit(1 << k)) != 0)
        )
    return reduce(DataFrame.unionByName, tables)


def _mask(ages: Sequence[Column], window: int) -> Column:
    bits = (F.when(age.between(1, window), F.lit(1 << k)).otherwise(F.lit(0)) for k, age in enumerate(ages))
    return sum(bits, F.lit(0).cast("bigint"))


def _counted(
    pairs: DataFrame,
    as_ofs: Sequence[date],
    windows: Sequence[int],
    by: str,
    name: str,
    seen: Callable[[int, int], Column],
) -> DataFrame:
    """Pairs for which ``seen(k, window)`` holds at as-of day k: ``by``, as_of, ``<name>_<window>d``; none is no row."""
    places = range(len(as_ofs))
    counts = pairs.groupBy(by).agg(*(F.count_if(seen(k, n)).alias(f"n{k}_{n}") for k in places for n in windows))
    rows = (
        F.struct(F.lit(as_ofs[k]).alias("as_of"), *(F.col(f"n{k}_{n}").alias(f"{name}_{n}d") for n in windows))
        for k in places
    )
    return counts.select(by, F.inline(F.array(*rows))).where(F.col(f"{name}_{max(windows)}d") > 0)


def _contract(table: DataFrame, contract: contracts.Table) -> DataFrame:
    types = {name: contracts.SPARK[kind.rstrip("?")] for name, kind in contract.columns.items()}
    return table.select(*(F.col(name).cast(kind).alias(name) for name, kind in types.items()))
