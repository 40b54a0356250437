"""generate_candidates: what could be recommended to whom, tonight and in the ranker's label windows, with features.

Label windows that an earlier night made are carried over from its candidates, their outcomes looked up again.
Fails where build_features has not run or no item is available. Where too few items have enough users for a full list
the bound is lowered to one user, and the log says so.
"""

import json
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.models import content
from jobs.runtime import label_windows
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import LONG_ROWS, by_user, spark_session
from jobs.tables import contracts, listings
from jobs.tables.lake import Lake
from jobs.transforms import candidates, histories, pairs, peers, people, rhythm, sources, taste
from jobs.transforms.sources import Limits


def main(argv: Sequence[str] | None = None) -> int:
    """Generate the candidates of the night."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    windows = label_windows.Plan.read(lake)
    print(f"label windows: {len(windows.made)} to make, {len(windows.carried)} made by earlier nights")
    vectors = _write_vectors(job, lake)
    with spark_session(job, "generate_candidates", LONG_ROWS) as spark:
        as_ofs = [*windows.made, job.date]
        days = lake.read_spark(spark, contracts.PAIR_DAYS)
        known = _items(job, lake)
        numbers = people.numbers(spark, known["item_id"])
        history = histories.histories(days, numbers)
        counts = candidates.item_counts(history, [(day - people.EPOCH).days for day in as_ofs]).toPandas()
        catalogue = _catalogue(job, lake, known, counts, as_ofs)
        model_days = (catalogue.days[0], catalogue.days[-1])
        near = candidates.neighbours(history, catalogue, model_days).toArrow()
        compared = peers.sample(history, lake.manifest(contracts.USERS)["rows"]).toArrow()
        models = _models(lake, near, vectors, compared, catalogue, windows.retrieval_days(job.date))
        retrieve = candidates.retrieve(
            catalogue, known["category"].tolist(), models, _limits(job, int(catalogue.candidates[-1].sum()))
        )
        lake.write_mapped(
            contracts.CANDIDATES,
            _everyone(job, lake, spark, numbers, as_ofs),
            retrieve,
            inputs=[
                contracts.PAIR_DAYS,
                contracts.PAIR_SHOWN_DAYS,
                contracts.PAIR_POSITIONS,
                contracts.PAIR_PERIODS,
                contracts.FACTORS,
                contracts.USER_FEATURE_TABLE,
                contracts.ITEM_FEATURE_TABLE,
            ],
            apart="label",
            beside=label_windows.carried(job, lake, windows),
        )
    label_windows.write(job, lake, windows)
    return 0


def _items(job: JobArgs, lake: Lake) -> pd.DataFrame:
    """item_id, category and brand of all items; no brand where items have no such column."""
    brand = job.site.ranking.brand
    there = brand in lake.manifest(contracts.ITEMS)["schema"]
    items = lake.read_pandas(contracts.ITEMS, list(dict.fromkeys(["item_id", "category", *([brand] if there else [])])))
    return items.assign(brand=items[brand] if there else None)[["item_id", "category", "brand"]]


def _limits(job: JobArgs, size: int) -> Limits:
    """How many items each source brings; ``size`` is how many are candidates tonight."""
    limits = job.site.candidates
    return Limits(
        limits.repeat,
        limits.popularity,
        limits.item_cf,
        limits.factorisation,
        job.site.outcome.window_days,
        job.site.ranker.negative_share,
        everything=size <= limits.small_catalogue,
        trending=limits.trending,
        per_category=job.site.ranking.max_per_category,
        user_cf=limits.user_cf,
        content=limits.content,
        new_items=limits.new_items,
    )


def _everyone(job: JobArgs, lake: Lake, spark: SparkSession, numbers: DataFrame, as_ofs: list[date]) -> DataFrame:
    """Every user with the past, trials and last list; each in one partition."""
    besides = {
        "masks": lake.read_spark(spark, contracts.PAIR_PERIODS),
        "active": lake.read_spark(spark, contracts.USER_PERIODS),
        "listed": listings.in_force(job, spark, [job.date]).drop("as_of"),
        "placed": lake.read_spark(spark, contracts.PAIR_POSITIONS).select(
            "user_id", "item_id", people.day_number("exposed_day").alias("day"), "position"
        ),
    }
    features = lake.read_spark(spark, contracts.USER_FEATURE_TABLE).where(F.col("as_of").isin(as_ofs))
    everyone = people.people(
        lake.read_spark(spark, contracts.USERS),
        lake.read_spark(spark, contracts.PAIR_DAYS),
        lake.read_spark(spark, contracts.PAIR_SHOWN_DAYS),
        features,
        numbers,
        besides,
    )
    return by_user(everyone).sortWithinPartitions("user_id")


def _write_vectors(job: JobArgs, lake: Lake) -> np.ndarray:
    """Vectors of all items in the order of their ids; those that say something make ITEM_VECTORS."""
    items = lake.read_pandas(contracts.ITEMS)
    vectors = content.vectors(items, job.site.candidates.content_dimensions, job.site.seed)
    says = np.flatnonzero(vectors.any(axis=1))
    texts = [json.dumps([round(float(value), 5) for value in vectors[row]]) for row in says]
    rows = {"item_id": items["item_id"].iloc[says].tolist(), "vector": texts}
    lake.write_arrow(
        contracts.ITEM_VECTORS, pa.table(rows, schema=contracts.ITEM_VECTORS.arrow_schema), inputs=[contracts.ITEMS]
    )
    return vectors


def _catalogue(
    job: JobArgs, lake: Lake, frame: pd.DataFrame, counts: pd.DataFrame, as_ofs: list[date]
) -> candidates.Catalogue:
    """The items that are candidates at each as-of day, their order of popularity and habits; all on the driver."""
    sold = lake.read_pandas(contracts.ITEM_FEATURE_TABLE, where=ds.field("as_of").isin(as_ofs))
    play = lake.read_pandas(contracts.ITEM_PERIODS, ["item_id", "in_play"]).set_index("item_id")["in_play"]
    category = pd.factorize(frame.category, sort=True, use_na_sentinel=False)[0]
    ids = frame.item_id.to_numpy()
    allowed, popular, about, rise, demand, new = [], [], [], [], [], []
    for k, day in enumerate(as_ofs):
        habits = counts[counts.day == k].set_index("item").reindex(range(len(ids)), fill_value=0)
        users = habits.users.to_numpy()
        then = sold[sold.as_of == day].set_index("item_id")
        week, count, longer = (_by_item(then[f"item_outcomes_{n}d"], frame.item_id) for n in (7, 28, 91))
        rise.append(sources.rise(week, count))
        demand.append(count)
        about.append(
            rhythm.item_features({name: habits[name].to_numpy() for name in rhythm.COUNTS})
            | {"item_trend_91d": (count * 91 / 28 + 5) / (longer + 5)}
            | {"item_category_share_91d": rhythm.category_share(longer, category)}
        )
        there = then["available"].reindex(frame.item_id).to_numpy(bool)
        enough = there & (users >= job.site.candidates.min_item_users)
        if enough.sum() < job.site.list_length:
            print(
                f"{day}: {enough.sum()} items have {job.site.candidates.min_item_users} users with an outcome, "
                "fewer than list_length; taking those with one"
            )
            enough = there & (users >= 1)
        allowed.append(enough)
        new.append(sources.newcomers(there, enough, users, habits.new.to_numpy()))
        order = np.lexsort((np.arange(len(ids)), -users, -count))
        popular.append(order[enough[order]])
    if not allowed[-1].any():
        raise DataError(
            f"no available item of {job.site.site} has an outcome before {job.date}: check items.available_*"
        )
    epoch = [(day - people.EPOCH).days for day in as_ofs]
    which = [0] * (len(as_ofs) - 1) + [1]
    things = pairs.things(job.date, list(ids), frame.category, sold)
    offers = taste.Offers.of(frame["brand"], _by_item(then["price_position"], frame.item_id, np.nan))
    in_play = play.reindex(ids).fillna(0).to_numpy(np.int64)
    return candidates.Catalogue(
        list(ids), epoch, np.vstack(allowed), popular, which, category, about, things, in_play, rise, demand,
        np.vstack(new), offers,
    )  # fmt: skip


def _by_item(values: "pd.Series[float]", item_ids: "pd.Series[str]", missing: float = 0) -> np.ndarray:
    return values.reindex(item_ids).fillna(missing).to_numpy()


def _models(
    lake: Lake,
    near: pa.Table,
    vectors: np.ndarray,
    compared: pa.Table,
    catalogue: candidates.Catalogue,
    factor_days: tuple[date, date],
) -> candidates.Models:
    """Item factors and neighbours as arrays by item number, beside ``vectors`` and whom users are ``compared`` with."""
    number = {item_id: n for n, item_id in enumerate(catalogue.item_ids)}
    size = len(number)
    stored = lake.read_pandas(contracts.FACTORS)
    stored = stored[stored.kind == "item"]
    factors, neighbours, cosines = [], [], []
    rows = near.to_pandas()
    for model, day in enumerate(factor_days):
        mine = stored[stored.as_of == day]
        learnt = pd.Series(mine.factors.to_numpy(), index=mine.id.map(number)).map(json.loads)
        table = np.zeros((size, len(learnt.iloc[0])), np.float32)
        table[learnt.index.to_numpy()] = np.array(learnt.to_list(), np.float32)
        factors.append(table)
        part = rows[rows.model == model]
        who, cosine = np.full((size, candidates.NEIGHBOURS), -1, np.int32), np.zeros((size, candidates.NEIGHBOURS))
        who[part.a, part.place - 1], cosine[part.a, part.place - 1] = part.b, part.cosine
        neighbours.append(who)
        cosines.append(cosine.astype(np.float32))
    return candidates.Models(factors, neighbours, cosines, vectors, compared)


if __name__ == "__main__":
    run(main)
