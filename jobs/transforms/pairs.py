"""contracts.FEATURES of a user's pairs at an as-of day: the one place a feature row is made.

numpy only, one user at a time. What happened on or after the as-of day never enters its row; a feature without anything
behind it is NaN.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.transforms.people import EPOCH, Arrays, Person, day_number, read
from jobs.transforms.shown import WORD

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

SHOWN_DAYS = 91  # an exposure older than this counts as not shown
MICRO = 1_000_000  # sums are of integer millionths: exact, so in any order the same
WINDOWS = (28, 91, 364)
HALF_LIVES = (28, 112)


@dataclass(frozen=True)
class Things:
    """The items by number, and the day the bits of PAIR_SHOWN_DAYS are counted back from.

    ``category`` has each item's category as a number, -1 where it has none; ``features`` are ITEM_FEATURES by as-of day
    (items x features, NaN where missing).
    """

    run_day: int
    category: np.ndarray
    features: dict[int, np.ndarray]


def things(run_date: date, item_ids: Sequence[str], categories: "pd.Series[str]", features: pd.DataFrame) -> Things:
    """Things of the items in this order; ``features`` is ITEM_FEATURE_TABLE of the as-of days that are needed."""
    names = list(contracts.ITEM_FEATURES)
    by_day = {
        (pd.Timestamp(day).date() - EPOCH).days: mine.set_index("item_id")[names].reindex(item_ids).to_numpy(np.float32)
        for day, mine in features.groupby("as_of")
    }
    return Things((run_date - EPOCH).days, pd.factorize(categories, sort=True)[0], by_day)


def features(person: Person, found: np.ndarray, as_of: int, about: Things) -> Arrays:
    """contracts.FEATURES of one user's pairs with the items ``found``, each of shape (found,), float32."""
    then = np.flatnonzero(person.about["as_of"] == as_of)
    user = {n: person.about[n][then[0]] if len(then) else np.float32(np.nan) for n in contracts.USER_FEATURES}
    out: Arrays = {name: np.full(len(found), value) for name, value in user.items()}
    items = about.features[as_of][found]
    out |= {name: items[:, place] for place, name in enumerate(contracts.ITEM_FEATURES)}
    out |= _history(person.history, found, as_of) | _shown(person.shown, found, as_of, about)
    out["category_outcomes_91d"] = _category(person, found, as_of, about.category)
    every = user["user_outcomes_91d"]
    out["category_share_91d"] = out["category_outcomes_91d"] / (every if every > 0 else np.nan)
    return {name: out[name].astype(np.float32) for name in contracts.FEATURES}


def _history(history: Arrays, found: np.ndarray, as_of: int) -> Arrays:
    """What the user did with each item before the day; NaN where nothing."""
    past = history["day"] < as_of
    age, outcomes = as_of - history["day"][past], history["outcomes"][past]
    items, place = np.unique(history["item"][past], return_inverse=True)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, minlength=len(items))

    def exact(name: str) -> np.ndarray:
        return total(np.rint(history[name][past] * MICRO)) / MICRO

    out: Arrays = {f"outcomes_{n}d": total(np.where(age <= n, outcomes, 0)) for n in WINDOWS}
    for days in HALF_LIVES:
        out[f"outcomes_decayed_{days}d"] = total(outcomes * np.rint(0.5 ** (age / days) * MICRO)) / MICRO
    latest, oldest = np.full(len(items), np.inf), np.full(len(items), -np.inf)
    some = outcomes > 0
    np.minimum.at(latest, place[some], age[some])
    np.maximum.at(oldest, place[some], age[some])
    times = total(some)
    out["days_since_last"] = np.where(times > 0, latest, np.nan)
    span = np.where(times > 1, oldest - latest, np.nan)
    out["mean_gap_days"] = span / np.maximum(times - 1, 1)
    out["gap_ratio"] = out["days_since_last"] / out["mean_gap_days"]
    out["events_28d"] = total(np.where(age <= 28, history["events"][past], 0))
    out["feedback"] = exact("feedback")
    out["vote"] = np.where(total(history["voters"][past]) > 0, exact("vote_change"), np.nan)
    out["votes"] = total(history["votes"][past])
    read_comments = total(history["comments"][past])
    out["sentiment"] = exact("sentiment") / np.where(read_comments > 0, read_comments, np.nan)
    return spread(items, out, found)


def _shown(shown: Arrays, found: np.ndarray, as_of: int, about: Things) -> Arrays:
    """On how many days the item was shown to the user before the day, and how long ago; NaN beyond ``SHOWN_DAYS``."""
    offset = about.run_day - as_of
    near, far = bits(shown["days"], offset, WORD), bits(shown["days"], offset + WORD, SHOWN_DAYS - WORD)
    lowest = [np.bitwise_count((word & -word) - np.uint64(1)) + 1.0 for word in (near, far)]
    latest = np.where(near != 0, lowest[0], np.where(far != 0, lowest[1] + WORD, np.nan))
    out: Arrays = {"days_since_shown": latest}
    for days in (7, 28):
        count = np.bitwise_count(near & np.uint64((1 << days) - 1))
        out[f"shown_{days}d"] = np.where(np.isnan(latest), np.nan, count)
    order = np.argsort(shown["item"])
    return spread(shown["item"][order], {name: values[order] for name, values in out.items()}, found)


def bits(words: np.ndarray, offset: int, days: int) -> np.ndarray:
    """``days`` bits (at most 60) of each row of ``words`` from bit ``offset`` on; words that are not there are zero."""
    word, bit = divmod(offset, WORD)
    low, high = (
        words[:, at].astype(np.uint64) if at < words.shape[1] else np.zeros(len(words), np.uint64)
        for at in (word, word + 1)
    )
    joined = (low >> np.uint64(bit)) | (high << np.uint64(WORD - bit) if bit else np.uint64(0))
    return np.asarray(joined & np.uint64((1 << days) - 1))


def _category(person: Person, found: np.ndarray, as_of: int, category: np.ndarray) -> np.ndarray:
    """Outcomes of the user in the item's category in the 91 days before the day; NaN where there are none."""
    day, item, outcomes = person.bought
    mine = (day < as_of) & (as_of - day <= 91) & (category[item] >= 0)
    total = np.bincount(category[item[mine]], outcomes[mine], minlength=int(category.max(initial=-1)) + 1)
    kind = category[found]
    out = np.where(kind >= 0, total[kind] if len(total) else np.nan, np.nan)
    return np.where(out > 0, out, np.nan)


def spread(items: np.ndarray, values: Arrays, found: np.ndarray) -> Arrays:
    """Values of ``items``, which are sorted, for the items ``found``; NaN for others."""
    if not len(items):
        return {name: np.full(len(found), np.nan) for name in values}
    place = np.minimum(np.searchsorted(items, found), len(items) - 1)
    there = items[place] == found
    return {name: np.where(there, each[place], np.nan) for name, each in values.items()}


def for_pairs(pairs: DataFrame, everyone: DataFrame, numbers: DataFrame, about: Things) -> DataFrame:
    """``pairs`` (user_id, item_id, as_of, ...) with contracts.FEATURES, a user's rows together, by item and as-of day.

    ``everyone`` is ``people`` without lists of its own. Users and items that it and ``numbers`` do not know have no
    row.
    """
    kinds = {name: kind for name, kind in pairs.dtypes if name not in ("user_id", "item_id", "as_of")}
    rows = pairs.join(F.broadcast(numbers), on="item_id", how="inner").withColumn("as_of", day_number("as_of"))
    lists = rows.groupBy("user_id").agg(F.collect_list(F.struct("item", "as_of", *kinds)).alias("pairs"))
    schema = ["user_id string", "item int", "as_of int", *(f"{name} {kind}" for name, kind in kinds.items())]
    schema += [f"{name} float" for name in contracts.FEATURES]
    made = everyone.join(lists, on="user_id", how="inner").mapInArrow(_maker(about), ", ".join(schema))
    return (
        made.withColumn("as_of", F.date_add(F.lit(EPOCH), F.col("as_of")))
        .join(F.broadcast(numbers), on="item", how="inner")
        .select(*pairs.columns, *contracts.FEATURES)
    )


def _maker(about: Things) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Rows of one Arrow batch of people with their pairs, taken as they are, in order, and with features."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            column = batch.column("pairs")
            offsets, values = column.offsets.to_numpy(), column.values
            for place, person in enumerate(read(batch)):
                mine = person.more["pairs"]
                order = np.lexsort((mine["as_of"], mine["item"]))
                made: Arrays = {name: np.empty(len(order), np.float32) for name in contracts.FEATURES}
                for as_of in np.unique(mine["as_of"]):
                    then = np.flatnonzero(mine["as_of"][order] == as_of)
                    for name, each in features(person, mine["item"][order][then], int(as_of), about).items():
                        made[name][then] = each
                rows = values.take(pa.array(offsets[place] + order))
                given = {rows.type.field(k).name: rows.field(k) for k in range(rows.type.num_fields)}
                columns = [pa.array([person.user_id] * len(order), pa.string()), *given.values()]
                columns += [pa.array(each, mask=np.isnan(each)) for each in made.values()]
                yield pa.RecordBatch.from_arrays(columns, ["user_id", *given, *made])

    return make
