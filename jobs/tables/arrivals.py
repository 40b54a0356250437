"""Rows of the warehouse that no night reads: without a time, dated before 1900, or come after their day was read.

Each night records how many rows of which day it read. The warehouse is counted in one scan; by day only
where number or mean day differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from psycopg import sql

from jobs.tables import warehouse
from jobs.tables.lake import FIRST_DAY, Lake

EXTRACTED = "extracted"  # the lake's document: by table the columns, the first day read, and rows by day
MOST_LATE_DAYS = 60  # of the site file


@dataclass(frozen=True)
class Unread:
    """Rows of one raw table that are in no night; ``late`` by day."""

    no_time: int = 0
    ancient: int = 0
    late: Mapping[date, int] = field(default_factory=dict)


def recorded(lake: Lake, name: str, before: date) -> tuple[dict[date, int], date]:
    """Rows by day that earlier nights read of the days before ``before``, and the first day that is known."""
    days: dict[date, int] = {}
    end = before
    for night in reversed(lake.dates(EXTRACTED)):
        told = lake.manifest(EXTRACTED, night)["document"][name]
        start = date.fromisoformat(told["start"])
        mine = {date.fromisoformat(day): int(rows) for day, rows in told["days"].items()}
        days |= {day: rows for day, rows in mine.items() if start <= day < end}
        end = min(end, start)
    return days, end


def unread(connection: warehouse.Connection, lake: Lake, schema: str, name: str, start: date, oldest: date) -> Unread:
    """Rows that no night reads; ``start`` is the first day read tonight, ``oldest`` the first anybody wants."""
    known, first = recorded(lake, name, start)
    first = max(first, oldest)
    time, table = warehouse.ident(warehouse.TIMES[name]), warehouse.ident(schema, name)
    inside = sql.SQL("{time} >= {first} AND {time} < {start}").format(time=time, first=_at(first), start=_at(start))
    counts = sql.SQL(
        "SELECT count(*) FILTER (WHERE {time} IS NULL), count(*) FILTER (WHERE {time} < {ancient}),"
        " count(*) FILTER (WHERE {inside}), sum({time}::date - {epoch}::date) FILTER (WHERE {inside}) FROM {table}"
    ).format(time=time, ancient=_at(FIRST_DAY), epoch=sql.Literal(str(FIRST_DAY)), inside=inside, table=table)
    ((no_time, ancient, rows, ages),) = warehouse.execute(connection, counts)
    late: dict[date, int] = {}
    held = {day: rows for day, rows in known.items() if day >= first}
    if (rows, ages or 0) != (sum(held.values()), sum((day - FIRST_DAY).days * rows for day, rows in held.items())):
        by_day = sql.SQL(
            "SELECT day::text, rows FROM"
            " (SELECT {time}::date AS day, count(*) AS rows FROM {table} WHERE {inside} GROUP BY 1) AS days ORDER BY 1"
        )
        for text, there in warehouse.execute(connection, by_day.format(time=time, table=table, inside=inside)):
            day = date.fromisoformat(text)
            if there > held.get(day, 0):
                late[day] = there - held.get(day, 0)
    return Unread(int(no_time), int(ancient) if oldest == FIRST_DAY else 0, late)


def _at(day: date) -> sql.Composable:
    return sql.SQL("{}::timestamptz").format(sql.Literal(f"{day} 00:00:00+00"))


def warnings(found: Unread, lake: Lake, table: str, late_days: int, site_file: Any) -> list[str]:
    """One line for each kind of rows that no night reads: table, rows and what to do."""
    name = table.rsplit(".", 1)[-1]
    time, said = warehouse.TIMES[name], []
    if found.no_time:
        said.append(f"{table}: rows without {time}, which no night reads: {found.no_time:,}; fill it in")
    if found.ancient:
        said.append(
            f"{table}: rows dated before {FIRST_DAY}, which no night reads: {found.ancient:,}; mend their {time}"
        )
    if found.late:
        days, rows = sorted(found.late), sum(found.late.values())
        needed = (lake.date - days[0]) // timedelta(days=1)
        remedy = (
            f"set late_days: {needed} in {site_file} for one night, and they are read"
            if needed <= MOST_LATE_DAYS
            else f"remove {lake.uri}/raw_{name}, and the next night reads the whole past again"
        )
        said.append(
            f"{table}: rows of {days[0]} to {days[-1]} that came after those days were read (late_days is {late_days}),"
            f" which no night reads: {rows:,}; {remedy}"
        )
    return said
