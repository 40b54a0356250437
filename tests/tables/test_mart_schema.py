"""The mart is made once, brought up to date where it is older, and read through its views."""

from datetime import date
from pathlib import Path

import pytest
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, versions
from jobs.tables import warehouse as tables
from tests import small_night

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
FIRST = Path(__file__).with_name("first_mart.sql").read_text(encoding="utf-8")
LISTS = "SELECT * FROM {mart}.recommendations ORDER BY user_id, rank"


def publish(site: Site, environment: Environment, version: str, day: date) -> str:
    lists = small_night.lists(version, day)
    return str(versions.publish(site, environment, lists, small_night.beside(), "proved")["state"])


def owners(site: Site, environment: Environment) -> set[str]:
    query = sql.SQL(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = {schema}::regnamespace UNION"
        " SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = {schema}"
    ).format(schema=sql.Literal(site.warehouse.mart_schema))
    with tables.connect(environment) as connection:
        return {row[0] for row in tables.execute(connection, query)}


def rows(site: Site, environment: Environment, query: str) -> list[tuple[object, ...]]:
    with tables.connect(environment) as connection:
        return tables.execute(connection, sql.SQL(query).format(mart=sql.Identifier(site.warehouse.mart_schema)))


def run(site: Site, environment: Environment, *statements: str) -> None:
    with tables.connect(environment) as connection:
        for statement in statements:
            names = {"mart": sql.Identifier(site.warehouse.mart_schema)}
            tables.execute(connection, sql.SQL(statement).format(**names))


def test_everything_in_the_mart_is_the_owners(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    assert owners(shop, warehouse) == {roles.OWNER}


def test_a_mart_of_the_first_version_is_brought_up_to_date_under_its_readers_and_goes_on(
    warehouse: Environment, shop: Site
) -> None:
    run(shop, warehouse, FIRST)
    run(
        shop,
        warehouse,
        "GRANT USAGE ON SCHEMA {mart} TO pg_monitor",
        "GRANT SELECT ON {mart}.recommendations TO pg_monitor",
    )
    before = rows(shop, warehouse, LISTS)
    assert len(before) == 8
    (row,) = versions.status(shop, warehouse)
    assert (row["version_id"], row["published"], row["published_at"]) == ("aaaaaaaa", True, None)
    assert owners(shop, warehouse) == {roles.OWNER}
    assert rows(shop, warehouse, LISTS) == before
    with tables.connect(warehouse) as connection:
        tables.execute(connection, sql.SQL("SET LOCAL ROLE pg_monitor"))
        mart = sql.Identifier(shop.warehouse.mart_schema)
        assert tables.execute(connection, sql.SQL(LISTS).format(mart=mart)) == before, "who could read it still can"
    assert publish(shop, warehouse, "aaaaaaaa", MONDAY) == "unchanged", "the same rows have the checksum they had"
    assert publish(shop, warehouse, "bbbbbbbb", TUESDAY) == "published"
    assert versions.rollback(shop, warehouse)["to"] == "aaaaaaaa"
    assert rows(shop, warehouse, LISTS) == before
    newer, older = versions.status(shop, warehouse)
    assert newer["published_at"] and older["published_at"] and older["published"]


@pytest.mark.parametrize("table", ["published", "recommendations_history"])
def test_a_mart_of_a_newer_version_is_refused_in_one_line_and_left_as_it_is(
    warehouse: Environment, shop: Site, table: str
) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    run(
        shop,
        warehouse,
        f"ALTER TABLE {{mart}}.{table} ADD COLUMN approved_by text",
        "COMMENT ON VIEW {mart}.recommendations IS 'nightlift of a year to come'",
    )
    refused = rf"{table} has columns that this version does not know \(approved_by\): a newer Nightlift made it; update"
    for use in (lambda: publish(shop, warehouse, "bbbbbbbb", TUESDAY), lambda: versions.status(shop, warehouse)):
        with pytest.raises(SetupError, match=refused) as caught:
            use()
        assert "\n" not in str(caught.value)
    ((mark,),) = rows(shop, warehouse, "SELECT obj_description('{mart}.recommendations'::regclass, 'pg_class')")
    assert mark == "nightlift of a year to come"
    assert rows(shop, warehouse, "SELECT DISTINCT version_id FROM {mart}.recommendations") == [("aaaaaaaa",)]


@pytest.mark.parametrize("table", mart_schema.TABLES)
def test_the_view_of_a_table_has_its_columns(warehouse: Environment, shop: Site, table: str) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    schema = shop.warehouse.mart_schema
    with tables.connect(warehouse) as connection:
        shown = tables.column_types(connection, schema, f"{table}_view")
        assert shown and shown == tables.column_types(connection, schema, table)
        assert list(shown) == list(mart_schema.columns()[table])
