"""Nights of the small shop of CSV files: extraction, and SQL on its raw schema."""

from dataclasses import replace
from datetime import date

from psycopg import sql

from jobs import extract
from jobs.runtime.args import JobArgs
from jobs.tables import warehouse
from jobs.tables.contracts import EXPOSURES, INTERACTIONS
from jobs.tables.lake import Lake


def night(args: JobArgs, day: date, cleaned: bool = True) -> Lake:
    """Extract a night as its process would; the lake of that night, whose logs count as cleaned without a row."""
    assert extract.main(["--site", args.site.site, "--date", day.isoformat()]) == 0
    lake = Lake(replace(args, date=day))
    for table in (INTERACTIONS, EXPOSURES) if cleaned else ():
        start, end = map(date.fromisoformat, lake.manifest(f"raw_{table.name}")["covers"])
        lake.write_arrow(table, table.arrow_schema.empty_table(), (start, end))
    return lake


def run_sql(args: JobArgs, statement: str) -> None:
    """Run a statement; ``{raw}`` is the raw schema."""
    with warehouse.connect(args.environment) as connection:
        raw = sql.Identifier(args.site.warehouse.raw_schema)
        warehouse.execute(connection, sql.SQL(statement).format(raw=raw))  # type: ignore[arg-type]
