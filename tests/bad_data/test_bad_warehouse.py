"""A warehouse of somebody else: what the night reads of it, what it refuses, and what it says it cannot read."""

import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.runtime import result
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.tables import contracts
from jobs.tables.lake import Lake
from tests.loaded_shop import night, run_sql

FIRST, SECOND, THIRD = date(2024, 1, 9), date(2024, 1, 11), date(2024, 1, 12)
Warned = Callable[[], list[str]]
EVENT = "INSERT INTO {{raw}}.interactions (event_id, user_id, item_id, event_type, event_ts) VALUES {}"
LATE = EVENT.format("('a', 'u1', 'i1', 'view', '2024-01-02T01:00Z'), ('b', 'u1', 'i1', 'view', '2024-01-04T01:00Z')")


@pytest.fixture
def warned(capsys: pytest.CaptureFixture[str]) -> Warned:
    """The warnings since it was asked last, without the schema's number."""

    def lines() -> list[str]:
        said = capsys.readouterr().out.splitlines()
        return [line.partition("_")[2].partition(".")[2] for line in said if line.startswith("warning: raw_")]

    return lines


def events(lake: Lake) -> pa.Table:
    return lake.read_arrow(contracts.RAW_INTERACTIONS)


def files(args: JobArgs) -> list[Path]:
    return list(Path(args.environment.lake).rglob("*.parquet"))


# -- late and unreadable rows --------------------------------------------------------------------------------------


def test_rows_later_than_late_days_are_counted_and_said_every_night_until_they_are_read(
    loaded: JobArgs, warned: Warned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(loaded, FIRST)
    assert warned() == []
    run_sql(loaded, LATE)
    site_file = loaded.environment.sites / "shop.yaml"
    said = (
        "interactions: rows of 2024-01-02 to 2024-01-04 that came after those days were read (late_days is 3), which"
        f" no night reads: 2; set late_days: {{}} in {site_file} for one night, and they are read"
    )
    monkeypatch.setenv(result.VARIABLE, str(tmp_path / "told.json"))
    night(loaded, SECOND)
    assert warned() == [said.format(9)]
    assert json.loads((tmp_path / "told.json").read_text())["note"].endswith(said.format(9)), "the run's note has it"
    night(loaded, THIRD)
    assert warned() == [said.format(10)]
    site_file.write_text(site_file.read_text().replace("late_days: 3", "late_days: 10"))
    lake = night(loaded, date(2024, 1, 13))
    assert warned() == []
    assert events(lake)["event_id"].to_pylist() == ["a", "e2", "b", "e3"]
    site_file.write_text(site_file.read_text().replace("late_days: 10", "late_days: 3"))
    lake = night(loaded, date(2024, 1, 14))
    assert warned() == [], "what was read again is known"


def test_a_night_that_looks_further_back_takes_the_place_of_all_it_covers(loaded: JobArgs) -> None:
    night(loaded, FIRST)
    night(loaded, SECOND)
    site_file = loaded.environment.sites / "shop.yaml"
    site_file.write_text(site_file.read_text().replace("late_days: 3", "late_days: 10"))
    lake = night(loaded, THIRD)
    parts = [(part.start, part.end) for part in lake.history(contracts.RAW_INTERACTIONS)]
    assert parts == [(date(1900, 1, 1), date(2024, 1, 1)), (date(2024, 1, 1), None)]


def test_rows_too_late_for_any_look_back_say_what_to_remove(loaded: JobArgs, warned: Warned) -> None:
    night(loaded, FIRST)
    run_sql(loaded, EVENT.format("('a', 'u1', 'i1', 'view', '2023-01-02T01:00Z')"))
    night(loaded, SECOND)
    (line,) = warned()
    folder = f"{loaded.environment.lake}/shop/raw_interactions"
    assert line.startswith("interactions: rows of 2023-01-02 to 2023-01-02 that came after")
    assert line.endswith(f"remove {folder}, and the next night reads the whole past again")
    run_sql(loaded, "DELETE FROM {raw}.interactions WHERE event_id = 'e1'")
    night(loaded, SECOND)
    assert len(warned()) == 1, "as many rows gone as came late hide nothing"


def test_late_exposures_are_said_where_a_feature_could_still_see_them(loaded: JobArgs, warned: Warned) -> None:
    night(loaded, FIRST)
    row = "INSERT INTO {{raw}}.exposures (exposure_id, user_id, item_id, exposed_at) VALUES ('{}', 'u1', 'i1', '{}')"
    run_sql(loaded, row.format("old", "2023-01-01T00:00Z"))
    night(loaded, SECOND)
    assert warned() == [], "nothing is made of exposures of a year ago"
    run_sql(loaded, row.format("late", "2024-01-02T00:00Z"))
    night(loaded, THIRD)
    (line,) = warned()
    assert line.startswith("exposures: rows of 2024-01-02 to 2024-01-02 that came after")


def test_rows_without_a_time_and_of_an_impossible_past_are_said(loaded: JobArgs, warned: Warned) -> None:
    run_sql(loaded, "ALTER TABLE {raw}.interactions ALTER event_ts DROP NOT NULL")
    run_sql(
        loaded,
        EVENT.format(
            "('n', 'u1', 'i1', 'view', NULL), ('o', 'u1', 'i1', 'view', '0001-01-01T00:00Z'),"
            " ('p', 'u1', 'i1', 'view', '-infinity'), ('f', 'u1', 'i1', 'view', 'infinity')"
        ),
    )
    assert events(night(loaded, FIRST))["event_id"].to_pylist() == ["e1", "e2"]
    assert warned() == [
        "interactions: rows without event_ts, which no night reads: 1; fill it in",
        "interactions: rows dated before 1900-01-01, which no night reads: 2; mend their event_ts",
    ]


def test_a_row_of_the_future_waits_for_its_night(loaded: JobArgs, warned: Warned) -> None:
    run_sql(loaded, EVENT.format("('f', 'u1', 'i1', 'view', '2024-01-11T23:59:59.999999Z')"))
    assert "f" not in events(night(loaded, SECOND))["event_id"].to_pylist()
    assert "f" in events(night(loaded, THIRD))["event_id"].to_pylist()
    assert warned() == []


# -- columns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE {raw}.users RENAME user_id TO id", "users .*: missing required columns user_id; mend the table"),
        ("ALTER TABLE {raw}.exposures DROP exposed_at", "exposures .*: missing required columns exposed_at"),
        (
            "ALTER TABLE {raw}.interactions ALTER event_ts TYPE text",
            "interactions .*: column event_ts is text, not timestamptz",
        ),
        (
            "ALTER TABLE {raw}.interactions ALTER event_ts TYPE bigint USING extract(epoch FROM event_ts)",
            "column event_ts is bigint, not timestamptz",
        ),
        ("ALTER TABLE {raw}.items ALTER price TYPE text", "items .*: column price is text, not double precision"),
        (
            "ALTER TABLE {raw}.users ALTER user_id TYPE double precision USING substr(user_id, 2)::float8",
            "users .*: column user_id is double precision, not text",
        ),
        (
            "ALTER TABLE {raw}.items ALTER category TYPE jsonb USING to_jsonb(category)",
            "column category is jsonb, not text",
        ),
        ('ALTER TABLE {raw}.users ADD "AGE" text', "columns age and AGE differ in case only"),
        ("DROP TABLE {raw}.exposures", "exposures .*: there is no such table"),
        ("TRUNCATE {raw}.users", "users .* has no row"),
    ],
)
def test_a_table_that_cannot_be_read_stops_the_night_before_anything_is_written(
    loaded: JobArgs, change: str, said: str
) -> None:
    run_sql(loaded, change)
    with pytest.raises(DataError, match=rf"raw_\d+\..*{said}") as caught:
        night(loaded, FIRST)
    assert "shop.yaml" in str(caught.value) and "\n" not in str(caught.value)
    assert files(loaded) == []


def test_the_column_that_outcome_value_names_must_be_there(loaded: JobArgs) -> None:
    site_file = loaded.environment.sites / "shop.yaml"
    site_file.write_text(site_file.read_text().replace("value: null", "value: quantity"))
    assert "value: quantity" in site_file.read_text()
    night(loaded, FIRST)
    run_sql(loaded, "ALTER TABLE {raw}.interactions DROP quantity")
    with pytest.raises(DataError, match=r"missing column quantity, which outcome\.value names"):
        night(loaded, SECOND)


def test_the_column_that_profiles_channel_names_must_be_there(loaded: JobArgs) -> None:
    site_file = loaded.environment.sites / "shop.yaml"
    site_file.write_text(site_file.read_text().replace("channel: null", "channel: till"))
    assert "channel: till" in site_file.read_text()
    with pytest.raises(DataError, match=r"missing column till, which profiles\.channel names"):
        night(loaded, FIRST)
    run_sql(loaded, "ALTER TABLE {raw}.interactions ADD till integer")
    assert "till" in night(loaded, FIRST).read_arrow(contracts.RAW_INTERACTIONS).column_names


def test_new_gone_and_retyped_columns_are_said(loaded: JobArgs, warned: Warned) -> None:
    night(loaded, FIRST)
    assert warned() == [], "a first night has nothing to compare with"
    for change in (
        "ALTER TABLE {raw}.users ADD vip boolean",
        "ALTER TABLE {raw}.users ALTER age TYPE text",
        "ALTER TABLE {raw}.items DROP code",
        "ALTER TABLE {raw}.items ADD reason text",
    ):
        run_sql(loaded, change)
    lake = night(loaded, SECOND)
    assert warned() == [
        "users: column age was bigint and is text",
        "users: column vip (boolean) is new: it is an attribute from tonight on",
        "items: column reason is left out, the cleaner needs the name: rename it",
        "items: column code (text) is gone: tonight it is empty",
        "items: column reason (text) is new: it is an attribute from tonight on",
    ]
    assert lake.read_arrow(contracts.RAW_USERS).column_names == ["user_id", "age", "vip"]
    assert "reason" not in lake.read_arrow(contracts.RAW_ITEMS).column_names


def test_types_of_other_warehouses_are_cast(loaded: JobArgs) -> None:
    for change in (
        "CREATE TYPE {raw}.kind AS ENUM ('purchase', 'view')",
        "ALTER TABLE {raw}.interactions ALTER event_type TYPE {raw}.kind USING event_type::{raw}.kind",
        "ALTER TABLE {raw}.interactions ALTER event_ts TYPE timestamp, ALTER value TYPE numeric(12, 2)",
        "ALTER TABLE {raw}.interactions ALTER user_id TYPE bigint USING substr(user_id, 2)::bigint",
        "ALTER TABLE {raw}.users ADD tags text[], ADD score numeric(10, 3), ADD about jsonb, ADD seen timestamptz",
        "UPDATE {raw}.users SET tags = '{{a,b}}', score = 1.125, about = '{{\"b\": 1, \"a\": [2]}}', seen = 'infinity'",
        "ALTER TABLE {raw}.items ADD born date, ADD weight real, ADD key uuid",
        "UPDATE {raw}.items SET born = '2024-02-29', weight = 1.5, key = '5f0c18a6-9c3c-4c32-8a4e-0f6b0a1b2c3d',"
        " available_until = 'infinity'",
    ):
        run_sql(loaded, change)
    lake = night(loaded, FIRST)
    rows = events(lake).to_pylist()
    assert [(row["user_id"], row["event_type"], row["value"]) for row in rows] == [
        ("1", "purchase", 1.5),
        ("2", "purchase", 2.0),
    ]
    assert [row["event_ts"].isoformat() for row in rows] == ["2024-01-01T10:00:00+00:00", "2024-01-02T10:00:00+00:00"]
    user = lake.read_arrow(contracts.RAW_USERS).to_pylist()[0]
    assert user == {
        "user_id": "u1",
        "age": 30,
        "tags": "{a,b}",
        "score": 1.125,
        "about": '{"a": [2], "b": 1}',
        "seen": None,
    }
    item = lake.read_arrow(contracts.RAW_ITEMS).to_pylist()[0]
    assert (item["born"], item["weight"]) == (date(2024, 2, 29), 1.5)
    assert item["key"] == "5f0c18a6-9c3c-4c32-8a4e-0f6b0a1b2c3d" and item["available_until"] is None


def test_a_number_too_large_for_its_column_is_named_not_retried(loaded: JobArgs) -> None:
    run_sql(loaded, "ALTER TABLE {raw}.exposures ALTER position TYPE bigint")
    run_sql(loaded, "UPDATE {raw}.exposures SET position = 3000000000")
    with pytest.raises(DataError, match=r"exposures .*: a value cannot be read .*3000000000 not in range.*; mend it"):
        night(loaded, FIRST)


# -- the same rows, the same night ---------------------------------------------------------------------------------


def test_rows_in_another_order_give_the_same_files(loaded: JobArgs) -> None:
    run_sql(loaded, "ALTER TABLE {raw}.interactions DROP CONSTRAINT interactions_pkey")
    run_sql(loaded, "ALTER TABLE {raw}.users DROP CONSTRAINT users_pkey")
    twins = ["('e1', 'u1', 'i1', 'view', '2024-01-01T10:00Z', 3)", "('e1', 'u1', 'i1', 'view', '2024-01-01T10:00Z', 2)"]
    digests = []
    for order in (twins, twins[::-1]):
        run_sql(loaded, "DELETE FROM {raw}.interactions WHERE value > 2 OR event_type = 'view' AND value IS NOT NULL")
        run_sql(loaded, "DELETE FROM {raw}.users WHERE user_id = 'u3'")
        columns = "event_id, user_id, item_id, event_type, event_ts, value"
        for row in order:
            run_sql(loaded, f"INSERT INTO {{raw}}.interactions ({columns}) VALUES {row}")
            run_sql(loaded, f"INSERT INTO {{raw}}.users VALUES ('u3', {row[-2]})")
        lake = night(loaded, FIRST)
        assert lake.manifest(contracts.RAW_INTERACTIONS)["rows"] == 4
        digests.append(lake.digest([contracts.RAW_INTERACTIONS, contracts.RAW_USERS]))
    assert digests[0] == digests[1]


def test_the_zone_of_machine_and_server_changes_nothing(loaded: JobArgs) -> None:
    times = [
        "2024-01-07T23:30:00-05:00",
        "2024-01-08T00:30:00+01:00",
        "2024-01-08T23:59:59+00:00",
        "2024-01-09T02:00+14",
    ]
    run_sql(loaded, EVENT.format(", ".join(f"('z{n}', 'u1', 'i1', 'view', '{when}')" for n, when in enumerate(times))))
    before = night(loaded, FIRST).digest([contracts.RAW_INTERACTIONS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Pacific/Apia")
        patch.setenv("PGTZ", "Pacific/Apia")
        time.tzset()
        lake = night(loaded, FIRST)
    time.tzset()
    assert lake.digest([contracts.RAW_INTERACTIONS]) == before
    found = {row["event_id"]: row["event_ts"].date().isoformat() for row in events(lake).to_pylist()}
    assert {name: found.get(name) for name in ("z0", "z1", "z2", "z3")} == {
        "z0": "2024-01-08",
        "z1": "2024-01-07",
        "z2": "2024-01-08",
        "z3": "2024-01-08",
    }
