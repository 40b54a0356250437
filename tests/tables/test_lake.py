"""The lake: manifests, replaced attempts, seamless history, checked columns."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.lake import FIRST_DAY, Lake, RowGroups

FIRST, SECOND = date(2024, 1, 8), date(2024, 1, 15)


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    environment = Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {})
    return JobArgs(Site(site="shop", outcome=Outcome(event_types=("purchase",))), FIRST, environment)


def events(*days: date) -> pa.Table:
    nulls: dict[str, list[None]] = {
        name: [None] * len(days)
        for name in ("value", "quantity", "rating", "text", "session_id", "votes", "valence", "channel")
    }
    columns = {
        "event_id": [f"{day}" for day in days],
        "user_id": ["u"] * len(days),
        "item_id": ["i"] * len(days),
        "event_type": ["purchase"] * len(days),
        "event_ts": [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days],
        **nulls,
        "event_day": list(days),
    }
    schema = contracts.INTERACTIONS.arrow_schema
    return pa.table(columns, schema=schema)


def test_missing_partition_names_table_and_day(args: JobArgs) -> None:
    with pytest.raises(DataError, match="users of 2024-01-08 is not in the lake"):
        Lake(args).read_arrow(contracts.USERS)


def test_a_missing_column_is_refused_before_anything_is_written(args: JobArgs) -> None:
    with pytest.raises(DataError, match="users in this job: missing columns user_id"):
        Lake(args).write_arrow(contracts.USERS, pa.table({"name": ["a"]}))
    assert not list(Path(args.environment.lake).rglob("*.parquet"))


def test_a_retyped_column_is_refused(args: JobArgs) -> None:
    with pytest.raises(DataError, match="user_id is bigint, not string"):
        Lake(args).write_arrow(contracts.USERS, pa.table({"user_id": [1]}).cast(pa.schema([("user_id", pa.int64())])))


def test_a_new_attempt_replaces_the_old_one(args: JobArgs) -> None:
    lake = Lake(args)
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["a"]}))
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["b", "c"]}))
    assert lake.read_arrow(contracts.USERS)["user_id"].to_pylist() == ["b", "c"]
    assert len(list(Path(args.environment.lake).rglob("*.parquet"))) == 1


def test_files_without_a_manifest_are_never_read(args: JobArgs) -> None:
    lake = Lake(args)
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["a"]}))
    (manifest,) = Path(args.environment.lake).rglob("manifest.json")
    stray = manifest.parent / "attempt-killed"
    stray.mkdir()
    (stray / "part-0.parquet").write_bytes(b"half")
    assert lake.read_arrow(contracts.USERS).num_rows == 1
    assert json.loads(manifest.read_text())["rows"] == 1


def test_history_takes_every_day_from_the_latest_night_that_covers_it(args: JobArgs) -> None:
    first = Lake(args)
    first.write_arrow(contracts.INTERACTIONS, events(date(2024, 1, 3), date(2024, 1, 6)), (FIRST_DAY, FIRST))
    second = Lake(replace(args, date=SECOND))
    second.write_arrow(contracts.INTERACTIONS, events(date(2024, 1, 6), date(2024, 1, 9)), (date(2024, 1, 5), SECOND))
    old, new = second.history(contracts.INTERACTIONS)
    assert (old.start, old.end) == (FIRST_DAY, date(2024, 1, 5))
    assert (new.start, new.end) == (date(2024, 1, 5), None)


def test_a_table_that_an_earlier_version_wrote_is_read_or_refused_with_what_to_remove(
    args: JobArgs, spark: SparkSession
) -> None:
    table, day = contracts.INTERACTIONS, date(2024, 1, 3)
    old = replace(
        table, columns={name: kind for name, kind in table.columns.items() if name not in ("votes", "user_id")}
    )
    lake = Lake(args)
    lake.write_arrow(old, events(day).select(old.names), (FIRST_DAY, FIRST))
    second = Lake(replace(args, date=SECOND))
    second.write_arrow(table, events(date(2024, 1, 9)), (FIRST, SECOND))
    folder = f"{args.environment.lake}/shop/interactions"
    refused = f"interactions of {FIRST} has no column user_id: an earlier Nightlift wrote it; remove {folder} and run"
    with pytest.raises(DataError, match=refused) as caught:
        second.history(table)
    assert "\n" not in str(caught.value)
    nullable = replace(table, columns={name: kind for name, kind in table.columns.items() if name != "votes"})
    lake.write_arrow(nullable, events(day).select(nullable.names), (FIRST_DAY, FIRST))
    assert len(second.history(table)) == 2, "a column that may be null is null in what was written before"
    before = second.read_before(spark, table, SECOND)
    assert before is not None and [row.votes for row in before.collect()] == [None]


def test_digest_follows_content_not_attempt(args: JobArgs) -> None:
    lake = Lake(args)
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["a"]}))
    before = lake.digest([contracts.USERS])
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["a"]}))
    assert lake.digest([contracts.USERS]) == before
    lake.write_arrow(contracts.USERS, pa.table({"user_id": ["b"]}))
    assert lake.digest([contracts.USERS]) != before


def test_a_table_is_read_in_the_order_of_its_key(args: JobArgs) -> None:
    random, lake = Random(0), Lake(args)
    rows = [{"user_id": f"u{n % 7}", "item_id": f"i{n % 5}", "shown": n, "outcome": 0} for n in range(35)]
    random.shuffle(rows)
    lake.write_arrow(contracts.PAIR_PERIODS, pa.Table.from_pylist(rows, contracts.PAIR_PERIODS.arrow_schema))
    found = lake.read_pandas(contracts.PAIR_PERIODS)
    assert found["shown"].tolist() == [row["shown"] for row in sorted(rows, key=lambda r: (r["user_id"], r["item_id"]))]
    assert found.index.tolist() == list(range(35))
    few = lake.read_pandas(contracts.PAIR_PERIODS, ["item_id", "shown"], ds.field("user_id") == "u3")
    assert few["item_id"].tolist() == [f"i{n}" for n in range(5)]


def test_executors_read_and_write_files_themselves_each_file_in_its_order(args: JobArgs, spark: SparkSession) -> None:
    lake = Lake(args)
    rows = [(f"u{n // 10}", f"i{n}", n, n % 2) for n in range(100)]
    frame = spark.createDataFrame(rows, contracts.PAIR_PERIODS.spark_ddl).repartition(3, "user_id")
    lake.write_spark(contracts.PAIR_PERIODS, frame.sortWithinPartitions("user_id", "shown"), 3)
    files = lake.manifest(contracts.PAIR_PERIODS)["files"]
    schema = contracts.RELEVANCE_LISTS.arrow_schema

    def listed(batches):
        for batch in batches:
            rank, relevance = batch.column("shown").cast(pa.int32()), batch.column("shown").cast(pa.float64())
            columns = [batch.column("user_id"), rank, batch.column("item_id"), pc.multiply(relevance, 2.0)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    odd = lake.reading(spark, contracts.PAIR_PERIODS, listed, ds.field("outcome") == 1)
    assert lake.write_mapped(contracts.RELEVANCE_LISTS, *odd, inputs=[contracts.PAIR_PERIODS]) == 50
    manifest = lake.manifest(contracts.RELEVANCE_LISTS)
    assert len(manifest["files"]) == len(files) > 1
    assert manifest["inputs"]["pair_periods"] == [entry["sha256"] for entry in files]
    for file in lake.history(contracts.RELEVANCE_LISTS)[0].files:
        mine = pq.read_table(file).to_pylist()
        assert [(row["user_id"], row["rank"]) for row in mine] == sorted((row["user_id"], row["rank"]) for row in mine)
    whole = lake.read_arrow(contracts.RELEVANCE_LISTS).sort_by("rank").to_pylist()
    kept = [(user, item, 2.0 * n) for user, item, n, outcome in rows if outcome]
    assert [(row["user_id"], row["item_id"], row["relevance"]) for row in whole] == kept
    in_spark = lake.read_spark(spark, contracts.RELEVANCE_LISTS).orderBy("rank").collect()
    assert [(row.user_id, row.item_id, row.relevance) for row in in_spark] == kept
    there = pa.RecordBatch.from_pylist([{"user_id": "v", "rank": 1, "item_id": "i", "relevance": 0.5}], schema)
    assert lake.write_mapped(contracts.RELEVANCE_LISTS, *odd, beside=[there.slice(0, 0), there, there]) == 52
    beside = [file for file in lake.history(contracts.RELEVANCE_LISTS)[0].files if "beside" in file]
    assert [pq.read_table(file).to_pylist() for file in beside] == [there.to_pylist() * 2]


def test_what_a_failed_task_wrote_is_in_no_table(args: JobArgs, spark: SparkSession, tmp_path: Path) -> None:
    lake, before = Lake(args), tmp_path / "tried"
    schema = contracts.RELEVANCE_LISTS.arrow_schema

    def broken_once(batches):
        for batch in batches:
            size = batch.num_rows
            columns = {"user_id": ["u"] * size, "rank": range(size), "item_id": ["i"] * size, "relevance": [0.5] * size}
            yield pa.RecordBatch.from_pydict(columns, schema)
        if not before.exists():
            before.touch()
            raise OSError("lost")

    frame = spark.range(0, 10, 1, 1)
    with pytest.raises(Exception, match="lost"):
        lake.write_mapped(contracts.RELEVANCE_LISTS, frame, broken_once)
    assert not lake.has(contracts.RELEVANCE_LISTS)
    assert lake.write_mapped(contracts.RELEVANCE_LISTS, frame, broken_once) == 10
    folder = Path(lake.root) / "relevance_lists" / f"run_date={args.date}"
    assert len(list(folder.glob("*/*.parquet"))) == 1
    assert lake.read_arrow(contracts.RELEVANCE_LISTS).num_rows == 10


def test_rows_without_a_value_are_row_groups_of_their_own(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int32()), ("label", pa.int32())])
    path, labels = str(tmp_path / "rows.parquet"), [[0, None, 1], [None, None], [1, 1]]
    with RowGroups(path, pafs.LocalFileSystem(), schema, "label") as groups:
        for place, mine in enumerate(labels):
            ns = range(10 * place, 10 * place + len(mine))
            groups.add(pa.RecordBatch.from_pydict({"n": ns, "label": mine}, schema))
    file = pq.ParquetFile(path)
    found = [file.read_row_group(k).to_pydict() for k in range(file.num_row_groups)]
    assert found == [{"n": [0, 2, 20, 21], "label": [0, 1, 1, 1]}, {"n": [1, 10, 11], "label": [None] * 3}]
