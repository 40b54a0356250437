"""On which days an item was shown to a user, as bits: one row a pair, however often it was shown.

Bit b of word w of ``days`` is set where the item was shown 60 w + b + 1 days before the run date.
"""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.transforms.places import places

WORD = 60


@dataclass(frozen=True)
class Shown:
    """PAIR_SHOWN_DAYS and the run date its bits are counted back from."""

    pairs: DataFrame
    run_date: date

    def words(self, before: date | Column, days: int) -> list[Column]:
        """The ``days`` days before ``before`` in words of 60 bits: bit b of word w is 60 w + b + 1 days before it.

        ``before`` is on or before the run date; days that the table does not reach back to are not set.
        """
        offset = F.datediff(F.lit(self.run_date), F.lit(before))
        return [
            _bits(offset + start).bitwiseAND(F.lit((1 << min(WORD, days - start)) - 1))
            for start in range(0, days, WORD)
        ]

    def any(self, before: date | Column, days: int) -> Column:
        """Whether the item was shown in the ``days`` days before ``before``."""
        first, *rest = self.words(before, days)
        for word in rest:
            first = first.bitwiseOR(word)
        return first != 0


def pair_shown_days(exposures: DataFrame, users: DataFrame, items: DataFrame, run_date: date, first: date) -> DataFrame:
    """PAIR_SHOWN_DAYS of the exposures from ``first`` to the day before ``run_date``, sorted within partitions.

    A pair is grouped as one number, made of the places of its ids in order: this is a site's longest table, and text
    is slow to hash, to send and to sort.
    """
    people, things = places(users, "user_id", "user"), places(items, "item_id", "item")
    age = F.datediff(F.lit(run_date), F.col("exposed_day")) - 1
    coded = (
        exposures.select("user_id", "item_id", age.alias("age"))
        .where(F.col("age").between(0, (run_date - first).days - 1))
        .join(F.broadcast(people), on="user_id", how="inner")
        .join(F.broadcast(things), on="item_id", how="inner")
        .select(F.shiftleft("user", 32).bitwiseOR(F.col("item")).alias("pair"), "age")
    )
    bit = F.call_function("shiftleft", F.lit(1).cast("bigint"), F.col("age") % WORD)
    starts = range(0, (run_date - first).days, WORD)
    masks = coded.groupBy("pair").agg(
        *(F.bit_or(F.when(_within(start), bit).otherwise(F.lit(0))).alias(f"from_{start}") for start in starts)
    )
    return (
        masks.sortWithinPartitions("pair")
        .select(
            F.shiftright("pair", 32).alias("user"),
            F.col("pair").bitwiseAND(F.lit((1 << 32) - 1)).alias("item"),
            F.array(*(f"from_{start}" for start in starts)).alias("days"),
        )
        .join(F.broadcast(people), on="user", how="inner")
        .join(F.broadcast(things), on="item", how="inner")
        .select(*contracts.PAIR_SHOWN_DAYS.names)
    )


def pair_positions(exposures: DataFrame, run_date: date, first: date) -> DataFrame:
    """PAIR_POSITIONS of the exposures from ``first`` to the day before ``run_date`` that have a position."""
    inside = (F.col("exposed_day") >= F.lit(first)) & (F.col("exposed_day") < F.lit(run_date))
    placed = exposures.where(inside & F.col("position").isNotNull())
    return placed.groupBy("user_id", "item_id", "exposed_day").agg(F.min("position").alias("position"))


def _within(start: int) -> Column:
    return F.col("age").between(start, start + WORD - 1)


def _bits(offset: Column) -> Column:
    """60 bits of ``days`` from bit ``offset`` on, across the border of two words."""
    word, bit = F.floor(offset / WORD).cast("int"), offset % WORD
    low, high = (F.coalesce(F.get("days", place), F.lit(0).cast("bigint")) for place in (word, word + 1))
    carried = F.call_function("shiftleft", high, F.lit(WORD) - bit).bitwiseAND(F.lit((1 << WORD) - 1))
    return F.call_function("shiftrightunsigned", low, bit).bitwiseOR(carried)
