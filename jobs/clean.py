"""clean: raw rows of tonight to believed rows, the rest to quarantine with its reason; feedback is read.

Fails where the raw tables are missing (run extract), where no user, item or event is left, or where the rows in are
not the rows kept plus the rows quarantined. Rerunning replaces tonight's partitions.
"""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.models import sentiment
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.spark import spark_session
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.transforms import clean, opinions

PAIRS = (
    (contracts.RAW_USERS, contracts.USERS),
    (contracts.RAW_ITEMS, contracts.ITEMS),
    (contracts.RAW_INTERACTIONS, contracts.INTERACTIONS),
    (contracts.RAW_EXPOSURES, contracts.EXPOSURES),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Clean tonight's raw rows."""
    job = JobArgs.parse(argv)
    lake = Lake(job)
    bounds = clean.Bounds(
        job.date, job.site.clean.max_value, job.site.clean.max_quantity, job.site.clean.max_events_per_user_day
    )
    with spark_session(job, "clean") as spark:
        rows, quarantine = _clean(job, lake, spark, bounds)
        lake.write_spark(contracts.QUARANTINE, quarantine.repartition(1).sortWithinPartitions(*quarantine.columns))
    _count(lake, rows)
    return 0


def _clean(job: JobArgs, lake: Lake, spark: SparkSession, bounds: clean.Bounds) -> tuple[dict[str, int], DataFrame]:
    """Write the kept rows of each table; returns how many, and the frame of the quarantined."""
    marked: dict[str, DataFrame] = {}
    rows: dict[str, int] = {}
    for raw_table, table in PAIRS:
        raw, covers = lake.read_spark(spark, raw_table, tonight_only=True), _covers(lake.manifest(raw_table))
        if table in (contracts.USERS, contracts.ITEMS):
            frame = clean.users(raw) if table is contracts.USERS else clean.items(raw, bounds)
        else:
            known = (lake.read_spark(spark, contracts.USERS), lake.read_spark(spark, contracts.ITEMS))
            if table is contracts.INTERACTIONS:
                raw = clean.with_channel(raw, job.site.profiles.channel)
            check = clean.interactions if table is contracts.INTERACTIONS else clean.exposures
            earlier = lake.read_before(spark, table, covers[0]) if covers else None
            frame = check(raw, *known, bounds, earlier)
        if table is contracts.INTERACTIONS:
            frame = _read_feedback(job, lake, frame)
        marked[table.name] = frame
        rows[table.name] = lake.write_spark(table, clean.kept(frame), covers=covers, inputs=[raw_table])
    whole = spark.createDataFrame([], contracts.QUARANTINE.spark_ddl)
    for raw_table, table in PAIRS:
        if rows[table.name] != lake.manifest(raw_table)["rows"]:  # a table that lost nothing is not read again
            whole = whole.unionByName(clean.quarantined(marked[table.name], table))
    return rows, whole


def _read_feedback(job: JobArgs, lake: Lake, events: DataFrame) -> DataFrame:
    """Events whose feedback is believed and read; a night without any pays nothing for it."""
    wanted = ds.field("event_type").isin(pa.array(opinions.pressed(job.site), pa.string()))
    found = set(lake.read_arrow(contracts.RAW_INTERACTIONS, ["event_type"], wanted)["event_type"].to_pylist())
    if not found:
        return events
    events = opinions.believed(events, job.site)
    if not found & set(opinions.counted(job.site, job.site.opinions.comments)):
        return events
    text = F.when(opinions.is_comment(job.site) & F.col("reason").isNull(), F.col("text"))
    read = F.pandas_udf(sentiment.valence, "double")  # type: ignore[call-overload]
    return events.withColumn("valence", F.coalesce("valence", read(text)))


def _covers(manifest: dict[str, object]) -> tuple[date, date] | None:
    covers = manifest["covers"]
    if not isinstance(covers, list):
        return None
    start, end = (date.fromisoformat(day) for day in covers)
    return start, end


def _count(lake: Lake, rows: dict[str, int]) -> None:
    """Write CLEAN_COUNTS; DataError where a row was lost, made up, or nothing is left to learn from."""
    quarantine = lake.read_arrow(contracts.QUARANTINE, ["table", "reason"])
    counts = []
    for raw_table, table in PAIRS:
        given = int(lake.manifest(raw_table)["rows"])
        mine = quarantine.filter(pc.equal(quarantine["table"], table.name))
        reasons = {entry["values"]: entry["counts"] for entry in pc.value_counts(mine["reason"]).to_pylist()}
        if given != rows[table.name] + sum(reasons.values()):
            raise DataError(
                f"clean lost count of {table.name}: {given:,} in, {rows[table.name]:,} kept, "
                f"{sum(reasons.values()):,} quarantined; rerun extract and clean"
            )
        for reason, count in {"in": given, "kept": rows[table.name], **dict(sorted(reasons.items()))}.items():
            counts.append({"table": table.name, "reason": reason, "rows": count})
            if reason not in ("in", "kept"):
                print(f"{table.name}: {count:,} quarantined as {reason}")
        if table in (contracts.USERS, contracts.ITEMS) and not rows[table.name]:
            raise DataError(f"no believable row in {table.name}: see the lake's quarantine table for the reasons")
    lake.write_arrow(contracts.CLEAN_COUNTS, pa.Table.from_pylist(counts, schema=contracts.CLEAN_COUNTS.arrow_schema))


if __name__ == "__main__":
    run(main)
