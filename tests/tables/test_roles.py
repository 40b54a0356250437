"""PostgreSQL itself refuses each role what is not its own."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, versions
from jobs.tables import warehouse as tables
from tests import small_night

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
VERSION = "aaaaaaaa"
DAMAGE = {
    "a table": "CREATE TABLE {mart}.more (x int)",
    "a view": "CREATE OR REPLACE VIEW {mart}.recommendations AS SELECT * FROM {mart}.recommendations_history",
    "a version gone": "DROP TABLE {mart}.recommendations_aaaaaaaa",
    "lists changed": "UPDATE {mart}.recommendations_aaaaaaaa SET score = 0",
    "lists added": "INSERT INTO {mart}.recommendations_history SELECT * FROM {mart}.recommendations WHERE false",
    "rows slipped into a version": (
        "INSERT INTO {mart}.recommendations_aaaaaaaa SELECT * FROM {mart}.recommendations_aaaaaaaa WHERE false"
    ),
    "lists deleted": "DELETE FROM {mart}.recommendations_history",
    "what is beside": "UPDATE {mart}.run_metrics SET value = 0",
    "the chain": "DELETE FROM {mart}.versions",
    "its checksums": "UPDATE {mart}.versions SET checksum = 'x'",
    "pointer": "UPDATE {mart}.published SET version_id = 'x'",
    "pointer gone": "DELETE FROM {mart}.published",
}
MAY = {  # of DAMAGE
    roles.OWNER: set(DAMAGE),
    roles.LOADER: set(),
    roles.PUBLISHER: {"pointer"},
    roles.READER: set(),
}


@pytest.fixture
def published(warehouse: Environment, shop: Site) -> Site:
    versions.publish(shop, warehouse, small_night.lists(VERSION, MONDAY), small_night.beside(), "proved")
    return shop


def attempt(site: Site, environment: Environment, role: str, statement: str) -> None:
    """Run a statement as ``role``; nothing of it stays."""
    mart = sql.Identifier(site.warehouse.mart_schema)
    with tables.connect(environment) as connection:
        roles.act_as(connection, role)
        tables.execute(connection, sql.SQL(statement).format(mart=mart))
        connection.rollback()


def test_a_role_does_only_what_it_is_for(warehouse: Environment, published: Site) -> None:
    done: dict[str, set[str]] = {role: set() for role in roles.ROLES}
    for role in roles.ROLES:
        for what, statement in DAMAGE.items():
            with suppress(psycopg.errors.InsufficientPrivilege):
                attempt(published, warehouse, role, statement)
                done[role].add(what)
    assert done == MAY


NOTE = (
    "CREATE TABLE {mart}.notes (step text, who text)",
    "GRANT INSERT ON {mart}.notes TO PUBLIC",
    "CREATE FUNCTION {mart}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " INSERT INTO {mart}.notes VALUES (TG_OP || ' ' || TG_TABLE_NAME, current_user); RETURN NULL; END $$",
)
WATCHED = ("versions", "published", "run_metrics", "item_effects", "user_profiles", "relevance_lists")


def test_a_night_takes_the_least_role_for_each_of_its_writes(warehouse: Environment, published: Site) -> None:
    mart = sql.Identifier(published.warehouse.mart_schema)
    with tables.connect(warehouse) as connection:
        for statement in NOTE:
            tables.execute(connection, sql.SQL(statement).format(mart=mart))
        for table in WATCHED:
            watch = (
                "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {mart}.{table} EXECUTE FUNCTION {mart}.note()"
            )
            tables.execute(connection, sql.SQL(watch).format(mart=mart, table=sql.Identifier(table)))
    for version, day in (("bbbbbbbb", TUESDAY), ("cccccccc", TUESDAY + (TUESDAY - MONDAY))):
        versions.publish(published, warehouse, small_night.lists(version, day), small_night.beside(), "proved")
    versions.rollback(published, warehouse, "bbbbbbbb")
    with tables.connect(warehouse) as connection:
        found = tables.execute(connection, sql.SQL("SELECT DISTINCT step, who FROM {}.notes").format(mart))
    beside = set(WATCHED) - {"versions", "published"}
    assert set(found) == {
        *((f"DELETE {table}", roles.OWNER) for table in beside),  # what a dropped version left
        *((f"INSERT {table}", roles.LOADER) for table in (*beside, "versions")),
        ("UPDATE versions", roles.LOADER),  # INSERT ... ON CONFLICT DO UPDATE counts as both
        ("UPDATE versions", roles.PUBLISHER),
        ("INSERT published", roles.PUBLISHER),
        ("UPDATE published", roles.PUBLISHER),
    }


def test_a_reader_sees_views_and_no_table(warehouse: Environment, published: Site) -> None:
    for view in ("recommendations", *(f"{table}_view" for table in mart_schema.TABLES)):
        attempt(published, warehouse, roles.READER, f"SELECT * FROM {{mart}}.{view}")
    for table in (*mart_schema.TABLES, f"recommendations_{VERSION}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            attempt(published, warehouse, roles.READER, f"SELECT * FROM {{mart}}.{table}")


def test_search_path_is_fixed_and_finds_nothing_by_a_name_alone(warehouse: Environment, shop: Site) -> None:
    query = sql.SQL("SELECT current_setting('search_path')")
    with tables.connect(warehouse) as plain, tables.adbc_connect(warehouse) as arrow:
        for connection in (plain, arrow):
            assert [name.strip() for name in tables.execute(connection, query)[0][0].split(",")] == [
                "pg_catalog",
                "pg_temp",
            ]
        plain.execute("CREATE TABLE public.same_name (x int)")
        with pytest.raises(psycopg.errors.UndefinedTable):
            plain.execute("SELECT * FROM same_name")
        plain.rollback()


@pytest.fixture
def login(warehouse: Environment, shop: Site) -> Iterator[Environment]:
    """A login without special rights on a database of its own, as on a server of the user's own."""
    name = f"login_{shop.warehouse.mart_schema}"
    with tables.connect(warehouse, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    address = urlsplit(warehouse.warehouse_url)
    url = address._replace(netloc=f"{name}@{address.netloc.rpartition('@')[2]}", path=f"/{name}").geturl()
    yield replace(warehouse, services={"warehouse_url": url})
    with tables.connect(warehouse, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def let(warehouse: Environment, login: Environment) -> str:
    """Run what an administrator runs for the login."""
    name = urlsplit(login.warehouse_url).username or ""
    with tables.connect(warehouse) as connection:
        for statement in roles.statements(name, roles.ROLES):
            tables.execute(connection, statement)
    return name


def test_a_login_without_the_roles_is_told_what_an_administrator_runs(
    warehouse: Environment, published: Site, login: Environment
) -> None:
    with pytest.raises(SetupError, match=r"an administrator runs: GRANT .* WITH INHERIT FALSE, SET TRUE;") as caught:
        versions.publish(published, login, small_night.lists(VERSION, MONDAY), small_night.beside(), "proved")
    assert "\n" not in str(caught.value)


def test_a_login_that_is_no_administrator_publishes_rolls_back_and_by_itself_only_reads(
    warehouse: Environment, published: Site, login: Environment
) -> None:
    let(warehouse, login)
    for version, day in ((VERSION, MONDAY), ("bbbbbbbb", TUESDAY)):
        made = versions.publish(published, login, small_night.lists(version, day), small_night.beside(), "proved")
        assert made["state"] == "published"
    assert versions.rollback(published, login)["to"] == VERSION
    mart = sql.Identifier(published.warehouse.mart_schema)
    with tables.connect(login) as connection:
        count = sql.SQL("SELECT count(*) FROM {}.recommendations").format(mart)
        assert tables.execute(connection, count) == [(8,)]
    for what, statement in DAMAGE.items():
        with tables.connect(login) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            assert tables.execute(connection, sql.SQL(statement).format(mart=mart)) is None, what


def test_the_container_makes_the_same_roles_for_its_login() -> None:
    script = (ROOT / "deploy" / "create_databases.sh").read_text(encoding="utf-8")
    assert "CREATE ROLE :" in script
    for statement in roles.statements("warehouse"):
        assert f"{tables.text(statement)};\n" in script


def test_public_has_nothing_in_the_mart(warehouse: Environment, published: Site, login: Environment) -> None:
    query = sql.SQL(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = {mart}::regnamespace AND c.relkind IN"
        " ('r', 'p', 'v') AND has_table_privilege({who}, c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    ).format(mart=sql.Literal(published.warehouse.mart_schema), who=sql.Literal(urlsplit(login.warehouse_url).username))
    with tables.connect(warehouse) as connection:
        assert tables.execute(connection, query) == []
        grant = sql.SQL("GRANT SELECT ON {}.published TO PUBLIC").format(
            sql.Identifier(published.warehouse.mart_schema)
        )
        tables.execute(connection, grant)
        assert tables.execute(connection, query) == [("published",)]
        connection.rollback()


def test_extract_reads_raw_tables_of_somebody_else_only_when_they_let_it(
    warehouse: Environment, shop: Site, login: Environment
) -> None:
    name = let(warehouse, login)
    raw = sql.Identifier(shop.warehouse.raw_schema)
    admin = replace(
        warehouse, services={"warehouse_url": urlsplit(warehouse.warehouse_url)._replace(path=f"/{name}").geturl()}
    )
    with tables.connect(admin) as connection:
        tables.create_raw(connection, shop.warehouse.raw_schema)
    with (
        pytest.raises(SetupError, match=r'an administrator runs: .*GRANT SELECT ON "raw_\d+"."users"'),
        tables.connect(login) as connection,
    ):
        roles.grant_raw(connection, shop.warehouse.raw_schema)
    with tables.connect(admin) as connection:
        roles.grant_raw(connection, shop.warehouse.raw_schema)
    with tables.connect(login) as connection:
        roles.grant_raw(connection, shop.warehouse.raw_schema)
        roles.act_as(connection, roles.LOADER)
        assert tables.execute(connection, sql.SQL("SELECT * FROM {}.users").format(raw)) == []
        roles.act_as(connection, roles.READER)
        assert tables.execute(connection, sql.SQL("SELECT item_id, title, category FROM {}.items").format(raw)) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tables.execute(connection, sql.SQL("SELECT * FROM {}.items").format(raw))
