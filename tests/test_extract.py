"""Extraction: only days before the run date, only what is new, and errors that name table, column and site file."""

import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest
from psycopg import sql

from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.tables import arrivals, contracts, raw, warehouse
from jobs.tables.contracts import RAW_ITEMS
from jobs.tables.lake import FIRST_DAY, Lake
from tests.loaded_shop import night, run_sql

FIRST, SECOND = date(2024, 1, 9), date(2024, 1, 11)


def events(lake: Lake) -> list[str]:
    return lake.read_arrow(contracts.RAW_INTERACTIONS)["event_id"].to_pylist()


def test_the_first_night_takes_everything_before_its_date_in_order(loaded: JobArgs) -> None:
    lake = night(loaded, FIRST)
    assert events(lake) == ["e1", "e2"]
    assert lake.manifest(contracts.RAW_INTERACTIONS)["covers"] == [FIRST_DAY.isoformat(), FIRST.isoformat()]
    users = lake.read_arrow(contracts.RAW_USERS)
    assert users.to_pylist() == [{"user_id": "u1", "age": 30}, {"user_id": "u2", "age": None}]
    assert lake.read_arrow(contracts.RAW_EXPOSURES).num_rows == 1


def test_the_next_night_takes_what_is_new_and_the_late_days(loaded: JobArgs) -> None:
    night(loaded, FIRST)
    run_sql(
        loaded,
        "INSERT INTO {raw}.interactions (event_id, user_id, item_id, event_type, event_ts) VALUES"
        " ('late', 'u1', 'i1', 'view', '2024-01-06T00:00:00Z'),"
        " ('too_late', 'u1', 'i1', 'view', '2024-01-05T23:59:59Z')",
    )
    lake = night(loaded, SECOND)
    assert events(lake) == ["late", "e3"]
    assert lake.manifest(contracts.RAW_INTERACTIONS)["covers"] == ["2024-01-06", SECOND.isoformat()]
    assert len(lake.history(contracts.RAW_INTERACTIONS)) == 2


def test_a_lake_of_before_arrivals_were_recorded_goes_on_without_a_warning(
    loaded: JobArgs, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = night(loaded, FIRST)
    shutil.rmtree(Path(lake.root) / arrivals.EXTRACTED)
    lake = night(loaded, SECOND)
    assert events(lake) == ["e3"] and len(lake.history(contracts.RAW_INTERACTIONS)) == 2
    assert lake.has(arrivals.EXTRACTED) and "warning" not in capsys.readouterr().out


def test_days_of_nights_that_stopped_before_cleaning_are_read_again(loaded: JobArgs) -> None:
    night(loaded, FIRST)
    run_sql(
        loaded,
        "INSERT INTO {raw}.interactions (event_id, user_id, item_id, event_type, event_ts) VALUES"
        " ('e4', 'u1', 'i1', 'view', '2024-01-11T00:00:00Z'), ('e5', 'u1', 'i1', 'view', '2024-01-19T00:00:00Z')",
    )
    for day in (SECOND, date(2024, 1, 18)):
        night(loaded, day, cleaned=False)
    lake = night(loaded, date(2024, 1, 20))
    assert events(lake) == ["e3", "e4", "e5"], "three days before the 18th would have lost the 10th and the 11th"
    assert lake.manifest(contracts.RAW_INTERACTIONS)["covers"] == ["2024-01-06", "2024-01-20"]
    assert events(night(loaded, date(2024, 1, 21))) == ["e5"]


def test_rows_dated_on_or_after_the_run_date_change_nothing(loaded: JobArgs) -> None:
    digests = [entry["sha256"] for entry in night(loaded, FIRST).manifest(contracts.RAW_INTERACTIONS)["files"]]
    run_sql(loaded, "DELETE FROM {raw}.interactions WHERE event_ts >= '2024-01-09T00:00:00Z'")
    again = [entry["sha256"] for entry in night(loaded, FIRST).manifest(contracts.RAW_INTERACTIONS)["files"]]
    assert again == digests


def test_text_is_put_in_order_by_its_bytes_whatever_the_language_of_the_database(loaded: JobArgs) -> None:
    schema = loaded.site.warehouse.raw_schema
    run_sql(loaded, "ALTER TABLE {raw}.items ADD size varchar(5), ADD sku uuid, ADD tags jsonb, ADD weight numeric")
    with warehouse.adbc_connect(loaded.environment) as connection:
        what = raw.columns(RAW_ITEMS, warehouse.column_types(connection, schema, "items"))
        rows = raw.select(RAW_ITEMS, schema, what, sql.SQL(""))

        def of_each(function: str, columns: Iterable[str]) -> dict[str, str]:
            calls = [sql.SQL(f"{function}({{}})::text").format(sql.Identifier(column)) for column in columns]
            query = sql.SQL("SELECT {} FROM ({}) AS rows LIMIT 1").format(sql.SQL(", ").join(calls), rows)
            (found,) = warehouse.execute(connection, query)
            return dict(zip(columns, found, strict=True))

        types = of_each("pg_typeof", what)
        texts = [column for column, kind in types.items() if kind in ("text", "character varying")]
        assert {"item_id", "category", "title", "size", "sku", "tags"} <= set(texts) < set(what)
        assert set(of_each("pg_collation_for", texts).values()) == {'"C"'}


def test_rows_are_read_with_the_rights_of_the_loader_alone(loaded: JobArgs) -> None:
    assert events(night(loaded, FIRST)) == ["e1", "e2"]
    run_sql(loaded, "ALTER TABLE {raw}.interactions ENABLE ROW LEVEL SECURITY")
    run_sql(loaded, "CREATE POLICY a_part ON {raw}.interactions TO nightlift_loader USING (event_id <> 'e1')")
    assert events(night(loaded, FIRST)) == ["e2"], "an administrator, whom no policy binds, would have read e1 too"


def test_a_missing_column_names_table_column_and_site_file(loaded: JobArgs) -> None:
    run_sql(loaded, "ALTER TABLE {raw}.interactions DROP COLUMN event_type")
    with pytest.raises(DataError, match=r"raw_\d+\.interactions .*shop\.yaml.*event_type"):
        night(loaded, FIRST)


def test_optional_columns_a_warehouse_lacks_are_null(loaded: JobArgs) -> None:
    run_sql(loaded, "ALTER TABLE {raw}.interactions DROP COLUMN rating")
    assert night(loaded, FIRST).read_arrow(contracts.RAW_INTERACTIONS)["rating"].null_count == 2


def test_a_night_before_all_events_fails_and_the_next_still_reads_the_whole_past(loaded: JobArgs) -> None:
    with pytest.raises(DataError, match=r"interactions .*has no row before 2024-01-01"):
        night(loaded, date(2024, 1, 1))
    lake = night(loaded, FIRST)
    assert events(lake) == ["e1", "e2"]
    assert lake.manifest(contracts.RAW_INTERACTIONS)["covers"][0] == FIRST_DAY.isoformat()
