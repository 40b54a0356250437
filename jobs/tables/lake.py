"""The lake: ``<lake>/<site>/<table>/run_date=D/<attempt>/*.parquet`` behind a manifest written last.

A reader follows the manifest and never lists a folder, so a killed attempt is never seen. An incremental table's
manifest says which days it covers, and ``history`` joins the manifests of earlier nights to one seamless past.
"""

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError, SetupError
from jobs.tables.schema import ARROW, SPARK, Table

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

FIRST_DAY = date(1900, 1, 1)
BATCH_ROWS = 16_384  # that an executor looks at once
GROUP_ROWS = 65_536  # from which on an executor writes a row group
BatchWork = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Part:
    """Files of one night and the days [start, end) to take from them; both None where all rows count."""

    files: tuple[str, ...]
    start: date | None
    end: date | None


class RowGroups:
    """A Parquet file written by row groups; rows without a value in the column ``apart`` are in groups of their own.

    Text is coded by dictionaries; numbers seldom repeat: dictionaries of them cost time and save nothing.
    """

    def __init__(self, path: str, fs: pafs.FileSystem, schema: pa.Schema, apart: str = "") -> None:
        text = [field.name for field in schema if pa.types.is_string(field.type)]
        self.apart = apart
        self.waiting: tuple[list[pa.RecordBatch], list[pa.RecordBatch]] = ([], [])
        self.writer = pq.ParquetWriter(path, schema, filesystem=fs, compression="zstd", use_dictionary=text)

    def __enter__(self) -> "RowGroups":
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            for waiting in self.waiting:
                self._write(waiting)
        self.writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """More rows."""
        parts = [batch]
        if self.apart:
            there = batch.column(self.apart).is_valid()
            parts = [batch.filter(there), batch.filter(pc.invert(there))]
        for waiting, part in zip(self.waiting, parts, strict=False):
            waiting.append(part)
            if sum(each.num_rows for each in waiting) >= GROUP_ROWS:
                self._write(waiting)

    def _write(self, waiting: list[pa.RecordBatch]) -> None:
        rows = pa.Table.from_batches(waiting, self.writer.schema)
        if rows.num_rows:
            self.writer.write_table(rows, row_group_size=rows.num_rows)
        waiting.clear()


class Lake:
    """Reads and writes of one site's lake on one run date; every write replaces one partition."""

    def __init__(self, args: JobArgs) -> None:
        root = args.environment.lake.rstrip("/") + "/" + args.site.site
        self.date = args.date
        self.uri = root
        self.fs: pafs.FileSystem = pafs.LocalFileSystem()
        self.root: str = root
        if "://" in root:
            self.fs, self.root = pafs.FileSystem.from_uri(root.replace("s3a://", "s3://"))

    # -- manifests ---------------------------------------------------------------------------------------------
    def _folder(self, table: str, day: date) -> str:
        return f"{self.root}/{table}/run_date={day.isoformat()}"

    def manifest(self, table: Table | str, day: date | None = None) -> dict[str, Any]:
        """The manifest of a table's partition; DataError names the job's output that is missing."""
        name = table if isinstance(table, str) else table.name
        path = f"{self._folder(name, day or self.date)}/manifest.json"
        if not self.has(table, day):
            raise DataError(
                f"{name} of {day or self.date} is not in the lake ({path}); run the task that writes it first"
            )
        with self.fs.open_input_stream(path) as stream:
            return dict(json.loads(stream.read()))

    def has(self, table: Table | str, day: date | None = None) -> bool:
        """Whether a table's partition, or a document, of tonight or ``day`` is whole in the lake."""
        name = table if isinstance(table, str) else table.name
        path = f"{self._folder(name, day or self.date)}/manifest.json"
        return bool(self.fs.get_file_info(path).type == pafs.FileType.File)

    def dates(self, table: Table | str) -> list[date]:
        """Run dates before this one that have a manifest of the table or document, oldest first."""
        name = table if isinstance(table, str) else table.name
        infos = self.fs.get_file_info(pafs.FileSelector(f"{self.root}/{name}", allow_not_found=True))
        days = (date.fromisoformat(info.base_name.removeprefix("run_date=")) for info in infos)
        return sorted(day for day in days if day < self.date and self.has(name, day))

    def published_nights(self) -> Iterator[tuple[date, str]]:
        """Run date and version of the earlier nights that published their lists, newest first."""
        for day in reversed(self.dates("published")):
            record = self.manifest("published", day)["document"]
            if record["state"] in ("published", "unchanged"):
                yield day, str(record["version_id"])

    def published_before(self, before: date | None = None) -> tuple[date, str] | None:
        """Run date and version of the newest night before ``before``, and before this one, that published its lists."""
        return next((night for night in self.published_nights() if night[0] < (before or self.date)), None)

    def digest(self, tables: Iterable[Table]) -> str:
        """sha256 over the contents of tables as they are read tonight, history included."""
        parts = [
            [
                table.name,
                sorted((entry["sha256"], entry["rows"]) for entry in manifest["files"]),
                str(part.start),
                str(part.end),
            ]
            for table in tables
            for manifest, part in self._history(table)
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _history(self, table: Table, before: date | None = None) -> list[tuple[dict[str, Any], Part]]:
        chain = []
        end = before
        earlier = [] if table.incremental is None else list(reversed(self.dates(table)))
        for day in [self.date, *earlier] if before is None else earlier:
            manifest = self.manifest(table, day)
            self._require(table, day, manifest["schema"])
            start = date.fromisoformat(manifest["covers"][0]) if manifest["covers"] else None
            files = tuple(f"{self._folder(table.name, day)}/{entry['path']}" for entry in manifest["files"])
            if end is None or start is None or start < end:  # else later nights looked further back than this one
                chain.append((manifest, Part(files, start, end)))
                end = start
            if start is None or start <= FIRST_DAY:
                break
        return chain[::-1]

    def _require(self, table: Table, day: date, found: Iterable[str]) -> None:
        """DataError where an earlier version of Nightlift wrote a partition without a column that is never null."""
        missing = [name for name, kind in table.columns.items() if not kind.endswith("?") and name not in found]
        if missing:
            raise DataError(
                f"{table.name} of {day} has no column {', '.join(missing)}: an earlier Nightlift wrote it; remove"
                f" {self.root}/{table.name} and run the night again"
            )

    def history(self, table: Table, before: date | None = None) -> list[Part]:
        """Parts that together hold every row of an incremental table before the run date once.

        With ``before`` only what earlier nights wrote, and of it the days before that day. DataError names the file
        that is not as it was written.
        """
        chain = self._history(table, before)
        entries = [entry for manifest, _ in chain for entry in manifest["files"]]
        infos = self.fs.get_file_info([file for _, part in chain for file in part.files])
        for entry, info in zip(entries, infos, strict=True):
            written = entry.get("bytes", info.size)  # nights before sizes were recorded have none
            if info.type != pafs.FileType.File or info.size != written:
                found = "is gone" if info.type == pafs.FileType.NotFound else f"has {info.size} bytes, not {written}"
                raise DataError(f"{info.path} {found}; run the task that writes {table.name} again for that run_date")
        return [part for _, part in chain]

    # -- writes ------------------------------------------------------------------------------------------------
    def write_arrow(
        self,
        table: Table,
        data: pa.Table | pa.RecordBatchReader,
        covers: tuple[date, date] | None = None,
        inputs: Sequence[Table] = (),
    ) -> int:
        """Write Arrow rows as the partition; returns how many. Columns are checked first, the manifest comes last."""
        reader = data.to_reader() if isinstance(data, pa.Table) else data
        found = {field.name: _spark_name(field.type) for field in reader.schema}
        table.check_columns(found, "this job")
        folder, attempt = self._new_attempt(table)
        path = f"{folder}/{attempt}/part-0.parquet"
        with self._room(f"{folder}/{attempt}"):
            with pq.ParquetWriter(path, reader.schema, filesystem=self.fs, compression="zstd") as writer:
                for batch in reader:
                    writer.write_batch(batch)
            return self._commit(table, attempt, covers, inputs)

    def write_spark(
        self,
        table: Table,
        frame: "DataFrame",
        partitions: int = 2,
        covers: tuple[date, date] | None = None,
        inputs: Sequence[Table] = (),
    ) -> int:
        """Write a Spark frame as the table's partition; returns how many rows."""
        table.check_columns({name: kind for name, kind in frame.dtypes}, "this job")
        if not table.open:
            frame = frame.select(*table.names)
        folder, attempt = self._new_attempt(table)
        uri = f"{self.uri}/{folder.removeprefix(self.root).lstrip('/')}/{attempt}"
        # numbers seldom repeat: dictionaries of them cost time and save nothing
        text = {f"parquet.enable.dictionary#{name}": "true" for name, kind in frame.dtypes if kind == "string"}
        writer = frame.coalesce(partitions).write.options(**{"parquet.enable.dictionary": "false"} | text)
        with self._room(f"{folder}/{attempt}"):
            writer.mode("append").parquet(uri)  # the folder is new and empty
            return self._commit(table, attempt, covers, inputs)

    def write_mapped(
        self,
        table: Table,
        frame: "DataFrame",
        work: BatchWork,
        inputs: Sequence[Table] = (),
        apart: str = "",
        beside: Iterable[pa.RecordBatch] = (),
    ) -> int:
        """Write what ``work`` makes of the Arrow batches of a frame's partitions, a file each; returns how many rows.

        The executors write Parquet themselves: rows that only Python makes do not pass through Spark's. Rows without a
        value in the column ``apart`` stand in row groups of their own, which a reader of the others skips. Rows that
        are there already come ``beside``, in a file of their own.
        """
        folder, attempt = self._new_attempt(table)
        fs, schema, path = self.fs, table.arrow_schema, f"{folder}/{attempt}"

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            task = TaskContext.get()
            assert task is not None
            name = f"part-{task.partitionId():05d}-{task.taskAttemptId()}.parquet"  # each try of a task writes its own
            with RowGroups(f"{path}/{name}", fs, schema, apart) as groups:
                for batch in work(batches):
                    groups.add(batch)
            yield pa.RecordBatch.from_pydict({"name": [name]})

        with self._room(path):
            names = [row["name"] for row in frame.mapInArrow(run, "name string").collect()]
            there = iter(beside)
            if (first := next(there, None)) is not None:
                names.append("part-beside.parquet")
                with RowGroups(f"{path}/{names[-1]}", fs, schema, apart) as groups:
                    for batch in itertools.chain([first], there):
                        groups.add(batch)
            return self._commit(table, attempt, None, inputs, names)

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Write a small document (a decision, a model's record) beside the tables."""
        path = f"{self._folder(name, self.date)}/manifest.json"
        self._put(path, {"document": document})

    def read_json(self, name: str) -> dict[str, Any]:
        """The document written by ``write_json`` tonight."""
        return dict(self.manifest(name)["document"])

    def _new_attempt(self, table: Table) -> tuple[str, str]:
        folder, attempt = self._folder(table.name, self.date), f"attempt-{uuid.uuid4().hex[:12]}"
        self.fs.create_dir(folder, recursive=True)
        if isinstance(self.fs, pafs.LocalFileSystem):
            self.fs.create_dir(f"{folder}/{attempt}")
        return folder, attempt

    def _commit(
        self,
        table: Table,
        attempt: str,
        covers: tuple[date, date] | None,
        inputs: Sequence[Table],
        names: Sequence[str] | None = None,
    ) -> int:
        """Write the manifest of the attempt's files, or of those of these ``names``."""
        folder = self._folder(table.name, self.date)
        infos = self.fs.get_file_info(pafs.FileSelector(f"{folder}/{attempt}"))
        files = []
        for info in sorted(infos, key=lambda entry: entry.path):
            if info.extension == "parquet" and (names is None or info.base_name in names):
                with self.fs.open_input_file(info.path) as handle:
                    digest = hashlib.sha256(handle.read()).hexdigest()
                    handle.seek(0)
                    footer = pq.ParquetFile(handle)
                    entry = {"path": f"{attempt}/{info.base_name}", "rows": footer.metadata.num_rows}
                    files.append(entry | {"bytes": info.size, "sha256": digest})
                    schema = footer.schema_arrow
        if not files:
            raise DataError(f"{table.name} of {self.date}: the attempt in {folder}/{attempt} wrote no file")
        rows = sum(entry["rows"] for entry in files)
        self._put(
            f"{folder}/manifest.json",
            {
                "table": table.name,
                "run_date": self.date.isoformat(),
                "rows": rows,
                "schema": {field.name: str(field.type) for field in schema},
                "files": files,
                "covers": [day.isoformat() for day in covers] if covers else None,
                "inputs": {name.name: [entry["sha256"] for entry in self.manifest(name)["files"]] for name in inputs},
            },
        )
        for info in self.fs.get_file_info(pafs.FileSelector(folder)):
            if info.type == pafs.FileType.Directory and info.base_name != attempt:
                self.fs.delete_dir(info.path)
        print(f"{table.name}: {rows:,} rows")
        return rows

    def _put(self, path: str, document: dict[str, Any]) -> None:
        self.fs.create_dir(path.rsplit("/", 1)[0], recursive=True)
        temporary = f"{path}.{uuid.uuid4().hex[:8]}"
        with self._room(temporary), self.fs.open_output_stream(temporary) as stream:
            stream.write(json.dumps(document, indent=1, sort_keys=True).encode())
        self.fs.move(temporary, path)

    @contextmanager
    def _room(self, path: str) -> Iterator[None]:
        """Where the disk is full, what was written to ``path`` gives its room back, and a SetupError says so."""
        try:
            yield
        except Exception as error:  # Arrow's is an OSError, Spark's one of many
            if "No space left on device" not in str(error):
                raise
            kind = self.fs.get_file_info(path).type
            if kind != pafs.FileType.NotFound:
                (self.fs.delete_dir if kind == pafs.FileType.Directory else self.fs.delete_file)(path)
            raise SetupError(f"{path}: the disk is full; free some of it, then run the task again") from None

    # -- reads -------------------------------------------------------------------------------------------------
    def read_arrow(
        self, table: Table, columns: Sequence[str] | None = None, where: ds.Expression | None = None
    ) -> pa.Table:
        """Tonight's partition of a table in Arrow; ``where`` is pushed down."""
        (part,) = [part for part in self.history(table)][-1:]
        return ds.dataset(list(part.files), filesystem=self.fs).to_table(
            columns=list(columns) if columns else None, filter=where
        )

    def read_pandas(
        self, table: Table, columns: Sequence[str] | None = None, where: ds.Expression | None = None
    ) -> "pd.DataFrame":
        """Tonight's partition as a pandas frame, sorted by the table's key so that training is deterministic."""
        found = self.read_arrow(table, columns, where)
        key = [name for name in table.key if name in found.column_names]
        order = _order(found, key) if key else np.arange(len(found))
        frame = found.to_pandas(self_destruct=True, split_blocks=True)
        return frame if (np.diff(order) == 1).all() else frame.take(order).reset_index(drop=True)

    def read_spark(self, spark: "SparkSession", table: Table, tonight_only: bool = False) -> "DataFrame":
        """The table in Spark: tonight's partition, or for an incremental table its whole seamless past."""
        parts = self.history(table)[-1:] if tonight_only else self.history(table)
        return self._frame(spark, table, parts)

    def read_before(self, spark: "SparkSession", table: Table, day: date) -> "DataFrame | None":
        """What earlier nights wrote of the days before ``day``; None where there is nothing."""
        parts = self.history(table, day)
        return self._frame(spark, table, parts) if parts else None

    def _frame(self, spark: "SparkSession", table: Table, parts: Sequence[Part]) -> "DataFrame":
        from pyspark.sql import functions as F

        frames = []
        for part in parts:
            frame = spark.read.parquet(*(self._spark_path(file) for file in part.files))
            if part.end is not None:
                frame = frame.where(F.to_date(F.col(str(table.incremental))) < F.lit(part.end))
            frames.append(frame)
        whole = frames[0]
        for frame in frames[1:]:
            whole = whole.unionByName(frame, allowMissingColumns=True)
        for name, kind in table.columns.items():
            if kind.endswith("?") and name not in whole.columns:  # nights of before there was such a column
                whole = whole.withColumn(name, F.lit(None).cast(SPARK[kind.rstrip("?")]))
        table.check_columns(dict(whole.dtypes), f"the lake ({self.root}/{table.name})")
        return whole

    def reading(
        self, spark: "SparkSession", table: Table, work: BatchWork, where: ds.Expression
    ) -> "tuple[DataFrame, BatchWork]":
        """A frame of tonight's files, a Spark task each, and what makes of them what ``work`` makes of their rows.

        Rows come in the file's order, as Arrow batches. The executors read Parquet themselves, as they write it.
        """
        fs, files = self.fs, self.history(table)[-1].files

        def run(places: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in places:
                for place in batch.column(0).to_pylist():
                    rows = ds.dataset(files[place], filesystem=fs)
                    yield from work(rows.to_batches(filter=where, batch_size=BATCH_ROWS, fragment_readahead=1))

        return spark.range(0, len(files), 1, len(files)), run

    def _spark_path(self, file: str) -> str:
        return self.uri + file.removeprefix(self.root) if "://" in self.uri else file


def _order(table: pa.Table, key: Sequence[str]) -> np.ndarray:
    """Places of the rows in the order of ``key``, ties as they came; text is compared once a value, not once a row."""
    ranks = []
    for name in key:
        coded = table.column(name).dictionary_encode().combine_chunks()
        place = np.empty(len(coded.dictionary), np.int32)
        place[pc.array_sort_indices(coded.dictionary).to_numpy()] = np.arange(len(place))
        ranks.append(place[coded.indices.to_numpy(zero_copy_only=False)])
    return np.lexsort(ranks[::-1])


def _spark_name(kind: pa.DataType) -> str:
    for name, arrow in ARROW.items():
        if kind == arrow:
            return SPARK[name]
    return "timestamp" if pa.types.is_timestamp(kind) else str(kind)
