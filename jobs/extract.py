"""Copy what is new from the warehouse to the lake, and nothing dated on or after the run date.

Fails when a raw table or a required column is missing or has a type that cannot be it, or users, items or interactions
are empty; nothing is written then. Says which rows no night reads, and which columns are new, gone or retyped.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from jobs.runtime import result
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.tables import arrivals, raw, roles, warehouse
from jobs.tables.contracts import RAW_EXPOSURES, RAW_INTERACTIONS, RAW_ITEMS, RAW_USERS
from jobs.tables.lake import FIRST_DAY, Lake
from jobs.tables.schema import ARROW, Table

TABLES = (RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS, RAW_EXPOSURES)
FEATURE_DAYS = 35  # the longest exposure window of a feature, and a week to spare


def covered(args: JobArgs, lake: Lake, table: Table) -> tuple[date, date] | None:
    """Days [start, end) tonight's extract holds: from the last night less the late days, or the whole past.

    A night that stopped before its rows were cleaned is none: whatever failed it, its days are read again.
    """
    if table.incremental is None:
        return None
    cleaned = raw.name(table)
    before = [night for night in lake.dates(table) if lake.has(cleaned, night)]
    if before:
        return before[-1] - timedelta(days=args.site.late_days), args.date
    return FIRST_DAY, args.date


def oldest(args: JobArgs, table: Table) -> date:
    """The first day of a log that anything is made of."""
    if table is not RAW_EXPOSURES:
        return FIRST_DAY
    return args.date - timedelta(days=args.site.period_days * (args.site.history_periods + 1) + FEATURE_DAYS)


def statement(
    args: JobArgs, table: Table, what: Mapping[str, sql.Composable], days: tuple[date, date] | None
) -> sql.Composable:
    """The SELECT of tonight's rows of one raw table."""
    where: sql.Composable = sql.SQL("")
    if days is not None:
        time = sql.Identifier(warehouse.TIMES[raw.name(table)])
        where = sql.SQL("WHERE {time} >= {start}::timestamptz AND {time} < {end}::timestamptz").format(
            time=time,
            start=sql.Literal(f"{max(days[0], oldest(args, table))} 00:00:00+00"),
            end=sql.Literal(f"{days[1]} 00:00:00+00"),
        )
    return raw.select(table, args.site.warehouse.raw_schema, what, where)


def conform(table: Table, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """One batch in the contract's types; an optional column the warehouse lacks is null."""
    columns = [
        pc.cast(batch.column(field.name), field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def check(args: JobArgs, connection: warehouse.adbc.Connection) -> dict[str, dict[str, str]]:
    """Columns and types of the four tables by name; DataError, before anything is written, where one cannot be read."""
    tables: dict[str, dict[str, str]] = {}
    for table in TABLES:
        found = warehouse.column_types(connection, args.site.warehouse.raw_schema, raw.name(table))
        if not found:
            raise DataError(f"{_where(args, table)}: there is no such table; load it with `python -m jobs load`")
        wrong = raw.problems(table, found)
        named = {"outcome.value": args.site.outcome.value, "profiles.channel": args.site.profiles.channel}
        for key, column in named.items() if table is RAW_INTERACTIONS else ():
            if column and (column not in found or column in raw.RESERVED):
                wrong.append(f"missing column {column}, which {key} names")
        if wrong:
            raise DataError(
                f"{_where(args, table)}: {'; '.join(wrong)}; mend the table, or name a raw_schema with a view that does"
            )
        tables[raw.name(table)] = found
    return tables


def _where(args: JobArgs, table: Table) -> str:
    site_file = args.environment.sites / f"{args.site.site}.yaml"
    return f"{args.site.warehouse.raw_schema}.{raw.name(table)} (site file {site_file})"


def require_rows(args: JobArgs, lake: Lake, connection: warehouse.adbc.Connection) -> None:
    """DataError where a table has no row to begin with: an empty past in the lake would count as one already read."""
    for table in (RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS):
        days = covered(args, lake, table)
        if days is None or days[0] == FIRST_DAY:
            key = warehouse.KEYS[raw.name(table)]
            rows = statement(args, table, {key: warehouse.ident(key)}, days)
            ((any_row,),) = warehouse.execute(connection, sql.SQL("SELECT EXISTS ({})").format(rows))
            if not any_row:
                raise DataError(
                    f"{_where(args, table)} has no row before {args.date}; load data or choose a later date"
                )


def copy(
    args: JobArgs, lake: Lake, connection: warehouse.adbc.Connection, table: Table, found: Mapping[str, str]
) -> Counter[date]:
    """Copy one table; returns its rows by day, where it has days. DataError names a value that is not its type's."""
    what, days = raw.columns(table, found), covered(args, lake, table)
    by_day: Counter[date] = Counter()
    with connection.cursor() as cursor:
        try:
            cursor.execute(warehouse.text(statement(args, table, what, days)))
            reader = cursor.fetch_record_batch()
            extra = [reader.schema.field(column) for column in raw.attributes(table, found)]
            target = pa.schema(
                [pa.field(column, ARROW[kind.rstrip("?")]) for column, kind in table.columns.items()] + extra
            )
            batches = _counted(table, (conform(table, batch, target) for batch in reader), by_day)
            lake.write_arrow(table, pa.RecordBatchReader.from_batches(target, batches), days)
        except pa.ArrowInvalid as error:
            said = " ".join(str(error).split())[:300]
            raise DataError(f"{_where(args, table)}: a value cannot be read ({said}); mend it") from None
    return by_day


def _counted(table: Table, batches: Iterator[pa.RecordBatch], by_day: Counter[date]) -> Iterator[pa.RecordBatch]:
    """The batches; ``by_day`` counts their rows on the way."""
    for batch in batches:
        if table.incremental is not None:
            days = pc.value_counts(pc.cast(batch.column(warehouse.TIMES[raw.name(table)]), pa.date32()))
            by_day.update({entry["values"]: entry["counts"] for entry in days.to_pylist()})
        yield batch


def changed_columns(args: JobArgs, table: Table, found: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """One line for each column that is not as the last night found it, or that cannot be taken."""
    where, said = f"{args.site.warehouse.raw_schema}.{raw.name(table)}", []
    for column in (column for column in raw.RESERVED if column in found):
        said.append(f"{where}: column {column} is left out, the cleaner needs the name: rename it")
    for column in sorted(set(found) | set(before)):
        if column not in before:
            said.append(f"{where}: column {column} ({found[column]}) is new: it is an attribute from tonight on")
        elif column not in found:
            said.append(f"{where}: column {column} ({before[column]}) is gone: tonight it is empty")
        elif found[column] != before[column]:
            said.append(f"{where}: column {column} was {before[column]} and is {found[column]}")
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """Extract the four raw tables in one snapshot of the warehouse."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    said: list[str] = []
    record: dict[str, Any] = {}
    nights = lake.dates(arrivals.EXTRACTED)
    before = lake.manifest(arrivals.EXTRACTED, nights[-1])["document"] if nights else {}
    with warehouse.adbc_connect(args.environment) as connection:
        roles.make(connection)
        roles.grant_raw(connection, args.site.warehouse.raw_schema)
        connection.commit()
        warehouse.execute(connection, sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        roles.act_as(connection, roles.LOADER)
        tables = check(args, connection)
        require_rows(args, lake, connection)
        for table in TABLES:
            name, days = raw.name(table), covered(args, lake, table)
            found = tables[name]
            by_day = copy(args, lake, connection, table, found)
            said += changed_columns(args, table, found, before[name]["columns"] if before else found)
            record[name] = {"columns": found, "start": str(days[0]) if days else None}
            record[name]["days"] = {str(day): by_day[day] for day in sorted(by_day)}
            if days:
                said += _unread(args, lake, connection, table, days[0])
    lake.write_json(arrivals.EXTRACTED, record)
    for line in said:
        print(f"warning: {line}")
    if said:
        result.record(note="; ".join(said))
    return 0


def _unread(args: JobArgs, lake: Lake, connection: warehouse.adbc.Connection, table: Table, start: date) -> list[str]:
    schema, name = args.site.warehouse.raw_schema, raw.name(table)
    found = arrivals.unread(connection, lake, schema, name, start, oldest(args, table))
    site_file = args.environment.sites / f"{args.site.site}.yaml"
    return arrivals.warnings(found, lake, f"{schema}.{name}", args.site.late_days, site_file)


if __name__ == "__main__":
    run(main)
