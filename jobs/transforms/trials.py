"""Trials: who was active, what could be shown, what was shown and what followed, as one bit a period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.transforms import calendar
from jobs.transforms.shown import Shown

EARLIER_SHARE = 0.5  # of the periods, which only count as history: the latest are like tonight, with counts before them
NEAR_ROOM = 0.7  # of the sample, for pairs with an outcome: they say most about the rates
MAX_UNIVERSE = 50_000_000  # beyond it users are sampled first, so that the work is bounded


@dataclass(frozen=True)
class Periods:
    """Starts of the periods (oldest first), their length and the outcome window's, in days."""

    starts: Sequence[date]
    period_days: int
    window_days: int

    @classmethod
    def of(cls, site: Any, run_date: date) -> "Periods":
        """The periods of a site's night."""
        return cls(calendar.period_starts(site, run_date), site.period_days, site.outcome.window_days)

    @property
    def first(self) -> int:
        """The first period trials are drawn from."""
        return int(len(self.starts) * EARLIER_SHARE)


@dataclass(frozen=True)
class Rates:
    """Inclusion shares of users, of the trials of pairs with an outcome in any period, and of the rest."""

    users: float
    near: float
    rest: float


def user_periods(days: DataFrame, periods: Periods) -> DataFrame:
    """USER_PERIODS: bit p set where the user has any event in period p."""
    mask = _mask(F.col("event_day"), periods, 0, periods.period_days)
    return _near(days, "event_day", periods).groupBy("user_id").agg(F.bit_or(mask).alias("active")).where("active != 0")


def pair_periods(days: DataFrame, shown: Shown, active: DataFrame, periods: Periods) -> DataFrame:
    """PAIR_PERIODS: bit p of ``shown`` and ``outcome``, both only where the user was active in period p."""
    zero, key = F.lit(0).cast("bigint"), ("user_id", "item_id")
    exposed = shown.pairs.select(*key, _shown_mask(shown, periods).alias("shown"), zero.alias("outcome"))
    followed = _near(days.where(F.col("outcomes") > 0), "event_day", periods).select(
        *key, zero.alias("shown"), _mask(F.col("event_day"), periods, 0, periods.window_days).alias("outcome")
    )
    either = exposed.unionByName(followed).join(F.broadcast(active), on="user_id", how="inner")
    both = {name: _both(name, "active") for name in ("shown", "outcome")}
    return (
        either.withColumns(both)
        .where("shown != 0 or outcome != 0")
        .groupBy(*key)
        .agg(F.bit_or("shown").alias("shown"), F.bit_or("outcome").alias("outcome"))
    )


def item_periods(items: DataFrame, shown: Shown, pairs: DataFrame, active: DataFrame, periods: Periods) -> DataFrame:
    """ITEM_PERIODS: when each item was in play (shown to anyone), with exact counts over all users' trials.

    Controls are the active users of its periods in play less the treated ones: no user meets every item.
    """
    play = shown.pairs.groupBy("item_id").agg(F.bit_or(_shown_mask(shown, periods)).alias("in_play"))
    counted = (
        pairs.join(F.broadcast(play), on="item_id", how="inner")
        .groupBy("item_id")
        .agg(
            F.sum(F.bit_count("shown")).alias("treated"),
            F.sum(F.bit_count(_both("shown", "outcome"))).alias("treated_outcomes"),
            F.sum(F.bit_count(_both("outcome", "in_play").bitwiseAND(F.bitwise_not("shown")))).alias(
                "control_outcomes"
            ),
        )
    )
    steps = range(len(periods.starts))
    users = active.agg(*(F.coalesce(F.sum(_bit("active", p)), F.lit(0)).alias(f"active_{p}") for p in steps))
    trials = sum((_bit("in_play", p) * F.col(f"active_{p}") for p in steps), F.lit(0).cast("bigint"))
    zero = F.lit(0).cast("bigint")
    table = (
        items.select("item_id", "category")
        .join(F.broadcast(play), on="item_id", how="left")
        .join(F.broadcast(counted), on="item_id", how="left")
        .crossJoin(F.broadcast(users))
        .withColumns(
            {name: F.coalesce(name, zero) for name in ("in_play", "treated", "treated_outcomes", "control_outcomes")}
        )
        .withColumn("control", trials - F.col("treated"))
    )
    return table.select(*contracts.ITEM_PERIODS.names)


def with_outcome(pairs: DataFrame, active: DataFrame, playing: DataFrame) -> DataFrame:
    """Pairs with an outcome in any of their trials: user_id, item_id, category and the mask ``trial`` of all trials."""
    return (
        pairs.where("outcome != 0")
        .join(F.broadcast(playing), on="item_id", how="inner")
        .join(F.broadcast(active), on="user_id", how="inner")
        .withColumn("trial", _both("active", "in_play"))
        .where("trial & outcome != 0")
        .select("user_id", "item_id", "category", "trial")
    )


def universe(active: DataFrame, playing: DataFrame, near: DataFrame, periods: Periods) -> DataFrame:
    """One row: trials to draw from (``trials``) and those of the pairs ``near``, which have an outcome (``near``).

    ``playing`` holds the items (item_id, category, in_play) trials are drawn from.
    """
    steps = range(periods.first, len(periods.starts))
    items = playing.agg(*(F.sum(_bit("in_play", p)).alias(f"items_{p}") for p in steps))
    users = active.agg(*(F.sum(_bit("active", p)).alias(f"active_{p}") for p in steps))
    trials = sum((F.col(f"items_{p}") * F.col(f"active_{p}") for p in steps), F.lit(0).cast("bigint"))
    close = near.agg(F.sum(F.bit_count(F.shiftright("trial", periods.first))).alias("near"))
    return items.crossJoin(users).select(trials.alias("trials")).crossJoin(close)


def rates(trials: int, near: int, most: int) -> Rates:
    """Inclusion shares that give about ``most`` trials, NEAR_ROOM of them of pairs with an outcome, none above 1."""
    users = min(1.0, MAX_UNIVERSE / max(trials, 1))
    close, far = near * users, (trials - near) * users
    share = min(1.0, NEAR_ROOM * most / max(close, 1.0))
    rest = min(1.0, max(most - share * close, 0.0) / max(far, 1.0))
    if rest == 1.0:  # what the others leave of the room goes to pairs with an outcome
        share = min(1.0, (most - far) / max(close, 1.0))
    return Rates(users, share, rest)


def sample(
    active: DataFrame, playing: DataFrame, near: DataFrame, periods: Periods, shares: Rates, seed: int
) -> DataFrame:
    """Trials (user_id, item_id, period, as_of, category, weight) drawn by a hash of user, item, period and seed.

    They are of the periods from ``periods.first`` on. Pairs with an outcome are drawn at one share, the others at
    another; the weight undoes it (choice-based sampling: Manski and Lerman, Econometrica 1977).
    """
    chosen = _uniform("user_id", F.lit(f"users {seed}")) < shares.users
    table = F.array(
        *(
            F.struct(F.lit(p).alias("period"), F.lit(day).alias("as_of"))
            for p, day in enumerate(periods.starts)
            if p >= periods.first
        )
    )

    def drawn(pairs: DataFrame, share: float) -> DataFrame:
        return (
            pairs.select("user_id", "item_id", "category", "trial", F.inline(table))
            .where(F.expr("shiftright(trial, period) & 1") == 1)
            .where(_uniform("user_id", "item_id", "period", F.lit(seed)) < share)
            .withColumn("weight", F.lit(1.0 / max(share * shares.users, 1e-12)))
            .drop("trial")
        )

    everything = active.where(chosen).crossJoin(F.broadcast(playing)).withColumn("trial", _both("active", "in_play"))
    far = drawn(everything.where("trial != 0"), shares.rest).join(
        near.select("user_id", "item_id"), on=["user_id", "item_id"], how="left_anti"
    )
    columns = ("user_id", "item_id", "period", "as_of", "category", "weight")
    return drawn(near.where(chosen), shares.near).select(*columns).unionByName(far.select(*columns))


def label(drawn: DataFrame, pairs: DataFrame, exposures: DataFrame, periods: Periods) -> DataFrame:
    """Trials with ``treated``, ``outcome``, whether they were ``explored``, and the first logged propensity.

    Explored: one of the period's exposures has the policy ``explore``, a slot filled at random. Neither join may
    broadcast: compressed, a log of millions of exposures looks small enough to Spark, and does not fit its memory.
    """
    random_slot = F.coalesce(F.col("policy") == "explore", F.lit(False))
    logged = _near(exposures.where(F.col("propensity").isNotNull() | random_slot), "exposed_day", periods).withColumn(
        "period", (F.datediff("exposed_day", F.lit(periods.starts[0])) / periods.period_days).cast("int")
    )
    first = F.when(F.col("propensity").isNotNull(), F.struct("exposed_at", "exposure_id"))
    logged = (
        logged.where(F.col("period").between(0, len(periods.starts) - 1))
        .groupBy("user_id", "item_id", "period")
        .agg(
            F.min_by("propensity", first).alias("first_propensity"), F.max(random_slot.cast("int")).alias("random_slot")
        )
    )

    def bit(name: str) -> Column:
        return F.coalesce(F.expr(f"shiftright({name}, period) & 1"), F.lit(0)).cast("int")

    return (
        drawn.join(pairs.hint("merge"), on=["user_id", "item_id"], how="left")
        .withColumns({"treated": bit("shown"), "outcome": bit("outcome")})
        .join(logged.hint("merge"), on=["user_id", "item_id", "period"], how="left")
        .withColumn("logged_propensity", F.when(F.col("treated") == 1, F.col("first_propensity")))
        .withColumn("explored", F.coalesce(F.col("treated") * F.col("random_slot"), F.lit(0)))
        .drop("shown", "first_propensity", "random_slot")
    )


def _uniform(*parts: str | Column) -> Column:
    """A number in [0, 1) that is a hash of its arguments."""
    return F.shiftrightunsigned(F.xxhash64(*parts), 11) / F.lit(float(1 << 53))


def _both(left: str, right: str) -> Column:
    return F.col(left).bitwiseAND(F.col(right))


def _bit(mask: str, period: int) -> Column:
    return F.shiftright(F.col(mask), period).bitwiseAND(F.lit(1).cast("bigint"))


def _mask(day: Column, periods: Periods, start: int, end: int) -> Column:
    """Bit p set where ``day`` lies in [start of p + start, start of p + end)."""
    zero = F.lit(0).cast("bigint")
    mask = zero
    for p, first in enumerate(periods.starts):
        lo, hi = first + timedelta(days=start), first + timedelta(days=end - 1)
        mask = mask + F.when(day.between(F.lit(lo), F.lit(hi)), F.lit(1 << p).cast("bigint")).otherwise(zero)
    return mask


def _shown_mask(shown: Shown, periods: Periods) -> Column:
    """Bit p set where the item was shown in period p."""
    length = periods.period_days
    ends = [start + timedelta(days=length) for start in periods.starts]
    bits = (F.when(shown.any(end, length), F.lit(1 << p)).otherwise(F.lit(0)) for p, end in enumerate(ends))
    return sum(bits, F.lit(0).cast("bigint"))


def _near(table: DataFrame, day: str, periods: Periods, before: int = 0) -> DataFrame:
    """Rows of the periods and their outcome windows, and of the days before the first."""
    first = periods.starts[0] - timedelta(days=before)
    last = periods.starts[-1] + timedelta(days=max(periods.period_days, periods.window_days) - 1)
    return table.where(F.col(day).between(F.lit(first), F.lit(last)))
