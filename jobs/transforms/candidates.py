"""Retrieval: what every source (contracts.SOURCES) brings a user, merged user by user, with features.

Item-sized models travel with the task; users never leave the executors, and no table of users x items is made.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.tables import contracts
from jobs.transforms import rhythm, taste
from jobs.transforms.histories import arrays, habits, latest
from jobs.transforms.pairs import Things, features, spread
from jobs.transforms.peers import Peers
from jobs.transforms.people import Arrays, Person, read
from jobs.transforms.sources import HISTORY, NEW_USER, Limits, Shelves, best, fold_in, likeness

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

Retrieval = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
NEIGHBOURS = 50


@dataclass(frozen=True)
class Catalogue:
    """The items in order of their ids, and as one row an as-of day: which are candidates, and by popularity."""

    item_ids: list[str]
    days: list[int]  # as-of days since 1970, ascending; the last is the run date
    candidates: np.ndarray  # bool, days x items
    popular: list[np.ndarray]  # item numbers, best first
    model: list[int]  # which of the retrieval models a day uses
    category: np.ndarray  # number of each item's category, those without one together
    about: list[rhythm.Arrays]  # habits of the items at each day
    things: Things
    in_play: np.ndarray  # mask of each item's periods in play
    rise: list[np.ndarray]  # of each item's outcomes in the last week
    demand: list[np.ndarray]  # each item's outcomes in the last 28 days
    new: np.ndarray  # bool, days x items: only their content can bring them
    offers: taste.Offers


@dataclass(frozen=True)
class Models:
    """One entry a retrieval model: item factors (items x rank) and neighbours (items x 50, -1 = none) with cosines.

    ``vectors`` is what items say of themselves (items x dimensions), the same in every model. ``compared`` has the
    histories of the users that others are compared with (``peers.sample``).
    """

    factors: list[np.ndarray]
    neighbours: list[np.ndarray]
    cosines: list[np.ndarray]
    vectors: np.ndarray
    compared: pa.Table


def item_users(days: DataFrame, as_ofs: list[date]) -> DataFrame:
    """Users with an outcome on an item before each as-of day: item_id, as_of, users."""
    first = days.where(F.col("outcomes") > 0).groupBy("user_id", "item_id").agg(F.min("event_day").alias("first_day"))
    counts = first.groupBy("item_id").agg(
        *(F.count(F.when(F.col("first_day") < F.lit(day), 1)).alias(f"d{n}") for n, day in enumerate(as_ofs))
    )
    entries = F.array(
        *(F.struct(F.lit(day).alias("as_of"), F.col(f"d{n}").alias("users")) for n, day in enumerate(as_ofs))
    )
    return counts.select("item_id", F.inline(entries))


def item_counts(history: DataFrame, days: list[int]) -> DataFrame:
    """rhythm.COUNTS summed over users: day (place of the as-of day in ``days``, since 1970), item, counts."""
    columns = ", ".join(f"{name} bigint" for name in rhythm.COUNTS)
    counted = history.select("history").mapInArrow(_item_counter(days), f"day int, item int, {columns}")
    return counted.groupBy("day", "item").agg(*(F.sum(name).alias(name) for name in rhythm.COUNTS))


def neighbours(history: DataFrame, catalogue: Catalogue, model_days: tuple[int, ...]) -> DataFrame:
    """The 50 nearest items by cosine over users' latest 50 items: model, item, neighbour, cosine."""
    pairs = history.select("history").mapInArrow(
        _pair_counter(catalogue, model_days), "model int, a int, b int, n bigint"
    )
    counts = pairs.groupBy("model", "a", "b").agg(F.sum("n").alias("n"))
    alone = counts.where(F.col("a") == F.col("b"))
    size_a = alone.select("model", "a", F.col("n").alias("n_a"))
    size_b = alone.select("model", "b", F.col("n").alias("n_b"))
    table = (
        counts.where((F.col("a") != F.col("b")) & (F.col("n") >= 2))
        .join(F.broadcast(size_a), on=["model", "a"], how="inner")
        .join(F.broadcast(size_b), on=["model", "b"], how="inner")
        .withColumn("cosine", F.col("n") / F.sqrt(F.col("n_a") * F.col("n_b")))
    )
    place = F.row_number().over(Window.partitionBy("model", "a").orderBy(F.desc("cosine"), "b"))
    return (
        table.withColumn("place", place)
        .where(F.col("place") <= NEIGHBOURS)
        .select("model", "a", "b", F.col("place").cast("int"), F.col("cosine").cast("float"))
    )


def retrieve(catalogue: Catalogue, categories: Sequence[str | None], models: Models, limits: Limits) -> Retrieval:
    """From Arrow batches of ``everyone`` to CANDIDATES; a user's rows are together, by as-of day and item.

    Every user is a target on the run date, and on a label day where an outcome falls in the window from that day.
    ``everyone`` is ``people`` with more lists: masks (PAIR_PERIODS), active (USER_PERIODS), listed (the list in force
    on the run date: item_id, rank, score) and placed (PAIR_POSITIONS with the day's number as day). ``categories`` are
    those of the items.
    """
    found = _retriever(catalogue, models, limits)
    ids, kinds = pa.array(catalogue.item_ids, pa.string()), pa.array(categories, pa.string())

    def rows(batch: pa.RecordBatch) -> pa.RecordBatch:
        item, sources = batch.column("item"), batch.column("sources").to_numpy()
        mine = dict(zip(batch.schema.names, batch.columns, strict=True))
        mine |= {name: pa.array(sources & (1 << bit) != 0) for bit, name in enumerate(contracts.SOURCES)}
        mine |= {"item_id": ids.take(item), "category": kinds.take(item), "as_of": batch.column("as_of_day")}
        schema = contracts.CANDIDATES.arrow_schema
        return pa.RecordBatch.from_arrays([mine[field.name].cast(field.type) for field in schema], schema=schema)

    def retrieval(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from map(rows, found(batches))

    return retrieval


def _item_counter(days: list[int]) -> Callable:
    """rhythm.item_counts of one Arrow batch of users, summed."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts: list[list[tuple[np.ndarray, rhythm.Arrays]]] = [[] for _ in days]
            for day, item, n in arrays(batch.column(0)):
                for k, as_of in enumerate(days):
                    age, mine, _ = rhythm.by_item(day, item, n, as_of)
                    parts[k].append(rhythm.item_counts(age, mine))
            for k, part in enumerate(parts):
                items, place = np.unique(np.concatenate([found for found, _ in part]), return_inverse=True)
                sums = []
                for name in rhythm.COUNTS:
                    total = np.zeros(len(items), np.int64)
                    np.add.at(total, place, np.concatenate([counts[name] for _, counts in part]).astype(np.int64))
                    sums.append(pa.array(total))
                yield pa.RecordBatch.from_arrays(
                    [pa.array(np.full(len(items), k, np.int32)), pa.array(items.astype(np.int32)), *sums],
                    ["day", "item", *rhythm.COUNTS],
                )

    return count


def _drawn(user: str, items: np.ndarray, day: int) -> np.ndarray:
    """A number in [0, 1) for each item of a user and day, the same on every run (splitmix64)."""
    seed = np.frombuffer(hashlib.sha256(f"negatives:{user}:{day}".encode()).digest()[:8], np.uint64)
    with np.errstate(over="ignore"):
        state = seed + (items.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _pair_counter(catalogue: Catalogue, model_days: tuple[int, ...]) -> Callable:
    """Co-occurrence counts of one Arrow batch of users."""
    size = len(catalogue.item_ids)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            keys: list[list[np.ndarray]] = [[] for _ in model_days]
            for day, item, _ in arrays(batch.column(0)):
                for model, before in enumerate(model_days):
                    mine = latest(day, item, before).astype(np.int64)
                    keys[model].append((mine[:, None] * size + mine[None, :]).ravel())
            for model, parts in enumerate(keys):
                pair, n = np.unique(np.concatenate(parts or [np.empty(0, np.int64)]), return_counts=True)
                yield pa.RecordBatch.from_arrays(
                    [
                        pa.array(np.full(len(pair), model, np.int32)),
                        pa.array((pair // size).astype(np.int32)),
                        pa.array((pair % size).astype(np.int32)),
                        pa.array(n.astype(np.int64)),
                    ],
                    ["model", "a", "b", "n"],
                )

    return count


def _retriever(catalogue: Catalogue, models: Models, limits: Limits) -> Callable:
    """All sources of one Arrow batch of users, merged."""
    size = len(catalogue.item_ids)
    last = len(catalogue.days) - 1
    rank = []
    for popular in catalogue.popular:
        place = np.full(size, np.nan, np.float32)
        place[popular] = np.arange(1, len(popular) + 1)
        rank.append(place)
    grams = [factors.T.astype(np.float64) @ factors for factors in models.factors]
    rising = [
        best(rise, allowed, limits.trending) for rise, allowed in zip(catalogue.rise, catalogue.candidates, strict=True)
    ]
    shelves = [
        Shelves.of(popular, catalogue.category, demand)
        for popular, demand in zip(catalogue.popular, catalogue.demand, strict=True)
    ]

    def cf_scores(model: int, recent: np.ndarray) -> np.ndarray:
        near, cosine = models.neighbours[model][recent], models.cosines[model][recent]
        there = near >= 0
        return np.bincount(near[there], cosine[there].astype(np.float64), minlength=size)

    def new_user(person: Person, k: int) -> np.ndarray:
        past = person.history["day"] < catalogue.days[k]
        kinds = catalogue.category[person.history["item"][past]]
        interest = np.bincount(kinds, person.history["events"][past], minlength=len(shelves[k].share))
        return shelves[k].for_new_user(interest, limits.popularity, limits.per_category)

    def one(person: Person, k: int, alike: Peers) -> Arrays | None:
        day, item, n = person.bought
        as_of, model, allowed = catalogue.days[k], catalogue.model[k], catalogue.candidates[k]
        future = (day >= as_of) & (day < as_of + limits.window_days)
        if k != last and not future.any():
            return None
        past = day < as_of
        usual, worth = habits(day, item, n, as_of)
        habit = np.zeros(size)
        habit[usual] = worth
        recent = latest(day, item, as_of)
        cf = np.round(cf_scores(model, recent), 6)
        peers = np.round(alike.scores(person.user_id, usual, worth), 6)
        like = likeness(models.vectors, recent)
        had = np.zeros(size, dtype=bool)
        had[usual] = True
        other = ~had  # what the user had is for the other sources to bring
        lately = past & (day >= as_of - HISTORY)
        had_lately, place = np.unique(item[lately], return_inverse=True)
        mine = fold_in(models.factors[model], grams[model], had_lately, np.bincount(place, n[lately]))
        factor = np.round(models.factors[model] @ mine, 5)
        chosen = (
            best(habit, allowed, limits.repeat),
            catalogue.popular[k][: limits.popularity],
            best(cf, allowed, limits.item_cf),
            best(factor, allowed, limits.factorisation),
            rising[k],
            new_user(person, k) if had.sum() < NEW_USER else item[:0],
            best(peers, allowed, limits.user_cf),
            best(like, allowed & other, limits.content),
            best(like, catalogue.new[k] & other, limits.new_items),
        )
        sources = np.zeros(size, np.int32)
        for bit, items in enumerate(chosen):
            sources[items] |= 1 << bit
        found = np.flatnonzero((sources > 0) | (allowed & (limits.everything and k == last)))
        label = np.isin(found, item[future]).astype(np.int32)
        weight, before = np.ones(len(found), np.float32), rhythm.by_item(day, item, n, as_of)
        if k < last - 1 and limits.negative_share < 1:
            kept = (label == 1) | (_drawn(person.user_id, found, as_of) < limits.negative_share)
            found, label = found[kept], label[kept]
            weight = np.where(label == 1, 1.0, 1.0 / limits.negative_share).astype(np.float32)
        return {
            "item": found.astype(np.int32),
            "as_of_day": np.full(len(found), as_of, np.int32),
            "label": label if k != last else np.full(len(found), -1, np.int32),
            "weight": weight,
            "sources": sources[found],
            **trials_of(person, found, catalogue.in_play, tonight=k == last),
            contracts.SHOWN_POSITION: position_of(person.more["placed"], found, as_of, limits.window_days),
            "item_cf_score": cf[found].astype(np.float32),
            "factor_score": factor[found].astype(np.float32),
            "user_cf_share": peers[found].astype(np.float32),
            "content_score": like[found].astype(np.float32),
            "popularity_rank": rank[k][found],
            **rhythm.for_items(found, before, catalogue.about[k], catalogue.category),
            **taste.for_items(found, before, catalogue.offers),
            **features(person, found, as_of, catalogue.things),
        }

    def retrieve_batch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        alike = [Peers.of(models.compared, size, as_of) for as_of in catalogue.days]
        for batch in batches:
            for person in read(batch):
                tables = [table for k, peers in enumerate(alike) if (table := one(person, k, peers)) is not None]
                if not tables:
                    continue
                merged = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
                columns = [pa.array([person.user_id] * len(merged["item"]), pa.string())]
                for values in merged.values():
                    columns.append(pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else values < 0))
                yield pa.RecordBatch.from_arrays(columns, ["user_id", *merged])

    return retrieve_batch


def position_of(placed: Arrays, found: np.ndarray, start: int, days: int) -> np.ndarray:
    """The best place at which each of the items ``found`` was shown in ``days`` days from ``start``; NaN where none."""
    inside = (placed["day"] >= start) & (placed["day"] < start + days)
    items, place = np.unique(placed["item"][inside], return_inverse=True)
    best = np.full(len(items), np.inf)
    np.minimum.at(best, place, placed["position"][inside])
    return spread(items, {"position": best}, found)["position"].astype(np.float32)


def trials_of(person: Person, found: np.ndarray, in_play: np.ndarray, tonight: bool) -> Arrays:
    """PAIR_COUNTS and LISTED of the items ``found``: what is known on the run date, and nothing (-1, NaN) before it."""
    size = len(found)
    if not tonight:
        nothing = dict.fromkeys(contracts.PAIR_COUNTS, np.full(size, -1, np.int32))
        return nothing | dict.fromkeys(contracts.LISTED, np.full(size, np.nan, np.float32))
    masks, listed, active = (person.more[name] for name in ("masks", "listed", "active"))
    order = np.argsort(masks["item"])
    kept = spread(masks["item"][order], {name: masks[name][order] for name in ("shown", "outcome")}, found)
    shown, outcome = (np.nan_to_num(kept[name]).astype(np.int64) for name in ("shown", "outcome"))
    control = (active["active"][0] if len(active["active"]) else 0) & in_play[found] & ~shown
    counts = [np.bitwise_count(mask).astype(np.int32) for mask in (shown, shown & outcome, control, control & outcome)]
    order = np.argsort(listed["item"])
    place = spread(listed["item"][order], {name: listed[name][order] for name in ("rank", "score")}, found)
    below = listed["rank"].max(initial=0) + 1 if len(order) else np.nan
    where = {"listed_position": np.where(np.isnan(place["rank"]), below, place["rank"]), "listed_score": place["score"]}
    return dict(zip(contracts.PAIR_COUNTS, counts, strict=True)) | {n: v.astype(np.float32) for n, v in where.items()}
