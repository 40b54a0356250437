"""What people read from the mart: whole versions, users by the start of their id, and an index for it."""

import time
from datetime import date

import psycopg
import pytest
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.site import Site
from jobs.tables import mart, roles, versions
from jobs.tables import warehouse as tables
from tests import small_night

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)


def publish(site: Site, environment: Environment, version: str, day: date, **figures: float) -> str:
    measured = {name: (value, value - 0.1, value + 0.1) for name, value in figures.items()}
    beside = small_night.beside(small_night.HEADLINE | measured)
    return str(versions.publish(site, environment, small_night.lists(version, day), beside, "proved")["state"])


def test_a_warehouse_without_a_mart_has_nothing_to_read(warehouse: Environment, shop: Site) -> None:
    with mart.read(shop, warehouse) as found:
        assert found is None


def test_the_mart_is_read_and_cannot_be_written(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with pytest.raises(NightliftError, match="permission denied"), mart.read(shop, warehouse) as found:
        assert found is not None
        found.rows("DELETE FROM {published} RETURNING table_name")


def test_a_query_that_takes_too_long_is_one_line(
    warehouse: Environment, shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    monkeypatch.setattr(mart, "SECONDS", 0.05)
    with pytest.raises(NightliftError, match="took more than") as caught, mart.read(shop, warehouse) as found:
        assert found is not None
        found.rows("SELECT pg_sleep(5)")
    assert len(str(caught.value).splitlines()) == 1


def test_versions_come_newest_first_a_page_at_a_time(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "bbbbbbbb", TUESDAY)
    assert publish(shop, warehouse, "aaaaaaaa", MONDAY) == "kept"
    with mart.read(shop, warehouse) as found:
        assert found is not None
        (newest,), (older,) = found.versions(1), found.versions(1, 1)
        assert found.versions(1, 2) == []
        assert (newest["version_id"], newest["published"]) == ("bbbbbbbb", True)
        assert (older["version_id"], older["published"], older["published_at"]) == ("aaaaaaaa", False, None)
        assert found.published()["version_id"] == "bbbbbbbb"  # type: ignore[index]


def test_a_night_has_the_figures_of_the_version_published_last(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY, qini=0.2)
    assert publish(shop, warehouse, "cccccccc", MONDAY, qini=0.3) == "published"
    publish(shop, warehouse, "bbbbbbbb", TUESDAY)
    with mart.read(shop, warehouse) as found:
        assert found is not None
        nights = found.nights(["qini", "not_measured"], 5)
        assert [(night["run_date"], night["version_id"]) for night in nights] == [
            (TUESDAY, "bbbbbbbb"),
            (MONDAY, "cccccccc"),
        ]
        assert nights[1]["figures"] == {"qini": {"value": 0.3, "low": pytest.approx(0.2), "high": pytest.approx(0.4)}}
        assert [night["version_id"] for night in found.nights(["qini"], 1)] == ["bbbbbbbb"]
        assert found.nights(["not_measured"], 1)[0]["figures"] == {}
        assert found.figures("aaaaaaaa")["qini"]["value"] == 0.2


def test_a_list_counts_once_as_its_latest_judgement_has_it(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY, feedback_lift_3d=0.5)
    publish(shop, warehouse, "bbbbbbbb", TUESDAY, feedback_lift_4d=0.7, feedback_lift_1d=0.9)
    with mart.read(shop, warehouse) as found:
        assert found is not None
        lists = [(row["list_date"], row["judged_on"], row["days"], row["value"]) for row in found.measured(5)]
    assert lists == [(MONDAY, TUESDAY, 1, 0.9), (date(2024, 1, 5), TUESDAY, 4, 0.7)]


def test_users_are_found_by_the_start_of_their_id_in_pages(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with mart.read(shop, warehouse) as found:
        assert found is not None
        assert found.users("aaaaaaaa", "", 10) == ["u0", "u1", "u2", "u3"]
        assert found.users("aaaaaaaa", "u", 2) == ["u0", "u1"]
        assert found.users("aaaaaaaa", "u", 2, after="u1") == ["u2", "u3"]
        assert found.users("aaaaaaaa", "u3", 2) == ["u3"]
        for nobody in ("U", "%", "_", "u3x", "'; --"):
            assert found.users("aaaaaaaa", nobody, 2) == []
        assert found.users("bbbbbbbb", "u", 2) == []


def test_lists_and_profile_of_a_user(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with mart.read(shop, warehouse) as found:
        assert found is not None
        assert [row["item_id"] for row in found.adjusted_list("aaaaaaaa", "u0")] == ["i1", "i2"]
        assert found.relevance_list("aaaaaaaa", "u0") == [{"rank": 1, "item_id": "i1", "relevance": 0.1}]
        assert found.profile("aaaaaaaa", "u0")["segment_label"] == "few purchases"  # type: ignore[index]
        assert found.profile("aaaaaaaa", "u9") is None
        assert found.adjusted_list("aaaaaaaa", "u9") == []
        assert [row["users"] for row in found.segments("aaaaaaaa")] == [1]
        assert [row["key"] for row in found.effects("aaaaaaaa", "all", "aipw")] == ["all"]


def test_names_come_from_the_raw_items_where_they_have_one(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with mart.read(shop, warehouse) as found:
        assert found is not None and found.items(["i1"]) == {}
    with tables.connect(warehouse) as connection:
        tables.create_raw(connection, shop.warehouse.raw_schema)
        items = sql.Identifier(shop.warehouse.raw_schema, "items")
        rows = sql.SQL("INSERT INTO {} (item_id, title, category) VALUES ('i1', 'Milk', 'dairy'), ('i2', '', NULL)")
        connection.execute(rows.format(items))
    with mart.read(shop, warehouse) as found:
        assert found is not None and found.items(["i1"]) == {}, "nobody let readers see the names yet"
    with tables.connect(warehouse) as connection:
        roles.grant_raw(connection, shop.warehouse.raw_schema)
    with mart.read(shop, warehouse) as found:
        assert found is not None
        named = {"i1": {"title": "Milk", "category": "dairy"}, "i2": {"title": None, "category": None}}
        assert found.items(["i1", "i2", "i3"]) == named


USERS, LENGTH = 100_000, 20
FILL = """
    INSERT INTO {new} SELECT '2024-01-08', 'user-' || lpad(u::text, 6, '0'), r, 'item-' || r, 1.0 / r, 0.1, 0.02, 0.01,
    0.03, true, 'adjusted', 1, 'because', '1', NULL, 'bbbbbbbb', 'run'
    FROM generate_series(1, {users}) AS u, generate_series(1, {length}) AS r
"""


def explained(connection: psycopg.Connection[object], query: str, *values: object) -> str:
    return "\n".join(str(line[0]) for line in connection.execute(f"EXPLAIN {query}", values))  # type: ignore[arg-type]


@pytest.mark.slow
def test_looking_users_up_among_100_000_with_20_rows_uses_an_index(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    schema = shop.warehouse.mart_schema
    with tables.connect(warehouse) as connection:
        new, history = sql.Identifier(schema, "new"), sql.Identifier(schema, "recommendations_history")
        for statement in (
            "CREATE TABLE {new} (LIKE {history} INCLUDING ALL)",
            FILL,
            "ALTER TABLE {new} ADD PRIMARY KEY (user_id, rank)",
            "ALTER TABLE {history} ATTACH PARTITION {new} FOR VALUES IN ('bbbbbbbb')",
            "ANALYZE {new}",
        ):
            connection.execute(
                sql.SQL(statement).format(
                    new=new, history=history, users=sql.Literal(USERS), length=sql.Literal(LENGTH)
                )
            )
    with mart.read(shop, warehouse) as found:
        assert found is not None
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            assert len(found.users("bbbbbbbb", "user-0123", 50)) == 50
            assert found.users("bbbbbbbb", "", 2, after="user-099999") == ["user-100000"]
            assert len(found.adjusted_list("bbbbbbbb", "user-050000")) == LENGTH
            seconds.append(time.perf_counter() - started)
        assert min(seconds) < 0.1
        name = f'"{schema}".recommendations_history_view'
        prefix = (
            f'SELECT user_id FROM {name} WHERE version_id = %s AND rank = 1 AND user_id COLLATE "C" >= %s'
            ' AND user_id COLLATE "C" < %s ORDER BY user_id COLLATE "C" LIMIT 50'
        )
        one = f"SELECT * FROM {name} WHERE version_id = %s AND user_id = %s ORDER BY rank"
        for query, values in (
            (prefix, ("bbbbbbbb", "user-0123", f"user-0123{mart.LAST}")),
            (one, ("bbbbbbbb", "user-050000")),
        ):
            plan = explained(found.connection, query, *values)
            assert "Index" in plan and "Seq Scan" not in plan, plan
