"""Copy what is new from the warehouse to the lake, and nothing dated on or after the run date.

Fails when a raw table or a required column is missing, or users, items or interactions are empty.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.tables import warehouse
from jobs.tables.contracts import ARROW, RAW_EXPOSURES, RAW_INTERACTIONS, RAW_ITEMS, RAW_USERS, Table
from jobs.tables.lake import FIRST_DAY, Lake

FEATURE_DAYS = 35  # the longest exposure window of a feature, and a week to spare


def covered(args: JobArgs, lake: Lake, table: Table) -> tuple[date, date] | None:
    """Days [start, end) tonight's extract holds: from the last night less the late days, or the whole past."""
    if table.incremental is None:
        return None
    before = lake.dates(table)
    if before:
        return before[-1] - timedelta(days=args.site.late_days), args.date
    return FIRST_DAY, args.date


def statement(args: JobArgs, table: Table, columns: Sequence[str], days: tuple[date, date] | None) -> str:
    """The SELECT of one raw table in an order of its own, so that the same rows give the same file."""
    name = table.name.removeprefix("raw_")
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(args.site.warehouse.raw_schema, name)
    )
    if days is None:
        query += sql.SQL(" ORDER BY {}").format(sql.Identifier(warehouse.KEYS[name]))
        return warehouse.text(query)
    start, end = days
    if table is RAW_EXPOSURES:
        site = args.site
        oldest = site.period_days * (site.history_periods + 1) + FEATURE_DAYS
        start = max(start, args.date - timedelta(days=oldest))
    time = sql.Identifier(warehouse.TIMES[name])
    query += sql.SQL(
        " WHERE {time} >= {start}::timestamptz AND {time} < {end}::timestamptz ORDER BY {time}, {key}"
    ).format(
        time=time,
        start=sql.Literal(f"{start} 00:00:00+00"),
        end=sql.Literal(f"{end} 00:00:00+00"),
        key=sql.Identifier(warehouse.KEYS[name]),
    )
    return warehouse.text(query)


def conform(table: Table, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """One batch in the contract's types; an optional column the warehouse lacks is null."""
    columns = [
        pc.cast(batch.column(field.name), field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def copy(args: JobArgs, lake: Lake, connection: warehouse.adbc.Connection, table: Table) -> int:
    """Copy one table; returns its rows. DataError names table, columns and site file."""
    name, schema = table.name.removeprefix("raw_"), args.site.warehouse.raw_schema
    found = warehouse.column_types(connection, schema, name)
    where = f"{schema}.{name} (site file {args.environment.sites / args.site.site}.yaml)"
    if not found:
        raise DataError(f"{where}: there is no such table; load it with `python -m jobs load`")
    missing = [column for column in warehouse.REQUIRED[name] if column not in found]
    if missing:
        raise DataError(f"{where}: missing required columns {', '.join(missing)}; add them or name another raw_schema")
    attributes = [column for column in found if column not in table.columns]
    columns = [column for column in table.columns if column in found] + attributes
    days = covered(args, lake, table)
    if table is not RAW_EXPOSURES and (days is None or days[0] == FIRST_DAY):
        # Before anything is written: an empty past in the lake would count as a past already read.
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT EXISTS ({statement(args, table, columns[:1], days)})")
            (found_any,) = cursor.fetchall()[0]
        if not found_any:
            raise DataError(f"{where} has no row before {args.date}; load data or choose a later date")
    with connection.cursor() as cursor:
        cursor.execute(statement(args, table, columns, days))
        reader = cursor.fetch_record_batch()
        extra = [reader.schema.field(column) for column in attributes]
        target = pa.schema(
            [pa.field(column, ARROW[kind.rstrip("?")]) for column, kind in table.columns.items()] + extra
        )
        batches = (conform(table, batch, target) for batch in reader)
        return lake.write_arrow(table, pa.RecordBatchReader.from_batches(target, batches), days)


def main(argv: Sequence[str] | None = None) -> int:
    """Extract the four raw tables in one snapshot of the warehouse."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    with warehouse.adbc_connect(args.environment) as connection:
        warehouse.execute(connection, sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        for table in (RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS, RAW_EXPOSURES):
            copy(args, lake, connection, table)
    return 0


if __name__ == "__main__":
    run(main)
