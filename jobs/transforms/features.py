"""Daily aggregates, and the features of users and items whose every window ends before its as-of day."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.tables.schema import SPARK, Table
from jobs.transforms import opinions
from jobs.transforms.opinions import MICRO
from jobs.transforms.shown import Shown

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
        items.select(
            "item_id",
            "category",
            F.col("price").alias("item_price"),
            price_position().alias("price_position"),
            "available_from",
            "available_until",
        )
        .crossJoin(F.broadcast(_days_frame(items, as_ofs)))
        .join(sales, on=["item_id", "as_of"], how="left")
        .join(buyers, on=["item_id", "as_of"], how="left")
        .join(seen, on=["item_id", "as_of"], how="left")
        .join(F.broadcast(active), on="as_of", how="left")
    )
    counts = [f"item_outcomes_{n}d" for n in (7, 28, 91)] + [f"item_buyers_{n}d" for n in (28, 91)] + ["item_voters"]
    table = table.withColumns({name: F.coalesce(F.col(name), F.lit(0)) for name in counts}).withColumns(
        {
            "available": _available(F.to_timestamp("as_of")),
            "item_trend": (F.col("item_outcomes_7d") * 4 + 1) / (F.col("item_outcomes_28d") + 1),
            **{
                f"item_shown_users_{n}d": F.coalesce(F.col(f"shown_to_{n}d"), F.lit(0))
                / F.nullif(F.col(f"active_{n}d"), F.lit(0))
                for n in (7, 28)
            },
        }
    )
    return _contract(table, contracts.ITEM_FEATURE_TABLE)


def price_position() -> Column:
    """Percentile rank of an item's ``price`` in its ``category``: the share that is cheaper and half of the equal ones.

    0.5 is the middle, and an item alone; null without a price.
    """
    priced = Window.partitionBy("category", F.col("price").isNotNull())
    cheapest = priced.orderBy("price")
    up_to = F.count("price").over(cheapest.rangeBetween(Window.unboundedPreceding, Window.currentRow))
    middle = (F.rank().over(cheapest) - 1 + up_to) / 2
    return F.when(F.col("price").isNotNull(), middle / F.count("price").over(priced))


def _available(moment: Column) -> Column:
    """Whether an item may be recommended at a moment."""
    begun, ended = F.col("available_from") <= moment, F.col("available_until") <= moment
    return F.coalesce(begun, F.lit(True)) & ~F.coalesce(ended, F.lit(False))


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


def _contract(table: DataFrame, contract: Table) -> DataFrame:
    types = {name: SPARK[kind.rstrip("?")] for name, kind in contract.columns.items()}
    return table.select(*(F.col(name).cast(kind).alias(name) for name, kind in types.items()))
