"""The mart: its tables, the views people read, and what each role may do with them.

What is below is one idempotent script. A mart made by another version of it is brought up to date by whoever comes
first; its mark, a hash of the script, is the comment on the view ``recommendations``.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.tables import roles, warehouse

TABLES = (
    "versions",
    "published",
    "recommendations_history",
    "relevance_lists",
    "item_effects",
    "user_profiles",
    "run_metrics",
)
LISTS = "recommendations"

_HISTORY = """
    run_date date NOT NULL,
    user_id text NOT NULL,
    rank integer NOT NULL,
    item_id text NOT NULL,
    score double precision NOT NULL,
    relevance double precision NOT NULL,
    effect double precision NOT NULL,
    effect_low double precision NOT NULL,
    effect_high double precision NOT NULL,
    identified boolean NOT NULL,
    policy text NOT NULL,
    propensity double precision NOT NULL,
    reason text NOT NULL,
    ranker_version text NOT NULL,
    uplift_version text,
    version_id text NOT NULL,
    mlflow_run_id text NOT NULL
"""
_TABLES = [
    f"CREATE TABLE IF NOT EXISTS {{mart}}.recommendations_history ({_HISTORY}) PARTITION BY LIST (version_id)",
    # one row a user, in byte order: users are looked up by the start of their id
    """CREATE INDEX IF NOT EXISTS recommendations_history_users ON {mart}.recommendations_history
        (user_id COLLATE "C") WHERE rank = 1""",
    """CREATE TABLE IF NOT EXISTS {mart}.versions (
        version_id text PRIMARY KEY, run_date date NOT NULL, ranker_version text NOT NULL, uplift_version text,
        mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL, loaded_at timestamptz NOT NULL,
        verdict text NOT NULL)""",
    # when the pointer last moved to the version, null where it never did; marts made earlier get the column too
    "ALTER TABLE {mart}.versions ADD COLUMN IF NOT EXISTS published_at timestamptz",
    "ALTER TABLE {mart}.versions ADD COLUMN IF NOT EXISTS dropped_at timestamptz",
    "ALTER TABLE {mart}.versions ADD COLUMN IF NOT EXISTS mlflow_experiment_id text",
    """CREATE TABLE IF NOT EXISTS {mart}.published (
        table_name text PRIMARY KEY, version_id text NOT NULL, run_date date NOT NULL, ranker_version text NOT NULL,
        uplift_version text, mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL,
        published_at timestamptz NOT NULL, verdict text NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS {mart}.item_effects (
        version_id text NOT NULL, level text NOT NULL, key text NOT NULL, method text NOT NULL,
        estimate double precision NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
        treated bigint NOT NULL, control bigint NOT NULL, overlap_share double precision, identified boolean NOT NULL,
        PRIMARY KEY (version_id, level, key, method))""",
    """CREATE TABLE IF NOT EXISTS {mart}.user_profiles (
        version_id text NOT NULL, user_id text NOT NULL, segment integer NOT NULL, segment_label text NOT NULL,
        preferences text NOT NULL, factors text, PRIMARY KEY (version_id, user_id))""",
    """CREATE TABLE IF NOT EXISTS {mart}.run_metrics (
        run_date date NOT NULL, version_id text NOT NULL, metric text NOT NULL, value double precision NOT NULL,
        low double precision, high double precision, PRIMARY KEY (run_date, version_id, metric))""",
    """CREATE TABLE IF NOT EXISTS {mart}.relevance_lists (
        version_id text NOT NULL, user_id text NOT NULL, rank integer NOT NULL, item_id text NOT NULL,
        relevance double precision NOT NULL, PRIMARY KEY (version_id, user_id, rank))""",
]
_VIEWS = [
    """CREATE OR REPLACE VIEW {mart}.recommendations AS
        SELECT history.* FROM {mart}.recommendations_history AS history
        WHERE history.version_id = (SELECT published.version_id FROM {mart}.published
                                    WHERE published.table_name = 'recommendations')""",
    *(f"CREATE OR REPLACE VIEW {{mart}}.{table}_view AS SELECT * FROM {{mart}}.{table}" for table in TABLES),
]
# A version's lists are filled in a table of their own, which nobody but the owner may touch once it is audited.
_FILLED = "{mart}.versions, {mart}.item_effects, {mart}.user_profiles, {mart}.run_metrics, {mart}.relevance_lists"
_READ = [LISTS, *(f"{table}_view" for table in TABLES)]
_GRANTS = [
    "REVOKE ALL ON SCHEMA {mart} FROM PUBLIC",
    *(f"REVOKE ALL ON {{mart}}.{name} FROM PUBLIC" for name in (*TABLES, *_READ)),
    f"GRANT USAGE ON SCHEMA {{mart}} TO {roles.LOADER}, {roles.PUBLISHER}, {roles.READER}",
    f"GRANT SELECT, INSERT ON {_FILLED} TO {roles.LOADER}",
    f"GRANT UPDATE (loaded_at, dropped_at) ON {{mart}}.versions TO {roles.LOADER}",
    f"GRANT SELECT, INSERT, UPDATE ON {{mart}}.published TO {roles.PUBLISHER}",
    f"GRANT SELECT, UPDATE (published_at) ON {{mart}}.versions TO {roles.PUBLISHER}",
    *(f"GRANT SELECT ON {{mart}}.{view} TO {roles.READER}" for view in _READ),
]
_SCRIPT = [*_TABLES, *_VIEWS, *_GRANTS]
MARK = f"nightlift {hashlib.sha256(repr(_SCRIPT).encode()).hexdigest()[:16]}"


def columns() -> dict[str, dict[str, str]]:
    """Columns and types of every table of the mart, as the statements that make it say."""
    found: dict[str, dict[str, str]] = {}
    for statement in _TABLES:
        statement = re.sub(r"\) PARTITION BY .*", ")", statement)
        made = re.match(r"CREATE TABLE IF NOT EXISTS \{mart\}\.(\w+) \((.*)\)", statement, re.DOTALL)
        if made:
            parts = re.sub(r",\s*PRIMARY KEY \(.*\)", "", made[2], flags=re.DOTALL).split(",")
            words = [part.replace(" NOT NULL", "").replace(" PRIMARY KEY", "").split(maxsplit=1) for part in parts]
            found[made[1]] = {name: kind.strip() for name, kind in words}
        added = re.match(r"ALTER TABLE \{mart\}\.(\w+) ADD COLUMN IF NOT EXISTS (\w+) (\w+)", statement)
        if added:
            found[added[1]][added[2]] = added[3]
    return found


def make(connection: warehouse.Connection, schema: str) -> None:
    """The mart, where it or a part of it is missing, as the login; tables, views and grants are the owner's."""
    if _marks(connection, schema) == [MARK]:
        return
    _refuse_newer(connection, schema)
    roles.make(connection)
    warehouse.lock(connection, f"nightlift ddl {schema}")
    name, owner = warehouse.ident(schema), warehouse.ident(roles.OWNER)
    wanted = [sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, owner)]
    wanted += _taken_over(connection, schema)
    with roles.advice(f"this login may not make schema {schema}", wanted):
        for statement in wanted:
            warehouse.execute(connection, statement)
    roles.act_as(connection, roles.OWNER)
    for line in _SCRIPT:
        warehouse.execute(connection, sql.SQL(line).format(mart=name))
    comment = sql.SQL("COMMENT ON VIEW {} IS {}").format(warehouse.ident(schema, LISTS), sql.Literal(MARK))
    warehouse.execute(connection, comment)
    warehouse.execute(connection, sql.SQL("SET LOCAL ROLE NONE"))


def _refuse_newer(connection: warehouse.Connection, schema: str) -> None:
    """SetupError where a table has columns of a version to come: what this one made of it would be wrong."""
    for table, known in columns().items():
        unknown = sorted(set(warehouse.column_types(connection, schema, table)) - set(known))
        if unknown:
            raise SetupError(
                f"{schema}.{table} has columns that this version does not know ({', '.join(unknown)}): a newer"
                " Nightlift made it; update the clone, or restore the backup from before"
            )


def _taken_over(connection: warehouse.Connection, schema: str) -> list[sql.Composed]:
    """What gives the owner a mart that the login made before there were roles."""
    query = """
        SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> {owner}
          AND (c.relname IN ({names}) OR c.relispartition)
        UNION ALL
        SELECT NULL FROM pg_namespace n WHERE n.nspname = {schema} AND pg_get_userbyid(n.nspowner) <> {owner}"""
    names = sql.SQL(", ").join(map(sql.Literal, (LISTS, *TABLES)))
    given = {"schema": sql.Literal(schema), "owner": sql.Literal(roles.OWNER), "names": names}
    owner = warehouse.ident(roles.OWNER)
    found = [row[0] for row in warehouse.execute(connection, sql.SQL(query).format(**given))]
    change = sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(warehouse.ident(schema), owner)
    return [change] * (None in found) + [
        sql.SQL("ALTER TABLE {} OWNER TO {}").format(warehouse.ident(schema, name), owner) for name in found if name
    ]


@contextmanager
def reading(
    environment: Environment, schema: str, isolation: psycopg.IsolationLevel | None = None
) -> Iterator[psycopg.Connection[Any] | None]:
    """A read-only transaction of a reader: it sees the views ``<table>_view``; None where there is no mart yet."""
    with warehouse.connect(environment) as connection:
        if not _marks(connection, schema):
            yield None
            return
        make(connection, schema)
        connection.commit()
        connection.isolation_level = isolation
        connection.read_only = True
        roles.act_as(connection, roles.READER)
        yield connection


def views(schema: str) -> dict[str, sql.Composable]:
    """Quoted name of the view of every table, by the table's name: what ``{table}`` stands for in a reader's query."""
    return {table: warehouse.ident(schema, f"{table}_view") for table in TABLES}


def _marks(connection: warehouse.Connection, schema: str) -> list[str | None]:
    """The mark of the mart; empty where there is no mart."""
    query = sql.SQL(
        "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = {} AND c.relname = {} AND c.relkind = 'v'"
    )
    return [row[0] for row in warehouse.execute(connection, query.format(sql.Literal(schema), sql.Literal(LISTS)))]
