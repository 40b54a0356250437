"""Files people bring: hostile ones are refused with file, column and line, or loaded to the last character."""

import csv
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Site
from jobs.tables import warehouse as tables
from jobs.tables.load import load_folder
from jobs.tables.schema import LONGEST
from tests.hostile import HOSTILE


def write(folder: Path, name: str, *rows: tuple[object, ...]) -> None:
    """A CSV file; the first row is the head."""
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows(rows)


def read(environment: Environment, site: Site, table: str, *columns: str) -> list[tuple[Any, ...]]:
    query = sql.SQL("SELECT {} FROM {} ORDER BY 1").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(site.warehouse.raw_schema, table)
    )
    with tables.connect(environment) as connection:
        return tables.execute(connection, query)


def test_ids_of_every_kind_are_loaded_to_the_last_character(warehouse: Environment, shop: Site, folder: Path) -> None:
    write(folder, "users", ("user_id", "age"), *((one, 30) for one in HOSTILE))
    write(folder, "items", ("item_id", "category"), *((one, one[:200]) for one in HOSTILE))
    at = "2024-01-01T10:00:00Z"
    head = ("event_id", "user_id", "item_id", "event_type", "event_ts")
    write(folder, "interactions", head, *((one, one, one, one[:100], at) for one in HOSTILE))
    write(
        folder,
        "exposures",
        ("exposure_id", "user_id", "item_id", "exposed_at"),
        *((one, one, one, at) for one in HOSTILE),
    )
    assert set(load_folder(shop, folder, warehouse).values()) == {len(HOSTILE)}
    for table, columns in (("users", ("user_id",)), ("interactions", ("event_id", "user_id", "item_id"))):
        assert {value for row in read(warehouse, shop, table, *columns) for value in row} == set(HOSTILE)
    assert {row[0] for row in read(warehouse, shop, "items", "category")} == {one[:200] for one in HOSTILE}


def change(file: str, old: str, new: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / f"{file}.csv"
        body = path.read_text(encoding="utf-8")
        assert old in body
        path.write_text(body.replace(old, new, 1), encoding="utf-8")

    return do


GOLDEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "10,000 characters": (
        change("users", "u2,", "u" * 10_000 + ","),
        r"users.csv: column user_id: 1 row is longer than 400 characters \(line 3: 'uuu.*\.\.\.\)",
    ),
    "a long category": (change("items", "milk", "m" * 201), "items.csv: column category: 1 row is longer than 200"),
    "an event twice": (change("interactions", "e2,u2", "e1,u2"), r"column event_id: 1 row is a key an earlier row has"),
    "an unknown user": (change("interactions", "e2,u2", "e2,u3"), r"column user_id: 1 row is not in users \(line 3"),
    "an unknown item": (change("exposures", "u1,i1", "u1,i3"), r"column item_id: 1 row is not in items \(line 2"),
    "no user": (change("interactions", "e2,u2", "e2,"), r"interactions.csv: column user_id: 1 row is empty \(line 3"),
    "a day that is none": (change("interactions", "2024-01-02", "2024-02-30"), "column event_ts: 1 row is not a time"),
    "a day of the month first": (change("interactions", "2024-01-02", "31/12/2024"), "column event_ts: 1 row is not a"),
    "an hour that is none": (change("interactions", "10:00:00Z", "25:00:00Z"), "column event_ts: 1 row is not a time"),
    "a time without end": (change("interactions", "2024-01-02 10:00:00", "infinity"), "column event_ts: 1 row is not"),
    "a comma for a point": (
        change("items", "1.5", '"1,5"'),
        r"items.csv: column price: 1 row is not a number \(line 2",
    ),
    "a number with a unit": (change("items", "1.5", "1.5 EUR"), "items.csv: column price: 1 row is not a number"),
    "a line too short": (change("interactions", "e2,u2,i2", "e2,u2"), "interactions.csv"),
    "a line too long": (change("users", "u1,30", "u1,30,40"), "users.csv cannot be read"),
    "an open quote": (change("users", "u1,30", 'u1,"30'), "users.csv"),
    "no head": (change("users", "user_id,age\n", ""), "users.csv: required column user_id is missing"),
    "a head in other letters": (change("users", "user_id", "USER_ID"), "users.csv: required column user_id is missing"),
    "a NUL": (change("users", "u2", "u\0"), "users.csv: column user_id: 1 row is text with a NUL character"),
    "another encoding": (lambda at: (at / "users.csv").write_bytes(b"user_id\nJos\xe9\n"), "users.csv cannot be read"),
    "nothing": (lambda at: (at / "users.csv").write_bytes(b""), "users.csv"),
    "no Parquet": (
        lambda at: ((at / "users.csv").unlink(), (at / "users.parquet").write_bytes(b"PAR1")),  # type: ignore[dict-item]
        "users.parquet cannot be read",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_a_bad_file_is_refused_with_its_message_and_nothing_is_loaded(
    warehouse: Environment, shop: Site, folder: Path, case: str
) -> None:
    spoil, said = GOLDEN[case]
    spoil(folder)
    with pytest.raises(DataError, match=said) as caught:
        load_folder(shop, folder, warehouse)
    assert "nothing was loaded" in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    with tables.connect(warehouse) as connection:
        raw = shop.warehouse.raw_schema
        assert not [name for name in tables.RAW_COLUMNS if tables.has_rows(connection, raw, name)]


def test_a_retyped_parquet_column_is_refused(warehouse: Environment, shop: Site, folder: Path) -> None:
    (folder / "items.csv").unlink()
    pq.write_table(pa.table({"item_id": ["i1", "i2"], "price": [[1.0], [2.0]]}), folder / "items.parquet")
    with pytest.raises(DataError, match=r"items.parquet: column price: 2 rows are not a number \(row 1: \[1.0\]"):
        load_folder(shop, folder, warehouse)


def test_an_attribute_in_other_letters_than_the_warehouse_has_is_refused(
    warehouse: Environment, shop: Site, folder: Path
) -> None:
    load_folder(shop, folder, warehouse)
    for name in ("items", "interactions", "exposures"):
        (folder / f"{name}.csv").unlink()
    write(folder, "users", ("user_id", "AGE"), ("u3", 5))
    with pytest.raises(DataError, match=r"users.csv: column AGE is age in the warehouse; write it the same"):
        load_folder(shop, folder, warehouse)


def test_times_of_any_zone_and_of_the_days_summer_time_begins_and_ends(
    warehouse: Environment, shop: Site, folder: Path
) -> None:
    given_times = {
        "a": ("2024-03-31T01:59:59+01:00", datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC)),
        "b": ("2024-03-31T03:00:00+02:00", datetime(2024, 3, 31, 1, 0, 0, tzinfo=UTC)),  # a second later
        "c": ("2024-10-27T02:30:00+02:00", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
        "d": ("2024-10-27T02:30:00+01:00", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),  # the hour that comes twice
        "e": ("2024-01-01T00:30:00+14:00", datetime(2023, 12, 31, 10, 30, tzinfo=UTC)),
        "f": ("2024-02-29 23:59:59.999999-11:00", datetime(2024, 3, 1, 10, 59, 59, 999999, tzinfo=UTC)),
        "g": ("2024-03-31 02:30:00", datetime(2024, 3, 31, 2, 30, tzinfo=UTC)),  # without a zone: UTC has no such gap
        "h": ("9999-12-31T00:00:00Z", datetime(9999, 12, 31, tzinfo=UTC)),  # the future waits
    }
    head = ("event_id", "user_id", "item_id", "event_type", "event_ts")
    write(folder, "interactions", head, *((key, "u1", "i1", "view", text) for key, (text, _) in given_times.items()))
    load_folder(shop, folder, warehouse)
    assert dict(read(warehouse, shop, "interactions", "event_id", "event_ts")) == {
        key: when for key, (_, when) in given_times.items()
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_no_line_is_taken_for_a_comment_a_note_or_a_second_head(
    warehouse: Environment, shop: Site, folder: Path, delimiter: str
) -> None:
    rows = [("user_id", "about"), ("#1", "first"), ("user_id", "about"), ("", ""), ("//", "note"), ("u1", "a b")]
    body = "".join(f"{delimiter.join(row)}\n" for row in rows if row[0]) + f"u2{delimiter}\n"
    (folder / "users.csv").write_text(body, encoding="utf-8")
    load_folder(shop, folder, warehouse)
    assert {row[0] for row in read(warehouse, shop, "users", "user_id")} == {"#1", "user_id", "//", "u1", "u2"}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12)
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIME = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(str)
FAULTS = {"user": "stranger", "item": "strange item", "time": "2024-02-30", "number": "1,5", "key": ""}


@st.composite
def shops(draw: st.DrawFn) -> tuple[str | None, dict[str, list[tuple[object, ...]]]]:
    """The four files of a shop, and the fault that is in one of their events, if any."""
    users = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    items = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    keys = draw(st.lists(TEXT, min_size=1, max_size=6, unique=True))
    events = [
        {
            "key": key,
            "user": draw(st.sampled_from(users)),
            "item": draw(st.sampled_from(items)),
            "type": "view",
            "time": draw(TIME),
            "number": draw(NUMBER),
        }
        for key in keys
    ]
    fault = draw(st.none() | st.sampled_from(sorted(FAULTS)))
    if fault:
        draw(st.sampled_from(events))[fault] = FAULTS[fault]
    return fault, {
        "users": [("user_id", "about"), *((one, draw(st.none() | TEXT)) for one in users)],
        "items": [("item_id",), *((one,) for one in items)],
        "interactions": [
            ("event_id", "user_id", "item_id", "event_type", "event_ts", "value"),
            *(tuple(event.values()) for event in events),
        ],
        "exposures": [("exposure_id", "user_id", "item_id", "exposed_at")],
    }


@given(made=shops())
@settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_any_right_files_are_loaded_whole_and_any_fault_is_refused_in_one_line(
    warehouse: Environment, shop: Site, tmp_path: Path, made: tuple[str | None, dict[str, list[tuple[object, ...]]]]
) -> None:
    fault, files = made
    schema = f"raw_{uuid.uuid4().hex}"
    site = shop.model_copy(update={"warehouse": shop.warehouse.model_copy(update={"raw_schema": schema})})
    for name, rows in files.items():
        write(tmp_path, name, *rows)
    if fault:
        with pytest.raises(DataError, match=r"interactions\.csv: column .*: 1 row is ") as caught:
            load_folder(site, tmp_path, warehouse)
        assert "\n" not in str(caught.value)
        return
    assert load_folder(site, tmp_path, warehouse) == {name: len(rows) - 1 for name, rows in files.items()}
    for name, rows in files.items():
        head = tuple(map(str, rows[0]))
        ids = [column for column in head if column in LONGEST]
        wanted = sorted(tuple(str(row[head.index(column)]) for column in ids) for row in rows[1:])
        assert sorted(read(warehouse, site, name, *ids)) == wanted
