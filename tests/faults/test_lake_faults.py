"""A disk that fills up, and files of the lake that are cut short or gone."""

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.lake import FIRST_DAY, Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NIGHT = date(2024, 1, 8)
FEW, MANY = 10, 200_000  # rows: the small table fits on the disk, the large one does not


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    return JobArgs(site, NIGHT, Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {}))


@pytest.fixture
def small_disk(args: JobArgs) -> Iterator[JobArgs]:
    """A lake on a disk of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = Path(args.environment.lake)
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield args
    subprocess.run(["umount", "--lazy", disk], check=True)  # Spark still holds a file that it could not write


def users(rows: int) -> pa.Table:
    """Users whose ids no compression makes small."""
    draw = random.Random(0)
    return pa.table({"user_id": [f"{draw.getrandbits(128):032x}" for _ in range(rows)]})


def files(args: JobArgs) -> list[str]:
    return sorted(path.name for path in Path(args.environment.lake).rglob("*") if path.is_file())


def test_a_full_disk_is_one_line_and_what_was_written_before_is_still_read(small_disk: JobArgs) -> None:
    lake = Lake(small_disk)
    lake.write_arrow(contracts.USERS, users(FEW))
    before = files(small_disk)
    with pytest.raises(SetupError, match=r"lake/shop/users/.*: the disk is full; free some of it") as caught:
        lake.write_arrow(contracts.USERS, users(MANY))
    assert "\n" not in str(caught.value)
    assert files(small_disk) == before, "half an attempt would keep the disk full"
    assert lake.read_arrow(contracts.USERS).num_rows == FEW
    lake.write_arrow(contracts.USERS, users(2 * FEW))
    assert lake.read_arrow(contracts.USERS).num_rows == 2 * FEW


def test_a_disk_that_is_full_when_the_manifest_is_written_keeps_the_manifest_before(small_disk: JobArgs) -> None:
    lake = Lake(small_disk)
    lake.write_json("decision", {"chosen": "champion"})
    filler = Path(small_disk.environment.lake) / "filler"
    with pytest.raises(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
    before = files(small_disk)
    with pytest.raises(SetupError, match="the disk is full"):
        lake.write_json("decision", {"chosen": "challenger"})
    assert files(small_disk) == before
    assert lake.read_json("decision") == {"chosen": "champion"}
    filler.unlink()
    lake.write_json("decision", {"chosen": "challenger"})
    assert lake.read_json("decision") == {"chosen": "challenger"}


def test_a_disk_that_spark_fills_is_the_same_one_line(small_disk: JobArgs, spark: "SparkSession") -> None:
    lake = Lake(small_disk)
    lake.write_arrow(contracts.USERS, users(FEW))
    many = spark.range(MANY).selectExpr("sha2(cast(id AS string), 256) AS user_id")
    with pytest.raises(SetupError, match="the disk is full"):
        lake.write_spark(contracts.USERS, many, partitions=1)
    assert lake.read_arrow(contracts.USERS).num_rows == FEW
    assert len(files(small_disk)) == 2, "the table and its manifest"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


@pytest.mark.parametrize(("damage", "said"), [(cut, r"has \d+ bytes, not \d+"), (Path.unlink, "is gone")])
def test_a_file_that_is_not_as_it_was_written_is_named(args: JobArgs, damage: object, said: str) -> None:
    lake = Lake(args)
    lake.write_arrow(contracts.USERS, users(FEW))
    (file,) = Path(args.environment.lake).rglob("*.parquet")
    damage(file)  # type: ignore[operator]
    for read in (lake.read_arrow, lake.read_pandas):
        with pytest.raises(DataError, match=f"^{file} {said}; run the task that writes users again") as caught:
            read(contracts.USERS)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
    lake.write_arrow(contracts.USERS, users(FEW))
    assert lake.read_arrow(contracts.USERS).num_rows == FEW


def test_a_cut_file_of_an_earlier_night_is_named_before_spark_reads_anything(
    args: JobArgs, spark: "SparkSession"
) -> None:
    day, night = NIGHT - timedelta(days=1), replace(args, date=NIGHT + timedelta(days=7))
    nulls = {field.name: None for field in contracts.INTERACTIONS.arrow_schema}
    about = {"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "purchase"}
    when = {"event_day": day, "event_ts": datetime(day.year, day.month, day.day, tzinfo=UTC)}
    row = nulls | about | when
    events = pa.Table.from_pylist([row], schema=contracts.INTERACTIONS.arrow_schema)
    Lake(args).write_arrow(contracts.INTERACTIONS, events, covers=(FIRST_DAY, NIGHT))
    (file,) = Path(args.environment.lake).rglob("*.parquet")
    Lake(night).write_arrow(contracts.INTERACTIONS, events[:0], covers=(NIGHT, night.date))
    assert Lake(night).read_spark(spark, contracts.INTERACTIONS).count() == 1
    cut(file)
    with pytest.raises(DataError, match=f"^{file} has"):
        Lake(night).read_spark(spark, contracts.INTERACTIONS)
