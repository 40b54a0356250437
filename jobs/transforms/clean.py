"""Raw rows to believed rows: every row is kept or quarantined for exactly one reason."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.tables.schema import LONGEST, Table

REASONS = (
    "missing_key",
    "duplicate",
    "long_id",
    "long_category",
    "unknown_user",
    "unknown_item",
    "future",
    "impossible_value",
    "impossible_quantity",
    "bad_propensity",
    "bot_like",
)
# of the cleaner alone: attributes may have any other name
PRESENT, KEY_HASH, COPY, SEEN = (f"nightlift_{name}" for name in ("present", "key_hash", "copy", "seen"))


@dataclass(frozen=True)
class Bounds:
    """What is believed: days before ``run_date``, and values, quantities and events a user-day up to these."""

    run_date: date
    max_value: float
    max_quantity: float
    max_events_per_user_day: int


def users(raw: DataFrame) -> DataFrame:
    """Users with a ``reason`` column, null where the row is kept."""
    marked = _first_of_key(raw, "user_id", [])
    return marked.withColumn("reason", _first_reason({"long_id": _too_long("user_id")}))


def items(raw: DataFrame, bounds: Bounds) -> DataFrame:
    """Items with a ``reason``; an unknown category becomes 'unknown', an impossible price null."""
    price, checks = F.col("price"), {"long_id": _too_long("item_id"), "long_category": _too_long("category")}
    marked = _first_of_key(raw, "item_id", [])
    category = F.when(F.trim("category") == "", None).otherwise(F.col("category"))
    return marked.withColumns(
        {
            "category": F.coalesce(category, F.lit("unknown")),
            "price": F.when(~_impossible(price, bounds.max_value), price),
            "reason": _first_reason(checks),
        }
    )


def with_channel(raw: DataFrame, name: str | None) -> DataFrame:
    """Raw events with the column ``name`` as their ``channel``; null where it says nothing, or none is named."""
    said = F.lit(None).cast("string") if name is None else _named(name).cast("string")
    return raw.withColumn("channel", F.when(F.trim(said) != "", said))


def interactions(
    raw: DataFrame, user_ids: DataFrame, item_ids: DataFrame, bounds: Bounds, earlier: DataFrame | None = None
) -> DataFrame:
    """Events with ``event_day`` and ``reason``; ``user_ids`` and ``item_ids`` are the believed users and items.

    ``raw`` is ``with_channel``. An event that is among the ``earlier``, of days that are not read again, is a duplicate
    of it.
    """
    keys = ["event_id", "user_id", "item_id", "event_type", "event_ts"]
    marked = _not_again(_first_of_key(raw, "event_id", keys[1:], "event_ts"), "event_id", earlier)
    marked = _known(_known(marked, user_ids, "user_id"), item_ids, "item_id")
    quantity, value = F.col("quantity"), F.col("value")
    checks = {
        "unknown_user": F.col("known_user_id").isNull(),
        "unknown_item": F.col("known_item_id").isNull(),
        "future": F.to_date("event_ts") >= F.lit(bounds.run_date),
        "impossible_value": _impossible(value, bounds.max_value),
        "impossible_quantity": _impossible(quantity, bounds.max_quantity),
    }
    marked = marked.withColumn("event_day", F.to_date("event_ts")).withColumn("reason", _first_reason(checks))
    crowded = (
        marked.where(F.col("reason").isNull())
        .groupBy(F.col("user_id").alias("bot_user"), F.col("event_day").alias("bot_day"))
        .count()
        .where(F.col("count") > bounds.max_events_per_user_day)
    )
    is_crowded = (F.col("user_id") == F.col("bot_user")) & (F.col("event_day") == F.col("bot_day"))
    marked = marked.join(F.broadcast(crowded), is_crowded, how="left")
    reason = F.coalesce(F.col("reason"), F.when(F.col("bot_user").isNotNull(), "bot_like"))
    unread = {"votes": F.lit(None).cast("int"), "valence": F.lit(None).cast("double")}  # jobs/transforms/opinions.py
    return marked.withColumns(unread).select(*contracts.INTERACTIONS.names, reason.alias("reason"))


def exposures(
    raw: DataFrame, user_ids: DataFrame, item_ids: DataFrame, bounds: Bounds, earlier: DataFrame | None = None
) -> DataFrame:
    """Exposures with ``exposed_day`` and ``reason``; the rest is as for events."""
    marked = _first_of_key(raw, "exposure_id", ["user_id", "item_id", "exposed_at"], "exposed_at")
    marked = _not_again(marked, "exposure_id", earlier)
    marked = _known(_known(marked, user_ids, "user_id"), item_ids, "item_id")
    propensity = F.col("propensity")
    checks = {
        "unknown_user": F.col("known_user_id").isNull(),
        "unknown_item": F.col("known_item_id").isNull(),
        "future": F.to_date("exposed_at") >= F.lit(bounds.run_date),
        "bad_propensity": propensity.isNotNull() & ~(_finite(propensity) & (propensity > 0) & (propensity <= 1)),
    }
    marked = marked.withColumn("exposed_day", F.to_date("exposed_at")).withColumn("reason", _first_reason(checks))
    return marked.select(*contracts.EXPOSURES.names, "reason")


def kept(marked: DataFrame) -> DataFrame:
    """The rows that are believed."""
    return marked.where(F.col("reason").isNull()).drop("reason")


def quarantined(marked: DataFrame, table: Table) -> DataFrame:
    """The rows that are not, in the QUARANTINE contract: table, reason, key and the row as JSON."""
    columns = [_named(name) for name in marked.columns if name != "reason"]
    return marked.where(F.col("reason").isNotNull()).select(
        F.lit(table.name).alias("table"),
        "reason",
        F.col(table.key[0]).alias("key"),
        F.to_json(F.struct(*columns)).alias("row"),
    )


def _first_of_key(raw: DataFrame, key: str, required: list[str], time: str | None = None) -> DataFrame:
    """Mark rows with a null or empty key, and all but the first row of a repeated key.

    Only keys whose hash is seen twice are sorted, so the usual night pays one narrow count instead of a wide sort.
    """
    hashed = F.xxhash64(F.col(key))
    repeated = raw.groupBy(hashed.alias(KEY_HASH)).count().where(F.col("count") > 1).select(KEY_HASH)
    complete = [F.col(name).isNotNull() for name in required]
    present = F.col(key).isNotNull() & (F.trim(F.col(key)) != "")
    for condition in complete:
        present = present & condition
    marked = raw.withColumn(PRESENT, F.coalesce(present, F.lit(False))).join(
        F.broadcast(repeated), hashed == F.col(KEY_HASH), how="left"
    )
    single = marked.where(F.col(KEY_HASH).isNull() | ~F.col(PRESENT)).withColumn(COPY, F.lit(1))
    order = [_named(name) for name in ([time] if time else []) + sorted(set(raw.columns) - {key, time}) + [key]]
    first = Window.partitionBy(key).orderBy(*order)
    several = marked.where(F.col(KEY_HASH).isNotNull() & F.col(PRESENT)).withColumn(COPY, F.row_number().over(first))
    reason = F.when(~F.col(PRESENT), "missing_key").when(F.col(COPY) > 1, "duplicate")
    return single.unionByName(several).withColumn("reason", reason).drop(PRESENT, KEY_HASH, COPY)


def _not_again(marked: DataFrame, key: str, earlier: DataFrame | None) -> DataFrame:
    """Mark keys that an earlier night has kept; one column of the past is read, and only keys seen twice are sent."""
    if earlier is None:
        return marked
    again = earlier.select(key).join(marked.select(key), key, how="left_semi").distinct()
    seen = again.select(F.col(key).alias(SEEN))
    reason = F.coalesce("reason", F.when(F.col(SEEN).isNotNull(), "duplicate"))
    joined = marked.join(F.broadcast(seen), F.col(key) == F.col(SEEN), how="left")
    return joined.withColumn("reason", reason).drop(SEEN)


def _named(name: str) -> Column:
    """The column of this name, whatever characters an attribute has in it."""
    return F.col("`" + name.replace("`", "``") + "`")


def _too_long(name: str) -> Column:
    return F.length(name) > LONGEST[name]


def _known(marked: DataFrame, ids: DataFrame, key: str) -> DataFrame:
    known = ids.select(F.col(key).alias(f"known_{key}"))
    return marked.join(F.broadcast(known), F.col(key) == F.col(f"known_{key}"), how="left")


def _first_reason(checks: dict[str, Column]) -> Column:
    return F.coalesce(F.col("reason"), *(F.when(wrong, F.lit(reason)) for reason, wrong in checks.items()))


def _finite(value: Column) -> Column:
    return value.isNotNull() & ~F.isnan(value) & (F.abs(value) < F.lit(float("inf")))


def _impossible(value: Column, most: float) -> Column:
    return value.isNotNull() & (F.isnan(value) | (value < 0) | (value > most))
