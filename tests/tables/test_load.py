"""The loader: every error names file, column and rows, and a load is all or nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.site import Site
from jobs.tables import warehouse as tables
from jobs.tables.load import load_folder


def rows(environment: Environment, site: Site, table: str, columns: str = "*") -> list[tuple[object, ...]]:
    query = sql.SQL(f"SELECT {columns} FROM {{}} ORDER BY 1").format(  # type: ignore[arg-type]
        sql.Identifier(site.warehouse.raw_schema, table)
    )
    with tables.connect(environment) as connection:
        return tables.execute(connection, query)


def filled(environment: Environment, site: Site) -> list[str]:
    with tables.connect(environment) as connection:
        return [name for name in tables.RAW_COLUMNS if tables.has_rows(connection, site.warehouse.raw_schema, name)]


def test_a_right_folder_is_loaded_with_types_and_attributes(warehouse: Environment, shop: Site, folder: Path) -> None:
    assert load_folder(shop, folder, warehouse) == {"users": 2, "items": 2, "interactions": 3, "exposures": 1}
    assert rows(warehouse, shop, "users") == [("u1", 30), ("u2", None)]
    assert rows(warehouse, shop, "items", "item_id, price, code") == [("i1", 1.5, "007"), ("i2", 2.0, "012")]
    events = rows(warehouse, shop, "interactions", "event_id, event_ts, value")
    assert events[1] == ("e2", datetime(2024, 1, 2, 10, tzinfo=UTC), 2.0)  # a time without a zone is UTC
    assert rows(warehouse, shop, "exposures", "position, propensity, policy") == [(1, 0.5, None)]


def test_parquet_and_csv_load_the_same_rows(warehouse: Environment, shop: Site, folder: Path) -> None:
    load_folder(shop, folder, warehouse)
    other = shop.model_copy(update={"warehouse": shop.warehouse.model_copy(update={"raw_schema": "raw_parquet"})})
    for name in tables.RAW_COLUMNS:
        duckdb.sql("SET TimeZone = 'UTC'")
        duckdb.sql(f"COPY (FROM read_csv('{folder}/{name}.csv')) TO '{folder}/{name}.parquet'")
        (folder / f"{name}.csv").unlink()
    load_folder(other, folder, warehouse)
    for name in ("users", "interactions", "exposures"):
        assert rows(warehouse, other, name) == rows(warehouse, shop, name)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "interactions",
            "2024-01-02 10:00:00",
            "yesterday",
            r"interactions.csv: column event_ts: 1 row is not a time.*",
        ),
        (
            "interactions",
            ",1.5\n",
            ",cheap\n",
            r"interactions.csv: column value: 1 row is not a number \(line 2: 'cheap'",
        ),
        ("interactions", "e2,u2", ",u2", r"interactions.csv: column event_id: 1 row is empty \(line 3"),
        ("interactions", "e2,", "e1,", r"interactions.csv: column event_id: 1 row is a key .*line 3: 'e1'"),
        ("interactions", "e2,u2", "e2,u9", r"interactions.csv: column user_id: 1 row is not in users \(line 3: 'u9'"),
        ("interactions", "event_ts", "when", r"interactions.csv: required column event_ts is missing \(there: .*when"),
        ("exposures", "u1,i1", "u1,i9", r"exposures.csv: column item_id: 1 row is not in items \(line 2: 'i9'"),
        ("exposures", ",0.5", ",0", r"exposures.csv: column propensity: 1 row is outside \(0, 1\] \(line 2"),
        ("exposures", ",0.5", ",nan", r"exposures.csv: column propensity: 1 row is outside \(0, 1\]"),
        ("exposures", ",1,0.5", ",first,0.5", r"exposures.csv: column position: 1 row is not a whole number"),
        ("items", "i2,bread,2", "i2,bread,two", r"items.csv: column price: 1 row is not a number \(line 3: 'two'"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_loaded(
    warehouse: Environment, shop: Site, folder: Path, file: str, old: str, new: str, said: str
) -> None:
    path = folder / f"{file}.csv"
    body = path.read_text(encoding="utf-8")
    assert old in body
    path.write_text(body.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        load_folder(shop, folder, warehouse)
    assert "nothing was loaded" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert filled(warehouse, shop) == []


def test_many_bad_rows_are_counted_and_the_first_five_shown(warehouse: Environment, shop: Site, folder: Path) -> None:
    lines = "".join(f"u{number},a{number}\n" for number in range(3, 1203))
    (folder / "items.csv").write_text("item_id,price\n" + lines, encoding="utf-8")
    with pytest.raises(DataError, match=r"1,200 rows are not a number \(line 2: 'a3', .*line 6: 'a7', \.\.\.\)"):
        load_folder(shop, folder, warehouse)


def test_a_missing_file_is_named(warehouse: Environment, shop: Site, folder: Path) -> None:
    (folder / "exposures.csv").unlink()
    with pytest.raises(DataError, match=r"has no exposures.parquet or exposures.csv"):
        load_folder(shop, folder, warehouse)
    assert filled(warehouse, shop) == []


def test_keys_the_table_has_are_refused_and_new_rows_alone_are_taken(
    warehouse: Environment, shop: Site, folder: Path
) -> None:
    load_folder(shop, folder, warehouse)
    with pytest.raises(DataError, match=r"users.csv: column user_id: 2 rows are a key raw_\d+.users already has"):
        load_folder(shop, folder, warehouse)
    for name in ("users", "items", "exposures"):
        (folder / f"{name}.csv").unlink()
    (folder / "interactions.csv").write_text(
        "event_id,user_id,item_id,event_type,event_ts,channel\ne4,u2,i1,purchase,2024-01-11T00:00:00Z,web\n",
        encoding="utf-8",
    )
    assert load_folder(shop, folder, warehouse) == {"interactions": 1}
    assert rows(warehouse, shop, "interactions", "event_id, channel")[-1] == ("e4", "web")


def test_hostile_names_and_values_are_only_data(warehouse: Environment, shop: Site, folder: Path) -> None:
    column = 'x"; DROP TABLE users; --'
    quoted = column.replace('"', '""')
    (folder / "users.csv").write_text(f'user_id,"{quoted}"\nu1,"\'; DROP TABLE users; --"\nu2,b\n', encoding="utf-8")
    load_folder(shop, folder, warehouse)
    assert rows(warehouse, shop, "users")[0] == ("u1", "'; DROP TABLE users; --")


def test_an_unreachable_warehouse_is_one_line_of_set_up(shop: Site, folder: Path, warehouse: Environment) -> None:
    nowhere = replace(warehouse, services={"warehouse_url": "postgresql://postgres@127.0.0.1:1/none"})
    with pytest.raises(SetupError, match="the warehouse cannot be reached") as caught:
        load_folder(shop, folder, nowhere)
    assert "\n" not in str(caught.value)
