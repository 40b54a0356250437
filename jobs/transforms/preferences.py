"""What users like, and when and where they come: shares that count less the longer ago they were earned."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.transforms.features import price_position
from jobs.transforms.opinions import MICRO

HALF_LIFE = 112  # days after which an outcome or an event counts half
DAYS = 364
TOP = 5  # of a kind
KINDS = ("category", "brand", "part_of_day", "weekday", "channel")
PRICE = "price_position"
PARTS = ("night", "morning", "afternoon", "evening")  # of six hours, from midnight on
FINE = 10_000  # price positions are summed in whole ten thousandths: exact, so in any order the same


def user_times(interactions: DataFrame) -> DataFrame:
    """USER_TIMES: so that a night reads its own events only, whatever the time zone that they are told by later."""
    quarter = F.hour("event_ts") * 4 + F.floor(F.minute("event_ts") / 15)
    return interactions.groupBy("user_id", "event_day", quarter.cast("int").alias("quarter"), "channel").agg(
        F.count("*").alias("events")
    )


def preferences(
    days: DataFrame, items: DataFrame, times: DataFrame, as_of: date, brand: str, time_zone: str
) -> DataFrame:
    """user_id and ``preferences``, a JSON list: what a user likes and when and where he came in the 364 days before.

    ``days`` is PAIR_DAYS, ``items`` ITEMS with or without the column ``brand``, ``times`` USER_TIMES. An entry names
    one of KINDS and its share of the user's outcomes (category, brand) or events (part of the day, weekday, channel),
    of each kind the five with the greatest; or the ``price_position``, the mean of what he had an outcome on.
    """
    sums = ("weight", "priced", "price")
    counts = _liked(days, items, as_of, brand).unionByName(_came(times, as_of, time_zone))
    counts = counts.where(F.col("name").isNotNull())
    best_first = F.struct((-F.col("weight")).alias("less"), "name")
    of_kind = (  # arrays of one user are sorted, and never the rows of all
        counts.groupBy("user_id", "kind", "name")
        .agg(*(F.sum(name).alias(name) for name in sums))
        .groupBy("user_id", "kind")
        .agg(
            F.sum("weight").alias("total"),
            (F.sum("price") / F.nullif(F.sum("priced"), F.lit(0)) / FINE).alias(PRICE),
            F.slice(F.sort_array(F.collect_list(best_first)), 1, TOP).alias("top"),
        )
    )
    order = F.array_position(F.array(*map(F.lit, KINDS)), F.col("kind"))
    listed = of_kind.groupBy("user_id").agg(
        F.sort_array(F.collect_list(F.struct(order.alias("order"), "kind", "total", "top"))).alias("kinds"),
        F.round(F.max(F.when(F.col("kind") == "category", F.col(PRICE))), 4).alias(PRICE),  # every item has one
    )
    nothing = F.lit(None)

    def entries_of(one: Column) -> Column:
        return F.transform(
            one["top"],
            lambda best: F.struct(
                *(F.when(one["kind"] == kind, best["name"]).alias(kind) for kind in KINDS),
                nothing.cast("double").alias(PRICE),
                F.round(-best["less"] / one["total"], 4).alias("share"),
            ),
        )

    named = F.flatten(F.transform("kinds", entries_of))
    priced = F.struct(
        *(nothing.cast("string").alias(kind) for kind in KINDS), PRICE, nothing.cast("double").alias("share")
    )
    entries = F.when(F.col(PRICE).isNull(), named).otherwise(F.concat(named, F.array(priced)))
    return listed.select("user_id", F.to_json(entries).alias("preferences"))  # which leaves out what is null


def _liked(days: DataFrame, items: DataFrame, as_of: date, brand: str) -> DataFrame:
    """Decayed outcomes by category and by brand; those on priced items, and the sum of their price positions."""
    branded = brand in items.columns
    made_by = F.col(brand).cast("string") if branded else F.lit(None).cast("string")
    about = items.select(
        "item_id",
        F.when(F.trim(made_by) != "", made_by).alias("brand"),
        F.round(price_position() * FINE).cast("bigint").alias("position"),
    )
    weight = F.col("weight")
    bought = (
        _lately(days.where(F.col("outcomes") > 0), as_of)
        .withColumn("weight", _decayed(as_of) * F.col("outcomes"))
        .join(F.broadcast(about), on="item_id", how="left")
        .withColumns({"priced": F.when(F.col("position").isNotNull(), weight), "price": weight * F.col("position")})
    )
    return _by_kind(bought, {name: F.col(name) for name in ("category", *(["brand"] if branded else []))})


def _came(times: DataFrame, as_of: date, time_zone: str) -> DataFrame:
    """Decayed events by part of the day, weekday and channel."""
    when = F.timestamp_seconds(F.unix_date("event_day").cast("bigint") * 86_400 + F.col("quarter") * 900)
    local = F.from_utc_timestamp(when, time_zone)
    counted = _lately(times, as_of).select(
        "user_id", "channel", local.alias("local"), (_decayed(as_of) * F.col("events")).alias("weight")
    )
    part = F.element_at(F.array(*map(F.lit, PARTS)), (F.floor(F.hour("local") / 6) + 1).cast("int"))
    weekday = F.date_format("local", "EEEE")
    return _by_kind(counted, {"part_of_day": part, "weekday": weekday, "channel": F.col("channel")})


def _by_kind(counts: DataFrame, names: dict[str, Column]) -> DataFrame:
    """user_id, kind, name, weight, priced and price: each row once for each of the kinds ``names`` has a column for."""
    sums = [
        (F.col(name) if name in counts.columns else F.lit(None).cast("bigint")).alias(name)
        for name in ("weight", "priced", "price")
    ]
    rows = (F.struct(F.lit(kind).alias("kind"), name.alias("name"), *sums) for kind, name in names.items())
    return counts.select("user_id", F.inline(F.array(*rows)))


def _lately(table: DataFrame, as_of: date) -> DataFrame:
    return table.where(F.datediff(F.lit(as_of), F.col("event_day")).between(1, DAYS))


def _decayed(as_of: date) -> Column:
    """What something of ``event_day`` counts, in whole millionths."""
    age = F.datediff(F.lit(as_of), F.col("event_day"))
    return F.round(F.pow(F.lit(0.5), age / HALF_LIFE) * MICRO).cast("bigint")
