"""The cleaner on rows nobody should have written: each is kept or quarantined with its reason, and none is lost."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from jobs import clean as job
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.runtime.spark import SETTINGS
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.transforms import clean
from tests.loaded_shop import night, run_sql

FIRST, SECOND = date(2024, 1, 9), date(2024, 1, 11)
BOUNDS = clean.Bounds(FIRST, max_value=100.0, max_quantity=50.0, max_events_per_user_day=4)
TIMES = "spark.sql.parquet.outputTimestampType"
Cleaned = Callable[[Lake], dict[str, dict[str, int]]]
USERS, ITEMS = ("u1", "u2", "o'neil"), ("i1", "日本語")


@pytest.fixture
def cleaned(spark: SparkSession, loaded: JobArgs, monkeypatch: pytest.MonkeyPatch) -> Cleaned:
    """Run the job in the session's Spark, which it must not close; counts by table and reason."""

    @contextmanager
    def session(*_: object) -> Iterator[SparkSession]:
        spark.conf.set(TIMES, SETTINGS[TIMES])
        yield spark

    monkeypatch.setattr(job, "spark_session", session)

    def run(lake: Lake) -> dict[str, dict[str, int]]:
        assert job.main(["--site", "shop", "--date", lake.date.isoformat()]) == 0
        counts: dict[str, dict[str, int]] = {}
        for row in lake.read_arrow(contracts.CLEAN_COUNTS).to_pylist():
            counts.setdefault(row["table"], {})[row["reason"]] = row["rows"]
        return counts

    return run


def test_bad_rows_of_somebody_elses_warehouse_reach_the_quarantine_with_key_reason_and_row(
    loaded: JobArgs, cleaned: Cleaned
) -> None:
    for change in (
        "ALTER TABLE {raw}.interactions DROP CONSTRAINT interactions_pkey",
        "ALTER TABLE {raw}.interactions ALTER user_id DROP NOT NULL, ALTER event_type DROP NOT NULL",
        "ALTER TABLE {raw}.users DROP CONSTRAINT users_pkey",
        "ALTER TABLE {raw}.items DROP CONSTRAINT items_pkey",
        'ALTER TABLE {raw}.items ADD "present" text, ADD "net.weight" int, ADD "a`b" int, ADD "copy" text',
        "INSERT INTO {raw}.users VALUES ('u1', 31), ('   ', 1), (repeat('u', 401), 2), ('o''neil; --', 3)",
        "INSERT INTO {raw}.items (item_id, category, price, present, \"net.weight\") VALUES ('i1', 'again', 1, 'a', 1),"
        " ('i3', repeat('c', 201), 1, 'b', 2), ('i4', NULL, 1e300, 'c', 3), ('i5', '', 'NaN', 'd', 4),"
        " (repeat('i', 10000), 'x', 1, 'e', 5)",
        "INSERT INTO {raw}.interactions (event_id, user_id, item_id, event_type, event_ts, value, quantity) VALUES"
        " ('e1', 'u1', 'i1', 'purchase', '2024-01-01T10:00Z', 1.5, NULL),"
        " ('n1', NULL, 'i1', 'view', '2024-01-02Z', NULL, NULL), ('n2', 'u1', 'i1', NULL, '2024-01-02Z', NULL, NULL),"
        " ('s1', 'stranger', 'i1', 'view', '2024-01-02Z', NULL, NULL),"
        " ('s2', 'u1', 'strange', 'view', '2024-01-02Z', NULL, NULL),"
        " ('s3', 'u1', 'i3', 'view', '2024-01-02Z', NULL, NULL),"
        " ('v1', 'u1', 'i4', 'view', '2024-01-02Z', -1, NULL), ('v2', 'u1', 'i4', 'view', '2024-01-02Z', 1e300, NULL),"
        " ('v3', 'u1', 'i4', 'view', '2024-01-02Z', 'NaN', NULL),"
        " ('v4', 'u1', 'i4', 'view', '2024-01-02Z', NULL, '-Inf'),"
        " ('k1', 'o''neil; --', 'i5', 'view', '2024-01-02Z', 0, 0)",
    ):
        run_sql(loaded, change)
    lake = night(loaded, FIRST)
    counts = cleaned(lake)
    assert counts["users"] == {"in": 6, "kept": 3, "duplicate": 1, "missing_key": 1, "long_id": 1}
    assert counts["items"] == {"in": 7, "kept": 4, "duplicate": 1, "long_category": 1, "long_id": 1}
    assert counts["interactions"] == {
        "in": 13, "kept": 3, "duplicate": 1, "missing_key": 2, "unknown_user": 1, "unknown_item": 2,
        "impossible_value": 3, "impossible_quantity": 1,
    }  # fmt: skip
    items = {row["item_id"]: row for row in lake.read_arrow(contracts.ITEMS).to_pylist()}
    assert {key: (row["category"], row["price"], row["present"]) for key, row in items.items()} == {
        "i1": ("again", 1.0, "a"),
        "i2": ("bread", 2.0, None),
        "i4": ("unknown", None, "c"),
        "i5": ("unknown", None, "d"),
    }
    assert items["i4"]["net.weight"] == 3 and "a`b" in items["i4"] and "copy" in items["i4"]
    gone = {(row["table"], row["key"]): row for row in lake.read_arrow(contracts.QUARANTINE).to_pylist()}
    assert (
        gone["interactions", "v2"]["reason"] == "impossible_value"
        and '"user_id":"u1"' in gone["interactions", "v2"]["row"]
    )
    assert gone["users", "u" * 401]["reason"] == "long_id"


def test_a_day_without_a_row_is_a_night_like_any_other(loaded: JobArgs, cleaned: Cleaned) -> None:
    run_sql(loaded, "DELETE FROM {raw}.interactions WHERE event_ts > '2024-01-05Z'")
    night(loaded, FIRST)
    lake = night(loaded, SECOND)
    counts = cleaned(lake)
    assert counts["interactions"] == {"in": 0, "kept": 0} and counts["exposures"] == {"in": 0, "kept": 0}
    assert lake.read_arrow(contracts.INTERACTIONS).num_rows == 0


def test_an_event_that_comes_again_on_a_later_night_is_counted_once(
    loaded: JobArgs, cleaned: Cleaned, spark: SparkSession
) -> None:
    """A table without a key: e1 again long after its day was read, and x1, each beside one that is new."""
    for change in (
        "ALTER TABLE {raw}.interactions DROP CONSTRAINT interactions_pkey",
        "ALTER TABLE {raw}.exposures DROP CONSTRAINT exposures_pkey",
        "INSERT INTO {raw}.interactions (event_id, user_id, item_id, event_type, event_ts, value) VALUES"
        " ('e1', 'u1', 'i1', 'purchase', '2024-01-10T09:00Z', 9), ('e1', 'u1', 'i1', 'view', '2024-01-10T08:00Z', 9),"
        " ('e4', 'u1', 'i1', 'purchase', '2024-01-10T08:00Z', 1), (' ', 'u1', 'i1', 'view', '2024-01-10T08:00Z', 1)",
        "INSERT INTO {raw}.exposures (exposure_id, user_id, item_id, exposed_at) VALUES"
        " ('x1', 'u1', 'i1', '2024-01-10T09:00Z'), ('x2', 'u1', 'i1', '2024-01-10T09:00Z')",
    ):
        run_sql(loaded, change)
    assert cleaned(night(loaded, FIRST))["interactions"] == {"in": 2, "kept": 2}
    lake = night(loaded, SECOND)
    counts = cleaned(lake)
    assert counts["interactions"] == {"in": 5, "kept": 2, "duplicate": 2, "missing_key": 1}
    assert counts["exposures"] == {"in": 2, "kept": 1, "duplicate": 1}
    past = lake.read_spark(spark, contracts.INTERACTIONS).select("event_id", "event_day").collect()
    assert sorted((row.event_id, row.event_day.day) for row in past) == [("e1", 1), ("e2", 2), ("e3", 10), ("e4", 10)]
    gone = [row for row in lake.read_arrow(contracts.QUARANTINE).to_pylist() if row["reason"] == "duplicate"]
    found = sorted((row["table"], row["key"]) for row in gone)
    assert found == [("exposures", "x1"), ("interactions", "e1"), ("interactions", "e1")]


@pytest.fixture
def counted(loaded: JobArgs) -> Lake:
    """Two raw rows of each table, of which the item i2 and nothing else is quarantined."""
    lake = night(loaded, SECOND)
    row = {"table": "items", "reason": "long_id", "key": "i2", "row": "{}"}
    lake.write_arrow(contracts.QUARANTINE, pa.Table.from_pylist([row], contracts.QUARANTINE.arrow_schema))
    return lake


def test_rows_that_are_neither_kept_nor_quarantined_fail_the_night(counted: Lake) -> None:
    kept = {"users": 2, "items": 1, "interactions": 3, "exposures": 1}
    job._count(counted, kept)
    for table, count in kept.items():
        for wrong in (count - 1, count + 1):
            with pytest.raises(DataError, match=rf"clean lost count of {table}: \d in, {wrong} kept, \d quarantined"):
                job._count(counted, kept | {table: wrong})


def test_a_night_whose_items_all_fall_says_so(counted: Lake) -> None:
    rows = [{"table": "items", "reason": "long_id", "key": key, "row": "{}"} for key in ("i1", "i2")]
    counted.write_arrow(contracts.QUARANTINE, pa.Table.from_pylist(rows, contracts.QUARANTINE.arrow_schema))
    with pytest.raises(DataError, match="no believable row in items: see the lake's quarantine table"):
        job._count(counted, {"users": 2, "items": 0, "interactions": 3, "exposures": 1})


# -- any rows --------------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([None, None, 0.0, 1.0, 50.0, 51.0, 100.0, 100.5, -1.0, 1e300, float("nan"), float("inf")])
EVENTS = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["", " ", None, *(f"e{n}" for n in range(60))]),
        "user_id": st.sampled_from([None, "", "stranger", *USERS, *USERS]),
        "item_id": st.sampled_from([None, "Robert'); DROP TABLE items; --", *ITEMS, *ITEMS]),
        "event_type": st.sampled_from([None, "view", "view", "purchase", "purchase"]),
        "event_ts": st.none()
        | st.integers(0, 3 * 86_400_000).map(lambda ms: datetime(2024, 1, 7, tzinfo=UTC) + timedelta(milliseconds=ms)),
        "value": NUMBERS,
        "quantity": NUMBERS,
    }
)


def reason(row: dict[str, Any]) -> str | None:
    """Why a row that is the first of its key is not believed, leaving bots aside."""
    if row["user_id"] not in USERS:
        return "unknown_user"
    if row["item_id"] not in ITEMS:
        return "unknown_item"
    if row["event_ts"].date() >= FIRST:
        return "future"
    for name, most in (("value", BOUNDS.max_value), ("quantity", BOUNDS.max_quantity)):
        if row[name] is not None and not 0 <= row[name] <= most:
            return f"impossible_{name}"
    return None


def marked(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    names = contracts.RAW_INTERACTIONS.names
    raw = spark.createDataFrame(
        [[row.get(name) for name in names] for row in rows], contracts.RAW_INTERACTIONS.spark_ddl
    )
    users = spark.createDataFrame([(one,) for one in USERS], "user_id string")
    items = spark.createDataFrame([(one,) for one in ITEMS], "item_id string")
    return clean.interactions(clean.with_channel(raw, None), users, items, BOUNDS)


def expected(rows: list[dict[str, Any]]) -> Counter[tuple[str | None, str | None]]:
    """Key and reason of every row as a person would write it down, without Spark."""
    keys = ("event_id", "user_id", "item_id", "event_type", "event_ts")
    whole = [row for row in rows if all(row[key] is not None for key in keys) and row["event_id"].strip(" ")]
    said = Counter((row["event_id"], "missing_key") for row in rows if row not in whole)
    kept = []
    for key in {row["event_id"] for row in whole}:
        copies = sorted((row for row in whole if row["event_id"] == key), key=in_order)
        said[key, "duplicate"] += len(copies) - 1
        why = reason(copies[0])
        kept += [copies[0]] if why is None else []
        said[key, why] += why is not None
    crowd = Counter((row["user_id"], row["event_ts"].date()) for row in kept)
    for row in kept:
        bot = crowd[row["user_id"], row["event_ts"].date()] > BOUNDS.max_events_per_user_day
        said[row["event_id"], "bot_like" if bot else None] += 1
    return +said


def in_order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Time, then every column by name; nothing before something, no number after all numbers."""
    others = ("event_type", "item_id", "quantity", "user_id", "value")
    return (row["event_ts"], *((row[name] is not None, spark_order(row[name])) for name in others))


def spark_order(value: object) -> tuple[Any, ...]:
    if isinstance(value, float):
        return (value != value, value if value == value else 0.0)
    return (value.encode(),) if isinstance(value, str) else ()


@given(rows=st.lists(EVENTS, min_size=150, max_size=200), seed=st.randoms(use_true_random=False))
@settings(
    max_examples=2, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_any_rows_in_any_order_are_kept_or_quarantined_once_each(
    spark: SparkSession, rows: list[dict[str, Any]], seed: random.Random
) -> None:
    wanted = expected(rows)
    for order in (rows, seed.sample(rows, len(rows))):
        found = marked(spark, order).select("event_id", "reason").toArrow().to_pylist()
        assert Counter((row["event_id"], row["reason"]) for row in found) == wanted
    assert sum(wanted.values()) == len(rows)
